"""The easy families: answers against their own programs, splits, ids, reproducibility."""

import contextlib
import io

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
)

EASY = [family for family in FAMILIES.values() if family.group is Group.EASY]


def run(code: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue().strip()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", EASY, ids=lambda family: family.name)
def test_the_reference_program_prints_the_answer(family, level):
    for split in Split:
        for index in range(6):
            problem = generate(Coordinates(family.name, level, split, index))
            solution = worked(problem)
            assert run(solution.code) == problem.answer
            assert len(solution.code.splitlines()) <= 6
            assert solution.plan


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
