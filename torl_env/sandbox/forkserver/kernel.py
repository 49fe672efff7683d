"""The Linux calls that Python's `os` does not offer, by ctypes. Imported on Linux only."""

import ctypes
import functools
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

ARCH: Final = platform.machine()
X86: Final = ARCH == "x86_64"

libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_locked: Final = ctypes.PyDLL(None, use_errno=True)
"""Its calls keep the interpreter lock, as os.fork does."""
_locked.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_TID_ADDRESS: Final = 40

CLONE_NEWNS: Final = 0x20000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_NOATIME: Final = 1024
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

CAP_KILL: Final = 5
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SYS_CHROOT: Final = 18
CAP_SYS_ADMIN: Final = 21

_NR_CLOSE_RANGE: Final = 436
_NR_SIGNALFD4: Final = 289 if X86 else 74
_NR_CAPSET: Final = 126 if X86 else 91
_NR_PIVOT_ROOT: Final = 155 if X86 else 41
_NR_CLONE: Final = 56 if X86 else 220
_NR_SETNS: Final = 308 if X86 else 268

_CLONE_PARENT: Final = 0x8000
_CLONE_CHILD_CLEARTID: Final = 0x200000
_CLONE_CHILD_SETTID: Final = 0x1000000
_SIGCHLD: Final = 17
SIBLING_FLAGS: Final = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | _SIGCHLD
"""The exact flags of `fork_sibling`; the session filter lets nothing else ask to fork."""


def checked(result: int, what: str) -> int:
    """Return `result`, or raise the errno of a negative one."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """A raw system call; -1 with `ctypes.get_errno()` on failure."""
    return int(_syscall(ctypes.c_long(number), *arguments))


def prepared(function: str, *arguments: object) -> Callable[[], int]:
    """A call of the C library, all of which exists before a fork.

    Every object that is made or first looked at after a fork is a page that the child must copy.
    What it returns is for `checked`.
    """
    return functools.partial(getattr(_locked, function), *arguments)


def prctl(option: int, value: int = 0) -> None:
    """`prctl(option, value)`."""
    zero = ctypes.c_ulong(0)
    checked(
        libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero),
        f"prctl({option})",
    )


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    checked(libc.unshare(ctypes.c_int(flags)), "unshare")


def entering_mounts(namespace: int, home: str) -> Callable[[], None]:
    """What takes a child into an open `/proc/PID/ns/mnt`, with `home` as working directory."""
    enter = prepared(
        "syscall", ctypes.c_long(_NR_SETNS), ctypes.c_int(namespace), ctypes.c_int(CLONE_NEWNS)
    )
    chdir = prepared("chdir", ctypes.c_char_p(os.fsencode(home)))

    def entered() -> None:
        if enter() < 0 or chdir() < 0:
            checked(-1, "setns")

    return entered


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """`mount(2)`."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    checked(libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)), f"mount {target}")


def pivot_root(put_old: str) -> None:
    """Make the working directory the root, the former root appears at `put_old` below it."""
    checked(syscall(_NR_PIVOT_ROOT, b".", os.fsencode(put_old)), "pivot_root")


def umount_detached(target: str) -> None:
    """Lazy unmount."""
    checked(libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def close_from(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every descriptor from `first` to `last`."""
    _first.value, _last.value = first, last
    if _close_range() < 0:
        os.closerange(first, min(last, 65_535) + 1)


_first, _last = ctypes.c_uint(), ctypes.c_uint()
_close_range: Final = prepared(
    "syscall", ctypes.c_long(_NR_CLOSE_RANGE), _first, _last, ctypes.c_uint(0)
)

flush_c_streams: Final = prepared("fflush", None)
"""Write what C code has printed, as the end of a process does."""


def set_capabilities(*kept: int) -> None:
    """Reduce the permitted and effective sets to `kept` (numbers below 32)."""
    mask = sum(1 << number for number in kept)
    data = struct.pack("IIIIII", mask, mask, 0, 0, 0, 0)
    checked(syscall(_NR_CAPSET, _CAPABILITIES_VERSION, data), "capset")


_CAPABILITIES_VERSION: Final = struct.pack("II", 0x20080522, 0)
drop_capabilities: Final = prepared(
    "syscall", ctypes.c_long(_NR_CAPSET), _CAPABILITIES_VERSION, bytes(24)
)
"""`set_capabilities()` for a child."""
forbid_tracing: Final = prepared(
    "prctl", ctypes.c_int(PR_SET_DUMPABLE), *map(ctypes.c_ulong, (0, 0, 0, 0))
)
"""`prctl(PR_SET_DUMPABLE, 0)` for a child."""


def empty_bounding_set() -> None:
    """No capability can ever be gained again, not even by a set-uid file."""
    zero = ctypes.c_ulong(0)
    for number in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero) != 0:
            return


def signal_descriptor(number: int) -> int:
    """Block a signal and return a descriptor that can be read while one is pending (signalfd)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (number,))
    mask = struct.pack("Q", 1 << (number - 1))
    flags = ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK)
    return checked(syscall(_NR_SIGNALFD4, ctypes.c_int(-1), mask, 8, flags), "signalfd")


def _plain_fork() -> Callable[[], int]:
    """`fork(2)` without the hooks that Python and its modules run around it.

    With one thread there is no lock to renew, and what the hooks touch is two thirds of the pages
    that a small program copies.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return os.fork
    function = _locked.fork

    def fork() -> int:
        return checked(function(), "fork")

    return fork


fork: Final = _plain_fork()
"""As `os.fork`, for a process of one thread whose Python signal handlers never run."""


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of `pid`; 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def load_average() -> float:
    """Of the last minute, by the call that needs no /proc."""
    fields = (ctypes.c_long * 64)()
    if libc.sysinfo(ctypes.byref(fields)) != 0:
        return 0.0
    return float(fields[1]) / 65_536


class SiblingFork:
    """`os.fork` whose child becomes the caller's sibling: the server stays everyone's parent."""

    def __init__(self) -> None:
        api = ctypes.pythonapi
        self._before, self._parent, self._child = (
            api.PyOS_BeforeFork,
            api.PyOS_AfterFork_Parent,
            api.PyOS_AfterFork_Child,
        )
        for function in (self._before, self._parent, self._child):
            function.restype = None
        self._clone = _locked.syscall
        self._tid_address = self._find_tid_address()

    @staticmethod
    def _find_tid_address() -> int:
        """Where glibc keeps the thread id that the kernel must update in the child."""
        out = ctypes.c_ulong(0)
        zero = ctypes.c_ulong(0)
        if libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(out), zero, zero, zero) == 0 and out.value:
            return out.value
        libc.pthread_self.restype = ctypes.c_ulong
        base, own = int(libc.pthread_self()), os.getpid()
        for offset in range(0x200, 0x400, 4):
            if ctypes.c_int.from_address(base + offset).value == own:
                return base + offset
        raise OSError("the thread id of this C library cannot be found: sessions are not possible")

    def __call__(self, *, hooks: bool) -> int:
        """As `os.fork`, but -1 on failure.

        Args:
            hooks: Run what Python runs around a fork, as a process of several threads must.
        """
        flags, tid, zero = (
            ctypes.c_ulong(SIBLING_FLAGS),
            ctypes.c_ulong(self._tid_address),
            ctypes.c_ulong(0),
        )
        # The last two arguments of clone(2) are exchanged between the two architectures.
        tail = (tid, zero) if X86 else (zero, tid)
        if hooks:
            self._before()
        result = int(self._clone(ctypes.c_long(_NR_CLONE), flags, zero, zero, *tail))
        if hooks:
            (self._parent if result else self._child)()
        return result
