"""How long work tells whoever watches how far it is; the display itself is the caller's."""

from typing import Protocol


class Progress(Protocol):
    """A display of one stage of work."""

    @property
    def interrupted(self) -> bool:
        """True once the user has asked to stop: finish the step at hand, save, and return."""
        ...

    def advance(self, count: int = 1, **numbers: float) -> None:
        """`count` more units are done; `numbers` are worth showing beside the bar."""
        ...


class Silent:
    """Shows nothing."""

    interrupted = False

    def advance(self, count: int = 1, **numbers: float) -> None:
        """Do nothing."""
