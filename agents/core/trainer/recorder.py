"""What a training leaves behind of each batch: metrics, times, transcripts, solve rates."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from agents.core.rollout.behaviour import behaviour
from agents.core.run.folder import Run
from agents.core.run.transcripts import share_of
from agents.core.trainer import distributed
from agents.core.trainer.alarms import Bell
from agents.core.trainer.collector import Collector
from agents.core.trainer.options import Training
from agents.core.types import Trajectory

_LOG = logging.getLogger(__name__)
_SAMPLER = {
    "sampling/sampling_logp_difference/mean": "logprob_mismatch",
}
"""How far a sampler other than the model itself is from it, where TRL measures that."""
_KEPT = ("loss", "grad_norm", "learning_rate", "num_tokens")


class Recorder:
    """Writes a run's files after the last update of each batch.

    The first process writes what is known of all; each one keeps transcripts of its own episodes.

    Args:
        run: The folder.
        training: Tells the updates of a batch.
    """

    def __init__(self, run: Run, training: Training) -> None:
        self._run, self._training = run, training
        metrics = run.path / "metrics.jsonl"
        self._bell = Bell(training.alarms, run.read_metrics("rl") if metrics.is_file() else ())

    def for_trackers(
        self, state: Any, collected: Collector, extra: Mapping[str, float]
    ) -> dict[str, float]:
        """What trackers get beside TRL's numbers; numbers that are not finite are left out.

        Args:
            state: The trainer's. Before the last update of a batch its numbers are not whole, and
                there are none.
            collected: The batch.
            extra: Numbers of the algorithm and its losses.
        """
        if state.global_step % self._training.optimizer_steps:
            return {}
        numbers = {**dataclasses.asdict(behaviour(collected.sampled)), **extra}
        return {f"torl/{name}": value for name, value in numbers.items() if isfinite(value)}

    def record(
        self,
        state: Any,
        collected: Collector,
        extra: Mapping[str, float],
        seconds: Mapping[str, float],
    ) -> str:
        """Write one line for a batch: TRL's numbers, ToRL's behaviour metrics and `extra`.

        Args:
            state: The trainer's, with TRL's numbers of each update at the end of its history.
            collected: The batch.
            extra: Numbers of the algorithm and its losses.
            seconds: Of the parts of the step.

        Returns:
            Why to stop here, where an alarm rang that does; else nothing.
        """
        per_batch = self._training.optimizer_steps
        if state.global_step % per_batch:
            return ""
        step = state.global_step // per_batch
        self._keep(step, collected)
        if not distributed.is_main():
            return ""
        rows, updates = collected.sampled, state.log_history[-per_batch:]
        # TRL tells what it knows of sampling with the first update alone.
        names = {name for update in updates for name in update}
        from_trl = {name: [u[name] for u in updates if u.get(name) is not None] for name in names}
        numbers = {
            **dataclasses.asdict(behaviour(rows)),
            "reward": _mean([t.reward for t in rows if t.scorable]),
            "entropy": _entropy(rows),
            **{name: _mean(from_trl[name]) for name in _KEPT if name in from_trl},
            "frac_reward_zero_std": _mean([_are_equal(g) for g in collected.groups(collected.all)]),
            **{ours: _mean(from_trl[name]) for name, ours in _SAMPLER.items() if name in from_trl},
            **extra,
        }
        # Others learn where rewards are equal: critics, turns that are paid, branches.
        if numbers["frac_reward_zero_std"] == 1.0 and not numbers["grad_norm"]:
            _LOG.warning(
                "step %d teaches nothing: in each of its groups all rewards are equal, %g on "
                "average",
                *(step, numbers["reward"]),
            )
        self._run.add_metrics(step, "rl", numbers)
        took = sum(from_trl.get("step_time", ()))
        self._run.add_timing(step, "rl", {**seconds, "seconds": took})
        self._run.add_solve_rates(step, collected.epochs, rows)
        rung = self._bell.look(numbers)
        for name, cause in rung.items():
            _LOG.warning("step %d, alarm %s: %s", step, name, cause)
        stops = self._training.alarms.action == "stop"
        return "; ".join(f"alarm {name}: {cause}" for name, cause in rung.items() if stops)

    def _keep(self, step: int, collected: Collector) -> None:
        """Transcripts of this process's share, the first problems: their order is random."""
        training, rank = self._training, distributed.rank()
        size = training.group_size
        groups = share_of(training.transcripts, size, rank, distributed.world_size())
        replayed = collected.replayed or [False] * len(collected.own)
        own = [t for t, old in zip(collected.own, replayed, strict=True) if not old]
        kept = own[: groups * size]
        self._run.write_transcripts(step, rank, kept)
        names = {(t.problem_id, t.sample) for t in kept}
        branches = [t for t in collected.branches if (t.problem_id, t.sample) in names]
        self._run.write_branches(step, rank, branches)


def _entropy(rows: Sequence[Trajectory]) -> float:
    """Nats a sampled id: the mean of -log p over all of them, an unbiased estimate.

    TRL's own number covers the rows of its passes, and those that teach nothing are left out of
    these: it would rise and fall with the share of such rows.
    """
    return _mean(
        [
            -p
            for t in rows
            if t.scorable
            # What an answer of a tree shares was sampled by an earlier one.
            for p, sampled in zip(t.logprobs[t.shared :], t.loss_mask[t.shared :], strict=True)
            if sampled
        ]
    )


def _are_equal(group: Sequence[Trajectory]) -> bool:
    """Whether all rewards of a group that count are one."""
    return len({t.reward for t in group if t.scorable}) < 2


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
