"""The papers' own results, with protocol and source, and averages computed again from them.

They are never put into one table with results of this repository: protocols differ (greedy against
avg@k, rule-based grader against a judge model), and none of these models was run here.
"""

from dataclasses import dataclass
from math import isnan, nan

from benchmarks.report.tables import Table

X = nan


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a paper's table; `nan` where it prints none."""

    model: str
    tool: bool
    scores: tuple[float, ...]
    printed: float = nan
    """The average as printed."""

    @property
    def average(self) -> float:
        """Mean of the scores, `nan` where one is missing."""
        return sum(self.scores) / len(self.scores)

    @property
    def misprinted(self) -> bool:
        """Whether the printed average is not the mean of the printed scores."""
        return abs(self.printed - self.average) > 0.1


@dataclass(frozen=True, slots=True)
class Paper:
    """One table of one paper."""

    title: str
    protocol: str
    source: str
    suites: tuple[str, ...]
    rows: tuple[Row, ...]


TORL = Paper(
    title="ToRL, table 3",
    protocol="greedy, one answer, C = 1, rule-based grader",
    source="arXiv 2503.23383, table 3",
    suites=("AIME24", "AIME25", "MATH500", "Olympiad", "AMC23"),
    rows=(
        Row("Qwen2.5-Math-1.5B-Instruct", False, (10.0, 10.0, 66.0, 31.0, 62.5), 35.9),
        Row("Qwen2.5-Math-1.5B-Instruct-TIR", True, (13.3, 13.3, 73.8, 41.3, 55.0), 41.3),
        Row("ToRL-1.5B", True, (26.7, 26.7, 77.8, 44.0, 67.5), 48.5),
        Row("Qwen2.5-Math-7B-Instruct", False, (10.0, 16.7, 74.8, 32.4, 65.0), 39.8),
        Row("Qwen2.5-Math-7B-Instruct-TIR", True, (26.7, 16.7, 78.8, 45.0, 70.0), 47.4),
        Row("SimpleRL-Zero", False, (33.3, 6.7, 77.2, 37.6, 62.5), 43.5),
        Row("rStar-Math-7B", False, (26.7, X, 78.4, 47.1, 47.5)),
        Row("Eurus-2-7B-PRIME", False, (26.7, 13.3, 79.2, 42.1, 57.4), 43.1),
        Row("ToRL-7B", True, (43.3, 30.0, 82.2, 49.9, 75.0), 62.1),
    ),
)

THOR = Paper(
    title="THOR, table 1",
    protocol="avg@4, T = 0.6, correctness by the judge model Qwen3-32B",
    source="arXiv 2509.13761v3, table 1",
    suites=("MATH500", "AIME24", "AIME25", "AMC23", "Minerva", "Olympiad"),
    rows=(
        Row("Qwen3-1.7B (non-think)", False, (72.0, 15.8, 7.5, 41.9, 39.0, 42.2), 36.4),
        Row("Qwen2.5-Math-1.5B + code", True, (40.0, 7.1, 5.4, 22.7, 15.7, 19.7), 18.4),
        Row("THOR-1.5B", True, (78.2, 36.7, 20.0, 67.5, 38.2, 54.0), 49.1),
        Row("GPT-4o-1120", False, (77.2, 11.1, 7.6, 60.0, 53.4, 43.9), 42.2),
        Row("Eurus-2-PRIME-7B", False, (79.2, 26.7, 13.3, 57.4, 38.6, 42.1), 42.9),
        Row("ToRL-7B", True, (82.2, 40.8, 29.2, 73.8, 53.8, 57.3), 56.2),
        Row("Qwen2.5-Math-7B-Instruct", False, (79.8, 10.8, 11.7, 54.4, 44.8, 43.1), 40.9),
        Row("Qwen2.5-Math-7B", False, (51.5, 8.3, 5.8, 33.1, 26.7, 22.9), 24.7),
        Row("Qwen2.5-Math-7B + code", True, (64.7, 20.6, 13.1, 49.7, 28.1, 37.9), 35.7),
        Row("THOR-7B", True, (87.5, 50.0, 33.3, 81.3, 53.9, 61.1), 61.2),
        Row("R1-Distill-Qwen-1.5B", False, (82.8, 28.9, 23.3, 62.9, 26.5, 43.3), 44.6),
        Row("DeepScaleR-1.5B", False, (87.8, 43.1, 30.0, 73.6, 30.2, 50.0), 52.5),
        Row("Qwen3-1.7B (think)", False, (91.0, 45.0, 31.7, 80.6, 52.7, 65.7), 61.1),
        Row("THOR-Thinking-1.7B", True, (92.8, 60.0, 33.3, 82.5, 54.4, 68.8), 65.3),
        Row("QwQ-32B-Preview", False, (90.6, 50.0, 40.0, 80.0, 39.0, 58.5), 59.7),
        Row("R1-Distill-Qwen-7B", False, (93.5, 55.8, 40.0, 86.8, 57.7, 71.0), 67.5),
        Row("Qwen3-8B", False, (95.5, 64.2, 54.2, 91.2, 64.4, 77.7), 74.5),
        Row("THOR-Thinking-8B", True, (96.8, 77.5, 62.5, 96.8, 65.6, 79.7), 79.8),
    ),
)

AUTHORS_AVG32 = Paper(
    title="ToRL, the authors' avg@32",
    protocol="avg@32, T = 0.6, top_p = 1",
    source="github.com/GAIR-NLP/ToRL, issue 16",
    suites=("AIME24", "AIME25"),
    rows=(
        Row("ToRL-1.5B", True, (27.91, 20.62)),
        Row("ToRL-7B", True, (40.2, 27.91)),
    ),
)

PAPERS = (TORL, AUTHORS_AVG32, THOR)


def published() -> tuple[Table, ...]:
    """One table a paper; a printed average that its own row contradicts is marked."""
    return tuple(_table(paper) for paper in PAPERS)


def _table(paper: Paper) -> Table:
    rows = tuple(
        (
            row.model,
            "yes" if row.tool else "no",
            *(_number(score) for score in row.scores),
            _number(row.average),
            _number(row.printed) + (" (not the mean)" if row.misprinted else ""),
        )
        for row in paper.rows
    )
    columns = ("model", "tool", *paper.suites, "average", "as printed")
    title = f"{paper.title}: {paper.protocol} ({paper.source}). Published, not run here."
    return Table(title, columns, rows)


def _number(score: float) -> str:
    return "-" if isnan(score) else f"{score:.1f}"
