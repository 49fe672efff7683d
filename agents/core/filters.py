"""What is sampled and not learned from: masks over the ids of a trajectory.

A filter takes ids out of the loss and out of its mean. Rewards stay in the baselines of their
group, as in DAPO and SimpleTIR: an episode that was cut is still one that did not succeed.
"""

from collections.abc import Callable, Mapping, Sequence

from agents.core.types import Trajectory

Filter = Callable[[Trajectory], Sequence[int]]
"""Indices of the turns that are not learned from."""


def overlong(t: Trajectory) -> Sequence[int]:
    """All turns of an episode that the length limit cut (DAPO, arXiv 2503.14476, section 3.4).

    Whether it would have been right is unknown; to punish it teaches noise.
    """
    return range(len(t.turns)) if t.stop_reason == "length" else ()


def void_turns(t: Trajectory) -> Sequence[int]:
    """Turns that neither call a tool nor answer (SimpleTIR, arXiv 2509.02479, section 3.3).

    A call that cannot be read, and the last turn of an episode without an answer: a half-written
    program, a repetition, an early end of the sequence. A call past the budget is a whole call.
    """
    return [
        i
        for i, turn in enumerate(t.turns)
        if turn.action_kind == "malformed"
        or (turn.action_kind in ("final", "cut") and t.verdict == "no_answer")
    ]


def void(t: Trajectory) -> Sequence[int]:
    """All turns of an episode with a void turn: SimpleTIR's own choice."""
    return range(len(t.turns)) if void_turns(t) else ()


def failed_turns(t: Trajectory) -> Sequence[int]:
    """Turns whose call failed through the model's own fault; the others are learned from."""
    return [i for i, turn in enumerate(t.turns) if turn.tool_status not in ("", "ok")]


FILTERS: Mapping[str, Filter] = {
    "overlong": overlong,
    "void": void,
    "void_turns": void_turns,
    "failed_turns": failed_turns,
}
"""By the name that `Loss.drop` takes."""


def check_names(names: Sequence[str]) -> None:
    """Whether filters of these names exist and go together.

    Raises:
        ValueError: They do not.
    """
    for name in names:
        if name not in FILTERS:
            raise ValueError(f"drop knows {', '.join(FILTERS)}, got {name!r}")
    if {"void", "void_turns"} <= set(names):
        raise ValueError(
            "drop=void leaves out the whole episode of which drop=void_turns leaves out turns: "
            "choose one"
        )


def learned_mask(t: Trajectory, drop: Sequence[str] = (), oldest: int | None = None) -> list[int]:
    """1 on the ids of a trajectory to learn from, 0 on all others.

    Args:
        t: A row that is not `scorable` teaches nothing at all.
        drop: Names of filters.
        oldest: Version of the weights before which an id was sampled too long ago, where sampling
            and learning overlap.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> t = episode(1.0, failed=True)
        >>> learned_mask(t), learned_mask(t, ["failed_turns"])
        ([1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1])
    """
    mask = list(t.loss_mask) if t.scorable else [0] * len(t.ids)
    # In a tree rollout the trajectory that sampled an id teaches it, for all that share it.
    mask[: t.shared] = [0] * t.shared
    for name in drop:
        for i in FILTERS[name](t):
            turn = t.turns[i]
            mask[turn.start : turn.end] = [0] * (turn.end - turn.start)
    if oldest is not None and t.policy_versions:
        mask = [m * (v >= oldest) for m, v in zip(mask, t.policy_versions, strict=True)]
    return mask


def filtered_share(rows: Sequence[Trajectory], drop: Sequence[str]) -> dict[str, float]:
    """For the metrics: the share of sampled ids that each filter takes out of the loss."""
    scored = [t for t in rows if t.scorable]
    sampled = sum(sum(t.loss_mask) for t in scored)
    return {
        f"dropped_{name}": 1 - sum(sum(learned_mask(t, [name])) for t in scored) / max(1, sampled)
        for name in drop
    }


def row_scale(rows: Sequence[Trajectory], drop: Sequence[str], oldest: int | None = None) -> float:
    """What a mean over responses has to be multiplied by for lost rows to leave it.

    TRL divides by the rows of a batch; those lost to the machine, and those that a filter drops,
    are among them with a mask of zeros. A mean over tokens counts no token of theirs.
    """
    known = sum(any(learned_mask(t, drop, oldest)) for t in rows)
    return len(rows) / known if known else 1.0
