"""What a checkpoint holds that the library's trainer knows nothing of."""

from pathlib import Path

import torch

from agents.core.algorithm import Algorithm
from agents.core.trainer.auxiliary_module import AuxiliaryModule
from agents.core.trainer.collector import Collector
from agents.core.trainer.reference import ReferenceReset

ALGORITHM = "algorithm.pt"
"""What `Algorithm.state_dict` returned."""
SAMPLING = "sampling.pt"
"""And `Collector.state_dict`: solve rates of a curriculum, and answers to replay."""


class OwnState:
    """Saved with each checkpoint and loaded by a resumed run.

    Args:
        algorithm: Has a state of its own, such as a running baseline.
        collector: As above.
        parts: Those a run has, each with a file of its own.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        collector: Collector,
        *parts: AuxiliaryModule | ReferenceReset | None,
    ) -> None:
        self._stateful: dict[str, Algorithm | Collector] = {
            ALGORITHM: algorithm,
            SAMPLING: collector,
        }
        self._parts = [part for part in parts if part is not None]

    def save(self, folder: Path) -> None:
        """Write into a checkpoint's folder."""
        for name, owner in self._stateful.items():
            torch.save(owner.state_dict(), folder / name)
        for part in self._parts:
            part.save(folder)

    def load(self, folder: Path) -> None:
        """Read from a checkpoint's folder; a file that an older run did not write is left out."""
        for name, owner in self._stateful.items():
            if (state := folder / name).is_file():
                owner.load_state_dict(torch.load(state, weights_only=True))
        for part in self._parts:
            part.load(folder)
