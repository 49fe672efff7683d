"""One step of a trainer, timed."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from agents.core.types import Trajectory
from benchmarks.performance.measuring import Cost
from torl_env.problems.types import Problem


class Clock:
    """Seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count what this method takes from now on."""
        inner = getattr(owner, method)

        @wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **options)
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        setattr(owner, method, timed)


class Step:
    """One step of a trainer, again and again.

    Args:
        trainer: A `GRPOTrainer`; its weights move, which changes no time.
        begin: Called before each step.
    """

    def __init__(self, trainer: Any, begin: Callable[[], None] = lambda: None) -> None:
        from transformers import PrinterCallback

        from agents.core.trainer.callbacks import Checkpoints

        self.trainer, self._begin = trainer, begin
        trainer.args.save_strategy = "no"
        for callback in (PrinterCallback, Checkpoints):
            trainer.remove_callback(callback)
        trainer.add_callback(self._stopwatch())
        self._cost = Cost(0.0, 0.0)

    def _stopwatch(self) -> Any:
        from transformers import TrainerCallback

        step = self

        class Stopwatch(TrainerCallback):  # type: ignore[misc]
            """Times from before the rollout to after the optimiser's step."""

            start = Cost(0.0, 0.0)

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.start = Cost(time.perf_counter(), time.process_time())

            def on_step_end(self, *_: Any, **__: Any) -> None:
                step._cost = Cost(
                    time.perf_counter() - self.start.wall, time.process_time() - self.start.cpu
                )

        return Stopwatch()

    def run(self) -> Cost:
        """Take a step."""
        self._begin()
        self.trainer.train()
        return self._cost


class OurStep(Step):
    """A step of ours, with its sampler at hand."""

    def __init__(self, trainer: Any, sampler: Any) -> None:
        super().__init__(trainer)
        self.sampler = sampler

    @property
    def rows(self) -> list[Trajectory]:
        """Trajectories of the last step."""
        rows: list[Trajectory] = self.sampler.rows
        return rows


def recording(rollout: Any, copy: Any) -> Any:
    """Our sampler; `rows` are the trajectories of its last batch."""
    from agents.core.trainer.weight_sync import CopySampler

    made = rollout

    class Recording(CopySampler):
        """Ours, with a memory."""

        rows: Sequence[Trajectory] = ()
        rollout = made

        def collect(
            self, problems: Sequence[Problem], group_size: int, seed: int
        ) -> list[Trajectory]:
            found = super().collect(problems, group_size, seed)
            self.rows = found
            return found

    return Recording(rollout, copy)
