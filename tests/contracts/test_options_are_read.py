"""An option that no code reads does not exist: every field of every algorithm is read in a step."""

import dataclasses

import pytest
import torch

from agents.core.algorithm import Algorithm
from agents.core.loss import Loss
from agents.core.testing.learning import step
from agents.grpo import GRPO, GTPO
from torl.algorithms import ALGORITHMS
from torl_env.loading import load_object

KINDS = sorted({load_object(path, "x") for path in ALGORITHMS.values()}, key=lambda k: k.__name__)
FIXED = {(GTPO, "baseline"): "leave_one_out"}
"""Inherited fields with one value that is allowed, and one that is refused."""
torch.set_num_threads(1)


def read_in_a_step(kind):
    """The fields of the algorithm and of its loss that a step reads, checks of values apart."""
    seen, made = set(), []

    def recording(of):
        names = {item.name for item in dataclasses.fields(of)}

        def read(self, name):
            if made and name in names:
                seen.add((of, name))
            return of.__getattribute__(self, name)

        # A checkpoint holds all fields, whether or not they are read.
        body = {"__getattribute__": read, "__slots__": (), "state_dict": lambda self: {}}
        return type(of.__name__, (of,), body)

    algorithm = recording(kind)(loss=recording(Loss)())
    made.append(algorithm)
    step(algorithm)
    return seen


def unread(kind):
    every = {(of, item.name) for of in (kind, Loss) for item in dataclasses.fields(of)}
    return every - read_in_a_step(kind) - FIXED.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_an_algorithm_is_read(kind):
    assert unread(kind) == set()


def test_an_option_that_nobody_reads_is_found():
    @dataclasses.dataclass(frozen=True, slots=True)
    class Idle(GRPO):
        patience: int = 3

    assert unread(Idle) == {(Idle, "patience")}


@pytest.mark.parametrize(("kind", "name"), FIXED)
def test_an_option_with_one_value_refuses_others(kind, name):
    with pytest.raises(ValueError, match=f"{name}="):
        kind(**{name: FIXED[kind, name]})


def credit(self, groups):
    return [[t.reward] * len(t.ids) for group in groups for t in group]


@dataclasses.dataclass(frozen=True)
class Field(Algorithm):
    """Without slots, with a default that only a factory makes."""

    loss: Loss = dataclasses.field(default_factory=lambda: Loss(nll=0.5))
    resample: int = 2
    assign_credit = credit


class Plain(Algorithm):
    """No dataclass."""

    branches = False
    assign_credit = credit

    def __init__(self, nll=0.5):
        self.loss, self.resample = Loss(nll=nll), 2


@pytest.mark.parametrize("kind", [Field, Plain])
def test_an_algorithm_of_ones_own_may_set_what_the_base_has_a_default_for(kind):
    own = kind()
    assert (own.loss, own.resample) == (Loss(nll=0.5), 2)
    assert (own.least_group_size, own.branches, own.shaping) == (1, False, ())
    moved, numbers = step(own)
    assert moved > 0
    assert "loss_nll" in numbers
