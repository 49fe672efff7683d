"""Programs against tests in the sandbox: right ones pass, wrong ones fail, cheats fail too."""

import json
from pathlib import Path

import pytest

from agents.core.run.storage import RecordError
from benchmarks.heldout.code_outputs import same
from benchmarks.heldout.code_suites import Checker, grading, load_tasks, program_of
from benchmarks.heldout.records import Header, Records
from benchmarks.heldout.regrade import regrade
from benchmarks.heldout.suites import CODE, SuiteError, code_file, names, open_suite
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import run

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "heldout"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmark files at {DATA}")

MBPP = {
    "id": "Mbpp/1",
    "problem": '"""\nWrite a function to swap a pair.\nassert swap((1, 2)) == (2, 1)\n"""',
    "answer": "def swap(pair):\n    return (pair[1], pair[0])",
    "entry_point": "swap",
    "base_input": [[[1, 2]]],
    "plus_input": [[[3, 4]], [[0.1, 0.2]]],
    "atol": 0,
    "assertion": "assert swap((1, 2)) == (2, 1)",
}
HUMANEVAL = {
    "id": "HumanEval/1",
    "problem": "import math\n\ndef helper(x):\n    return x + 1\n\ndef area(r):\n    '''Area.'''",
    "answer": "return math.pi * helper(r - 1) ** 2\n",
    "entry_point": "area",
    "base_input": [[1.0]],
    "plus_input": [[2.5], ["no number"]],
    "atol": 1e-4,
}


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(MBPP) + "\n" + json.dumps(HUMANEVAL) + "\n")
    return load_tasks(path)


@pytest.fixture
def checker(tasks, sandbox):
    return Checker(tasks, sandbox)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def swap(pair):\n    a, b = pair\n    return b, a", ""),
        ("print('noise')\ndef swap(pair):\n    print('more')\n    return pair[::-1]", ""),
        ("def swap(pair):\n    return pair", "another output"),
        ("def swap(pair):\n    return list(pair[::-1])", "another output"),
        ("def swap(pair):\n    return (2, 1)", "test 1: another output"),
        ("def swap(pair):\n    raise KeyError(1)", "test 0: KeyError"),
        ("def other(pair):\n    return pair", "swap"),
        ("def swap(pair:\n", "SyntaxError"),
        ("import os\nos._exit(0)", "before its tests"),
        ("import sys\nsys.exit()", "before its tests"),
        ("class A:\n    def __eq__(self, _): return True\ndef swap(pair): return A()", "another"),
        ("def swap(pair):\n    while True: pass", "timeout"),
    ],
)
def test_programs(checker, monkeypatch, program, reason):
    from benchmarks.heldout import code_suites
    from torl_env.sandbox.types import Limits

    monkeypatch.setattr(code_suites, "LIMITS", Limits(cpu_seconds=1, output_bytes=1_000_000))
    outcome = checker.check("Mbpp/1", program)
    assert outcome.passed == (reason == "")
    assert reason in outcome.reason


def test_helpers_of_the_prompt_are_there_and_tolerance_holds(checker):
    right = "def area(r):\n    return 3.14159265 * helper(r - 1) ** 2"
    assert checker.check("HumanEval/1", right).passed
    assert not checker.check("HumanEval/1", "def area(r):\n    return 3.1 * r ** 2").passed


@pytest.mark.parametrize(
    "forged",
    ["[]", "[1, 2, 3]", "[[], [], []]", "[['int'], ['int', 'x'], ['int', 1]]", "{", "[[" * 9999],
)
def test_forged_outputs_are_a_failure_and_no_crash(checker, forged):
    forged = forged.replace("'", '"')
    cheat = f"import json\njson.dumps = lambda *a, **k: {forged!r}\ndef swap(pair): return None"
    assert not checker.check("Mbpp/1", cheat).passed
    printed = f"import os\nprint(chr(30) + {forged!r}, flush=True)\nos._exit(0)"
    assert not checker.check("Mbpp/1", printed).passed


def test_a_reference_that_does_not_run_is_said(tmp_path, sandbox):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(MBPP | {"answer": "def swap(:"}) + "\n")
    with pytest.raises(SuiteError, match="reference solution does not run"):
        Checker(load_tasks(path), sandbox).check("Mbpp/1", "x = 1")


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("no code", ""),
        ("```python\na = 1\n```", "a = 1"),
        ("```python\na = 1\n```\nbetter:\n```py\nb = 2\n```\ndone", "b = 2"),
        ("```python\na = 1\n", "a = 1"),
        ("```python\na = '''\n  ```\n'''\n```\n", "a = '''\n  ```\n'''"),
    ],
)
def test_the_last_program_of_a_response_counts(response, program):
    assert program_of(response) == program


def test_a_collector_gets_its_verdicts_from_the_tests(make, turn, tasks, sandbox):
    def collect(problems, k, seed):
        texts = ["```python\n" + tasks[0].solution + "\n```\n", "```python\nx\n```\n", "no code"]
        for sample, text in enumerate(texts):
            yield make("Mbpp/1", sample, False, [turn(text)])
        yield make("Mbpp/1", 3, False, [turn(texts[0])], infra_error="lost", scorable=False)

    found = list(grading(collect, tasks, sandbox)([tasks[0].problem], 4, 0))
    assert [t.verdict for t in found] == ["correct", "wrong", "no_answer", "wrong"]
    assert [t.scorable for t in found] == [True, True, True, False]
    assert "NameError" in found[1].answer


def test_programs_are_not_graded_again_by_their_text():
    header = Header("m", "mbppplus", "f", 1, 1, 0, "EvalPlus tests")
    with pytest.raises(RecordError, match="graded by tests"):
        regrade(Records(header, ()), lambda *_: None, "new")


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (["int", "0x1"], ["float", "1.0"], True),
        (["int", "0x1"], ["int", "0x2"], False),
        (True, ["int", "0x1"], True),
        ("1", ["int", "0x1"], False),
        (["float", "nan"], ["float", "nan"], True),
        (["float", "0.1"], ["float", "0.1000001"], True),
        (["float", "0.1"], ["float", "0.2"], False),
        (["set", ["a", "b"]], ["set", ["a", "b"]], True),
        (["dict", [["tuple", ["a", True]]]], ["dict", [["tuple", ["a", False]]]], False),
        (None, ["list", []], False),
        (["other", "<x>"], ["other", "<x>"], True),
    ],
)
def test_equality_is_pythons(a, b, equal):
    assert same(a, b, 1e-6) is equal
    assert same(b, a, 1e-6) is equal


def test_counts_and_wrong_files(tmp_path):
    path = tmp_path / "humanevalplus.jsonl"
    path.write_text(json.dumps(HUMANEVAL) + "\n")
    with pytest.raises(SuiteError, match="holds 1 tasks, expected 164"):
        load_tasks(path)
    path.rename(tmp_path / "other.jsonl")
    (tmp_path / "other.jsonl").write_text('{"problem": "x"}\n')
    with pytest.raises(SuiteError, match="not a file of EvalPlus tasks"):
        load_tasks(tmp_path / "other.jsonl")
    with pytest.raises(SuiteError, match=r"expected mbppplus\*\.jsonl"):
        code_file("mbppplus", tmp_path)


def test_they_are_suites_that_an_evaluation_takes():
    assert names("math500,mbppplus") == ("math500", "mbppplus")
    assert not set(CODE) & set(names("all")), "`all` needs no files of EvalPlus"
    with pytest.raises(SuiteError, match="answers are programs"):
        open_suite("mbppplus")
    with pytest.raises(SuiteError, match="expected a folder with NAME"):
        run(EvalOptions(suite="humanevalplus", data=Path("nothing"), out=Path("nowhere")))


@needs_data
@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_real_reference_solutions_pass_a_sample(name, sandbox):
    tasks = load_tasks(code_file(name, DATA))
    checker = Checker(tasks, sandbox)
    for task in tasks[::40]:
        assert checker.check(task.id, task.solution).passed, task.id
        wrong = f"def {task.entry_point}(*_):\n    return 'wrong'"
        assert not checker.check(task.id, wrong).passed, task.id


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_every_real_reference_solution_passes(name, sandbox):
    tasks = load_tasks(code_file(name, DATA))
    checker = Checker(tasks, sandbox)
    failed = {task.id: checker.check(task.id, task.solution).reason for task in tasks}
    assert {task: reason for task, reason in failed.items() if reason} == {}
