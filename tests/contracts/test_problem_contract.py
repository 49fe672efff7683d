"""What every problem source promises, whichever it is: one suite for all."""

import pickle
from collections.abc import Callable

import pytest

from torl_env.problems import Listed, Problem, ProblemError, ProblemSource, Source, load, mix
from torl_env.problems.procedural import ProceduralSource


def _listed(name: str = "listed", count: int = 30) -> Listed:
    rows = [Problem(f"{name}-{i}", f"What is {i} + {i}?", str(2 * i)) for i in range(count)]
    return Listed(name, rows)


def _even(problem: Problem) -> bool:
    return int(problem.answer) % 2 == 0


SOURCES: dict[str, Callable[[], Source]] = {
    "listed": _listed,
    "empty": lambda: _listed(count=0),
    "procedural": lambda: load("procedural:easy"),
    "heldout": lambda: load("procedural:transfer"),
    "seeded": lambda: ProceduralSource(["gcd", "partitions"], (1, 3), size=40, seed=9),
    "head": lambda: load("procedural:easy").head(25),
    "shuffle": lambda: load("procedural").shuffle(4),
    "where": lambda: load("procedural:easy").head(60).where(_even),
    "mix": lambda: mix(_listed("a"), load("procedural:gcd").head(45), weights=(2, 1)),
    "without": lambda: _listed("b", 40).without(_listed("a", 10)),
}


@pytest.fixture(params=SOURCES)
def source(request):
    return SOURCES[request.param]()


def test_it_is_a_problem_source(source):
    assert isinstance(source, ProblemSource)
    assert source.name


def test_iteration_indexing_and_length_agree(source):
    first = list(source.head(12))
    assert len(first) == min(12, len(source))
    assert [source[i] for i in range(len(first))] == first
    assert next(iter(source), None) == (first[0] if first else None)
    if first:
        assert source[-1] == source[len(source) - 1]
    for index in (len(source), -len(source) - 1):
        with pytest.raises(IndexError):
            source[index]


def test_ids_are_distinct_and_found(source):
    first = list(source.head(12))
    assert len({problem.id for problem in first}) == len(first)
    assert [source.find(problem.id) for problem in first] == first
    with pytest.raises(ProblemError):
        source.find("no such id")


def test_problems_are_complete(source):
    for problem in source.head(12):
        assert problem.id
        assert problem.question.strip()
        assert problem.answer.strip()


def test_the_same_source_gives_the_same_problems(source, request):
    again = SOURCES[request.node.callspec.params["source"]]()
    assert list(source.head(12)) == list(again.head(12))
    assert list(source.shuffle(3).head(5)) == list(again.shuffle(3).head(5))


def test_views_hold_problems_of_the_source(source):
    for view in (source.shuffle(1), source.where(_even), source.without(_listed("x", 3))):
        for problem in view.head(5):
            assert source.find(problem.id) == problem == view.find(problem.id)


def test_it_travels_to_another_process(source):
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.head(5)) == list(source.head(5))
