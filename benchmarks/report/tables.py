"""Tables of evaluations: rows of text, as Markdown or for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from benchmarks.heldout.statistics import Estimate
from benchmarks.heldout.summary import Summary


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as GitHub shows it; a bar inside a cell is escaped."""
        lines = [list(self.columns), ["---"] * len(self.columns), *map(list, self.rows)]
        body = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
            for line in lines
        )
        return f"**{self.title}**\n\n{body}\n" if self.title else body + "\n"


NONE_SCORED = "none scored"
"""Why a mean over episodes is missing: all of them were lost to the machine."""


NO_VOTES = "no votes"
"""Why a majority is missing: right answers are no texts, so nobody knows which are the same."""


def percent(estimate: Estimate, missing: str = NONE_SCORED) -> str:
    """A share with its interval, in per cent; where there is none, why not.

    >>> percent(Estimate(0.25, 0.181, 0.337, 30))
    '25.0 [18.1, 33.7]'
    """
    if isnan(estimate.value):
        return missing
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def number(estimate: Estimate) -> str:
    """A mean with its interval, alone where nothing says how far the values vary."""
    if isnan(estimate.value):
        return NONE_SCORED
    digits = 0 if abs(estimate.value) >= 100 else 2
    if isnan(estimate.low):
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def results(evaluations: Mapping[str, Summary]) -> Table:
    """One row an evaluation: the numbers of ToRL's tables and figure 5, 95 % intervals."""
    rows = [
        (
            name,
            summary.header.problems,
            _size(summary),
            percent(summary.accuracy),
            percent(summary.code_ratio),
            percent(summary.pass_ratio, "no call"),
            number(summary.tool_calls),
            number(summary.tokens),
            str(summary.unscorable),
        )
        for name, summary in evaluations.items()
    ]
    columns = (
        "evaluation", "problems", "n x k", "accuracy %", "code ratio %", "pass ratio %",
        "tool calls", "tokens", "lost",
    )  # fmt: skip
    return Table("Held-out results, 95 % intervals", columns, tuple(rows))


def _size(summary: Summary) -> str:
    made = summary.header
    return f"{made.count}{f'/{made.of}' if made.cut else ''} x {made.k}"


def samples(summary: Summary) -> Table:
    """pass@j and maj@j of one evaluation."""
    rows = [
        (str(size), percent(summary.pass_at[size]), percent(summary.majority_at[size], NO_VOTES))
        for size in summary.pass_at
    ]
    return Table("Several answers", ("j", "pass@j %", "maj@j %"), tuple(rows))


def breakdown(title: str, groups: Mapping[str, Estimate]) -> Table:
    """Accuracy of each level or subject."""
    rows = [(name, str(value.count), percent(value)) for name, value in groups.items()]
    return Table(title, (title.split()[-1], "problems", "accuracy %"), tuple(rows))


def details(summary: Summary) -> Sequence[Table]:
    """The tables of one evaluation beyond its row in `results`."""
    found = []
    if summary.header.k > 1:
        found.append(samples(summary))
    if len(summary.by_level) > 1:
        found.append(breakdown("Accuracy by level", summary.by_level))
    if len(summary.by_subject) > 1:
        found.append(breakdown("Accuracy by subject", summary.by_subject))
    return found
