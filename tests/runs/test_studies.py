"""The studies' plan, and their tables on answers made by hand; the runs themselves take hours."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from agents.core.types import Trajectory, Turn
from benchmarks.heldout import Header
from benchmarks.heldout.evaluate import finish
from torl.algorithms import make_algorithm
from torl_env.problems import load

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture(scope="module")
def study():
    """The modules beside the scripts, which are no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RUNS))
        import studies
        import study_plan
        import study_run
        import study_tables

        yield {"all": studies, "plan": study_plan, "run": study_run, "tables": study_tables}


def test_every_run_comes_after_what_it_needs(study):
    plan = study["plan"]
    names = [spec.name for spec in plan.SPECS]
    assert len(set(names)) == len(names)
    for index, spec in enumerate(plan.SPECS):
        assert {name for name in (spec.start, spec.tokens_of) if name} <= set(names[:index])
    for one in plan.STUDIES:
        assert {row.run for row in one.rows} <= set(one.runs) <= set(names)
        assert 0 <= one.reference < len(one.rows)
    assert set(names) == {name for one in plan.STUDIES for name in one.runs}


def test_a_study_brings_the_runs_it_starts_from(study):
    runs = {one.letter: one.runs for one in study["plan"].STUDIES}
    assert runs["b"] == ("base", "base-by-hand", "torl", "cot-rl", "budget-2", "budget-4")
    assert {"base", "tir-sft"} <= set(runs["d"])


def test_the_harder_runs_stand_on_their_own(study):
    """Their problems are of no family that is imitated, and they start from runs of their own."""
    plan = study["plan"]
    hard = plan.SCALES["hard"]
    families = {problem.subject for problem in load(hard.problems).head(100)}
    assert families
    assert not families & set(hard.imitated)
    for spec in plan.HARD:
        assert study["run"].settings(spec)["scale"]["problems"] == hard.problems
        assert not spec.start or spec.start.startswith("hard-")
        if spec.algorithm == "thor":
            made = make_algorithm("thor", spec.settings, {})
            kind = spec.name.removeprefix("hard-thor-step-")
            paid = {"right": "runs_where_right", "ends-right": "right"}.get(kind, "runs")
            assert made.step_reward == paid
            assert made.step_weight == (0.25 if kind == "quarter" else 1.0)
    assert {spec.tool_budget for spec in plan.HARD if "tir-rl" in spec.name} == {1, 2, 4}


def answer(problem, right, failed, level):
    turns = [Turn("```python\n1\n```", "x", 0, 1, "tool", "error" if failed else "ok", "", 0.0)]
    turns.append(Turn("\\boxed{1}", "", 1, 2, "final", "", "", 0.0))
    return Trajectory(
        problem, (1,), (2, 3), (1, 1), (0.0, 0.0), turns, 0.0, "correct" if right else "wrong",
        "1" if right else "2", 1, int(failed), "answer", False, True, level=level,
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(study, tmp_path_factory):
    """Two seeds of all runs but `raw`: all is solved, in `penalty` half; a quarter fails once."""
    plan, run, tmp_path = study["plan"], study["run"], tmp_path_factory.mktemp("studies")
    header = Header("m", "p", "f", 8, 1, 0, "g")
    for spec in plan.SPECS:
        for seed in (0, 1) if spec.name != "raw" else ():
            place = run.folder(tmp_path, spec.name, seed)
            for name in ("after", *spec.also):
                rows = [
                    answer(
                        f"p{i}",
                        name != "text" and (spec.name != "penalty" or i % 2 == seed),
                        i < 2,
                        str(1 + i % 2),
                    )
                    for i in range(8)
                ]
                finish(place / "eval" / f"{name}.jsonl", header, rows)
            account = {"tries": 3, "discarded_tokens": 5, "discarded_calls": 3}
            extra = {"seed": seed, "commit": "abc", "versions": {}, "correction": account}
            extra |= {"wall_seconds": 9, "cpu_seconds": 36.0, "tokens": 100}
            record = {**run.settings(spec), **extra}
            (place / run.RECORD).write_text(json.dumps(record))
            if spec.algorithm != "sft":
                cost = {"step": 1, "wall_seconds": 9, "cpu_seconds": 4.0, "tokens": 100}
                (place / "cost.jsonl").write_text(json.dumps(cost) + "\n")
                metrics = {"step": 1, "stage": "rl", "accuracy": 0.5}
                (place / "metrics.jsonl").write_text(json.dumps(metrics) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def written(study, out):
    """What was said of all studies with three seeds asked for; the tables lie in out/records."""
    return study["tables"].write_records(study["plan"].STUDIES, out, [0, 1, 2], out / "records")


def row(text, label):
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_pool_seeds_by_problem(written, out):
    assert "study a: 0 of 3 seeds complete" in written
    assert "study c: 2 of 3 seeds complete" in written
    text = (out / "records" / "study_c.md").read_text()
    cells = row(text, "penalty -0.5")
    assert cells[1] == "2"
    # Each problem is right under one of the two seeds, so no problem is better than another.
    assert cells[2].startswith("50.0 [")
    assert cells[3] == "50.0 to 50.0"
    assert cells[7].startswith("-50.0 [")
    assert cells[9:13] == ["4.0", "9.0", "40.0", "100"]
    released = text.split("as the release averages it")[1]
    # Of each seed's eight, one is right and failed (0.5), one wrong and failed (-1.5), three right.
    assert row(released, "penalty -0.5")[1:3] == [cells[2], row(released, "penalty -0.5")[2]]
    assert row(released, "penalty -0.5")[2].startswith("25.0 [")
    assert row(released, "no penalty")[2].startswith("100.0 [")
    assert "Differ: penalty -0.5 (-50.0 points)." in text
    assert "Not shown to differ: PPO (+0.0 points)" in (out / "records" / "study_e.md").read_text()


def test_what_a_person_writes_is_taken_into_the_page(study, out, tmp_path):
    (tmp_path / "study_c.notes.md").write_text("It does not help.\n")
    only = [one for one in study["plan"].STUDIES if one.letter == "c"]
    study["tables"].write_records(only, out, [0], tmp_path)
    text = (tmp_path / "study_c.md").read_text()
    assert text.count("It does not help.") == 1


@pytest.mark.usefixtures("written")
def test_what_is_missing_says_so_and_the_record_names_its_making(out):
    assert set(row((out / "records" / "study_a.md").read_text(), "ToRL without any warm start")) \
        == {"ToRL without any warm start", "0", "-", "not made"}  # fmt: skip
    # Runs without the tool have more room: the page does not give the tool's to all.
    assert "at most 110 or 384 tokens" in (out / "records" / "study_a.md").read_text()
    assert "at most 110 tokens" in (out / "records" / "study_c.md").read_text()
    record = json.loads((out / "records" / "study_d.json").read_text())
    assert record["made"]["commits"] == ["abc"]
    assert [part["title"][:9] for part in record["tables"]] == [
        "Accuracy ",
        "Best of N",
        "Execution",
        "What self",
    ]
    value = row((out / "records" / "study_b.md").read_text(), "level 2")
    assert value[1:3] == ["4", "100.0"]
    for letter in "abcdefg":
        assert (out / "records" / f"study_{letter}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / "records" / f"study_{letter}.csv").read_text().count("\n") >= 3


@pytest.fixture
def copy(out, tmp_path):
    """The runs, to be spoiled."""
    return shutil.copytree(out, tmp_path / "copy")


@pytest.mark.usefixtures("written")
def test_all_agents_stand_in_one_table(out):
    text = (out / "records" / "agents.md").read_text()
    assert row(text, "PPO")[1:2] + row(text, "PPO")[5:] == ["2", "0.1", "0.6"]
    assert row(text, "CoT (base, C = 0)")[4].startswith("0.0 [")


def test_costs_are_those_of_one_version_of_the_code(study, copy):
    cost = {"step": 1, "wall_seconds": 1, "cpu_seconds": 1.0, "tokens": 100}
    (study["run"].folder(copy, "penalty", 1) / "cost.jsonl").write_text(json.dumps(cost) + "\n")
    place = study["run"].folder(copy, "penalty", 1) / study["run"].RECORD
    place.write_text(place.read_text().replace("abc", "abd"))
    study["tables"].write_records(study["plan"].STUDIES, copy, [0, 1], copy / "records")
    cells = row((copy / "records" / "study_c.md").read_text(), "penalty -0.5")
    assert cells[1] == "2", "accuracies are of both seeds"
    assert cells[9:13] == ["4.0", "9.0", "40.0", "100"], "costs are of the first seed alone"


def test_a_run_with_other_settings_is_not_taken_for_finished(study, copy, monkeypatch):
    out = copy
    place = study["run"].folder(out, "base", 0) / study["run"].RECORD
    record = json.loads(place.read_text())
    record["scale"] = asdict(study["plan"].Scale(traces=99))
    place.write_text(json.dumps(record))
    monkeypatch.setattr(sys, "argv", ["studies.py", "b", str(out), "--seeds", "0"])
    with pytest.raises(SystemExit, match="made with another scale"):
        study["all"].main()


def test_a_run_that_fails_keeps_no_other_from_being_made(study, copy, monkeypatch, capsys):
    made, out, studies = [], copy, study["all"]
    monkeypatch.setattr(studies, "write_records", lambda *args: "")
    shutil.rmtree(study["run"].folder(out, "torl", 0))
    shutil.rmtree(study["run"].folder(out, "tir-sft", 1))
    shutil.rmtree(study["run"].folder(out, "tir-rl", 1))
    monkeypatch.setattr(studies, "make", lambda spec, seed, out: bool(made.append(spec.name)))
    monkeypatch.setattr(sys, "argv", ["studies.py", "all", str(out), "--seeds", "0", "1"])
    assert studies.main() == 1
    assert made == ["torl", "raw", "tir-sft", "raw"]
    assert "torl-0, raw-0, tir-sft-1, tir-rl-1, raw-1" in capsys.readouterr().err
