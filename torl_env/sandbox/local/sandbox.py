"""The default sandbox: programs run in forks of local servers that have the mathematics loaded."""

import atexit
import importlib.metadata
import os
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from torl_env.errors import SandboxError
from torl_env.sandbox.backends.subprocess import SubprocessSandbox
from torl_env.sandbox.forkserver.config import Layer, ServerConfig, ServerReport
from torl_env.sandbox.local import cgroup
from torl_env.sandbox.local.pool import HUNG_SECONDS, ServerPool
from torl_env.sandbox.local.request import ProgramCall
from torl_env.sandbox.local.server_process import search_path
from torl_env.sandbox.local.session import LocalSession, SessionBook
from torl_env.sandbox.types import CallableSandbox, Execution, Limits, Session

BARE: Final = "bare"
NUMPY: Final = "numpy"
SYMPY: Final = "sympy"
PLOTS: Final = "plots"
ALL: Final = "all"

_SYMPY: Final = re.compile(r"\b(?:sympy|mpmath)\b")
_NUMPY: Final = re.compile(r"\b(?:numpy|np)\b")
_PLOTS: Final = re.compile(r"\b(?:matplotlib|pyplot|plt|pylab)\b")
_ANYTHING: Final = re.compile(r"\b(?:scipy|pandas|networkx|__import__|importlib|exec)\b")


class LocalSandbox(CallableSandbox):
    r"""Runs programs in isolated forks of pre-warmed local server processes.

    Nothing is started before the first call. The object may be used from any thread, survives a
    fork of its process (the child starts servers of its own) and pickles as its configuration.

    Args:
        limits: For calls that give none.
        concurrency: Programs running at once; the rest waits, at no cost to its limits.
        servers: At most this many servers for each set of libraries; default one for 8 processors.
        idle: Children that each server forks ahead of need.
        packages: What programs may import beyond numpy, sympy, mpmath and scipy (top-level names);
            what they depend on comes with them. With `matplotlib`, what a program draws is in
            `Execution.images`.
        tiered: Keep servers without libraries for programs that import none (faster).
        strict: Raise `SandboxError` where not all of these layers hold; `True` for all that matter.
        off: Layers to leave out, and `unprivileged` to act as an ordinary user would.
        python: Interpreter of the programs.
        sessions: Most sessions open at once.
        nice: Added to the priority number of programs: the trainer beside them goes first.
        total_memory_mb: Of all programs and servers together, where a control group can be made;
            default half of what this machine has.
        hung_after: Seconds without a sign of life after which a server that owes results is
            replaced; those calls are `SandboxError`.

    Example:
        >>> with LocalSandbox() as sandbox:
        ...     sandbox.run("print(6 * 7)").stdout
        '42\n'
    """

    def __init__(  # noqa: PLR0913
        self,
        limits: Limits | None = None,
        *,
        concurrency: int = 64,
        servers: int | None = None,
        idle: int = 2,
        packages: Sequence[str] = (),
        tiered: bool = True,
        strict: bool | Sequence[Layer | str] = False,
        off: Sequence[Layer | str] = (),
        python: str = sys.executable,
        sessions: int = 1024,
        nice: int = 2,
        total_memory_mb: int | None = None,
        hung_after: float = HUNG_SECONDS,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {concurrency}")
        if total_memory_mb is not None and total_memory_mb < 1:
            raise ValueError(f"total_memory_mb must be at least 1, got {total_memory_mb}")
        self._config: dict[str, Any] = {
            "limits": limits if limits is not None else Limits(),
            "concurrency": concurrency,
            "servers": servers,
            "idle": idle,
            "packages": tuple(packages),
            "tiered": tiered,
            "strict": strict if isinstance(strict, bool) else tuple(Layer(item) for item in strict),
            "off": tuple(str(item) for item in off),
            "python": python,
            "sessions": sessions,
            "nice": nice,
            "total_memory_mb": total_memory_mb,
            "hung_after": hung_after,
        }
        self._begin()
        _instances.add(self)

    def _begin(self) -> None:
        super().__init__(self._config["limits"])
        self._lock = threading.Lock()
        self._pool: ServerPool | None = None
        self._group: cgroup.ControlGroup | None = None
        self._closed = False
        self._plain = None if sys.platform == "linux" else self._fall_back()
        self._book = SessionBook(self._started, self._config["sessions"])

    def submit(
        self, code: str, limits: Limits | None = None, *, stdin: str = ""
    ) -> Future[Execution]:
        """Start one program and return at once; cancelling the future kills it."""
        if self._plain is not None:
            return self._plain.submit(code, limits)
        call = ProgramCall(code, self.limits if limits is None else limits, stdin=stdin)
        pool = self._started()
        call.on_cancel = pool.kill
        pool.submit(self._preload_set_of(code), call)
        return call

    def session(self, limits: Limits | None = None) -> Session:
        """Open an interpreter that keeps its variables; it has all libraries loaded."""
        if self._plain is not None:
            return self._plain.session(limits)
        return self.open_session(limits)

    def open_session(
        self, limits: Limits | None = None, *, preload: str = ALL, in_place: bool = False
    ) -> LocalSession:
        """`session` with choices.

        Args:
            limits: For turns that give none.
            preload: Libraries that are loaded already; the others are imported when a turn asks.
            in_place: Turns run in the session itself: ten times faster, but a failed turn is not
                rolled back, and a killed one ends the session.

        Raises:
            SandboxError: When `sessions` are open already.
        """
        chosen = self.limits if limits is None else limits
        return LocalSession(self._book, chosen, preload, in_place)

    @property
    def running(self) -> int:
        """Programs and turns in flight."""
        return 0 if self._pool is None else self._pool.running

    @property
    def waiting(self) -> int:
        """Programs and turns that wait for a place."""
        return 0 if self._pool is None else self._pool.waiting

    def server_pids(self) -> list[int]:
        """Process ids of the fork servers that run, each the outer one of two with namespaces."""
        return [] if self._pool is None else self._pool.server_pids()

    def reports(self) -> list[ServerReport]:
        """What the servers started so far say of themselves."""
        return [] if self._pool is None else self._pool.reports()

    def keeps_files(self) -> bool:
        """Whether programs may write files by name here; starts a server if none runs."""
        if self._plain is not None:
            return False
        if not self.reports():
            self._call_in(self._preload_sets()[0]).result()
        return any(report.files_mb for report in self.reports())

    def warm(self) -> list[ServerReport]:
        """Start the servers of every preload and wait until they are ready."""
        if self._plain is not None:
            return []
        calls = [self._call_in(preload) for preload in self._preload_sets()]
        for call in calls:
            call.result()
        return self.reports()

    def close(self) -> None:
        """Kill what still runs and release everything; idempotent."""
        with self._lock:
            self._closed = True
            if self._plain is not None:
                self._plain.close()
            pool, self._pool = self._pool, None
            group, self._group = self._group, None
        if pool is not None:
            pool.close()
        if group is not None:
            group.remove()

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed

    def __getstate__(self) -> dict[str, Any]:
        return self._config

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._config = state
        self._begin()
        _instances.add(self)

    def _call_in(self, preload: str) -> ProgramCall:
        call = ProgramCall("", self.limits)
        self._started().submit(preload, call)
        return call

    def _preload_sets(self) -> tuple[str, ...]:
        return preload_sets(self._config["packages"]) if self._config["tiered"] else (ALL,)

    def _preload_set_of(self, code: str) -> str:
        return preload_set_of(code, self._config["packages"]) if self._config["tiered"] else ALL

    def _started(self) -> ServerPool:
        with self._lock:
            self.check_open()
            if self._pool is None:
                self._pool = self._new_pool()
            return self._pool

    def _new_pool(self) -> ServerPool:
        config = self._config
        processors = os.cpu_count() or 1
        directories, detail = self._control_group()
        common = ServerConfig(
            cgroup=directories,
            cgroup_detail=detail,
            packages=self._packages(),
            search=search_path(config["python"]),
            idle=config["idle"],
            slots=config["concurrency"],
            sessions=config["sessions"],
            processes=self._most_processes,
            nice=config["nice"],
            off=config["off"],
        )
        configs = {preload: replace(common, preload=preload) for preload in self._preload_sets()}
        servers = config["servers"] or max(1, processors // 8)
        return ServerPool(
            configs,
            config["python"],
            config["concurrency"],
            servers,
            self._check_layers,
            config["hung_after"],
        )

    @property
    def _most_processes(self) -> int:
        """Threads of one program, whatever a call's limits say: all programs must fit together."""
        return max(self.limits.processes, 256)

    def _packages(self) -> tuple[str, ...]:
        packages: tuple[str, ...] = self._config["packages"]
        # What is installed for another interpreter is not known here.
        return with_dependencies(packages) if self._config["python"] == sys.executable else packages

    def _control_group(self) -> tuple[tuple[str, ...], str]:
        """Make one; its directories, and what it bounds or why there is none."""
        config = self._config
        if Layer.CGROUP in config["off"]:
            return (), "switched off"
        threads = config["concurrency"] * self._most_processes + 4 * config["sessions"] + 256
        try:
            self._group = cgroup.make(
                config["total_memory_mb"] or cgroup.half_of_memory(), max(threads, 4096)
            )
        except OSError as error:
            return (), str(error)
        return tuple(map(str, self._group.directories)), self._group.detail

    def _fall_back(self) -> SubprocessSandbox:
        """Without Linux there are no fork servers."""
        if self._config["strict"]:
            raise SandboxError(f"strict isolation needs Linux, and this is {sys.platform}")
        warnings.warn(
            f"on {sys.platform} programs run as plain processes with resource limits only",
            RuntimeWarning,
            stacklevel=4,
        )
        return SubprocessSandbox(
            self._config["limits"],
            concurrency=min(self._config["concurrency"], 2 * (os.cpu_count() or 1)),
            python=self._config["python"],
        )

    def _check_layers(self, report: ServerReport) -> None:
        """Refuse or warn where this machine gives less isolation than asked for."""
        missing = missing_layers(report)
        strict = self._config["strict"]
        wanted = missing if strict is True else [item for item in missing if item in (strict or ())]
        if wanted:
            raise SandboxError(
                "strict isolation was asked for, and these layers do not hold here: "
                + "; ".join(f"{item} ({report.layers[item].detail})" for item in wanted)
                + ". `torl sandbox check` says what they mean."
            )
        serious = [item for item in missing if item not in self._config["off"]]
        if serious and not _warned:
            _warned.append(True)
            text = (
                f"the sandbox runs without these layers on this machine: {', '.join(serious)}; "
                "`torl sandbox check` says what that means"
            )
            try:
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            except RuntimeWarning as error:
                raise SandboxError(text) from error

    def _abandon(self) -> None:
        """In a forked child: the parent's servers are not ours."""
        pool, closed = self._pool, self._closed
        self._begin()
        self._closed = closed
        if pool is not None:
            pool.abandon()


def missing_layers(report: ServerReport) -> list[Layer]:
    """Layers that a program could use the lack of."""
    needed = (Layer.NAMESPACES, Layer.ROOT, Layer.LANDLOCK, Layer.SECCOMP, Layer.CAPABILITIES)
    return [layer for layer in needed if layer in report.layers and not report.layers[layer].holds]


_instances: "weakref.WeakSet[LocalSandbox]" = weakref.WeakSet()
_warned: list[bool] = []


def _close_all() -> None:
    for sandbox in list(_instances):
        sandbox.close()


def _abandon_all() -> None:
    for sandbox in list(_instances):
        sandbox._abandon()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def preload_sets(packages: Sequence[str]) -> tuple[str, ...]:
    """Names of the sets that a sandbox with these further packages has.

    >>> preload_sets(()), preload_sets(["matplotlib"])
    (('bare', 'numpy', 'sympy', 'all'), ('bare', 'numpy', 'sympy', 'plots', 'all'))
    """
    plots = (PLOTS,) if "matplotlib" in packages else ()
    return (BARE, NUMPY, SYMPY, *plots, ALL)


def preload_set_of(code: str, packages: Sequence[str] = ()) -> str:
    """Name of the set for `code`, from the words in it.

    A wrong guess costs the program an import, never a wrong result.

    >>> [preload_set_of(code) for code in ("print(1 + 1)", "from sympy import *", "exec(text)")]
    ['bare', 'sympy', 'all']
    >>> preload_set_of("import numpy as np"), preload_set_of("import sympy, numpy")
    ('numpy', 'all')
    >>> preload_set_of("plt.plot(np.arange(3))", ["matplotlib"])
    'plots'
    """
    if _ANYTHING.search(code):
        return ALL
    sympy = _SYMPY.search(code) is not None
    if _PLOTS.search(code):
        return PLOTS if "matplotlib" in packages and not sympy else ALL
    numpy = _NUMPY.search(code) is not None
    if sympy:
        return ALL if numpy else SYMPY
    return NUMPY if numpy else BARE


def with_dependencies(packages: Sequence[str]) -> tuple[str, ...]:
    """The packages and what they need, by the names under which they are imported.

    `pandas` alone could not be imported: it imports `dateutil`, of the distribution
    `python-dateutil`. What is not installed stays as it is named, and fails where it is imported.
    """
    if not packages:
        return ()
    by_module = importlib.metadata.packages_distributions()
    modules: dict[str, list[str]] = {}
    for module, names in by_module.items():
        for name in names:
            modules.setdefault(_normal(name), []).append(module)
    found = dict.fromkeys(packages)
    todo = [name for package in packages for name in by_module.get(package, ())]
    seen: set[str] = set()
    while todo:
        name = _normal(todo.pop())
        if name in seen or name not in modules:
            continue
        seen.add(name)
        found |= dict.fromkeys(module for module in modules[name] if module.isidentifier())
        # What an extra asks for is not needed: `pytest ; extra == "test"`.
        todo += [
            re.split(r"[^\w.-]", line, maxsplit=1)[0]
            for line in importlib.metadata.requires(name) or ()
            if "extra ==" not in line
        ]
    return tuple(found)


def _normal(name: str) -> str:
    """Of a distribution, as the packaging specifications compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
