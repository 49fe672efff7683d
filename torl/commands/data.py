"""`torl data`: what problems there are, what is in a source, what is wrong with it, a clean set."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.core.rollout.prompts import TEXT_SYSTEM, TOOL_SYSTEM, TORL_TEMPLATE
from agents.core.run.storage import dump_line, replacing, write_json
from benchmarks.heldout.contamination import LEAKS, Contamination, Overlap, contamination
from benchmarks.report.tables import Table
from torl import data_card, training_set
from torl.console import CommandError, print_table, say
from torl.training_set import (
    BENCHMARKS,
    RECIPES,
    Recipe,
    absent_suites,
    open_suites,
    read_problems,
)
from torl_env.adapters import nemo_gym, skyrl, verl
from torl_env.adapters.rows import write_rows
from torl_env.problems import Listed, Problem, load
from torl_env.problems.curation import FaultyProblem, counts, faults
from torl_env.problems.hub_table import HUB
from torl_env.problems.limr import THRESHOLD
from torl_env.problems.procedural import FAMILIES, Group
from torl_env.problems.reasoning_gym import FAMILIES as REASONING_GYM


@dataclass(frozen=True, slots=True)
class ListOptions:
    """List every source that has a name: groups and families, hub sets, reasoning-gym."""

    match: str = ""
    """Only names that hold this text."""


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """Print problems of a source."""

    source: Annotated[str, tyro.conf.Positional]
    """A name of `torl data list`, hub:org/name, or a file."""
    split: str | None = None
    """Split of the source."""
    count: int = 5
    """How many problems."""
    shuffle: int | None = None
    """Seed of a random order; default: the first ones."""
    id: str | None = None
    """Show the problem of this id instead."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Report repeated and unverifiable problems, and overlap with the held-out suites.

    Ends with code 1 when there is anything that `torl data build` would leave out.
    """

    source: Annotated[str, tyro.conf.Positional]
    """A name of `torl data list`, hub:org/name, or a file."""
    split: str | None = None
    """Split of the source."""
    limit: int = 50_000
    """Read at most this many problems."""
    suites: tuple[str, ...] = BENCHMARKS
    """Held-out suites: names, or files of problems."""
    data: Path | None = None
    """Folder with copies of the suites as NAME.jsonl; default: $TORL_DATA, else the hub."""
    examples: int = 3
    """How many examples of each one are shown."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Write a training set: verifiable, without repetitions, without held-out problems, by LIMR.

    The stages of ToRL's data, as far as they are public. The same input gives the same file, byte
    for byte. A card beside it, OUT.card.md and OUT.card.json, counts what each filter left out of
    each source, and has licences and the overlap with the held-out suites.
    """

    source: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of `torl data list`, hub:org/name, files; or recipe:torl, the sources of ToRL."""
    out: Path
    """The JSONL file to write."""
    split: str | None = None
    """Split of the source."""
    limit: int = 1_000_000
    """Read at most this many problems of each source."""
    suites: tuple[str, ...] = BENCHMARKS
    """Held-out suites to keep apart from: names, or files of problems."""
    data: Path | None = None
    """Folder with copies of the suites as NAME.jsonl; default: $TORL_DATA, else the hub."""
    decontaminate: bool = True
    """Remove copies of held-out problems; every suite must be at hand."""
    solve_rates: Path | None = None
    """Solve-rate log of a training run; with it LIMR selects."""
    threshold: float = THRESHOLD
    """Lowest LIMR score that is kept."""
    published: str | None = None
    """A published training set; the card counts how many of its questions are in this one."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Write problems as the data set of another training stack (docs/stacks.md)."""

    source: Annotated[str, tyro.conf.Positional]
    """A name of `torl data list`, hub:org/name, or a file."""
    out: Path
    """The .parquet or .jsonl file to write."""
    to: Literal["verl", "skyrl", "nemo_gym"] = "verl"
    """The stack."""
    split: str | None = None
    """Split of the source."""
    limit: int = 1_000_000
    """Write at most this many problems."""
    prompt: Literal["chat", "chat-text", "torl"] = "chat"
    """As in `torl train`; `torl` is a text for base models, which takes `template: plain`."""


DataOptions = (
    Annotated[ListOptions, tyro.conf.subcommand("list", prefix_name=False)]
    | Annotated[ShowOptions, tyro.conf.subcommand("show", prefix_name=False)]
    | Annotated[CheckOptions, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[BuildOptions, tyro.conf.subcommand("build", prefix_name=False)]
    | Annotated[ExportOptions, tyro.conf.subcommand("export", prefix_name=False)]
)


def main(
    options: ListOptions | ShowOptions | CheckOptions | BuildOptions | ExportOptions,
) -> int:
    """Run one of the five commands.

    Raises:
        ProblemError: The source or a suite cannot be opened.
        CommandError: Options that do not fit, or nothing is left to write.
    """
    return _COMMANDS[type(options)](options)


def list_sources(options: ListOptions) -> int:
    """Print every named source."""
    print_table(sources(options.match))
    return 0


def sources(match: str = "") -> Table:
    """Every named source with its size, licence and contents."""
    rows = []
    for group in Group:
        members = [family for family in FAMILIES.values() if family.group is group]
        rows.append((f"procedural:{group}", f"{len(members)} families", "", _about(group)))
        rows += [(f"procedural:{f.name}", f.subject, "", f.summary) for f in members]
    for item in HUB.values():
        size = str(item.rows) if item.rows else "?"
        place = f"{item.path} {item.config or ''}".strip()
        rows.append((item.name, f"{item.role}, {size}", item.licence, f"{place}, {item.split}"))
    rows += [
        (f"reasoning_gym:{name}", "optional package", "Apache-2.0", "") for name in REASONING_GYM
    ]
    kept = tuple(row for row in rows if match.lower() in " ".join(row).lower())
    return Table("", ("name", "kind, problems", "licence", "contents"), kept)


def _about(group: Group) -> str:
    return {
        Group.EASY: "one short program each; the default of training",
        Group.CONTEST: "five levels from by hand to an idea plus a program",
        Group.TRANSFER: "families that are never trained on",
    }[group]


def show(options: ShowOptions) -> int:
    """Print some problems."""
    source = load(options.source, options.split)
    if options.id is not None:
        chosen: Sequence[Problem] = [source.find(options.id)]
    else:
        if options.count < 1:
            raise CommandError(f"--count: expected 1 or more, got {options.count}")
        ordered = source if options.shuffle is None else source.shuffle(options.shuffle)
        chosen = list(ordered.head(options.count))
    print(f"{source.name}: {len(source)} problems")
    for problem in chosen:
        marks = ", ".join(
            f"{name} {value}"
            for name, value in (
                ("split", problem.split),
                ("level", problem.level),
                ("subject", problem.subject),
            )
            if value
        )
        print(f"\n[{problem.id}] {marks}\n{problem.question}\n=> {problem.answer}")
    return 0


def check(options: CheckOptions) -> int:
    """Print what is wrong with a source."""
    problems, skipped = read_problems(options.source, options.split, options.limit)
    suites, absent = open_suites(options.suites, options.data)
    faulty = faults(problems)
    overlap = contamination(problems, suites)
    print(f"{options.source}: {len(problems)} problems read")
    for message in skipped[: options.examples]:
        print(f"  no problem: {message}")
    print_table(_fault_table(faulty, len(skipped), options.examples))
    print_table(_overlap_table(overlap))
    for hit in [h for h in overlap.hits if h.overlap in LEAKS][: options.examples]:
        print(f"  {hit.overlap}: {hit.train_id} is {hit.heldout_id} of {hit.suite}")
    if absent:
        say(f"not compared with {absent_suites(absent)}")
    return int(bool(overlap.train_ids() or skipped or faulty))


def build(options: BuildOptions) -> int:
    """Write a training set, and its card beside it."""
    if options.out.suffix != ".jsonl":
        raise CommandError(f"--out: expected a path that ends in .jsonl, got {options.out}")
    if not options.source:
        raise CommandError("expected a source: torl data build SOURCE... --out FILE.jsonl")
    if any(Path(source).resolve() == options.out.resolve() for source in options.source):
        raise CommandError(f"--out: {options.out} is a source, which a build leaves as it is")
    recipe = _recipe(options.source)
    found = training_set.pool(
        recipe.sources if recipe else options.source, options.split, options.limit
    )
    training_set.verify(found)
    if options.decontaminate:
        suites, absent = open_suites(options.suites, options.data)
        if absent:
            raise CommandError(
                f"expected all held-out suites, but there is no {absent_suites(absent)} Or build "
                f"with --no-decontaminate"
            )
        training_set.decontaminate(found, suites)
    if options.solve_rates is not None:
        training_set.select(found, options.solve_rates, options.threshold)
    if not found.kept:
        reasons = {one.reason: one.total for one in found.filters if one.total}
        raise CommandError(f"nothing is left of {', '.join(options.source)}: {reasons}")
    published = None
    if options.published:
        # Rows of it that are no problems are no questions to look for.
        listed, _ = read_problems(options.published, None, options.limit)
        published = training_set.coverage(Listed(options.published, listed), found)
    with replacing(options.out) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(dump_line(asdict(problem)) for problem in found.kept)
    made = data_card.card(
        options.out,
        hashlib.sha256(options.out.read_bytes()).hexdigest(),
        found,
        version("torl-gym"),
        published=published,
        recipe=recipe,
        selected=options.solve_rates is not None,
        made_from=data_card.stored(options.source[0]) if len(options.source) == 1 else None,
    )
    write_json(data_card.beside(options.out, "json"), made.json())
    page = data_card.beside(options.out, "md")
    page.write_text(made.markdown(), encoding="utf-8")
    for table in made.tables():
        print_table(table)
    print(f"{made.problems} problems in {options.out}, their card in {page}")
    return 0


def _recipe(sources: tuple[str, ...]) -> Recipe | None:
    named = [name for name in sources if name.startswith("recipe:")]
    if not named:
        return None
    if len(sources) > 1 or named[0] not in RECIPES:
        raise CommandError(
            f"expected one of {', '.join(RECIPES)} alone, or sources, got {' '.join(sources)}"
        )
    return RECIPES[named[0]]


def export(options: ExportOptions) -> int:
    """Write the data set of another stack."""
    if options.out.suffix not in (".parquet", ".jsonl"):
        raise CommandError(f"--out: expected .parquet or .jsonl, got {options.out}")
    problems: Iterable[Problem]
    problems, skipped = read_problems(options.source, options.split, options.limit)
    system = {"chat": TOOL_SYSTEM, "chat-text": TEXT_SYSTEM, "torl": ""}[options.prompt]
    if options.prompt == "torl":
        problems = [
            replace(one, question=TORL_TEMPLATE.replace("{question}", one.question))
            for one in problems
        ]
    rows = {"verl": verl.rows, "skyrl": skyrl.rows, "nemo_gym": nemo_gym.rows}[options.to]
    written = write_rows(rows(problems, system), options.out)
    print(f"{written} problems in {options.out}, {len(skipped)} rows were no problems")
    return 0


def _fault_table(faulty: Sequence[FaultyProblem], skipped: int, examples: int) -> Table:
    rows = [("no question or answer", str(skipped), "")] if skipped else []
    for fault, number in counts(faulty).items():
        members = [one for one in faulty if one.fault is fault][:examples]
        shown = "; ".join(f"{m.problem.id} {m.detail}".strip() for m in members)
        rows.append((fault.value, str(number), shown))
    return Table("", ("fault", "problems", "examples"), tuple(rows) or (("none", "0", ""),))


def _overlap_table(overlap: Contamination) -> Table:
    rows = tuple(
        (
            suite,
            str(size),
            str(overlap.leaked(suite, Overlap.EXACT)),
            str(overlap.leaked(suite)),
            str(overlap.leaked(suite, *Overlap)),
        )
        for suite, size in overlap.suites.items()
    )
    return Table(
        "", ("held-out suite", "problems", "exact", "half of 13-grams", "any 13-gram"), rows
    )


_COMMANDS: Mapping[type, Callable[[Any], int]] = {
    ListOptions: list_sources,
    ShowOptions: show,
    CheckOptions: check,
    BuildOptions: build,
    ExportOptions: export,
}
