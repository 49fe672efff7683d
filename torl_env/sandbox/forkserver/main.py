"""Start of a fork server: warm up, build the isolation, serve until the client is gone."""

import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import time
import types
from dataclasses import replace
from typing import NoReturn

from torl_env.sandbox.forkserver import gather, integrity, kernel, rootfs, warm
from torl_env.sandbox.forkserver import isolation as layers
from torl_env.sandbox.forkserver.areas import MEGABYTES
from torl_env.sandbox.forkserver.clones import CloneGate
from torl_env.sandbox.forkserver.config import ServerConfig, ServerReport
from torl_env.sandbox.forkserver.program import Child, open_streams
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.runs import Runs, new_phases
from torl_env.sandbox.forkserver.sessions import Sessions
from torl_env.sandbox.forkserver.turns import Interpreter
from torl_env.sandbox.forkserver.watch import WaitMeter
from torl_env.sandbox.forkserver.wire import PACKET_BYTES, READY, Ending, Op, Reply, Request

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_ENVIRONMENT = {
    "HOME": rootfs.HOME,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    **dict.fromkeys(_THREADS, "1"),
}


_PENDING_SIGNALS = 1024
_OWN_CALLS = 17


class Link:
    """The socket to the client."""

    def __init__(self, control: socket.socket, reactor: Reactor) -> None:
        self._control = control
        self._reactor = reactor

    def send(self, reply: Reply) -> None:
        """Answer the client, which reads at any time."""
        try:
            self._control.send(reply.pack())
        except OSError:
            leave(self._reactor)

    def serve(self, runs: Runs, sessions: Sessions, report: ServerReport, processes: int) -> None:
        """Say that the server is ready and hand out requests for ever.

        Args:
            runs: Of single programs.
            sessions: Of programs that keep their variables.
            report: The server's first message.
            processes: The most threads of a program.
        """

        def receive() -> None:
            data, files, _, _ = socket.recv_fds(self._control, PACKET_BYTES, 4)
            if not data:
                leave(self._reactor)
            request = Request.unpack(data)
            if request.job.processes > processes:
                request = replace(request, job=request.job._replace(processes=processes))
            if request.op is Op.RUN:
                runs.start(request, files)
            elif request.op is Op.KILL:
                runs.kill(request.call)
                sessions.kill(request.call)
            elif request.op is Op.PING:
                self.send(Reply(request.call, Ending.DONE))
            else:
                sessions.handle(request, files)

        self._reactor.watch(self._control.fileno(), receive)
        self._control.send(READY + report.to_json().encode())
        self._reactor.run_forever()


def leave(reactor: Reactor) -> NoReturn:
    """The client is gone: nothing may outlive it."""
    for pid in reactor.pids():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os._exit(0)


def _prepare_environment() -> None:
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    time.tzset()
    # Else the directories of the root are closed to the users of programs where it was 077.
    os.umask(0o022)
    # A program begins some calls deep, and may go as deep as one that begins at the bottom.
    sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_CALLS)
    sys.argv = ["<program>"]
    sys.orig_argv = ["<program>"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Real-time signals that a program sends itself and blocks queue up in the kernel.
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (_PENDING_SIGNALS, _PENDING_SIGNALS))


def _prepare_signals() -> None:
    """What programs inherit: the interpreter's defaults, but too large a file kills."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _warm(config: ServerConfig, names: tuple[str, ...], search: list[str]) -> warm.Loaded:
    warm.limit_imports(names, search)
    warm.reserve_heap(warm.ARENA_MB[config.preload])
    loaded = warm.load(config.preload, config.packages)
    warm.seed_generators(config.seed)
    open_streams()
    warm.hide_places()
    warm.forbid_audit_hooks()
    return loaded


def _compact(maps: int, threads: int) -> int:
    """Make the memory cheap to fork; the number of huge pages."""
    gc.collect()
    gc.disable()
    warm.fill_holes()
    gc.freeze()
    warm.immortalise()
    gc.collect()
    gc.freeze()
    if threads == 1:
        gather.gather(lambda: _read_all(maps))
    return gather.huge_pages(_read_all(maps))


def _read_all(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    chunks = iter(lambda: os.read(descriptor, 65_536), b"")
    return b"".join(chunks).decode()


def _threads_and_bytes(stat: int) -> tuple[int, int]:
    """How many threads this process has and how much address space, by proc_pid_stat(5)."""
    fields = os.pread(stat, 1024, 0).rpartition(b")")[2].split()
    return int(fields[17]), int(fields[20])


def _high(descriptor: int) -> int:
    """Move a descriptor out of the way of the numbers that children assign."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(descriptor)
    return moved


def _forget_own_modules() -> list[types.ModuleType]:
    """Programs find no trace of the server among the loaded modules."""
    own = [name for name in sys.modules if name.partition(".")[0] == "torl_env"]
    return [sys.modules.pop(name) for name in own]


def main(control: int, text: str) -> NoReturn:
    """Serve the socket `control` as the JSON configuration says."""
    began = time.perf_counter()
    config = ServerConfig.from_json(text)
    names = (*warm.PACKAGES, *config.packages)
    search = [path for path in (*config.search, *sys.path) if path]
    places = rootfs.package_paths(names, search)
    _prepare_environment()
    _prepare_signals()
    isolation = layers.Isolation()
    layers.enter_cgroup(config, isolation)
    layers.enter_namespaces(config, isolation, control)
    layers.offer_to_die_first(isolation)
    lifeline = None if isolation.private_pids else os.pidfd_open(os.getppid())
    maps = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    stat = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    null = _high(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
    layers.enter_root(config, isolation, places)
    loaded = _warm(config, names, search)
    ends = kernel.signal_descriptor(signal.SIGCHLD)
    layers.seal(config, isolation, places)
    reactor = Reactor(ends)
    integrity.own_builtins()
    child = Child(isolation, new_phases(config.slots + config.idle), null, config)
    own_modules = _forget_own_modules()
    pages = _compact(maps, _threads_and_bytes(stat)[0])
    _, child.baseline = _threads_and_bytes(stat)
    link = Link(socket.socket(fileno=control), reactor)
    meter = WaitMeter(isolation.proc, lambda: runs.running)
    gate = CloneGate(reactor, isolation.listener, isolation.proc, meter)
    meter.held, meter.started = gate.held, gate.started
    runs = Runs(reactor, child, link.send, gate, meter, idle=config.idle)
    if lifeline is not None:
        reactor.watch(lifeline, lambda: leave(reactor))
    report = ServerReport(
        preload=config.preload,
        pid=0 if isolation.private_pids else os.getpid(),
        layers=isolation.layers,
        python=sys.version.split()[0],
        modules=loaded.versions,
        missing=loaded.missing,
        warm_seconds=time.perf_counter() - began,
        huge_pages=pages,
        files_mb=0 if isolation.areas is None else MEGABYTES,
        schedstat=meter.exact,
    )
    sessions = Sessions(reactor, child, link.send, meter, gate, Interpreter(child))
    reactor.spare_time = lambda: runs.refill() or sessions.spares.prepare()
    if isolation.program_filter is None:
        runs.sweep = sessions.sweep
    link.serve(runs, sessions, report, config.processes)
    raise AssertionError(f"unreachable: {own_modules}")
