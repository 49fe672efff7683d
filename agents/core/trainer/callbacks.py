"""What happens between the trainer's steps: checkpoints, progress, auxiliary modules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from agents.core.run.folder import COMPLETE
from agents.core.run.progress import Progress
from agents.core.trainer import distributed


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Saves after the last step and marks whole checkpoints: a resume never reads half of one.

    Args:
        save_own: Writes what the library's trainer knows nothing of into a checkpoint's folder.
    """

    def __init__(self, save_own: Callable[[Path], None]) -> None:
        self._save_own = save_own

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Ask for a save after the last step."""
        if state.global_step >= state.max_steps:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Mark the checkpoint as whole, once every process has written its part."""
        distributed.barrier()
        if distributed.is_main():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._save_own(folder)
            (folder / COMPLETE).touch()


class Steps(TrainerCallback):  # type: ignore[misc]
    """Tells the progress display of each batch and stops after the running one when asked to."""

    def __init__(self, progress: Progress, per_batch: int) -> None:
        self._progress = progress
        self._per_batch = per_batch
        self._reward = float("nan")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: object) -> None:
        """Move the display."""
        if not logs or "loss" not in logs:
            return
        # TRL tells it with the first update of a batch.
        self._reward = logs.get("reward", self._reward)
        if state.global_step % self._per_batch == 0:
            self._progress.advance(1, reward=self._reward)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Save and stop when asked to, in all processes after the same step."""
        if state.global_step % self._per_batch:
            return
        if distributed.maximum(int(self._progress.interrupted)):
            control.should_save = control.should_training_stop = True


class AuxiliarySteps(TrainerCallback):  # type: ignore[misc]
    """Steps the algorithm's auxiliary module together with the policy."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Step."""
        if self._trainer.auxiliary is not None:
            self._trainer.auxiliary.step(self._trainer.accelerator)
