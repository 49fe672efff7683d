"""Who may start a thread or fork: the kernel asks the server, by seccomp's notifications.

The kernel counts threads for a user id, which the processes of a session share, and without root
all programs. The server counts them for each program, and lets none fork but a session's
processes at its request (seccomp_unotify(2)).
"""

import ctypes
import errno
import os
import select
import time
from collections.abc import Callable
from typing import Final

from torl_env.sandbox.forkserver import kernel, seccomp
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.watch import WaitMeter

_FREE_STARTS: Final = 256
"""Threads that a program starts without being slowed down."""
_PAUSE: Final = 0.001
"""Seconds that later ones wait, so that no program keeps the server busy by starting threads."""
_REFUSAL_PAUSE: Final = 0.005
_TRIES: Final = 10
_AT_ONCE: Final = 256


class _Notice(ctypes.Structure):
    """`struct seccomp_notif`."""

    _fields_ = (
        ("id", ctypes.c_uint64),
        ("thread", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("call", ctypes.c_int32),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


class _Answer(ctypes.Structure):
    """`struct seccomp_notif_resp`."""

    _fields_ = (
        ("id", ctypes.c_uint64),
        ("value", ctypes.c_int64),
        ("error", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    )


class CloneGate:
    """Answers every request to clone.

    Args:
        reactor: Of the server.
        listener: Descriptor of the notifications; -1 where the kernel does not send any.
        proc: Directory of a /proc that shows the programs, or -1: then nothing is counted.
        meter: Of this server's own waiting.
    """

    def __init__(self, reactor: Reactor, listener: int, proc: int, meter: WaitMeter) -> None:
        self._reactor = reactor
        self._listener = listener
        self._proc = proc
        self._meter = meter
        self._forks: set[int] = set()
        self._limits: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._held: dict[int, tuple[float, float]] = {}
        """For how long a program's threads have waited to be heard, and when the last one was."""
        self._waiting = select.poll()
        if listener >= 0:
            self._waiting.register(listener, select.POLLIN)
            reactor.watch(listener, self._hear)
            reactor.before_wait = meter.note

    def limit(self, pid: int, threads: int) -> None:
        """Process `pid` runs a program that may have so many threads."""
        self._limits[pid] = threads

    def allow_fork(self, pid: int) -> None:
        """Process `pid` may fork, once."""
        self._forks.add(pid)

    def forget(self, pid: int) -> None:
        """It has ended, or must not fork any more."""
        self._forks.discard(pid)
        self._limits.pop(pid, None)
        self._starts.pop(pid, None)
        self._held.pop(pid, None)

    def held(self, pid: int) -> float:
        """Seconds for which a program waited to be heard by this server.

        While the server waits for a processor or answers others, it looks as if it slept.
        """
        return self._held.get(pid, (0.0, 0.0))[0]

    def started(self, pid: int) -> int:
        """Threads that a program has started."""
        return self._starts.get(pid, 0)

    def _note_waiter(self, pid: int) -> None:
        if pid in self._limits or pid in self._forks:
            now = time.monotonic()
            seconds, heard = self._held.get(pid, (0.0, 0.0))
            # Threads that wait at the same time wait once.
            waited = min(self._reactor.behind + self._meter.stalled(), now - heard)
            self._held[pid] = (seconds + waited, now)

    def _hear(self) -> None:
        """Answer everybody who asks: who is not heard looks as if it slept, see `watch.Watch`."""
        for _ in range(_AT_ONCE):
            self._ask()
            if not self._waiting.poll(0):
                return

    def _ask(self) -> None:
        notice = _Notice()
        receive = ctypes.c_ulong(seccomp.NOTIFY_RECEIVE)
        if kernel.libc.ioctl(self._listener, receive, ctypes.byref(notice)) < 0:
            # It has been killed meanwhile.
            return
        if notice.arguments[0] == kernel.SIBLING_FLAGS:
            # It is the main thread that forks, and its number is that of the process.
            self._note_waiter(notice.thread)
            self._decide_fork(notice.id, notice.thread, _TRIES)
            return
        self._decide_thread(notice.id, notice.thread, _TRIES)

    def _decide_thread(self, number: int, thread: int, tries: int) -> None:
        pid = self._process_of(thread)
        if pid and pid not in self._limits and tries:
            # A turn's process: its hello, sent before it asked, may still wait to be read.
            self._later(lambda: self._decide_thread(number, thread, tries - 1), tries)
            return
        self._note_waiter(pid)
        refused = pid > 0 and self._threads(pid) >= self._limits.get(pid, 0)
        starts = self._starts[pid] = self._starts.get(pid, 0) + 1
        pause = _REFUSAL_PAUSE if refused else _PAUSE if starts > _FREE_STARTS else 0.0
        code = errno.EAGAIN if refused else 0
        if not pause:
            self._answer(number, code)
            return
        self._reactor.at(time.monotonic() + pause, lambda: self._answer(number, code))

    def _decide_fork(self, number: int, pid: int, tries: int) -> None:
        if pid in self._forks or not tries:
            self._answer(number, 0 if pid in self._forks else errno.EPERM)
            self._forks.discard(pid)
            return
        self._later(lambda: self._decide_fork(number, pid, tries - 1), tries)

    def _later(self, action: Callable[[], None], tries: int) -> None:
        self._reactor.at(time.monotonic() + (0.0 if tries == _TRIES else _PAUSE), action)

    def _answer(self, number: int, code: int) -> None:
        go_on = 0 if code else 1
        answer = _Answer(number, 0, -code, go_on)
        kernel.libc.ioctl(self._listener, ctypes.c_ulong(seccomp.NOTIFY_SEND), ctypes.byref(answer))

    def _process_of(self, thread: int) -> int:
        """The process that a thread belongs to, 0 where the kernel does not say."""
        if self._proc < 0:
            return 0
        try:
            file = os.open(f"{thread}/status", os.O_RDONLY, dir_fd=self._proc)
        except OSError:
            return 0
        try:
            text = os.read(file, 4096)
        finally:
            os.close(file)
        # The kernel escapes line breaks in the name, so no program can write a line of its own.
        lines = (line for line in text.split(b"\n") if line.startswith(b"Tgid:"))
        return int(next(lines, b"Tgid: 0").split()[1])

    def _threads(self, pid: int) -> int:
        try:
            tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        except OSError:
            return 0
        try:
            return len(os.listdir(tasks))  # noqa: PTH208 - of a descriptor
        finally:
            os.close(tasks)
