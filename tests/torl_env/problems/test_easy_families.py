"""The easy families: answers against their own programs, splits, ids, reproducibility."""

import contextlib
import io
import re

import pytest

from torl_env.problems import Problem, ProblemError, load
from torl_env.problems.procedural import (
    FAMILIES,
    LEVELS,
    Coordinates,
    Group,
    ProceduralSource,
    Split,
    generate,
    worked,
    worked_by_hand,
)

EASY = [family for family in FAMILIES.values() if family.group is Group.EASY]


def run(code: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue().strip()


@pytest.fixture(params=[f"{one.name}-L{level}" for one in EASY for level in LEVELS])
def problems(request):
    """A few of each easy family, level and side."""
    name, level = request.param.split("-L")
    return [generate(Coordinates(name, int(level), s, i)) for s in Split for i in range(6)]


def test_the_reference_program_prints_the_answer(problems):
    for problem in problems:
        solution = worked(problem)
        assert run(solution.code) == problem.answer
        assert len(solution.code.splitlines()) <= 6
        assert solution.plan


EQUATION = re.compile(r"([\d*^+/ -]*\d(?: mod \d+)?) = ([\d*^+/ -]*\d)")
BY_TENS = re.compile(r"(\d+): (\d+), \d")


def test_work_by_hand_ends_in_the_answer_and_says_nothing_false(problems):
    for problem in problems:
        family = Coordinates.parse(problem.id).family
        steps = worked_by_hand(problem)
        assert re.findall(r"\d+", steps)[-1] == problem.answer or problem.answer == "0"
        stated = EQUATION.findall(steps)
        assert stated or family in ("factorial_mod", "prime_count")
        for equation in stated:
            left, right = (
                eval(side.replace(" mod ", " % ").replace("^", "**")) for side in equation
            )
            assert left == right, equation
        if family == "digit_sum":
            for part, value in BY_TENS.findall(steps):
                assert sum(map(int, part)) == int(value)


@pytest.mark.parametrize("index", range(8))
def test_residues_and_prime_counts_by_hand_are_what_a_program_counts(index):
    problem = generate(Coordinates("factorial_mod", 3, Split.TRAIN, index))
    residues, modulus = [], int(re.search(r"Modulo (\d+)", worked_by_hand(problem))[1])
    value = 1
    for shown in re.findall(r"\d+", worked_by_hand(problem).split(" are ")[1]):
        value = value * (len(residues) + 1) % modulus
        residues.append(value)
        assert int(shown) == value
    primes = worked_by_hand(generate(Coordinates("prime_count", 3, Split.TRAIN, index)))
    for low, high, count in re.findall(r"(\d+) to (\d+): (\d+) primes", primes):
        found = [
            n for n in range(max(int(low), 2), int(high) + 1) if all(n % d for d in range(2, n))
        ]
        assert len(found) == int(count)


def test_eight_families_make_the_easy_mix():
    assert len(EASY) == 8
    assert {p.subject for p in load("procedural:easy").head(8)} == {f.name for f in EASY}


def test_the_first_problems_never_change():
    """Golden values: another Python, process or machine must give the same problems."""
    source = load("procedural:easy")
    assert source[0] == Problem(
        "product-L1-train-0", "What is 35 * 79?", "2765", "procedural", "train", "1", "product"
    )
    assert source[39].answer == "2704"
    assert load("procedural:easy", "heldout")[999].question == GOLDEN_LAST


GOLDEN_LAST = "What remainder does the factorial of 894 leave when divided by 7351?"


def test_another_seed_is_another_source_with_its_own_ids():
    one, two = (ProceduralSource(["gcd"], seed=seed) for seed in (0, 5))
    assert one[3].question != two[3].question
    assert two[3].id == "gcd-L4-train-0-s5"
    assert two.find(two[3].id) == two[3]
    with pytest.raises(ProblemError, match="seed 0"):
        one.find(two[3].id)


def test_worked_refuses_what_it_did_not_make():
    problem = load("procedural:gcd")[0]
    altered = Problem(problem.id, "What is 1 + 1?", "2")
    with pytest.raises(ProblemError, match="expected the question"):
        worked(altered)
    with pytest.raises(ProblemError, match="expected the id of a procedural problem"):
        worked(Problem("math-1", "What is 1 + 1?", "2"))
    with pytest.raises(ProblemError, match="expected the question"):
        worked_by_hand(altered)
    with pytest.raises(ProblemError, match="families that are: product"):
        worked_by_hand(load("procedural:power_tower")[0])
