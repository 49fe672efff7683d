"""`torl eval`: held-out accuracy of any model on any problems, with intervals and records."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.core.models import DEFAULT_MODEL
from agents.core.types import Sampling
from benchmarks.heldout import Header, Summary, fingerprint, summary_path
from benchmarks.heldout.evaluate import Collect, evaluate, start
from benchmarks.heldout.records import commit, grader_name, versions
from benchmarks.report.tables import details, results
from torl.console import CommandError, print_table, progress, say
from torl_env.problems import load
from torl_env.problems.types import Problem


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """Evaluate a model; the same command takes an interrupted evaluation up again."""

    model: str = DEFAULT_MODEL
    """Folder of a checkpoint, hub id, or `smollm2` for the embedded default."""
    problems: str = "procedural:easy"
    """A file (.jsonl, .json, .parquet, .csv), a hub set (math500, aime24, ...) or procedural:..."""
    split: str | None = None
    """Split of the source; for procedural problems `heldout`, never the one trained on."""
    count: int | None = None
    """Only the first so many problems."""
    k: int = 1
    """Answers to each problem (avg@k, pass@k, maj@k)."""
    temperature: float | None = None
    """Default: 0 (greedy, as ToRL evaluates) for k = 1, else 0.6 (THOR)."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Of one response, tool output included; ToRL: 3072."""
    tool_budget: int = 1
    """C of ToRL: programs that may run in one response; 0 evaluates without the tool."""
    prompt: str = "chat"
    """`chat` (the tokenizer's template) or `torl` (ToRL's template for base models)."""
    seed: int = 0
    device: str | None = None
    """`cpu`, `cuda`, ...; default: an accelerator where there is one."""
    rows: int = 32
    """Responses generated at once."""
    out: Path | None = None
    """Records (.jsonl); the summary lies beside them. Default: out/eval/MODEL--PROBLEMS.jsonl."""


def main(options: EvalOptions) -> int:
    """Evaluate, print the table and say where the records are.

    Raises:
        CommandError: Options contradict each other.
    """
    problems = _problems(options)
    out = options.out or Path("out/eval") / f"{slug(options.model)}--{slug(options.problems)}.jsonl"
    if out.suffix != ".jsonl":
        raise CommandError(f"--out: expected a file name that ends in .jsonl, got {out}")
    summary = measure(options, problems, out)
    print_table(results({out.stem: summary}))
    for table in details(summary):
        print_table(table)
    if summary.unscorable:
        say(
            f"{summary.unscorable} of {summary.answers} answers were lost to a fault of the "
            f"machine or an undecided grade; they count neither as right nor as wrong"
        )
    print(f"records {out}\nsummary {summary_path(out)}")
    return 0


def slug(name: str) -> str:
    """A name as part of a file name.

    >>> slug("runs/demo/checkpoint-16"), slug("procedural:easy")
    ('runs-demo-checkpoint-16', 'procedural-easy')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "unnamed"


def measure(
    options: EvalOptions,
    problems: Sequence[Problem],
    out: Path,
    collect: Collect | None = None,
) -> Summary:
    """Evaluate on these problems into the records at `out`.

    Args:
        options: What to evaluate and how; `problems`, `split` and `count` are only put on record.
        problems: The problems.
        out: Records; those that are there already are not made again.
        collect: Writes the answers; by default the model that the options name, loaded here.
    """
    sampling = _sampling(options)
    header = _header(options, sampling, problems)
    if collect is None:
        from torl.wiring import make_collector

        collect = make_collector(
            options.model,
            tool_budget=options.tool_budget,
            sampling=sampling,
            prompt=options.prompt,
            seed=options.seed,
            device=options.device,
            rows=options.rows,
        )
    done = len(start(out, header))
    if done:
        say(f"{out} holds {done} answers already; going on from there")
    with progress("evaluating", len(problems) * options.k, done, "answer") as advance:
        return evaluate(collect, problems, header, out, advance)


def _sampling(options: EvalOptions) -> Sampling:
    for name in ("k", "rows"):
        if getattr(options, name) < 1:
            raise CommandError(f"--{name}: expected at least 1, got {getattr(options, name)}")
    if options.tool_budget < 0:
        raise CommandError(f"--tool-budget: expected at least 0, got {options.tool_budget}")
    temperature = options.temperature
    if temperature is None:
        temperature = 0.0 if options.k == 1 else 0.6
    if temperature == 0 and options.k > 1:
        raise CommandError(
            f"--k {options.k} at temperature 0 would write the same answer {options.k} times; "
            f"set --temperature above 0 or --k 1"
        )
    return Sampling(temperature=temperature, top_p=options.top_p, max_tokens=options.max_tokens)


def _problems(options: EvalOptions) -> list[Problem]:
    split = options.split
    if split is None and options.problems.startswith("procedural"):
        split = "heldout"
    source = load(options.problems, split)
    if options.count is None:
        return list(source)
    if not 1 <= options.count <= len(source):
        raise CommandError(
            f"--count: expected 1 to {len(source)} for {options.problems}, got {options.count}"
        )
    return list(source.head(options.count))


def _header(options: EvalOptions, sampling: Sampling, problems: Sequence[Problem]) -> Header:
    return Header(
        model=options.model,
        problems=options.problems,
        fingerprint=fingerprint(problems),
        count=len(problems),
        k=options.k,
        seed=options.seed,
        grader=grader_name(),
        settings={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "tool_budget": options.tool_budget,
            "prompt": options.prompt,
            "rows": options.rows,
        },
        versions=versions(),
        commit=commit(),
    )
