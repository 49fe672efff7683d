"""The performance record: which ratios it takes, when it says worse, and what it refuses."""

import json
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import pytest

from benchmarks.performance import environment, record, sandbox
from benchmarks.performance.baselines import baselines
from benchmarks.performance.measuring import Cost, Measured, in_turns, median, ratio
from benchmarks.performance.sandbox import Figure

GRADING = {
    "Labelled pairs": {"accuracy": 0.99, "false positives": 0.0, "clean pairs": 100.0},
    "Speed": {"uncached checks/s": 10_000.0, "cached checks/s": 50_000.0},
    "Hostile answers": {"hostile, code executed": 0.0, "hostile answers": 80.0},
    "math-verify": {"accuracy": 0.9, "false positives": 7, "ours is so many times faster": 70},
}
SANDBOX = [
    Figure(who, work, at, 9, rate, 1.0, 2.0, 0)
    for who, work, at, rate in (
        ("floor: fork and wait", "print", 1, 400.0), ("torl local", "print", 1, 200.0),
        ("torl local", "print", 64, 300.0), ("python -c", "print", 1, 20.0),
        ("python -c", "print", 64, 30.0), ("GEM", "print", 16, 1.0),
        ("torl local", "endless loop", 1, 1.0), ("python -c", "endless loop", 1, 1.0),
    )
]  # fmt: skip
ENVIRONMENT = {
    "scalar, print: steps/s": 150.0,
    "64 envs, print: steps/s": 280.0,
    "GEM, scalar, print: steps/s": 30.0,
    "GEM, 16 envs, print: steps/s": 28.0,
}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            record.grading_ratios(GRADING)[0],
            {
                "grading, checks/s: ours / math-verify": 70,
                "grading, accuracy on labelled pairs": 0.99,
                "grading, checks/s: cached / uncached": 5.0,
            },
        ),
        (
            record.grading_ratios(GRADING)[1],
            {"grading, false positives": 0.0, "grading, hostile, code executed": 0.0},
        ),
        (record.grading_ratios({}), ({}, {})),
        (
            sandbox.ratios(SANDBOX),
            {
                "sandbox, print, 1 at once: ours / floor: fork and wait": 0.5,
                "sandbox, print, 1 at once: ours / python -c": 10.0,
                "sandbox, print, 64 at once: ours / python -c": 10.0,
            },
        ),
        (
            environment.against_peers(ENVIRONMENT),
            {
                "environment, scalar, print: ours / GEM": 5.0,
                "environment, 64 envs, print: ours / GEM": 10.0,
            },
        ),
    ],
)
def test_ratios_are_ours_over_what_was_measured_beside_it(found, expected):
    assert found == (pytest.approx(expected) if isinstance(expected, dict) else expected)


def test_work_in_turns_is_measured_in_both_orders_and_may_measure_itself():
    order = []
    work = {name: partial(order.append, name) for name in "ab"}
    work["c"] = lambda: Cost(2.0, 1.0)
    costs = in_turns(2, work, before=lambda name: order.append(f"before {name}"))
    assert [name for name in order if len(name) == 1] == ["a", "b", "b", "a"]
    assert order[:2] == ["before a", "a"]
    assert median(costs["c"]) == 2.0
    assert ratio(costs["c"], [Cost(4.0, 4.0)] * 2, "cpu") == 0.25


@pytest.fixture
def measured(monkeypatch):
    """The command without its minutes of measuring."""
    grading = json.loads(json.dumps(GRADING))
    figures = list(SANDBOX)

    def parts(options):
        rows = [asdict(figure) for figure in figures]
        return {
            "grading": Measured(grading, *record.grading_ratios(grading)),
            "sandbox": Measured(rows, sandbox.ratios(figures)),
            "environment": Measured(ENVIRONMENT, environment.against_peers(ENVIRONMENT)),
        }, []

    monkeypatch.setattr(record, "measured", parts)
    return SimpleNamespace(grading=grading, sandbox=figures)


def run(out, **options):
    return record.main(record.RecordOptions(out, **options))


@pytest.mark.parametrize(
    ("tolerance", "rate", "faults", "code"),
    [(0.3, 145.0, 0, 0), (0.3, 135.0, 0, 1), (0.2, 145.0, 0, 1), (0.3, 400.0, 0, 0),
     (0.9, 200.0, 1, 1)],
)  # fmt: skip
def test_a_ratio_that_fell_too_far_fails(measured, tmp_path, capsys, tolerance, rate, faults, code):
    stored = tmp_path / "a" / "performance.json"
    assert run(stored.parent) == 0
    measured.sandbox[1] = replace(measured.sandbox[1], per_second=rate)
    measured.grading["Labelled pairs"]["false positives"] = faults
    assert run(tmp_path / "b", against=stored, tolerance=tolerance) == code
    assert ("worse: " in capsys.readouterr().out) == bool(code)
    text = (tmp_path / "b" / "performance.md").read_text()
    assert text.count("**worse**") == {145.0: 2, 135.0: 2}.get(rate, 1) * code
    assert "| python -c | print | 64 |" in text


def test_what_only_one_record_has_is_named_and_not_judged(measured, tmp_path, capsys):
    stored = tmp_path / "a" / "performance.json"
    run(stored.parent)
    measured.sandbox.clear()
    assert run(tmp_path / "b", against=stored) == 0
    out = capsys.readouterr().out
    assert out.count("not measured this time") == 3
    assert "7 compared" in out


def test_bad_words_and_files_are_refused(measured, tmp_path, capsys):
    with pytest.raises(ValueError, match="expected 0 to below 1, got 1"):
        run(tmp_path, tolerance=1)
    with pytest.raises(ValueError, match="leave it out to make the first record"):
        run(tmp_path, against=tmp_path / "absent.json")
    (tmp_path / "other.json").write_text("{}")
    assert run(tmp_path, against=tmp_path / "other.json") == 2
    assert "is no record" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_sandbox_is_measured_beside_a_plain_process():
    chosen = {
        name: opened for name, opened in baselines().items() if name in ("torl local", "python -c")
    }
    figures = sandbox.measure_all(0.05, chosen, concurrencies=(1,))
    assert {figure.baseline for figure in figures} == {*chosen, "floor: fork and wait"}
    assert not [figure for figure in figures if figure.wrong]
    assert sandbox.ratios(figures)["sandbox, print, 1 at once: ours / python -c"] > 1
    assert "torl local" in sandbox.table(figures)
