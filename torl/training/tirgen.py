"""`torl traces tirgen`: a policy reasons, a refiner writes code, filters keep what is worth it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.models.loading import DEFAULT_MODEL
from agents.core.run.storage import drop_torn_line, dump_line, read_lines, replacing, write_json
from agents.core.types import Sampling
from agents.sft import Written, write_texts
from agents.thor.filters import (
    REAL,
    STAGES,
    Filter,
    Yield,
    all_real,
    at_most,
    decontaminated,
    sift,
    unsolved_by_text,
)
from agents.thor.tirgen import Reason, Sample, TIRGen, Write, generate_together
from benchmarks.heldout import records
from benchmarks.heldout.contamination import contamination
from benchmarks.report.tables import Table
from torl.console import CommandError, print_table, progress, say
from torl.environment import environment, stored
from torl.training.datasets import generated, source_name
from torl.training.options import default_env
from torl.training_set import BENCHMARKS, open_suites
from torl_env import EnvConfig
from torl_env.problem_sampling import open_problems
from torl_env.problems import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import open_sandbox

if TYPE_CHECKING:
    from agents.core.rollout.prompts import Prompt


def _default_env() -> EnvConfig:
    return environment(default_env(), tool_budget=4)


@dataclass(frozen=True, slots=True)
class TIRGenOptions:
    """TIRGen (THOR, section 2.2): reasoning by one policy, code by another, real executions.

    Every step of the generator goes to the refiner, which sees that fragment alone and puts a
    program in place of its computation; the program runs and the generator goes on behind its
    output. All samples are kept beside the traces (OUT.samples.jsonl); the same command takes an
    interrupted run up again. Imitate the traces with

        torl train --traces OUT --steps 0
    """

    out: Path
    """The traces (.jsonl): questions and steps, with the outputs of the programs."""
    model: str = DEFAULT_MODEL
    """The generator: folder, hub id, or `smollm2`."""
    refiner: str = ""
    """The refiner: likewise, or the name that --refiner-url knows it by; empty: the generator."""
    refiner_url: str = ""
    """URL of an OpenAI-compatible server that refines, up to and with /v1."""
    env: EnvConfig = field(default_factory=_default_env)
    """The environment. Each of its options may be written short: --problems (a source of
    `torl data list` or a file; its training split), --tool-budget (programs that may run in one
    answer), ..."""
    count: int = 32
    """Problems, the first ones of the source in a random order."""
    tries: int = 1
    """Samples of each problem (THOR: 8)."""
    fragments: int = 12
    """Steps of the generator in one answer."""
    step_tokens: int = 128
    """L_step: most tokens of a step; it ends earlier at an empty line (THOR: 512, long: 4096)."""
    refined_tokens: int = 256
    """Most tokens of what the refiner writes."""
    temperature: float = 0.6
    """Of both (THOR: 0.6)."""
    top_p: float = 1.0
    prompt: str = "chat-text"
    """Prompt style of the generator: chat-text, chat, or torl (base models)."""
    solved: tuple[Path, ...] = ()
    """Records of `torl eval --tool-budget 0` on these problems: those of which every answer was
    right are left out, since text alone solves them."""
    suites: tuple[str, ...] = ()
    """Held-out suites (names, or files of problems) whose questions are left out."""
    data: Path | None = None
    """Folder with copies of the suites as NAME.jsonl; default: $TORL_DATA, else the hub."""
    per_problem: int = 1
    """At most so many traces of a problem (THOR: 1)."""
    seed: int = 0
    device: str | None = None
    """`cpu`, `cuda`, ...; default: an accelerator where there is one."""
    rows: int = 16
    """Samples written at once."""


def run(options: TIRGenOptions) -> int:
    """Generate what is missing, filter everything, write the traces and the yields.

    Raises:
        CommandError: Options that do not fit, or no sample passes.
    """
    _check(options)
    problems = problems_of(options.env, options.seed, options.count)
    stages = _stages(options, problems)
    samples = _samples(options, problems)
    kept, yields = sift(samples, stages)
    write_json(_beside(options.out, "yields.json"), _report(yields, samples))
    print_table(_table(yields))
    if not kept:
        raise CommandError(
            f"none of {len(samples)} samples passes all filters: see the table, and "
            f"{_beside(options.out, 'samples.jsonl')} for what was written; a stronger --model or "
            "--refiner, or more --tries, give more"
        )
    with replacing(options.out) as temporary:
        write_texts(temporary, map(_written, kept))
    print(
        f"traces      {options.out}\nsamples     {_beside(options.out, 'samples.jsonl')}\n"
        f"next        torl train --traces {options.out} --steps 0 --out RUN"
    )
    return 0


def _written(s: Sample) -> Written:
    steps = [(step.text, step.observation) for step in s.steps]
    return Written(s.problem.question, steps, s.shown)


def check_out(out: Path) -> None:
    """Refuse a name that is no file of JSON lines."""
    if out.suffix != ".jsonl":
        raise CommandError(f"--out: expected a file name that ends in .jsonl, got {out}")


def problems_of(env: EnvConfig, seed: int, count: int) -> list[Problem]:
    """The problems to answer: the first ones of the source in a random order.

    Raises:
        CommandError: They are held-out ones.
    """
    name, split = source_name(env.problems), env.split
    if name in BENCHMARKS or split == "heldout" or _is_held_out(env):
        raise CommandError(
            f"--problems {name}{f' --split {split}' if split else ''} is what models are evaluated "
            "on: traces of it would be training on it. Take another source (`torl data list`)"
        )
    return list(open_problems(env.problems, split).shuffle(seed).head(count))


def _is_held_out(env: EnvConfig) -> bool:
    """Whether the source has no other side, as `procedural:transfer`."""
    source = open_problems(env.problems, env.split)
    return generated(source) and source[0].split == "heldout"


def _check(options: TIRGenOptions) -> None:
    for name in ("count", "tries", "step_tokens", "refined_tokens", "per_problem", "rows"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise CommandError(f"--{flag}: expected at least 1, got {getattr(options, name)}")
    if options.refiner_url and not options.refiner:
        raise CommandError("--refiner-url needs --refiner, the name the server knows its model by")
    if options.tries > 1 and options.temperature == 0:
        raise CommandError(
            f"--tries {options.tries} at temperature 0 would write the same sample again: set "
            "--temperature above 0 or --tries 1"
        )


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}.{ending}")


def _stages(options: TIRGenOptions, problems: Sequence[Problem]) -> list[tuple[str, Filter]]:
    """The filters, those that know something from outside included."""
    named = dict(STAGES) | {REAL: all_real(options.env.components.parser)}
    stages = list(named.items())
    balance = stages.pop()
    if options.solved:
        stages.append(("not solved by text", unsolved_by_text(_solved(options.solved))))
    if options.suites:
        suites, absent = open_suites(options.suites, options.data)
        if absent:
            name, why = next(iter(absent.items()))
            raise CommandError(f"--suites: {name} cannot be opened: {why}")
        leaks = contamination(problems, suites).train_ids()
        questions = {p.question for p in problems if p.id in leaks}
        stages.append(("not held out", decontaminated(questions.__contains__)))
    limit = options.per_problem
    return [*stages, (f"at most {limit} of a problem", at_most(limit)), balance]


def _solved(files: Sequence[Path]) -> set[str]:
    """Problems of which every answer was right."""
    solved: dict[str, bool] = {}
    for file in files:
        for t in records.read(file).trajectories:
            solved[t.problem_id] = solved.get(t.problem_id, True) and t.correct
    return {name for name, right in solved.items() if right}


def _samples(options: TIRGenOptions, problems: Sequence[Problem]) -> list[Sample]:
    """All samples: those on file, and what is missing."""
    file = _beside(options.out, "samples.jsonl")
    asked = [problem for problem in problems for _ in range(options.tries)]
    done = _opened(file, _settings(options), len(asked), options.rows)
    if done:
        say(f"{file} holds {len(done)} of {len(asked)} samples already; going on from there")
    if len(done) == len(asked):
        return done
    with (
        ExitStack() as stack,
        progress("TIRGen", len(asked), len(done), "sample") as advance,
        file.open("a", encoding="utf-8") as lines,
    ):
        write = _Writers(options, stack)
        # Whole batches only, so that an interrupted run ends with the same samples.
        for start in range(len(done), len(asked), options.rows):
            batch = asked[start : start + options.rows]
            made = write.batch(batch, start)
            lines.writelines(dump_line(sample.to_json()) for sample in made)
            lines.flush()
            done += made
            advance(len(made))
    return done


def _settings(options: TIRGenOptions) -> dict[str, Any]:
    """What changes a sample, as it stands in the header of their file."""
    after = ("out", "solved", "suites", "data", "per_problem", "device")
    kept = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in after}
    kept["env"] = stored(options.env)
    return json.loads(json.dumps(kept, default=str))  # type: ignore[no-any-return]


def _opened(file: Path, settings: Mapping[str, Any], total: int, rows: int) -> list[Sample]:
    """Samples on file; half a batch at its end, left by a kill, is dropped."""
    drop_torn_line(file)
    if not file.exists() or not file.stat().st_size:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dump_line({"header": settings}))
        return []
    lines = list(read_lines(file))
    header = lines[0].get("header", {})
    other = [name for name in settings if header.get(name) != settings[name]]
    if other:
        differences = ", ".join(f"{n} {header.get(n)!r} there, {settings[n]!r} now" for n in other)
        raise CommandError(f"{file} holds other samples ({differences}): choose another --out")
    samples = [Sample.from_json(line) for line in lines[1:]]
    whole = len(samples) if len(samples) >= total else len(samples) // rows * rows
    if whole < len(samples):
        with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as kept:
            kept.writelines(map(dump_line, lines[: 1 + whole]))
    return samples[:whole]


class _Writers:
    """Generator, refiner and environments of one run."""

    def __init__(self, options: TIRGenOptions, stack: ExitStack) -> None:
        from agents.core.models import loading
        from agents.core.policies.transformers import TransformersPolicy
        from agents.core.rollout.prompts import make_prompt

        self._options = options
        self._how = TIRGen(fragments=options.fragments)
        self._sandbox = stack.enter_context(open_sandbox(options.env.sandbox))
        model, tokenizer = loading.load(options.model, dtype="auto", device=options.device)
        self._prompt: Prompt = make_prompt(options.prompt, tokenizer, options.env)
        self._steps = TransformersPolicy(model, tokenizer, _ends_step, marker="\n")
        self._round = 0
        self._name = ""
        self._refiner: Write = self._served() if options.refiner_url else self._local(tokenizer)

    def batch(self, problems: Sequence[Problem], start: int) -> list[Sample]:
        """Samples of these problems; `start` seeds them."""
        from torl_env import ToRLMathEnv

        self._name, self._round = str(start), 0
        options = self._options
        envs = [
            ToRLMathEnv(
                config=EnvConfig.of(
                    options.env,
                    problems=Listed("one", [problem]),
                    split=None,
                    sandbox=self._sandbox,
                )
            )
            for problem in problems
        ]
        return generate_together(problems, envs, self._reason(), self._refiner, self._how)

    def _seed(self) -> int:
        from agents.core.rollout.episode import row_seed

        self._round += 1
        return row_seed(self._options.seed, self._name, self._round)

    def _reason(self) -> Reason:
        from agents.core.policies.writing import write

        options, tokenizer = self._options, self._steps.tokenizer
        how = Sampling(options.temperature, options.top_p, options.step_tokens)

        show = options.env.components.prompt
        window = getattr(self._steps.model.config, "max_position_embeddings", None) or 10**9

        def reason(asked: Sequence[tuple[Problem, str]]) -> list[str]:
            prompts = [
                [*self._prompt.question_ids(show(p.question)), *_encode(tokenizer, so_far)]
                for p, so_far in asked
            ]
            fits = [i for i, ids in enumerate(prompts) if len(ids) + how.max_tokens <= window]
            wanted = [prompts[i] for i in fits]
            written = (
                write(self._steps, wanted, how, self._seed(), cut_off=whole_lines) if wanted else []
            )
            said = dict(zip(fits, written, strict=True))
            # An answer that outgrows the window is never finished, which the filters count.
            return [said.get(i, "") for i in range(len(asked))]

        return reason

    def _local(self, tokenizer: Any) -> Write:
        """A refiner that is loaded here; by default the generator's own weights."""
        from agents.core.models import loading
        from agents.core.policies.transformers import TransformersPolicy
        from agents.core.policies.writing import write
        from agents.core.rollout.prompts import ChatPrompt

        options, model = self._options, self._steps.model
        if options.refiner:
            model, tokenizer = loading.load(options.refiner, dtype="auto", device=options.device)
        policy = TransformersPolicy(model, tokenizer)
        prompt = ChatPrompt(tokenizer, system="")
        how = Sampling(options.temperature, options.top_p, options.refined_tokens)

        def refine(texts: Sequence[str]) -> list[str]:
            return write(policy, [prompt.question_ids(t) for t in texts], how, self._seed())

        return refine

    def _served(self) -> Write:
        from agents.core.policies.openai_client import Server
        from agents.core.policies.server import chat_writer

        options = self._options
        how = Sampling(options.temperature, options.top_p, options.refined_tokens)
        return chat_writer(Server(options.refiner, options.refiner_url), how, rows=options.rows)


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False) if text else []
    return ids


def _ends_step(text: str) -> bool:
    """A step ends at an empty line."""
    return text.endswith("\n\n") and bool(text.strip())


def whole_lines(text: str) -> str:
    r"""A step that was cut off, without its unfinished line, unless that is all there is.

    The refiner would take half a line for a computation. THOR's release cuts at a newline too.

    Example:
        >>> whole_lines("2 + 2 = 4.\nThen 4 *"), whole_lines("Then 4 *")
        ('2 + 2 = 4.\n', 'Then 4 *')
    """
    kept = text[: text.rfind("\n") + 1]
    return kept if kept.strip() else text


def _report(yields: Sequence[Yield], samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "samples": len(samples),
        "calls": sum(sample.calls for sample in samples),
        "stages": [asdict(stage) for stage in yields],
    }


def _table(yields: Sequence[Yield]) -> Table:
    def rows() -> Iterator[tuple[str, str, str, str]]:
        for stage in yields:
            share = f"{stage.after / stage.before:.0%}" if stage.before else "-"
            yield stage.name, str(stage.before), str(stage.after), share

    return Table("", ("filter", "samples", "pass", "yield"), tuple(rows()))
