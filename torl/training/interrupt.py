"""Ctrl-C during a training: finish the step, save, then end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from torl.console import say


class Stop:
    """Set by the first Ctrl-C during RL; the second one interrupts at once, as in other stages."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within this block Ctrl-C asks for a stop instead of making one."""
    stop = Stop()
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        say("Ctrl-C: finishing this step and saving; once more stops at once")

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class Bar:
    """A progress bar that carries the wish to stop to the trainer.

    Args:
        move: Moves what is shown; may be set later, as `stop` may.
        stop: Set when the user wants to stop.
    """

    def __init__(
        self, move: Callable[[int], None] = lambda count: None, stop: Stop | None = None
    ) -> None:
        self.move, self.stop = move, stop

    @property
    def interrupted(self) -> bool:
        """Whether the user has asked to stop."""
        return self.stop is not None and self.stop.asked

    def advance(self, count: int = 1, **numbers: float) -> None:
        """Move the bar."""
        self.move(count)
