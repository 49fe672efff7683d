"""`torl eval` with suites and an agent of one's own, then compare, regrade and leaderboard."""

import json

import pytest

from benchmarks.heldout.cases import Case
from benchmarks.heldout.compare import Comparison, Line
from benchmarks.heldout.statistics import Difference, Estimate
from torl.commands import analyse, compare, leaderboard, regrade
from torl.console import guarded
from torl.evaluation import options as evaluation

AGENT = """
from agents.core.types import Trajectory, Turn
import rewards


def make(options):
    def collect(problems, k, seed):
        for index, problem in enumerate(problems):
            for sample in range(k):
                right = (index + sample) % 3 < SKILL
                text = f"\\\\boxed{{{problem.answer if right else 'x'}}}"
                grade = rewards.grade(text, problem.answer)
                turn = Turn(text, "", 0, 2, "final", "", "", 1.0)
                yield Trajectory(problem.id, (1,), (2, 3), (1, 1), (0.0, 0.0), (turn,), 1.0,
                                 str(grade.verdict), grade.answer or "", 0, 0, "final", False,
                                 True, reference=problem.answer, sample=sample)
    return collect
"""


@pytest.fixture
def suites(tmp_path):
    """Files that have the counts of the real benchmarks."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("aime24", 30), ("amc23", 40)):
        rows = [{"problem": f"{name} {i}?", "answer": str(i)} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def evaluate(torl, suites, tmp_path, monkeypatch):
    def run(skill, *words):
        module = tmp_path / f"my_agent_{skill}.py"
        module.write_text(AGENT.replace("SKILL", str(skill)))
        monkeypatch.syspath_prepend(str(tmp_path))
        out = tmp_path / f"out{skill}"
        return torl(
            "eval", "--suite", "aime24,amc23", "--data", suites, "--agent", f"{module.stem}:make",
            "--out", out, "--k", "2", *words,
        ), out  # fmt: skip

    return run


def test_suites_with_an_agent_of_ones_own(evaluate):
    ran, out = evaluate(2)
    assert ran.code == 0
    assert {path.name for path in out.iterdir()} == {
        "aime24.jsonl", "aime24.summary.json", "amc23.jsonl", "amc23.summary.json",
    }  # fmt: skip
    board = next(line for line in ran.out.splitlines() if line.startswith("| my_agent_2:make"))
    values = [cell.split(" [")[0] for cell in board.split(" | ")[2:]]
    assert values == ["66.7", "67.5", "67.1"]
    assert "amc23: Several answers" in ran.out


def run(capsys, module, options):
    code = guarded(module.main, options)
    return code, capsys.readouterr()


def test_compare_two_evaluations(evaluate, capsys):
    (_, weak), (_, strong) = evaluate(1), evaluate(2)
    plot = weak / "value.png"
    options = compare.CompareOptions(weak / "amc23.jsonl", strong / "amc23.jsonl", plot)
    code, captured = run(capsys, compare, options)
    assert code == 0
    assert "| all | 40 |" in captured.out
    assert "| yes |" in captured.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    missing = compare.CompareOptions(weak / "amc23.jsonl", weak / "nothing.jsonl")
    code, captured = run(capsys, compare, missing)
    assert code == 1
    assert "found no such file" in captured.err


def test_a_difference_of_one_problem_has_no_interval():
    gaps = [Estimate(0.5, 0.25, 0.75, 9), Estimate(1.0, 1.0, 1.0, 1)]
    lines = tuple(Line(f"{g.count}", Difference(0.0, g.value, g, 1.0, 1, 0), 1.0) for g in gaps)
    table = compare.comparison_table(Comparison(lines, ()))
    assert [row[4] for row in table.rows] == ["+50.0 [+25.0, +75.0]", "+100.0"]


def test_regrade_says_what_changed_and_keeps_the_old_file(evaluate, capsys):
    _, out = evaluate(2)
    path = out / "aime24.jsonl"
    lines = path.read_text().splitlines()
    spoiled = json.loads(lines[1]) | {"verdict": "wrong"}
    path.write_text("\n".join([lines[0], json.dumps(spoiled), *lines[2:]]) + "\n")
    before = path.read_bytes()
    code, captured = run(capsys, regrade, regrade.RegradeOptions((path,)))
    assert code == 0
    assert "1 of 60 verdicts changed" in captured.out
    assert path.read_bytes() == before
    assert (out / "aime24.regraded.summary.json").exists()


def test_the_leaderboard_has_what_was_graded_again(evaluate, torl):
    _, out = evaluate(2)
    path = out / "aime24.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"verdict": "correct"', '"verdict": "wrong"'))
    old = json.loads(text.splitlines()[0])["header"]["grader"]
    path.write_text(path.read_text().replace(json.dumps(old), '"an older one"', 1))
    summary = out / "aime24.summary.json"
    summary.write_text(summary.read_text().replace(json.dumps(old), '"an older one"', 1))
    assert "2 graders" in torl("leaderboard", out).err
    assert torl("regrade", path).code == 0
    ran = torl("leaderboard", out)
    assert ran.err == ""
    assert ran.out.count("my_agent_2") == 1


def test_leaderboard_and_published_numbers(evaluate, capsys):
    (_, weak), (_, strong) = evaluate(1), evaluate(2)
    options = leaderboard.LeaderboardOptions((weak, strong), published=True)
    code, captured = run(capsys, leaderboard, options)
    assert code == 0
    rows = [line for line in captured.out.splitlines() if line.startswith("| my_agent")]
    assert [row.split(":")[0] for row in rows] == ["| my_agent_2", "| my_agent_1"]
    assert "| ToRL-7B | yes | 43.3 | 30.0 | 82.2 | 49.9 | 75.0 | 56.1 | 62.1 (not the mean) |" in (
        captured.out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--suite", "aime99"), "unknown suite 'aime99'"),
        (("--suite", "aime24", "--count", "31"), "expected 1 to 30 for aime24"),
        (("--agent", "nothing_like_this:make"), "expected module:name"),
        (("--agent", "json:nothing"), "expected module:name"),
        (("--out", "a.jsonl"), "expected a folder for suites"),
    ],
)
def test_refusals(evaluate, words, message):
    ran, out = evaluate(1, *words)
    assert ran.code == 1
    assert message in ran.err
    assert not out.exists()


def test_a_folder_that_holds_no_suites_asks_the_hub_and_says_so(torl, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    ran = torl("eval", "--suite", "amc23", "--data", tmp_path / "empty")
    assert ran.code == 1
    assert "amc23" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_all_suites_are_named_in_the_help():
    from benchmarks.heldout.suites import SUITES

    with open(evaluation.__file__) as file:
        text = file.read()
    assert all(name in text for name in SUITES)


def test_analyse_shows_behaviour_execution_and_selection(evaluate, capsys):
    _, out = evaluate(2)
    options = analyse.AnalyseOptions((out / "amc23.jsonl",))
    code, captured = run(capsys, analyse, options)
    assert code == 0
    assert "| text only | 100.0 [91.2, 100.0] | 67.5 " in captured.out
    assert "| some program failed | 0 | 0 | no answer |" in captured.out
    oracle = next(line for line in captured.out.splitlines() if line.startswith("| oracle"))
    assert "| 100.0 [" in oracle


def test_calls_of_several_evaluations_stand_side_by_side(evaluate, capsys):
    (_, weak), (_, strong) = evaluate(1), evaluate(2)
    files = (weak / "amc23.jsonl", strong / "amc23.jsonl")
    code, captured = run(capsys, analyse, analyse.AnalyseOptions(files))
    assert code == 0
    table = captured.out.split("Calls (THOR, table 6)")[1]
    assert [line.count(" 0 | no call |") for line in table.splitlines() if "amc23" in line] == [
        1,
        1,
    ]
    code, captured = run(capsys, analyse, analyse.AnalyseOptions(()))
    assert code == 1
    assert "expected records" in captured.err


def test_every_answer_of_a_case_is_named(evaluate, capsys):
    _, out = evaluate(2)
    for case, count in ((Case.TEXT_ONLY, 80), (Case.TOOL, 0)):
        options = analyse.AnalyseOptions((out / "amc23.jsonl",), case=case)
        assert run(capsys, analyse, options)[1].out.count(" #") == count


def test_the_value_of_the_tool_needs_levels_and_budgets(evaluate, tmp_path, capsys):
    """These suites have neither levels nor subjects, and both sides were given the tool."""
    (_, weak), (_, strong) = evaluate(1), evaluate(2)
    files = (weak / "amc23.jsonl", strong / "amc23.jsonl")
    options = compare.CompareOptions(*files, value=tmp_path / "value.png")
    code, captured = run(capsys, compare, options)
    assert code == 1
    assert "expected A without a tool" in captured.err
    assert "neither two levels nor two subjects" in captured.err


def test_folders_and_files_are_both_taken(evaluate, torl, tmp_path):
    (_, a), (_, b) = evaluate(1), evaluate(2)
    by_folder = torl("compare", a, b)
    assert by_folder.code == 0
    by_file = torl("compare", a / "amc23.jsonl", b / "amc23.jsonl")
    assert by_file.out in by_folder.out
    assert by_folder.out.count("A %") == 2
    by_file = torl("analyse", a / "aime24.jsonl", a / "amc23.jsonl")
    assert torl("analyse", a).out == by_file.out
    assert torl("regrade", a).code == 0
    assert (a / "amc23.regraded.jsonl").is_file()
    page = tmp_path / "page.html"
    assert torl("report", b / "amc23.jsonl", "--out", page).code == 0
    assert page.is_file()


def test_half_an_evaluation_is_spoken_of(evaluate, torl):
    _, out = evaluate(2)
    file = out / "amc23.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    for words in (("analyse", file), ("leaderboard", out), ("regrade", file)):
        assert "half an evaluation, 2 of 80 answers" in torl(*words).err
    assert not list(out.glob("*.regraded.*"))
    (out / "amc23.summary.json").unlink()
    for named in (file, out):
        assert "2 of 80 answers" in torl("report", named, "--out", out / "page.html").err


def test_the_leaderboard_takes_records_as_it_takes_summaries(evaluate, torl):
    _, out = evaluate(2)
    file = out / "amc23.jsonl"
    assert "| my_agent_2" in torl("leaderboard", file).out
    (out / "amc23.summary.json").unlink()
    assert "has no summary: torl regrade writes one" in torl("leaderboard", file).err
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    assert "half an evaluation, 2 of 80 answers" in torl("leaderboard", file).err


def test_a_part_of_a_suite_is_marked_and_in_no_average(evaluate, torl):
    ran, out = evaluate(2, "--count", "5")
    assert "(5/30)" in ran.out
    assert "5/40 x 2" in ran.out
    board = torl("leaderboard", out)
    row = next(line for line in board.out.splitlines() if line.startswith("| my_agent_2:make"))
    assert row.endswith("| - |")
    assert "only a part of the problems" in board.err


def test_how_many_are_written_at_once_is_no_other_evaluation(evaluate):
    evaluate(2)
    ran, _ = evaluate(2, "--rows", "3")
    assert ran.code == 0
    assert "going on from there" in ran.err
