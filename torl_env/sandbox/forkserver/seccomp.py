"""System call filters: a default-deny list for the server and its children, and what children add.

A filter is paid for when it is installed (the kernel tries it on every call number), so the long
one is installed once in the server and inherited, and a child adds only what the server itself
must be allowed: starting processes, signals, changing user.
"""

import ctypes
import errno
import struct
from typing import Final

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.syscalls import AARCH64, X86_64

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant."""

NUMBERS: Final = X86_64 if kernel.X86 else AARCH64
"""System calls by name."""
_AUDIT_ARCH: Final = 0xC000003E if kernel.X86 else 0xC00000B7
_X32_BIT: Final = 0x40000000
_PID: Final = 0xDEADBEEF
"""Stands for the child's own process id until the filter is installed."""

_JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x05, 0x15, 0x35, 0x45, 0x54, 0x06
_LOAD_NUMBER: Final[Instruction] = (0x20, 0, 0, 0)
_LOAD_ARCH: Final[Instruction] = (0x20, 0, 0, 4)

_CLONE_THREAD_FLAGS: Final = 0x10000 | 0x100 | 0x800
_CLONE_NAMESPACE_FLAGS: Final = 0x7E020080
_OPEN_FOR_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000
_TERMINAL_IOCTLS: Final = (0x5401, 0x5413, 0x5450, 0x5451, 0x541B, 0x5421)
NOTIFY_RECEIVE: Final = 0xC0502100
NOTIFY_SEND: Final = 0xC0182101
_FCNTL: Final = (0, 1, 2, 3, 4, 1030)
"""Duplicating and flags; no locks, by which programs could speak to each other or keep the host
from its own library files, and no larger pipes."""
_BUFFER_SIZES: Final = (7, 8, 32, 33)
"""`SO_SNDBUF`, `SO_RCVBUF` and their forced forms: memory that no limit of a process counts."""
_STREAM_SOCKETS: Final = (1, 5)
"""`SOCK_STREAM` and `SOCK_SEQPACKET`; a datagram socket can send to any path of the host."""
_PRCTL: Final = (15, 16, 3, 0x53564D41, 39, 21)
_PRCTL_SESSION: Final = (*_PRCTL, kernel.PR_SET_PDEATHSIG)
_PRCTL_SERVER: Final = (*_PRCTL, kernel.PR_SET_PDEATHSIG, kernel.PR_SET_DUMPABLE)

_PLAIN: Final = """
read write close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction
rt_sigprocmask rt_sigreturn pread64 pwrite64 readv writev access pipe select sched_yield mremap
mincore madvise dup dup2 pause nanosleep getitimer alarm setitimer getpid sendto recvfrom
sendmsg recvmsg shutdown getsockname getpeername getsockopt exit uname fsync
fdatasync ftruncate getcwd chdir fchdir readlink umask gettimeofday getrlimit getrusage sysinfo
times getuid getgid geteuid getegid getppid getpgrp getgroups getresuid getresgid getpgid getsid
rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack statfs fstatfs getpriority
sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min arch_prctl
gettid time futex sched_getaffinity epoll_create getdents64 set_tid_address restart_syscall
clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl newfstatat readlinkat
faccessat pselect6 ppoll set_robust_list get_robust_list epoll_pwait eventfd2 epoll_create1 dup3
pipe2 preadv pwritev getrandom membarrier statx rseq close_range faccessat2 epoll_pwait2
futex_waitv wait4 waitid
"""
_FILES: Final = """
mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat creat
truncate fallocate chmod fchmod fchmodat utime utimes utimensat sendfile copy_file_range
"""
"""Of programs that have a place of their own to write to, see `areas`."""
_ATTRIBUTES: Final = """
setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
"""
"""Extended ones, which `shutil.copy2` asks for and can do without."""
_SERVER_ONLY: Final = (
    "seccomp", "setresuid", "setresgid", "setgroups", "capset", "setpriority",
    "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    "mount", "unshare", "setns",
)  # fmt: skip


def _answer(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _refuse(code: int) -> Instruction:
    return _answer(0x00050000 | code)


_ALLOW: Final = _answer(0x7FFF0000)
_KILL: Final = _answer(0x80000000)
_NOTIFY: Final = _answer(0x7FC00000)
_DENY: Final = _refuse(errno.EPERM)


def _argument(index: int) -> Instruction:
    """Load the low half of an argument."""
    return (0x20, 0, 0, 16 + 8 * index)


def _one_of(
    argument: int, values: tuple[int, ...], otherwise: Instruction, mask: int = 0xFFFFFFFF
) -> list[Instruction]:
    tests: list[Instruction] = [
        (_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)
    ]
    masked = [] if mask == 0xFFFFFFFF else [(_AND, 0, 0, mask)]
    return [_argument(argument), *masked, *tests, otherwise, _ALLOW]


def _none_of_bits(argument: int, bits: int, otherwise: Instruction) -> list[Instruction]:
    return [_argument(argument), (_ANY_BIT, 0, 1, bits), otherwise, _ALLOW]


def _clone_rule(ask: bool) -> list[Instruction]:
    """No namespaces; on threads and forks of sessions the server decides, if it is asked."""
    if not ask:
        return _none_of_bits(0, _CLONE_NAMESPACE_FLAGS, _DENY)
    return [
        _argument(0),
        (_ANY_BIT, 0, 1, _CLONE_NAMESPACE_FLAGS),
        _DENY,
        (_EQUAL, 2, 0, kernel.SIBLING_FLAGS),
        (_AND, 0, 0, _CLONE_THREAD_FLAGS),
        (_EQUAL, 0, 1, _CLONE_THREAD_FLAGS),
        _NOTIFY,
        _ALLOW,
    ]


def _base_rules(ask: bool, write: bool) -> dict[str, list[Instruction]]:
    rules = {name: [_ALLOW] for name in (*_PLAIN.split(), *_SERVER_ONLY, "kill", "tgkill")}
    rules |= {name: [_refuse(errno.ENOTSUP)] for name in _ATTRIBUTES.split()}
    if write:
        rules |= {name: [_ALLOW] for name in (*_FILES.split(), "open", "openat")}
    else:
        read_only = _refuse(errno.EACCES)
        rules["open"] = _none_of_bits(1, _OPEN_FOR_WRITING, read_only)
        rules["openat"] = _none_of_bits(2, _OPEN_FOR_WRITING, read_only)
    rules["clone"] = _clone_rule(ask)
    # glibc falls back to clone, whose flags a filter can read.
    rules["clone3"] = [_refuse(errno.ENOSYS)]
    rules["prlimit64"] = _one_of(0, (0,), _DENY)
    rules["socketpair"] = [
        _argument(0),
        (_EQUAL, 1, 0, 1),
        _DENY,
        *_one_of(1, _STREAM_SOCKETS, _DENY, mask=0xF),
    ]
    rules["setsockopt"] = [
        _argument(2),
        *[(_EQUAL, len(_BUFFER_SIZES) - index, 0, option)
          for index, option in enumerate(_BUFFER_SIZES)],
        _ALLOW,
        _DENY,
    ]  # fmt: skip
    rules["ioctl"] = _one_of(
        1, (*_TERMINAL_IOCTLS, NOTIFY_RECEIVE, NOTIFY_SEND), _refuse(errno.ENOTTY)
    )
    rules["fcntl"] = _one_of(1, _FCNTL, _DENY)
    rules["prctl"] = _one_of(0, _PRCTL_SERVER, _DENY)
    return rules


def _tree(segments: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Binary search over call numbers: path length, not size, is what an installation costs."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    left, right = _tree(segments[:middle]), _tree(segments[middle:])
    pivot = segments[middle][0]
    if len(left) <= 255:
        return [(_AT_LEAST, len(left), 0, pivot), *left, *right]
    return [(_AT_LEAST, 0, 1, pivot), (_JUMP, 0, 0, len(left)), *left, *right]


def _base_program(ask: bool, write: bool) -> list[Instruction]:
    rules = _base_rules(ask, write)
    leaves = {NUMBERS[name]: rule for name, rule in rules.items() if name in NUMBERS}
    segments: list[tuple[int, list[Instruction]]] = []
    following = 0
    for number in sorted(leaves):
        if number > following or not segments:
            segments.append((following, [_DENY]))
        if segments[-1][1] != [_ALLOW] or leaves[number] != [_ALLOW]:
            segments.append((number, leaves[number]))
        following = number + 1
    segments.append((following, [_DENY]))
    program = [_LOAD_ARCH, (_EQUAL, 1, 0, _AUDIT_ARCH), _KILL, _LOAD_NUMBER]
    if kernel.X86:
        program += [(_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.ENOSYS)]
    return program + _tree(segments)


def _child_program(*, session: bool) -> list[Instruction]:
    clone = [_argument(0), (_AND, 0, 0, _CLONE_THREAD_FLAGS)]
    clone += [(_EQUAL, 0, 1, _CLONE_THREAD_FLAGS), _ALLOW]
    if session:
        clone += [_argument(0), (_EQUAL, 0, 1, kernel.SIBLING_FLAGS), _ALLOW]
    clone += [_DENY]
    # A session outlives the pid it was filtered with, which the kernel may give to another process.
    signals = [_DENY] if session else [_argument(0), (_EQUAL, 0, 1, _PID), _ALLOW, _DENY]
    bodies = {
        "kill": signals,
        "tgkill": signals,
        "clone": clone,
        "prctl": _one_of(0, _PRCTL_SESSION if session else _PRCTL, _DENY),
    }
    # Descriptors on their way in a message hold memory that no limit of the process counts.
    bodies |= {name: [_DENY] for name in (*_SERVER_ONLY, "sendmsg")}
    program = [_LOAD_NUMBER]
    for name, body in bodies.items():
        program += [(_EQUAL, 0, len(body), NUMBERS[name]), *body]
    return [*program, _ALLOW]


class Filter:
    """One assembled filter, ready to be installed."""

    def __init__(self, program: list[Instruction]) -> None:
        self._slots = [index for index, item in enumerate(program) if item[3] == _PID]
        self._code = bytearray(b"".join(struct.pack("HBBI", *item) for item in program))
        self._view = (ctypes.c_char * len(self._code)).from_buffer(self._code)
        self._header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(self._view))
        number = ctypes.c_long(NUMBERS["seccomp"])
        self._apply, self._apply_and_listen = (
            kernel.prepared("syscall", number, 1, ctypes.c_uint(flags), self._header)
            for flags in (0, 8)
        )

    def install(self, pid: int = 0, *, listen: bool = False) -> int:
        """Apply it to this process for good.

        Args:
            pid: The only process that may be signalled, where the filter says so.
            listen: Return a descriptor that receives the calls marked for notification.
        """
        for slot in self._slots:
            struct.pack_into("I", self._code, slot * 8 + 4, pid)
        return kernel.checked((self._apply_and_listen if listen else self._apply)(), "seccomp")


def base_filter(*, ask: bool, write: bool) -> Filter:
    """What the server and everything below it may call.

    Args:
        ask: The server decides on each thread and fork, see `clones`; it must listen then.
        write: Files may be made and changed; where, other layers say.
    """
    return Filter(_base_program(ask, write))


def program_filter() -> Filter:
    """What a program loses beyond that."""
    return Filter(_child_program(session=False))


def session_filter() -> Filter:
    """As `program_filter`, but what the server allows may fork."""
    return Filter(_child_program(session=True))
