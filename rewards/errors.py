"""Errors of grading. A model's odd answer is never one of them: it becomes a verdict."""


class ReferenceError(ValueError):
    """A reference answer cannot be read, so nothing can be graded against it.

    Raised when the reference is compiled, that is when a data set is loaded and not in the middle
    of training; the message quotes the reference and says what is wrong with it.
    """


class UnreadableError(Exception):
    """Text that is no answer in any notation we read; `code` is stable, the message for people."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class LimitHitError(Exception):
    """Reading or comparing would take more work than is allowed; `code` names the limit."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class UndecidedError(Exception):
    """A term of a reward that asks a judge or another service got no verdict.

    The attempt has no true reward then: it is `UNGRADABLE`, and nothing is learned from it.
    """


class WorkerError(Exception):
    """The child died or did not answer in time; it is gone, start another."""
