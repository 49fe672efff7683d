"""`torl traces`: what to imitate, as files that `torl train --traces` takes as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.core.models.loading import DEFAULT_MODEL
from agents.core.run.storage import replacing
from agents.core.types import Trajectory
from agents.sft import Written, accepted, chosen, is_good, ran_clean, write_texts, write_traces
from benchmarks.heldout import records
from benchmarks.report.tables import Table
from torl.console import CommandError, print_table
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import measure
from torl.processors import choose_waiting
from torl.training import tirgen
from torl.training.datasets import source_name
from torl.training.options import default_env
from torl.training.tirgen import TIRGenOptions
from torl_env import EnvConfig


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """Rejection sampling: let a model answer, keep what is right.

    The answers are kept beside the traces (OUT.answers.jsonl, records as of `torl eval`); the same
    command takes an interrupted run up again. Imitate them with

        torl train --traces OUT --steps 0
    """

    out: Path
    """The traces (.jsonl)."""
    model: str = DEFAULT_MODEL
    """Folder, hub id, `smollm2`, or the name that the server knows the model by."""
    server: str = ""
    """URL of an OpenAI-compatible server, up to and with /v1, in place of a model loaded here. What
    it writes is kept as text, with the outputs of its programs."""
    tokenizer: str | None = None
    """As for `torl eval`: counts the tokens of a server's text."""
    env: EnvConfig = field(default_factory=default_env)
    """The environment. Each of its options may be written short: --problems (a source of
    `torl data list` or a file; its training split), --tool-budget (0 samples text alone), ..."""
    count: int = 64
    """Problems, the first ones of the source in a random order."""
    k: int = 4
    """Answers to each problem."""
    clean: bool = False
    """Keep only answers with at least one program and no program that failed."""
    per_problem: int = 4
    """At most so many traces of a problem."""
    temperature: float = 1.0
    """Of sampling; above 0, or all answers to a problem are the same."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Of one response, tool output included."""
    prompt: str = "chat"
    """Prompt style: chat, chat-text, or torl (base models)."""
    seed: int = 0
    device: str | None = None
    """`cpu`, `cuda`, ...; default: an accelerator where there is one."""
    rows: int = 32
    """Responses generated at once."""


@dataclass(frozen=True, slots=True)
class AcceptOptions:
    """Take traces out of rollouts on file: transcripts of a run, records of an evaluation."""

    rollouts: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files (.jsonl)."""
    out: Path
    """The traces (.jsonl)."""
    clean: bool = False
    """Keep only answers with at least one program and no program that failed."""
    per_problem: int = 4
    """At most so many traces of a problem."""


TracesOptions = (
    Annotated[SampleOptions, tyro.conf.subcommand("sample", prefix_name=False)]
    | Annotated[AcceptOptions, tyro.conf.subcommand("accept", prefix_name=False)]
    | Annotated[TIRGenOptions, tyro.conf.subcommand("tirgen", prefix_name=False)]
)


def main(options: SampleOptions | AcceptOptions | TIRGenOptions) -> int:
    """Run one of the three commands.

    Raises:
        CommandError: Options that do not fit, or nothing is worth imitating.
    """
    tirgen.check_out(options.out)
    if not isinstance(options, AcceptOptions):
        choose_waiting()
    return _COMMANDS[type(options)](options)


def sample(options: SampleOptions) -> int:
    """Collect answers, then keep those that are right."""
    if options.temperature <= 0 and options.k > 1:
        raise CommandError(
            f"--temperature {options.temperature}: {options.k} greedy answers would all be the "
            "same; set it above 0 or --k 1"
        )
    problems = tirgen.problems_of(options.env, options.seed, options.count)
    evaluation = EvalOptions(
        model=options.model,
        server=options.server,
        tokenizer=options.tokenizer,
        env=options.env,
        k=options.k,
        temperature=options.temperature,
        top_p=options.top_p,
        max_tokens=options.max_tokens,
        prompt=options.prompt,
        seed=options.seed,
        device=options.device,
        rows=options.rows,
    )
    answers = options.out.with_suffix(".answers.jsonl")
    measure(evaluation, problems, answers, source_name(options.env.problems))
    found = records.read(answers).trajectories
    print(f"answers     {answers}")
    show = options.env.components.prompt if options.server else None
    return _keep(found, options.out, options.clean, options.per_problem, show)


def accept(options: AcceptOptions) -> int:
    """Keep what is right in files of rollouts."""
    from agents.thor.selection import read_candidates

    found: list[Trajectory] = []
    for file in options.rollouts:
        if not file.is_file():
            found_there = "a folder: name the files in it" if file.is_dir() else "none"
            raise CommandError(f"{file}: expected a file of rollouts, found {found_there}")
        found += [t for group in read_candidates(file) for t in group]
    return _keep(found, options.out, options.clean, options.per_problem)


def _keep(
    found: Sequence[Trajectory],
    out: Path,
    clean: bool,
    per_problem: int,
    show: Callable[[str], str] | None = None,
) -> int:
    """Write the traces, as text where `show` is given, and print what each condition lets through.

    `show` says what the environment shows of a question.
    """
    if per_problem < 1:
        raise CommandError(f"--per-problem: expected at least 1, got {per_problem}")
    test = ran_clean if clean else is_good
    traces = accepted(found, test, per_problem)
    right = [t for t in found if t.scorable and t.correct]
    whole = [t for t in right if is_good(t)]
    stages = [
        ("answers", len(found)),
        ("right", len(right)),
        ("came to their own end", len(whole)),
        *([("with a program, none failed", sum(map(ran_clean, whole)))] if clean else []),
        (f"at most {per_problem} of a problem", len(traces)),
    ]
    print_table(Table("", ("kept", "answers"), tuple((name, str(n)) for name, n in stages)))
    if not traces:
        raise CommandError(
            f"none of {len(found)} answers is worth imitating: take easier problems, more answers "
            "(--k), or a stronger model"
        )
    with replacing(out) as temporary:
        if show:
            kept = chosen(found, test, per_problem)
            write_texts(temporary, [_written(t, show(t.question)) for t in kept])
        else:
            write_traces(temporary, traces)
    print(f"traces      {out}\nnext        torl train --traces {out} --steps 0 --out RUN")
    return 0


def _written(t: Trajectory, shown: str) -> Written:
    return Written(t.question, [(turn.text, turn.observation) for turn in t.turns], shown)


_COMMANDS: Mapping[type, Callable[[Any], int]] = {
    SampleOptions: sample,
    AcceptOptions: accept,
    TIRGenOptions: tirgen.run,
}
