"""The card of a training set: what it is made of, what was left out, what it has in common."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.heldout.contamination import Overlap
from benchmarks.report.tables import Table
from torl.training_set import Coverage, Origin, Recipe, TrainingSet
from torl_env.problems import Problem


@dataclass(frozen=True, slots=True)
class Compared:
    """How much of one held-out suite was in the problems before copies were left out."""

    suite: str
    problems: int
    exact: int
    near: int
    """Exact copies and those that share half of their 13-grams."""
    some: int
    """Any 13-gram that is no common phrase: what stays in is of this kind."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is stored beside a training set, as Markdown and as JSON."""

    file: str
    sha256: str
    problems: int
    version: str
    """Of torl-gym."""
    sources: tuple[Origin, ...]
    filters: tuple[Mapping[str, Any], ...]
    """Each a reason and how many problems it left out, by source."""
    kept: Mapping[str, int]
    """By source."""
    levels: Mapping[str, int]
    suites: tuple[Compared, ...] | None
    """`None`: built without a comparison."""
    published: Coverage | None
    paper: Mapping[str, Any] | None
    """Beside the numbers of the paper whose recipe it is."""
    made_from: Mapping[str, Any] | None
    """The card of the file that was the source, where there is one."""

    def json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return asdict(self)

    def tables(self) -> Iterator[Table]:
        """What a person reads."""
        names = [origin.name for origin in self.sources]
        yield Table(
            "Sources",
            ("source", "where", "licence", "rows as published", "rows read"),
            tuple(
                (o.name, o.place, o.licence, _number(o.published), _number(o.rows))
                for o in self.sources
            ),
        )
        left = {name: origin.rows for name, origin in zip(names, self.sources, strict=True)}
        rows = [("rows read", *map(_number, left.values()), _number(sum(left.values())))]
        for one in self.filters:
            numbers = [one["left_out"][name] for name in names]
            if any(numbers):
                rows.append((f"- {one['reason']}", *map(_number, numbers), _number(sum(numbers))))
        kept = [self.kept.get(name, 0) for name in names]
        rows.append(("kept", *map(_number, kept), _number(self.problems)))
        yield Table("Filters, in their order", ("", *names, "all"), tuple(rows))
        if self.suites is not None:
            yield Table(
                "Held-out problems met before copies were left out",
                ("suite", "problems", "exact", "half of 13-grams", "any 13-gram"),
                tuple(
                    (s.suite, *map(_number, (s.problems, s.exact, s.near, s.some)))
                    for s in self.suites
                ),
            )
        if self.published is not None:
            yield _published(self.published)
        if self.paper is not None:
            yield Table(
                "Beside ToRL (arXiv 2503.23383, section 3.1)",
                ("", "paper", "here"),
                tuple(
                    (stage, _number(paper), _number(here, "not chosen: no solve-rate log"))
                    for stage, (paper, here) in self.paper.items()
                ),
            )

    def markdown(self) -> str:
        """The card as a page."""
        lines = [
            f"# {self.file}",
            "",
            f"{self.problems:,} problems, written by `torl data build` of torl-gym {self.version}. "
            f"SHA-256 of the file: `{self.sha256}`.",
            "",
            *(table.markdown() for table in self.tables()),
        ]
        if self.suites is None:
            lines += ["**Not compared with held-out suites** (`--no-decontaminate`).", ""]
        if self.paper is not None:
            lines += [_NOT_PUBLIC, ""]
        if self.made_from is not None:
            before = self.made_from["file"]
            lines += [f"Its source `{before}` has a card of its own, which the JSON holds.", ""]
        lines += [
            "Each line of the file is a JSON object with the fields "
            f"{', '.join(f'`{field.name}`' for field in fields(Problem))}. A licence is of the set "
            "as its publisher states it; problems of competitions belong to their organisers.",
            "",
        ]
        return "\n".join(lines)


_NOT_PUBLIC = """**What of the paper's counts cannot be made again**

- The paper names its sources, and neither their editions nor what it took of NuminaMath, which has
  ten times as many rows.
- Its rules for proofs and for answers that cannot be verified are not published; those here are in
  `torl_env/problems/curation.py`.
- It describes no comparison with held-out problems; here copies are left out.
- LIMR's choice needs the solve rates of an RL run over all problems, which are not published. A run
  of yours writes them: `torl data build FILE --solve-rates RUN/solve-rates.jsonl` chooses by them.
- The 28,740 themselves are public: `torl data build torl` takes them as they are, and
  `--published torl` counts how many of them are here."""


def card(
    out: Path,
    digest: str,
    found: TrainingSet,
    version: str,
    *,
    published: Coverage | None = None,
    recipe: Recipe | None = None,
    selected: bool = False,
    made_from: Mapping[str, Any] | None = None,
) -> Card:
    """The card of what a build wrote."""
    paper = None
    if recipe is not None:
        chosen = len(found.kept) if selected else None
        paper = {
            "verifiable": (recipe.verifiable, found.verifiable()),
            "chosen by LIMR": (recipe.selected, chosen),
        }
    overlap = found.overlap
    suites = None
    if overlap is not None:
        suites = tuple(
            Compared(
                name,
                size,
                overlap.leaked(name, Overlap.EXACT),
                overlap.leaked(name),
                overlap.leaked(name, *Overlap),
            )
            for name, size in overlap.suites.items()
        )
    return Card(
        file=out.name,
        sha256=digest,
        problems=len(found.kept),
        version=version,
        sources=found.origins,
        filters=tuple({"reason": f.reason, "left_out": f.left_out} for f in found.filters),
        kept=Counter(found.origin(problem) for problem in found.kept),
        levels=dict(sorted(Counter(p.level for p in found.kept if p.level).items())),
        suites=suites,
        published=published,
        paper=paper,
        made_from=made_from,
    )


def beside(file: Path, ending: str) -> Path:
    """Where the card of a file of problems is: `clean.card.json`, `clean.card.md`."""
    return file.with_suffix(f".card.{ending}")


def stored(name: str) -> dict[str, Any] | None:
    """The card of a source that is a file, where it has one."""
    file = beside(Path(name).expanduser(), "json")
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _published(found: Coverage) -> Table:
    rows = [
        ("in this set", found.shared),
        *((f"left out here: {reason}", number) for reason, number in found.left_out.items()),
        ("in none of the sources", found.absent),
    ]
    return Table(
        f"Questions of the published set {found.name} ({found.questions:,})",
        ("", "questions"),
        tuple((name, _number(number)) for name, number in rows),
    )


def _number(number: int | None, otherwise: str = "not stated") -> str:
    return otherwise if number is None else f"{number:,}"
