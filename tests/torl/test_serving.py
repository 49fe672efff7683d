"""What the two servers of the command line have in common."""

import signal

import pytest

from torl.serving import prepare_to_serve, serve


class Server:
    """Notes what is asked of it, and is interrupted while it runs."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def run(self, serving) -> None:
        serving()
        self.order.append("run")
        raise KeyboardInterrupt

    def stop(self) -> None:
        self.order.append("stop")

    def prepare(self) -> None:
        self.order.append("prepare")

    def fail(self) -> None:
        raise OSError("the port is taken")


def test_what_is_left_to_do_is_done_before_requests_are_answered(capsys):
    server = Server()
    serve(server, "serving here", prepare=server.prepare)
    assert server.order == ["prepare", "run", "stop"]
    assert capsys.readouterr().out == "serving here\n"


def test_a_server_that_cannot_start_is_stopped():
    server = Server()
    with pytest.raises(OSError, match="taken"):
        serve(server, "", prepare=server.fail)
    assert server.order == ["stop"]


def test_a_stop_by_kill_is_one_from_the_keyboard():
    before = signal.getsignal(signal.SIGTERM)
    try:
        prepare_to_serve()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("torl.serving.find_spec", lambda name: None)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'torl-gym\[serve\]'"):
        prepare_to_serve()
    assert signal.getsignal(signal.SIGTERM) is before
