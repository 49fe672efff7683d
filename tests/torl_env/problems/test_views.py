"""Lazy views: laziness, order, identity of problems."""

import os
import pickle
import signal
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torl_env.problems import Listed, Problem, ProblemError, Source, load, mix
from torl_env.problems.permutation import Permutation
from torl_env.problems.procedural import generate


def numbers(count, name="numbers"):
    return Listed(name, [Problem(f"{name}-{i}", f"What is {i} + 0?", str(i)) for i in range(count)])


class Counting(Source):
    """A source that counts how many problems it made."""

    name = "counting"

    def __init__(self, size):
        self.size, self.made = size, 0

    def __len__(self):
        return self.size

    def at(self, index):
        self.made += 1
        return Problem(str(index), f"What is {index} + 0?", str(index))

    def position(self, problem_id):
        return int(problem_id)


@given(st.integers(1, 3000), st.integers())
def test_a_permutation_is_a_bijection_with_an_inverse(size, seed):
    order = Permutation(size, seed)
    places = range(0, size, max(1, size // 50))
    images = [order.forward(i) for i in places]
    assert len(set(images)) == len(images)
    assert all(0 <= image < size for image in images)
    assert [order.inverse(image) for image in images] == list(places)


def test_a_permutation_reaches_everything_and_depends_on_the_seed():
    orders = [[Permutation(1000, seed).forward(i) for i in range(1000)] for seed in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(1000))
    assert orders[0] != orders[1]
    assert sum(i == v for i, v in enumerate(orders[0])) < 10


def test_a_shuffle_is_pinned():
    """Golden order: another Python or machine must shuffle alike."""
    assert [p.answer for p in numbers(10).shuffle(7)] == GOLDEN_ORDER


GOLDEN_ORDER = ["2", "4", "6", "0", "8", "7", "3", "5", "1", "9"]


def test_views_of_a_million_problems_cost_nothing():
    generate.cache_clear()
    tracemalloc.start()
    source = load("procedural:easy").shuffle(3)
    some = source.where(lambda p: p.level == "3").head(20)
    assert len(source) == 1_000_000
    assert [p.level for p in some] == ["3"] * 20
    assert len(some) == 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert generate.cache_info().misses < 300
    assert peak < 3_000_000


def test_where_reads_no_further_than_it_must():
    base = Counting(10**9)
    view = base.where(lambda p: int(p.answer) % 10 == 0).head(3)
    assert [p.answer for p in view] == ["0", "10", "20"]
    assert base.made < 40


def test_a_fork_in_the_middle_of_a_scan_leaves_the_child_a_view_of_its_own():
    parent, reading, go_on = os.getpid(), threading.Event(), threading.Event()

    def even(problem):
        if os.getpid() == parent and problem.id == "numbers-5":
            reading.set()
            go_on.wait(30)
        return int(problem.answer) % 2 == 0

    view = numbers(10).where(even)
    thread = threading.Thread(target=len, args=(view,))
    thread.start()
    reading.wait()
    child = os.fork()
    if child == 0:
        # A child that waits for the thread of its parent would wait for ever.
        signal.alarm(20)
        os._exit(0 if [p.answer for p in view] == ["0", "2", "4", "6", "8"] else 1)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(view) == 5


def test_views_keep_ids_and_find():
    base = numbers(50)
    for view in (
        base.shuffle(5),
        base.head(30),
        base.where(lambda p: int(p.answer) > 12),
        base.shuffle(1).where(lambda p: int(p.answer) % 2 == 0).head(9),
        mix(base.head(20), numbers(30, "others"), weights=(1, 2)).shuffle(4),
    ):
        for index, problem in enumerate(view):
            assert view[index] == problem == view.find(problem.id)
            assert view.position(problem.id) == index
        assert len(list(view)) == len(view)
        assert view[-1] == view[len(view) - 1]
        with pytest.raises(IndexError):
            view[len(view)]
        with pytest.raises(IndexError):
            view[-len(view) - 1]
        with pytest.raises(ProblemError, match="nobody"):
            view.find("nobody")


def test_find_of_a_problem_that_a_view_left_out_fails():
    base = numbers(50)
    for view in (base.head(10), base.where(lambda p: p.answer == "3")):
        with pytest.raises(ProblemError, match="numbers-40"):
            view.find("numbers-40")


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_a_plain_mix_holds_everything_once(sizes):
    parts = [numbers(size, f"part{i}") for i, size in enumerate(sizes)]
    mixed = mix(*parts)
    assert sorted(p.id for p in mixed) == sorted(p.id for part in parts for p in part)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_a_weighted_mix_keeps_its_proportion_in_every_prefix(a, b, c):
    parts = [numbers(60, name) for name in ("x", "y", "z")]
    weights = dict(zip("xyz", (a, b, c), strict=True))
    mixed = list(mix(*parts, weights=(a, b, c)))
    assert len({p.id for p in mixed}) == len(mixed)
    for name, weight in weights.items():
        for end in range(1, len(mixed) + 1):
            held = sum(p.id.startswith(name) for p in mixed[:end])
            assert abs(held - end * weight / (a + b + c)) < 2
    assert max(sum(p.id.startswith(n) for p in mixed) for n in "xyz") >= 59


def test_a_mix_refuses_an_ambiguous_id():
    one = Listed("one", [Problem("7", "What is 1 + 1?", "2")])
    two = Listed("two", [Problem("7", "What is 2 + 2?", "4")])
    with pytest.raises(ProblemError, match="two different problems"):
        one.mix(two).find("7")


def test_mix_refuses_wrong_weights():
    with pytest.raises(ProblemError, match="2 positive integer weights"):
        mix(numbers(2), numbers(3), weights=(1,))
    with pytest.raises(ProblemError, match="at least one"):
        mix()


def test_without_compares_questions_and_not_their_spelling():
    ours = Listed("ours", [Problem("a", "Find $x + 1$.", "1"), Problem("b", "Find $x - 1$.", "2")])
    theirs = Listed("theirs", [Problem("c", "find  $x\\,+\\,1$", "1")])
    assert [p.id for p in ours.without(theirs)] == ["b"]


def test_sources_pickle_with_what_they_have_scanned():
    view = load("procedural:gcd").shuffle(2).head(40).without(numbers(4))
    assert view[3].id == pickle.loads(pickle.dumps(view))[3].id


def test_listed_refuses_two_problems_of_one_id():
    with pytest.raises(ProblemError, match="'a' occurs twice"):
        Listed("x", [Problem("a", "1?", "1"), Problem("a", "2?", "2")])


@pytest.mark.parametrize("fields", [("a", "1 + 1?", 2), ("a", None, "2"), (1, "1 + 1?", "2")])
def test_a_problem_is_of_texts(fields):
    """An answer that is a number ended in the grader, at the end of an episode."""
    with pytest.raises(ProblemError, match="expected a text as"):
        Problem(*fields)
