"""The optional source over the package `reasoning-gym`."""

import importlib.util

import pytest

from torl_env.problems import ProblemError, load
from torl_env.problems.reasoning_gym import FAMILIES

INSTALLED = importlib.util.find_spec("reasoning_gym") is not None


@pytest.mark.skipif(not INSTALLED, reason="reasoning-gym is not installed")
def test_its_problems_are_reproducible_and_split():
    train, heldout = (load("reasoning_gym", split).head(64) for split in ("train", "heldout"))
    assert [p.id for p in train.head(2)] == ["rg_basic_arithmetic-train-0", "rg_chain_sum-train-0"]
    assert {p.subject for p in train} == set(FAMILIES)
    assert list(train) == list(load("reasoning_gym").head(64))
    assert not {p.question for p in train} & {p.question for p in heldout}
    assert train.find(train[77].id) == train[77]


@pytest.mark.skipif(INSTALLED, reason="reasoning-gym is installed")
def test_without_the_package_the_message_says_how_to_get_it():
    with pytest.raises(ProblemError, match="pip install 'torl-gym\\[reasoning\\]'"):
        load("reasoning_gym:gcd")


def test_families_without_a_plain_number_are_refused():
    with pytest.raises(ProblemError, match="Did you mean count_primes"):
        load("reasoning_gym:count_prime")
    with pytest.raises(ProblemError, match="'countdown'"):
        load("reasoning_gym:countdown")
