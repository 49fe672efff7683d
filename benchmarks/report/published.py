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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Printed:
    title: str
    protocol: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper(_Printed):
    """One table of one paper."""

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
        Row("rStar-Math-7B", False, (78.4, 26.7, X, 47.5, X, 47.1)),
        Row("Eurus-2-PRIME-7B", False, (79.2, 26.7, 13.3, 57.4, 38.6, 42.1), 42.9),
        Row("ARTIST-7B", True, (67.6, 15.6, X, 47.0, X, 37.9)),
        Row("TATA-7B", True, (73.0, X, X, X, X, 35.9)),
        Row("ToRL-7B", True, (82.2, 40.8, 29.2, 73.8, 53.8, 57.3), 56.2),
        Row("AutoTIR-7B", True, (62.6, 33.3, 16.7, X, X, X)),
        Row("ZTRL-7B", True, (80.2, 50.0, 26.7, X, X, X)),
        Row("Qwen2.5-Math-7B-Instruct", False, (79.8, 10.8, 11.7, 54.4, 44.8, 43.1), 40.9),
        Row("Qwen2.5-Math-7B", False, (51.5, 8.3, 5.8, 33.1, 26.7, 22.9), 24.7),
        Row("Qwen2.5-Math-7B + code", True, (64.7, 20.6, 13.1, 49.7, 28.1, 37.9), 35.7),
        Row("THOR-7B", True, (87.5, 50.0, 33.3, 81.3, 53.9, 61.1), 61.2),
        Row("R1-Distill-Qwen-1.5B", False, (82.8, 28.9, 23.3, 62.9, 26.5, 43.3), 44.6),
        Row("DeepScaleR-1.5B", False, (87.8, 43.1, 30.0, 73.6, 30.2, 50.0), 52.5),
        Row("Qwen3-1.7B (think)", False, (91.0, 45.0, 31.7, 80.6, 52.7, 65.7), 61.1),
        Row("THOR-Thinking-1.7B", True, (92.8, 60.0, 33.3, 82.5, 54.4, 68.8), 65.3),
        Row("QwQ-32B-Preview", False, (90.6, 50.0, 40.0, 80.0, 39.0, 58.5), 59.7),
        Row("START-32B", True, (94.4, 66.7, 47.1, 95.0, X, X)),
        Row("OpenMath-Nemotron-7B", True, (X, 72.9, 57.5, X, X, X)),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt(_Printed):
    """Some numbers of one table or figure, as printed."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _excerpt(title: str, protocol: str, source: str, text: str) -> Excerpt:
    """From a line of columns and lines of rows, with bars between the cells."""
    lines = text.strip("\n").splitlines()
    columns, *rows = (tuple(cell.strip() for cell in line.split("|")) for line in lines)
    return Excerpt(title=title, protocol=protocol, source=source, columns=columns, rows=tuple(rows))


_SIX = "avg@4 over six benchmarks, T = 0.6, judge model"
EXCERPTS = (
    _excerpt(
        "ToRL, figure 4",
        "Qwen2.5-Math-7B, mean of five benchmarks, read off the curves at step 0 and 560",
        "arXiv 2503.23383, figure 4",
        """
 | before | after
ToRL | 42.8 | 53.7
RL without the tool | 35.8 | 44.3
""",
    ),
    _excerpt(
        "ToRL, table 4 and figure 6",
        "Qwen2.5-Math-1.5B, greedy; accuracy read off the curve; 8 x A800",
        "arXiv 2503.23383, table 4 and figure 6a",
        """
C | seconds a step | accuracy after about 215 steps
0 | 118 | -
1 | 237 | 40.9
2 | 288 | 42.9
""",
    ),
    _excerpt(
        "ToRL, figure 6: penalty of -0.5 for code that fails",
        "Qwen2.5-Math-1.5B, greedy, read off the curve; the release averages penalised scores",
        "arXiv 2503.23383, figure 6c",
        """
 | accuracy
without | 40.9
with | 40.7
""",
    ),
    _excerpt(
        "THOR, table 3: ablation",
        _SIX,
        "arXiv 2509.13761v3, table 3",
        """
 | Qwen2.5-Math-7B | Qwen3-8B
T1 base | 24.7 | 74.5
T2 CoT-RL | 41.4 | 74.9
T3 cold start | 35.7 | 71.4
T4 + episode-level RL | 58.1 | 77.7
T5 + step-level RL | 59.7 | 78.5
T6 + self-correction | 61.2 | 79.8
""",
    ),
    _excerpt(
        "THOR, table 2: best of 8",
        _SIX,
        "arXiv 2509.13761v3, table 2",
        """
 | THOR-7B | THOR-Thinking-8B
one answer | 61.2 | 79.8
self-consistency | 62.9 | 82.4
InternLM2-RM | 63.0 | 83.2
Qwen2.5-Math-PRM | 63.0 | 79.0
self-rewarded (execution) | 63.3 | 83.2
hybrid | 64.4 | 84.3
""",
    ),
    _excerpt(
        "THOR, table 5: what is written again after a failure",
        _SIX,
        "arXiv 2509.13761v3, table 5",
        """
 | THOR-7B | THOR-Thinking-8B
nothing | 59.7 | 78.5
the action | 60.3 | 78.5
a suffix of the step | 61.2 | 79.8
the whole plan | 60.4 | 79.2
""",
    ),
    _excerpt(
        "THOR, table 6: calls",
        _SIX,
        "arXiv 2509.13761v3, table 6",
        """
 | accuracy | code ratio | failed | passed | pass ratio
Qwen2.5-Math-7B | 35.7 | 72.7 | 858 | 5806 | 87.1
THOR-7B | 59.7 | 96.6 | 685 | 5900 | 89.6
THOR-7B + correction | 61.2 | 96.2 | 82 | 6050 | 98.7
Qwen3-8B | 74.5 | 8.5 | 260 | 1071 | 80.5
THOR-Thinking-8B | 78.5 | 91.3 | 2311 | 10535 | 82.0
THOR-Thinking-8B + correction | 79.8 | 90.6 | 155 | 12532 | 99.0
""",
    ),
)


def published() -> tuple[Table, ...]:
    """One table each; a printed average that its own row contradicts is marked."""
    whole = (_table(paper) for paper in PAPERS)
    parts = (Table(_title(part), part.columns, part.rows) for part in EXCERPTS)
    return (*whole, *parts)


def _title(part: Paper | Excerpt) -> str:
    return f"{part.title}: {part.protocol} ({part.source}). Published, not run here."


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
    return Table(_title(paper), columns, rows)


def _number(score: float) -> str:
    return "-" if isnan(score) else f"{score:.1f}"
