"""Errors of the environment's own boundary; a model's fault is never one of them but a value."""


class TorlError(Exception):
    """Base of all errors this package raises on purpose; the message says what to do."""


class SandboxError(TorlError):
    """The machine failed, not the program: a sandbox worker died, a server cannot be reached."""


class ProblemError(TorlError):
    """A problem source cannot be opened or holds something that is not a problem."""


# No TypeError: `gym.make` makes another message of those, with every argument in it.
class ConfigError(TorlError, ValueError):
    """An option has a wrong type or value, or names what cannot be loaded."""
