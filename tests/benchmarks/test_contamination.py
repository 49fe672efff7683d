"""Overlap with held-out suites: on made-up texts, and against counts of the real sets."""

from pathlib import Path

import pytest

from benchmarks.heldout.contamination import Overlap, contamination, grams
from torl_env.problems import Listed, Problem, load

SHARED = Path(__file__).parents[3] / "shared" / "data"
WORDS = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(10) for j in range(10)]
TEXT = " ".join(WORDS[:40])


def suite(*texts):
    return {"suite": Listed("suite", [Problem(f"t{i}", t, "1") for i, t in enumerate(texts)])}


def only(train_text, heldout_text=TEXT, answer="1"):
    result = contamination([Problem("r", train_text, answer)], suite(heldout_text))
    return result.hits[0] if result.hits else None


def test_a_copy_is_exact_whatever_its_mark_up():
    hit = only("  $" + TEXT.upper().replace(" ", "  ") + "$.", answer="2")
    assert (hit.overlap, hit.share, hit.same_answer) == (Overlap.EXACT, 1.0, False)


def test_a_reworded_copy_is_near_and_a_shared_sentence_is_some():
    near = " ".join([*WORDS[:35], *WORDS[60:70]])
    some = " ".join([*WORDS[:14], *WORDS[60:90]])
    assert only(near).overlap is Overlap.NEAR
    assert only(some).overlap is Overlap.SOME
    assert only(some).share == pytest.approx(2 / 28)
    assert only(" ".join([*WORDS[:12], *WORDS[60:90]])) is None


def test_a_short_text_is_one_gram_from_eight_words_on():
    assert [len(grams(" ".join(WORDS[:count]))) for count in (7, 8, 12, 13, 14)] == [0, 1, 1, 1, 2]


def test_a_phrase_that_many_problems_share_is_no_overlap():
    phrase = " ".join(WORDS[:13])
    crowd = [Problem(f"r{i}", f"{phrase} {WORDS[50 + i]}", "1") for i in range(30)]
    assert not contamination(crowd, suite(f"{phrase} other")).hits
    assert contamination(crowd[:10], suite(f"{phrase} other")).hits


@pytest.mark.parametrize("copies", [10, 24, 40])
def test_many_copies_of_a_problem_do_not_make_a_phrase_of_it(copies):
    crowd = [
        Problem(f"r{i}", " ".join([*WORDS[:36], f"n{i}", *WORDS[37:40]]), "1")
        for i in range(copies)
    ]
    result = contamination(crowd, suite(TEXT))
    assert result.leaked("suite") == 1
    assert len(result.train_ids()) == copies


def test_short_questions_are_compared_whole():
    assert not grams("What is 1 + 1?")
    short = "How many primes are below 300 and above 20?"
    assert only(short, short).overlap is Overlap.EXACT


def test_leaks_are_what_a_training_set_must_lose():
    train = [Problem("copy", TEXT, "1"), Problem("fine", " ".join(WORDS[50:90]), "1")]
    result = contamination(train, suite(TEXT, "another question"))
    assert result.train_ids() == {"copy"}
    assert result.leaked("suite") == 1
    assert result.suites == {"suite": 2}


@pytest.mark.parametrize(
    ("train", "heldout", "exact", "copies"),
    [
        ("limr_1389", "math500", 0, 4),
        ("limr_1389", "olympiadbench", 1, 1),
        ("math_12k_train", "math500", 0, 28),
        pytest.param("deepscaler_20k", "math500", 4, 11, marks=pytest.mark.long),
        ("gsm8k_train", "gsm8k_test", 0, 1),
    ],
)
def test_the_real_sets(train, heldout, exact, copies):
    files = [SHARED / "train" / f"{train}.jsonl", SHARED / "heldout" / f"{heldout}.jsonl"]
    if not all(file.exists() for file in files):
        pytest.skip(f"{SHARED} is not here")
    result = contamination(load(str(files[0])), {heldout: load(str(files[1]))})
    assert result.leaked(heldout, Overlap.EXACT) == exact
    assert result.leaked(heldout) == copies
