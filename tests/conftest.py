"""What every test relies on."""

import signal


def pytest_configure() -> None:
    """Let processes that tests start hear Ctrl-C, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
