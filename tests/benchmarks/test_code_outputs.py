"""Outputs of programs under test: what EvalPlus calls equal is, and nothing ends an evaluation."""

import json

import pytest

from benchmarks.heldout.code_suites import Checker, load_tasks

COUNT = {
    "id": "Mbpp/88",
    "problem": '"""\nCount.\nassert count([1, 1, 2]) == {1: 2, 2: 1}\n"""',
    "answer": "import collections\ndef count(xs):\n    return collections.Counter(xs)",
    "entry_point": "count",
    "base_input": [[[1, 1, 2]]],
    "plus_input": [[[3, 1, 3]]],
    "assertion": "assert count([1, 1, 2]) == {1: 2, 2: 1}",
}
FOUND = {
    "id": "Mbpp/737",
    "problem": '"""\nStarts with a vowel.\nassert check_str("annie")\n"""',
    "answer": "import re\ndef check_str(s):\n    return re.search('^[aeiou]', s)",
    "entry_point": "check_str",
    "base_input": [["annie"], ["dawood"]],
    "plus_input": [[""], ["else"]],
    "assertion": 'assert check_str("annie")',
}
SHARED = {
    "id": "Mbpp/2",
    "problem": '"""\nassert set(similar_elements((3, 4), (5, 4))) == set((4,))\n"""',
    "answer": "def similar_elements(a, b):\n    return tuple(set(a) & set(b))",
    "entry_point": "similar_elements",
    "base_input": [[[3, 4], [5, 4]]],
    "plus_input": [[["x", "i", "j", "k"], ["k", "j", "i", "y"]], [[1, 0], [True, False]]],
    "assertion": "assert similar_elements((3, 4), (5, 4)) == (4,)",
}
DIGITS = {
    "id": "Mbpp/558",
    "problem": '"""\nassert digit_distance_nums(1, 2) == 1\n"""',
    "answer": "def digit_distance_nums(a, b):\n"
    "    return sum(abs(int(c) - int(d)) for c, d in zip(str(a), str(b)))",
    "entry_point": "digit_distance_nums",
    "base_input": [[1, 2]],
    "plus_input": [[12345, 9]],
    "assertion": "assert digit_distance_nums(1, 2) == 1",
}
LONG = {
    "id": "HumanEval/130",
    "problem": "def tri(n):\n    '''List of numbers.'''",
    "answer": "return [1 + i / 2 for i in range(0, n, 2)] + [i / 3 for i in range(9)]\n",
    "entry_point": "tri",
    "base_input": [[4], [20000]],
    "plus_input": [[400000]],
    "atol": 0,
}
HUGE = {
    "id": "HumanEval/83",
    "problem": "def huge(n):\n    '''A power.'''",
    "answer": "return 18 * 10 ** n\n",
    "entry_point": "huge",
    "base_input": [[4]],
    "plus_input": [[400], [9000]],
    "atol": 0,
}
ROOT = {
    "id": "HumanEval/32",
    "problem": "def find_zero(xs):\n    '''A root.'''",
    "answer": "return -xs[0] / xs[1]\n",
    "entry_point": "find_zero",
    "base_input": [[[2, 4, 0, 0]]],
    "plus_input": [],
    "atol": 1e-4,
}


@pytest.fixture
def passes(tmp_path, sandbox):
    def check(row, program):
        path = tmp_path / "one.jsonl"
        path.write_text(json.dumps(row) + "\n")
        return Checker(load_tasks(path), sandbox).check(row["id"], program).passed

    return check


@pytest.mark.parametrize(
    "counted",
    [
        "{x: xs.count(x) for x in sorted(xs, reverse=True)}",
        "OrderedDict(Counter(xs))",
        "{numpy.int64(x): numpy.int64(xs.count(x)) for x in xs}",
    ],
)
def test_a_value_of_a_subclass_is_what_python_says_it_equals(passes, counted):
    program = f"import numpy\nfrom collections import *\ndef count(xs):\n    return {counted}"
    assert passes(COUNT, program)
    assert not passes(COUNT, program + " | {7: 1}")


def test_where_the_reference_gives_a_match_a_truth_value_is_right(passes):
    for found in ("s[:1] in {*'aeiou'}", "re.match('[aeiou]', s)", "s[:1] in {*'aeiou'} or None"):
        assert passes(FOUND, f"import re\ndef check_str(s):\n    return {found}"), found
    for found in ("True", "None", "s[:1]", "not s"):
        assert not passes(FOUND, f"def check_str(s):\n    return {found}"), found


def test_where_evalplus_compares_sets_so_do_we(passes):
    """Also where the file's own assertion compares tuples, in an order that hashing gave."""
    for items in ("[x for x in b if x in a]", "(x for x in a if x in b)", "{*a} & {*b}"):
        assert passes(SHARED, f"def similar_elements(a, b):\n    return {items}"), items
    for items in ("[x for x in b]", "None", "[[x] for x in b if x in a]", "()"):
        assert not passes(SHARED, f"def similar_elements(a, b):\n    return {items}"), items


def test_letters_among_the_inputs_stay_letters(tmp_path):
    """`j` reads as a complex number, and did beside an assertion about numbers."""
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(SHARED) + "\n")
    (task,) = load_tasks(path)
    assert task.inputs[1] == (("x", "i", "j", "k"), ("k", "j", "i", "y"))


def test_the_other_reading_that_evalplus_takes_is_right(passes):
    padded = "def digit_distance_nums(a, b):\n    a, b = str(a).zfill(9), str(b).zfill(9)\n"
    padded += "    return sum(abs(int(c) - int(d)) for c, d in zip(a, b))"
    assert passes(DIGITS, padded)
    assert not passes(DIGITS, padded + " + 1")
    assert not passes(DIGITS, "def digit_distance_nums(a, b):\n    return 1")


def test_long_outputs_are_compared_as_short_ones(passes):
    """`2` is `2.0`, whether the list has four items or half a million."""
    whole = "[1 + i // 2 for i in range(0, n, 2)] + [i / 3 for i in range(9)]"
    assert passes(LONG, f"def tri(n):\n    return {whole}")
    for n in (19999, 399999):
        assert not passes(LONG, f"def tri(n):\n    return {whole} + [n] * (n > {n})")


def test_numbers_that_python_does_not_print_are_compared(passes):
    right = "def huge(n):\n    return 18 * 10 ** n"
    assert passes(HUGE, right)
    assert not passes(HUGE, right + " + (n > 8000)")


@pytest.mark.parametrize("value", ["float('inf')", "18e303", "float('nan')", "1.5"])
def test_a_float_beside_a_number_that_is_too_large_for_one_is_wrong(passes, value):
    assert not passes(HUGE, f"def huge(n):\n    return 18 * 10 ** n if n < 99 else {value}")


@pytest.mark.parametrize("value", ["1e200", "10 ** 400", "float('nan')", "float('inf')", "'x'"])
def test_what_is_no_root_is_wrong_whatever_it_is(passes, value):
    assert not passes(ROOT, f"def find_zero(xs):\n    return {value}")
    assert passes(ROOT, "def find_zero(xs):\n    return -0.5")


@pytest.mark.parametrize("depth", [90, 350, 420, 5000])
def test_nested_outputs_are_wrong_and_no_crash(passes, depth):
    deep = '["list",[' * depth + "]]" * depth
    printed = f"import os\nprint(chr(30) + '[' + {deep!r} + ']', flush=True)\nos._exit(0)"
    assert not passes(ROOT, printed)
    nested = f"def find_zero(xs):\n    x = []\n    for _ in range({depth}): x = [x]\n    return x"
    assert not passes(ROOT, nested)


def test_long_texts_of_digits_are_compared_before_their_time_is_up(passes):
    row = {
        **HUGE,
        "id": "HumanEval/0",
        "answer": "return '1' * n\n",
        "base_input": [[1_200_000]],
        "plus_input": [[20_000_000]],
    }
    assert passes(row, "def huge(n):\n    return '1' * n")
    assert not passes(row, "def huge(n):\n    return '1' * (n - 1) + '2'")
