"""The space of all text."""

import copy
import pickle

from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st

from torl_env import Unicode


@settings(deadline=None)
@given(st.text())
def test_every_string_is_in_it(text: str) -> None:
    assert text in Unicode()
    assert "\ud800\x00\n" in Unicode()


def test_nothing_else_is() -> None:
    for other in (b"text", 3, None, ["a"]):
        assert other not in Unicode()


def test_samples_follow_the_seed() -> None:
    space = Unicode(sample_length=9)
    space.seed(4)
    first = [space.sample() for _ in range(5)]
    space.seed(4)
    assert first == [space.sample() for _ in range(5)]
    assert all(1 <= len(sample) <= 9 for sample in first)
    assert len(set(first)) > 1


def test_copies_have_a_stream_of_their_own() -> None:
    space = Unicode(seed=1)
    twin, stored = copy.deepcopy(space), pickle.loads(pickle.dumps(space))
    assert twin.sample() == space.sample() == stored.sample()
    assert twin == space
    batched = batch_space(Unicode(), 3)
    batched.seed(0)
    assert len(set(batched.sample())) == 3


def test_json_round_trip() -> None:
    space = Unicode()
    assert space.from_jsonable(space.to_jsonable(["a", "π"])) == ["a", "π"]
