"""The value of the tool over levels and families, and the counts of THOR's table 6."""

import csv

import pytest

from agents.core.run.storage import RecordError
from benchmarks.heldout.cases import calls
from benchmarks.heldout.compare import compare
from benchmarks.heldout.records import Header, Records
from benchmarks.report.value import draw_value, parts, write_value


@pytest.fixture
def sides(make):
    """Without the tool level 2 is solved half, level 10 never; with it both are."""

    def records(solves, **where):
        rows = [
            make(f"p{i}", 0, solves(i), **({"level": f"Level {(2, 10)[i % 2]}",
                 "subject": ("gcd", "sum", "primes")[i % 3]} | where))
            for i in range(24)
        ]  # fmt: skip
        return Records(Header("m", "s", "f", 24, 1, 0, "g"), tuple(rows))

    def both(**where):
        return compare(records(lambda i: i % 4 == 0, **where), records(lambda i: True, **where))

    return both


def test_levels_come_in_their_order_and_families_by_value(sides):
    found = parts(sides(), "level")
    assert [line.name for line in found] == ["level Level 2", "level Level 10"]
    assert [line.difference.difference.value for line in found] == [0.5, 1.0]
    values = [line.difference.difference.value for line in parts(sides(), "subject")]
    assert values == sorted(values)


def test_the_curve_is_drawn_and_written(sides, tmp_path):
    draw_value(sides(), "Value of the tool", tmp_path / "value.png")
    assert (tmp_path / "value.png").read_bytes().startswith(b"\x89PNG")
    write_value(sides(), tmp_path / "value.csv")
    with (tmp_path / "value.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["level"] * 2 + ["subject"] * 3
    assert [float(rows[0][name]) for name in ("without", "with", "value")] == [0.5, 1.0, 0.5]
    assert float(rows[0]["low"]) < 0.5 < float(rows[0]["high"])


def test_nothing_to_draw_is_said(sides, tmp_path):
    with pytest.raises(RecordError, match="neither two levels nor two subjects"):
        draw_value(sides(level="", subject="one"), "", tmp_path / "value.png")


def test_calls_count_programs_of_scorable_answers(make, tool_turn):
    rows = [
        make("a", 0, True, (tool_turn(), tool_turn("error", "NameError"))),
        make("b", 0, False, (tool_turn("timeout"),)),
        make("c", 0, True, ()),
        make("d", 0, True, (tool_turn(),), scorable=False),
    ]
    found = calls(rows)
    assert (found.failed, found.passed) == (2, 1)
    assert found.pass_ratio.value == pytest.approx(1 / 3)
    assert found.code_ratio.value == pytest.approx(2 / 3)
    assert found.accuracy.value == pytest.approx(2 / 3)
