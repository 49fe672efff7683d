"""What holds for every family: wordings, splits, reproducibility, answers no guess finds."""

import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torl_env.problems import ProblemError, load
from torl_env.problems.procedural import (
    FAMILIES,
    LEVELS,
    Coordinates,
    Group,
    Split,
    generate,
    split_of,
)

CONTEST = [name for name, family in FAMILIES.items() if family.group is not Group.EASY]


def test_thirty_seven_contest_families_of_which_seven_are_never_trained_on():
    assert len(CONTEST) == 37
    assert sum(family.group is Group.TRANSFER for family in FAMILIES.values()) == 7
    subjects = {f.subject for f in FAMILIES.values() if f.group is Group.TRANSFER}
    assert len(subjects) == 7


@pytest.mark.parametrize("name", FAMILIES)
def test_all_wordings_of_a_problem_differ_and_stand_on_one_side(name):
    family = FAMILIES[name]
    for level in LEVELS:
        for seed in range(15):
            wordings = family.draw(Random(seed), level).wordings
            assert len(set(wordings)) == len(wordings) >= 4
            assert len({split_of(text) for text in wordings}) == 1, wordings
            assert not [text for text in wordings if text != text.strip() or "  " in text]
            assert all(text.count("$") % 2 == 0 and text[-1] in ".?" for text in wordings)


@pytest.mark.parametrize("level", LEVELS)
def test_a_walk_by_twos_says_where_the_step_before_the_end_leads(level):
    """ "Never beyond" could mean that it stays; then the probability is another."""
    drawn = FAMILIES["absorbing_walk"].draw(Random(1), level)
    for text in drawn.wordings:
        assert ("two (by one where two would lead beyond" in text) == (level >= 4)
        assert ("one (but never beyond" in text) == (level < 4)


@pytest.mark.parametrize("name", FAMILIES)
def test_problems_are_pure_functions_of_their_id_and_stand_on_their_side(name):
    for level in LEVELS:
        for split in Split:
            problem = generate(Coordinates(name, level, split, 3))
            generate.cache_clear()
            assert generate(Coordinates.parse(problem.id)) == problem
            assert split_of(problem.question) is split
            assert str(int(problem.answer)) == problem.answer
            assert problem.level == str(level)


@pytest.mark.parametrize("name", CONTEST)
def test_no_constant_guess_scores_at_levels_two_to_five(name):
    for level in LEVELS[1:]:
        answers = [
            generate(Coordinates(name, level, Split.TRAIN, index)).answer for index in range(16)
        ]
        assert Counter(answers).most_common(1)[0][1] <= 4, answers


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.sampled_from(LEVELS), st.integers(0, 10**9))
def test_any_index_gives_a_problem_on_the_right_side(name, level, index):
    for split in Split:
        problem = generate(Coordinates(name, level, split, index))
        assert split_of(problem.question) is split


def test_no_held_out_question_is_in_train():
    """By construction (`split_of`); here checked on the easy mix, where spaces are small."""
    train = {problem.question for problem in load("procedural:easy").head(4000)}
    heldout = {problem.question for problem in load("procedural:easy", split="heldout")}
    assert not train & heldout
    assert len(heldout) > 850


def test_another_process_makes_the_same_problems():
    code = (
        "from torl_env.problems import load\n"
        "import hashlib\n"
        "s = [*load('procedural').head(190), *load('procedural:transfer').head(35)]\n"
        "print(hashlib.sha256(repr(s).encode()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "77")
    }
    assert len(runs) == 1


def test_the_transfer_group_has_no_train_split():
    assert load("procedural:transfer")[0].split == "heldout"
    assert not {p.subject for p in load("procedural").head(400)} & {
        name for name, family in FAMILIES.items() if family.group is Group.TRANSFER
    }
    for name in ("procedural:transfer", "procedural:necklaces", "procedural:gcd,necklaces"):
        with pytest.raises(ProblemError, match="held out as a whole"):
            load(name, split="train")


@pytest.mark.parametrize(
    ("name", "families", "levels"),
    [
        ("procedural", 38, set("12345")),
        ("procedural:easy", 8, set("12345")),
        ("procedural:contest", 30, set("12345")),
        ("procedural:gcd", 1, set("12345")),
        ("procedural:L2", 38, set("2")),
        ("procedural:easy:L1-3", 8, set("123")),
        ("procedural:gcd,product:L4-L5", 2, set("45")),
    ],
)
def test_the_grammar_selects(name, families, levels):
    source = load(name)
    assert source.name == name
    problems = list(source.head(families * len(levels)))
    assert len({problem.subject for problem in problems}) == families
    assert {problem.level for problem in problems} == levels


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("procedural:gdc", None, "Did you mean gcd"),
        ("procedural:L6", None, "levels: L1 to L5"),
        ("procedural:L3-1", None, "low to high"),
        ("procedural:easy", "test", "expected split 'train' or 'heldout', got 'test'"),
    ],
)
def test_the_grammar_refuses_with_a_remedy(name, split, message):
    with pytest.raises(ProblemError, match=message):
        load(name, split)
