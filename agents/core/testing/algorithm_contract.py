"""What every `Algorithm` must do, as checks that anybody can run on an algorithm of their own.

    @pytest.mark.parametrize("check", ALGORITHM_CHECKS)
    def test_my_algorithm(check):
        ALGORITHM_CHECKS[check](MyAlgorithm)

A check takes what makes a fresh algorithm and raises `AssertionError` with what was expected.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite

from agents.core.algorithm import Algorithm, Group
from agents.core.loss import Loss
from agents.core.types import Trajectory, Turn

Make = Callable[[], Algorithm]


def episode(
    reward: float, *, ids: int = 6, failed: bool = False, scorable: bool = True, sample: int = 0
) -> Trajectory:
    """An episode with one call, tool output in its middle, and this reward.

    Example:
        >>> episode(1.0, ids=6).loss_mask
        (1, 1, 0, 0, 1, 1)
    """
    first, last = ids // 3, ids - ids // 3
    call = Turn("a", "b", 0, first, "tool", "error" if failed else "ok", "", 0.0)
    answer = Turn("c", "", last, ids, "final", "", "", reward)
    mask = (1,) * first + (0,) * (last - first) + (1,) * (ids - last)
    return Trajectory(
        problem_id="p",
        prompt_ids=(1, 2),
        ids=tuple(range(3, 3 + ids)),
        loss_mask=mask,
        logprobs=tuple(-0.5 * m for m in mask),
        turns=(call, answer),
        reward=reward,
        verdict="correct" if reward > 0 else "wrong",
        answer="",
        tool_calls=1,
        tool_errors=int(failed),
        stop_reason="final",
        truncated=False,
        scorable=scorable,
        infra_error="" if scorable else "lost",
        sample=sample,
    )


def groups() -> list[Group]:
    """Two problems, four samples each: mixed rewards, failed calls, a lost row, other lengths."""
    first = [episode(1.0), episode(-1.0, ids=9), episode(-1.0, failed=True), episode(1.0, ids=12)]
    second = [episode(1.0, scorable=False), episode(1.0), episode(-1.0), episode(-1.0, ids=3)]
    return [[replace(t, sample=i) for i, t in enumerate(group)] for group in (first, second)]


def _credit(make: Make, batch: Sequence[Group]) -> list[list[list[float]]]:
    """Credit by group; checks its shape."""
    credit = make().assign_credit(batch)
    rows = [t for group in batch for t in group]
    assert len(credit) == len(rows), f"expected {len(rows)} lists of credit, got {len(credit)}"
    for given, row in zip(credit, rows, strict=True):
        assert len(given) == len(row.ids), (
            f"expected a number for each of {len(row.ids)} ids, got {len(given)}"
        )
        assert all(map(isfinite, given)), f"credit is finite, got {given}"
    parts = iter(credit)
    return [[list(next(parts)) for _ in group] for group in batch]


def credit_has_a_number_for_each_id(make: Make) -> None:
    """P x G lists, as long as the trajectories, of finite numbers; the loss is a `Loss`."""
    _credit(make, groups())
    assert isinstance(make().loss, Loss), f"expected a Loss, got {make().loss!r}"


def lost_rows_teach_nothing(make: Make) -> None:
    """A row that is not scorable gets zeros, and its reward changes no credit."""
    batch = groups()
    credit = _credit(make, batch)
    assert not any(credit[1][0]), f"a lost row gets zeros, got {credit[1][0]}"
    lost = replace(batch[1][0], reward=-100.0)
    other = _credit(make, [batch[0], [lost, *batch[1][1:]]])
    assert _near(credit, other), "the reward of a lost row changed the credit of others"
    all_lost = [[replace(t, scorable=False) for t in group] for group in batch]
    assert not any(c for g in _credit(make, all_lost) for row in g for c in row)


def equal_rewards_stay_finite(make: Make) -> None:
    """All right, all wrong, all calls failed: finite credit, no division by zero."""
    for reward in (1.0, 0.0, -1.0):
        for failed in (False, True):
            _credit(make, [[episode(reward, failed=failed) for _ in range(4)]])


def order_changes_nothing(make: Make) -> None:
    """Credit follows its row when the rows of a group, or the groups, come in another order."""
    batch = groups()
    credit = _credit(make, batch)
    turned = _credit(make, [list(reversed(group)) for group in reversed(batch)])
    back = [list(reversed(group)) for group in reversed(turned)]
    assert _near(credit, back), "another order of the same rows gave other credit"


def more_reward_is_no_less_credit(make: Make) -> None:
    """Within a group of equal lengths, credit does not fall as reward rises."""
    rewards = (-1.0, -0.5, 0.5, 1.0)
    (credit,) = _credit(make, [[episode(r, sample=i) for i, r in enumerate(rewards)]])
    sums = [sum(row) for row in credit]
    ordered = all(a <= b + 1e-9 for a, b in pairwise(sums))
    assert ordered, f"rewards {rewards} were credited {sums}"


def the_report_is_numbers(make: Make) -> None:
    """What an algorithm reports can be written as JSON."""
    algorithm = make()
    algorithm.assign_credit(groups())
    report = dict(algorithm.report(groups()))
    json.dumps(report, allow_nan=False)
    assert all(isinstance(name, str) for name in report)


def it_takes_a_step(make: Make) -> None:
    """In the real trainer, on a tiny model: weights move, and every logged loss is finite."""
    from agents.core.testing.learning import step

    moved, numbers = step(make())
    assert moved > 0, "no weight moved though rewards differ"
    losses = {name: value for name, value in numbers.items() if name.startswith("loss")}
    assert losses, "no loss was logged"
    assert all(value is not None for value in losses.values()), f"not finite: {losses}"


def passes_change_nothing(make: Make) -> None:
    """The gradient is the same in one pass over the batch and in four."""
    from agents.core.testing.learning import step

    norms = [step(make(), micro_batch=size)[1]["grad_norm"] for size in (8, 2)]
    assert abs(norms[0] - norms[1]) <= 1e-3 * abs(norms[0]) + 1e-7, (
        f"gradient norms {norms[0]} and {norms[1]}: take means with Batch.mean"
    )


def _near(a: Sequence[Sequence[Sequence[float]]], b: Sequence[Sequence[Sequence[float]]]) -> bool:
    return all(
        abs(x - y) < 1e-6
        for one, other in zip(a, b, strict=True)
        for left, right in zip(one, other, strict=True)
        for x, y in zip(left, right, strict=True)
    )


ALGORITHM_CHECKS: Mapping[str, Callable[[Make], None]] = {
    check.__name__: check
    for check in (
        credit_has_a_number_for_each_id,
        lost_rows_teach_nothing,
        equal_rewards_stay_finite,
        order_changes_nothing,
        more_reward_is_no_less_credit,
        the_report_is_numbers,
        it_takes_a_step,
        passes_change_nothing,
    )
}
"""All checks by name; the last two need torch and TRL and take seconds."""
