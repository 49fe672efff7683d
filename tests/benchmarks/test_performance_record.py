"""The performance record: which ratios it takes, when it says worse, and what it refuses."""

import json

import pytest

from benchmarks.performance import record
from benchmarks.performance.ratios import telling

PARTS = {
    "grading": {
        "Labelled pairs": {"accuracy": 0.99, "false positives": 0.0, "clean pairs": 100.0},
        "Speed": {"uncached checks/s": 10_000.0, "cached checks/s": 50_000.0},
        "Hostile answers": {"hostile, code executed": 0.0, "hostile answers": 80.0},
        "math-verify": {"accuracy": 0.9, "false positives": 7, "ours is so many times faster": 70},
    },
    "sandbox": [
        {"contender": who, "workload": "print", "concurrency": at, "per_second": rate}
        for who, at, rate in (
            ("floor: fork and wait", 1, 400.0), ("torl local", 1, 200.0), ("torl local", 64, 300.0),
            ("python -c", 1, 20.0), ("python -c", 64, 30.0), ("GEM", 16, 1.0),
        )
    ] + [
        {"contender": who, "workload": "endless loop", "concurrency": 1, "per_second": 1.0}
        for who in ("torl local", "python -c")
    ],
    "environment": {
        "scalar, print: steps/s": 150.0,
        "64 envs, print: steps/s": 280.0,
        "64 envs, print: overhead over the bare sandbox, %": 25.0,
        "GEM, scalar, print: steps/s": 30.0,
        "recv of 63, without one call that sleeps 1 s: ms": 90.0,
        "recv of 63, with one call that sleeps 1 s: ms": 100.0,
    },
}  # fmt: skip
RATIOS = {
    "grading, checks/s: ours / math-verify": 70,
    "grading, accuracy on labelled pairs": 0.99,
    "grading, checks/s: cached / uncached": 5.0,
    "sandbox, print, 1 at once: ours / floor: fork and wait": 0.5,
    "sandbox, print, 1 at once: ours / python -c": 10.0,
    "sandbox, print, 64 at once: ours / python -c": 10.0,
    "environment, 64 envs, print: steps / calls of the bare sandbox": 0.8,
    "environment, scalar, print: ours / GEM": 5.0,
    "environment, waiting: without a slow call / with one": 0.9,
}


@pytest.fixture
def measured(monkeypatch):
    """The command without its minutes of measuring."""
    parts = json.loads(json.dumps(PARTS))
    monkeypatch.setattr(record, "measured", lambda options: (parts, []))
    return parts


def test_ratios_are_ours_over_what_was_measured_beside_it():
    found = telling(PARTS)
    assert found.ratios == pytest.approx(RATIOS)
    assert found.counts == {"grading, false positives": 0.0, "grading, hostile, code executed": 0.0}
    assert telling({}).ratios == {}


@pytest.mark.parametrize(
    ("tolerance", "rate", "faults", "code"),
    [(0.3, 145.0, 0, 0), (0.3, 135.0, 0, 1), (0.2, 145.0, 0, 1), (0.3, 400.0, 0, 0),
     (0.9, 200.0, 1, 1)],
)  # fmt: skip
def test_a_ratio_that_fell_too_far_fails(measured, tmp_path, capsys, tolerance, rate, faults, code):
    stored = tmp_path / "a" / "performance.json"
    assert record.main(["--out", str(stored.parent)]) == 0
    measured["sandbox"][1]["per_second"] = rate
    measured["grading"]["Labelled pairs"]["false positives"] = faults
    words = ["--out", str(tmp_path / "b"), "--against", str(stored), "--tolerance", str(tolerance)]
    assert record.main(words) == code
    assert ("worse: " in capsys.readouterr().out) == bool(code)
    text = (tmp_path / "b" / "performance.md").read_text()
    assert text.count("**worse**") == {145.0: 2, 135.0: 2}.get(rate, 1) * code
    assert "| python -c | print | 64 |" in text


def test_what_only_one_record_has_is_named_and_not_judged(measured, tmp_path, capsys):
    stored = tmp_path / "a" / "performance.json"
    record.main(["--out", str(stored.parent)])
    del measured["sandbox"][:], measured["environment"]["GEM, scalar, print: steps/s"]
    assert record.main(["--out", str(tmp_path / "b"), "--against", str(stored)]) == 0
    out = capsys.readouterr().out
    assert out.count("not measured this time") == 4
    assert "7 compared" in out


def test_bad_words_and_files_are_refused(measured, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    for words, message in (
        (["--tolerance", "1"], "expected a share"),
        (["--against", str(tmp_path / "absent.json")], "leave it out to make the first record"),
        (["--parts", "nothing"], "invalid choice"),
    ):
        with pytest.raises(SystemExit):
            record.main([*out, *words])
        assert message in capsys.readouterr().err
    (tmp_path / "other.json").write_text("{}")
    assert record.main([*out, "--against", str(tmp_path / "other.json")]) == 2
    assert "is no record" in capsys.readouterr().err
