"""The layers that a server builds once, for itself and all programs it will fork.

Every layer stands alone: where the kernel refuses one, the others are still built, and the report
says what is missing and why.
"""

import os
import resource
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torl_env.sandbox.forkserver import kernel, landlock, rootfs, seccomp
from torl_env.sandbox.forkserver.areas import MEGABYTES, Areas
from torl_env.sandbox.forkserver.config import Held, Layer, ServerConfig

_SPACES = (
    kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWNS
)
_UID_BLOCK = 8192
_OOM_SCORE = b"500"
_OOM_SCORE_OF_PROGRAMS = b"1000"
_BY_USER = "made in a user namespace"


@dataclass(slots=True)
class Isolation:
    """What holds, and what a child must know to finish the work."""

    layers: dict[Layer, Held] = field(default_factory=dict)
    private_pids: bool = False
    outer: int = -1
    """The half that waits outside of the namespaces, as a pidfd; until the server is sealed."""
    private_root: bool = False
    first_uid: int = 0
    """Children take user ids from here on; 0 where they keep the server's."""
    shared_processes: int = 0
    """Threads of all programs together, where they share a user that is counted; 0 if not."""
    proc: int = -1
    """Directory of a /proc that shows the children, for the server only."""
    listener: int = -1
    """Descriptor of the kernel's questions about threads and forks, for the server only."""
    ruleset: landlock.Ruleset | None = None
    """What a child gives itself, where the server could not do its work under it."""
    rules: landlock.Rules | None = None
    """What a ruleset allows, `None` without Landlock."""
    areas: Areas | None = None
    """Where programs may write files, `None` where they may not."""
    oom_score: int = -1
    """The server's `oom_score_adj`, open for writing."""
    program_filter: seccomp.Filter | None = None
    session_filter: seccomp.Filter | None = None

    def note(self, layer: Layer, holds: bool, detail: str) -> None:
        """Record the state of a layer."""
        self.layers[layer] = Held(holds, detail)

    def die_with_outer(self) -> None:
        """Let the kernel end the server with its outer half, also one that has ended already."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        poll = select.poll()
        poll.register(self.outer, select.POLLIN)
        if poll.poll(0):
            os._exit(1)

    def offer_children(self, now: bool) -> None:
        """What is forked from now on goes before the server when memory runs out, or no longer."""
        if self.oom_score >= 0:
            with suppress(OSError):
                os.pwrite(self.oom_score, _OOM_SCORE_OF_PROGRAMS if now else _OOM_SCORE, 0)


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="ascii")


def _new_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | _SPACES)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def enter_cgroup(config: ServerConfig, isolation: Isolation) -> None:
    """Join the control group that the client has made, with all that will be forked."""
    detail = config.cgroup_detail
    try:
        for directory in config.cgroup:
            _write(f"{directory}/cgroup.procs", "0")
    except OSError as error:
        isolation.note(Layer.CGROUP, False, f"cannot join {error.filename} ({error.strerror})")
    else:
        isolation.note(Layer.CGROUP, bool(config.cgroup), detail)


def offer_to_die_first(isolation: Isolation) -> None:
    """Where memory runs out, the kernel ends programs before servers, and these before the trainer.

    A child inherits the score of the moment of its fork, see `Isolation.offer_children`.
    """
    with suppress(OSError):
        isolation.oom_score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        isolation.offer_children(False)


def enter_namespaces(config: ServerConfig, isolation: Isolation, keep: int) -> None:
    """Give the server its own namespaces; it goes on as process 1 in them.

    Args:
        config: Of the server.
        isolation: Where the outcome is noted.
        keep: The descriptor that the server needs; the waiting outer half closes it.
    """
    if Layer.NAMESPACES in config.off:
        isolation.note(Layer.NAMESPACES, False, "switched off")
        isolation.note(Layer.ROOT, False, "needs namespaces")
        return
    try:
        how = _unshare(config)
    except OSError as error:
        isolation.note(Layer.NAMESPACES, False, f"not allowed here ({error.strerror})")
        isolation.note(Layer.ROOT, False, "needs namespaces")
        return
    parent, isolation.outer = os.pidfd_open(os.getppid()), os.pidfd_open(os.getpid())
    inner = os.fork()
    if inner:
        os.close(keep)
        _wait_outside(inner, parent)
    os.close(parent)
    # From here on, not from `seal` on: an outer half that is killed during the warming up would
    # leave a server that nobody finds.
    isolation.die_with_outer()
    isolation.private_pids = True
    if how == _BY_USER and os.geteuid() != 0:
        # A user namespace counts the processes in it by themselves (Linux 5.14 and later).
        # No bomb may use up what its neighbours have been promised.
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        wanted = config.slots * config.processes + 2 * config.sessions + 64
        isolation.shared_processes = wanted if most < 0 else min(wanted, most)
    kernel.libc.sethostname(b"sandbox", 7)
    isolation.note(Layer.NAMESPACES, True, how)


def _unshare(config: ServerConfig) -> str:
    if os.geteuid() == 0 and "unprivileged" not in config.off:
        try:
            kernel.unshare(_SPACES)
        except OSError:
            pass
        else:
            return "made by root"
    _new_user_namespace()
    return _BY_USER


def _wait_outside(inner: int, parent: int) -> None:
    """The half that stays outside only waits for either end."""
    handle = os.pidfd_open(inner)
    poll = select.poll()
    for descriptor in (handle, parent):
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.kill(inner, signal.SIGKILL)
    _, status = os.waitpid(inner, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def enter_root(config: ServerConfig, isolation: Isolation, packages: list[str]) -> None:
    """Hide the file system; needs namespaces."""
    _choose_user(config, isolation)
    if not isolation.private_pids:
        with suppress(OSError):
            isolation.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return
    if Layer.ROOT in config.off:
        isolation.note(Layer.ROOT, False, "switched off")
        return
    _open_private_proc(isolation)
    try:
        rootfs.enter(rootfs.visible(packages))
    except OSError as error:
        isolation.note(Layer.ROOT, False, f"not allowed here ({error})")
        return
    isolation.private_root = True
    isolation.note(Layer.ROOT, True, "only the Python installation, read-only")


def _open_private_proc(isolation: Isolation) -> None:
    """Keep a /proc of the new process ids that no path leads to."""
    place = "/tmp"
    try:
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", place, "proc", 0)
        isolation.proc = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        kernel.umount_detached(place)
    except OSError:
        # A container that masks /proc forbids this; the wall guard then estimates.
        return


def seal(config: ServerConfig, isolation: Isolation, packages: list[str]) -> None:
    """Build the layers that come after warming up; the server itself lives below them."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    _choose_rules(config, isolation, packages)
    _seal_user(config, isolation, packages)
    _seal_files(isolation)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if isolation.private_pids:
        # A change of user clears it, so it is set last.
        isolation.die_with_outer()
        os.close(isolation.outer)
    _seal_calls(config, isolation)
    counted = "threads not counted"
    if isolation.first_uid:
        counted = "threads counted"
    elif isolation.shared_processes:
        counted = f"at most {isolation.shared_processes} threads of all programs together"
    isolation.note(Layer.RLIMITS, True, f"CPU, memory, output, descriptors; {counted}")


def _choose_rules(config: ServerConfig, isolation: Isolation, packages: list[str]) -> None:
    if Layer.LANDLOCK in config.off:
        isolation.note(Layer.LANDLOCK, False, "switched off")
        return
    readable = [*rootfs.visible(packages), "/dev/urandom", "/dev/random"]
    listed: list[str] = []
    if not isolation.private_root:
        readable, listed = _without_third_party(readable)
    proc = isolation.proc if isolation.private_pids else -1
    rules = landlock.Rules(readable, listed, ("/dev/null", "/dev/zero"), proc)
    try:
        landlock.Ruleset(rules).close()
    except OSError as error:
        isolation.note(Layer.LANDLOCK, False, str(error.strerror or error))
    else:
        isolation.rules = rules
        isolation.note(Layer.LANDLOCK, True, f"version {landlock.abi()}")


def _seal_files(isolation: Isolation) -> None:
    """Areas, or no place to write to; programs or the server come under Landlock."""
    if isolation.private_root:
        how = isolation.layers[Layer.ROOT].detail
        try:
            isolation.areas = Areas(isolation.proc, isolation.rules)
        except OSError as error:
            isolation.note(Layer.ROOT, True, f"{how}; no files of its own ({error})")
        else:
            isolation.note(Layer.ROOT, True, f"{how}; {MEGABYTES} MB for files of its own")
            # A program imports what lies beside it, behind all others: it hides no library.
            sys.path.append(rootfs.HOME)
            # Compiled code is taken for that of a source of the same size and second: what a
            # program writes anew and reloads would be what it was before.
            sys.dont_write_bytecode = True
            return
    if isolation.rules is None:
        return
    ruleset = landlock.Ruleset(isolation.rules)
    if isolation.private_pids:
        ruleset.restrict()
        ruleset.close()
    else:
        # Without a /proc of its own the server reads the machine's, which programs must not.
        isolation.ruleset = ruleset


def _without_third_party(paths: list[str]) -> tuple[list[str], list[str]]:
    """Landlock cannot take back what lies below an allowed directory: allow its entries instead.

    Returns:
        What may be read, and the directories of which only the list may be: imports need it.
    """
    covered = set(rootfs.hidden(paths))
    kept: list[str] = []
    listed: list[str] = []
    for path in paths:
        if any(place.startswith(f"{path}/") for place in covered):
            kept += _entries(Path(path), covered)
            listed.append(path)
        else:
            kept.append(path)
    return kept, listed


def _entries(directory: Path, covered: set[str]) -> list[str]:
    kept: list[str] = []
    for entry in sorted(directory.iterdir()):
        real = os.path.realpath(entry)
        if real in covered:
            continue
        if any(place.startswith(f"{entry}/") for place in covered):
            kept += _entries(entry, covered)
        else:
            kept.append(str(entry))
    return kept


def _choose_user(config: ServerConfig, isolation: Isolation) -> None:
    if Layer.USER in config.off:
        isolation.note(Layer.USER, False, "switched off")
    elif os.geteuid() != 0 or "unprivileged" in config.off:
        isolation.note(Layer.USER, False, f"all as user {os.geteuid()}")
    else:
        isolation.first_uid = _first_uid()


def _public(places: list[str]) -> bool:
    """Whether every user can reach these directories."""
    parents = {parent for place in places for parent in (Path(place), *Path(place).parents)}
    return all(parent.stat().st_mode & 0o001 for parent in parents if parent.is_dir())


def _first_uid() -> int:
    """A range of ids that are not used and that this user namespace maps."""
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").split("\n")
    spans = [tuple(map(int, line.split())) for line in lines if line.strip()]
    # Process counts are kept for each id of the machine, so servers must not share a range.
    block = int.from_bytes(os.urandom(2), "little") % 8192
    for candidate in (1_879_048_192 + block * _UID_BLOCK, 40_000):
        last = candidate + _UID_BLOCK
        if any(first <= candidate and last <= first + size for first, _, size in spans):
            return candidate
    return 0


def _seal_user(config: ServerConfig, isolation: Isolation, packages: list[str]) -> None:
    # To make areas and let programs enter them.
    kept = [kernel.CAP_SYS_CHROOT, kernel.CAP_SYS_ADMIN] if isolation.private_root else []
    if (
        isolation.first_uid
        and not isolation.private_root
        and not _public([*rootfs.stdlib(), *packages])
    ):
        isolation.first_uid = 0
        isolation.note(Layer.USER, False, "only this user can read Python's files here")
    first = isolation.first_uid
    if first:
        try:
            kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
            os.setgroups([])
            os.setresgid(first, first, first)
            os.setresuid(first, first, first)
        except OSError as error:
            isolation.first_uid = 0
            isolation.note(Layer.USER, False, f"cannot change user ({error.strerror})")
        else:
            kept += [kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID]
            isolation.note(Layer.USER, True, f"a user id for each program, from {first}")
    off = Layer.CAPABILITIES in config.off
    try:
        if not off:
            kernel.empty_bounding_set()
        if kept or not off:
            # A change of user has left the server without those that its work needs.
            kernel.set_capabilities(*kept)
    except OSError as error:
        isolation.note(Layer.CAPABILITIES, False, str(error))
    else:
        detail = "switched off" if off else "none, and no new privileges"
        isolation.note(Layer.CAPABILITIES, not off, detail)


def _install_base_filter(write: bool) -> int:
    """Returns the descriptor of the notifications, -1 where this container takes them itself."""
    try:
        return seccomp.base_filter(ask=True, write=write).install(listen=True)
    except OSError:
        seccomp.base_filter(ask=False, write=write).install()
        return -1


def _seal_calls(config: ServerConfig, isolation: Isolation) -> None:
    if Layer.SECCOMP in config.off:
        isolation.note(Layer.SECCOMP, False, "switched off")
        return
    try:
        isolation.listener = _install_base_filter(isolation.areas is not None)
    except (OSError, KeyError) as error:
        isolation.note(Layer.SECCOMP, False, str(error))
        return
    isolation.program_filter = seccomp.program_filter()
    isolation.session_filter = seccomp.session_filter()
    isolation.note(Layer.SECCOMP, True, f"a list of allowed calls, {sys.platform} {kernel.ARCH}")
