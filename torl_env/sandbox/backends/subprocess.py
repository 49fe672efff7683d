"""A process for each program, with resource limits and nothing else: where there is no Linux."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from torl_env.errors import SandboxError
from torl_env.sandbox import results
from torl_env.sandbox.run_queue import is_runnable, waited_seconds
from torl_env.sandbox.types import CallableSandbox, Execution, Limits, conclude

# Runs in the child: sets the limits, takes the program from standard input, leaves a report.
_RUNNER: Final = r"""
import io, json, linecache, os, resource, signal, sys, traceback, types
limits, report = json.loads(sys.argv[1]), int(sys.argv[2])
sys.argv[:] = ["<program>"]
source = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").removeprefix("\ufeff")
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0); os.close(null)
def limit(what, soft):
    try: resource.setrlimit(what, (soft, soft))
    except (ValueError, OSError): pass
def leave(phase, error):
    words = traceback.format_exception_only(error)
    # Notes follow the words, and before those of a syntax error stands what it quotes.
    last = " ".join(words[-1 if isinstance(error, SyntaxError) else 0].split())
    os.pwrite(report, json.dumps([phase, isinstance(error, MemoryError), last]).encode(), 0)
limit(resource.RLIMIT_CORE, 0)
limit(resource.RLIMIT_FSIZE, limits["output_bytes"] * 16)
limit(resource.RLIMIT_NOFILE, limits["open_files"])
limit(resource.RLIMIT_CPU, int(limits["cpu_seconds"]) + 2)
limit(resource.RLIMIT_AS, (limits["memory_mb"] << 20) + (64 << 20))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
signal.setitimer(signal.ITIMER_PROF, limits["cpu_seconds"])
try:
    code = compile(source, "<program>", "exec", dont_inherit=True)
except (SyntaxError, ValueError, RecursionError) as error:
    leave("syntax", error)
    sys.stderr.write("".join(traceback.format_exception_only(error)))
    os._exit(1)
lines = io.StringIO(source + "\n", newline=None).readlines()
linecache.cache["<program>"] = (len(source), None, lines, "<program>")
own, main = sys.modules["__main__"], types.ModuleType("__main__")
main.__file__, main.__builtins__ = os.path.abspath("main.py"), __builtins__
sys.modules["__main__"] = main
try:
    exec(code, main.__dict__)
except SystemExit as leaving:
    if leaving.code is not None and leaving.code != 0:
        leave("run", leaving)
    raise
except BaseException as error:
    leave("run", error)
    frames = error.__traceback__.tb_next
    if sys.excepthook is sys.__excepthook__:
        traceback.print_exception(type(error), error, frames)
    else:
        sys.excepthook(type(error), error, frames)
    sys.exit(1)
"""
_POLL_SECONDS: Final = 0.002
_PATIENCE: Final = 100
"""No program outlives this many times its wall limit, however busy the machine."""
_TIME_SIGNALS: Final = ("SIGPROF", "SIGXCPU")


class SubprocessSandbox(CallableSandbox):
    """Starts an interpreter for each program and bounds it by resource limits.

    Programs can read files, use the network and signal this user's processes: this keeps accidents
    apart, not malice. `LocalSandbox` falls back to it, with a warning, where there is no Linux.

    Args:
        limits: For calls that give none.
        concurrency: Programs at once.
        python: Their interpreter.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        concurrency: int = 8,
        python: str = sys.executable,
    ) -> None:
        super().__init__(limits)
        self._python = python
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="torl-subprocess")
        self._closed = threading.Event()

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program and return at once; cancelling the future kills it."""
        self.check_open()
        call: Future[Execution] = Future()
        self._threads.submit(self._work, call, code, self.limits if limits is None else limits)
        return call

    def close(self) -> None:
        """Refuse further calls and wait for running ones; idempotent."""
        self._closed.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed.is_set()

    def _work(self, call: Future[Execution], code: str, limits: Limits) -> None:
        try:
            outcome: Execution | Exception = self._execute(call, code, limits)
        except OSError as error:
            outcome = SandboxError(f"a program cannot be started: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, a caller waits for it
            outcome = error
        conclude(call, outcome)

    def _execute(self, call: Future[Execution], code: str, limits: Limits) -> Execution:
        began = time.monotonic()
        with (
            tempfile.TemporaryFile() as source,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as report,
            # A program has files by name too: not the trainer's, nor those of an earlier one.
            tempfile.TemporaryDirectory(prefix="torl-", ignore_cleanup_errors=True) as home,
        ):
            source.write(code.encode("utf-8", "surrogatepass"))
            source.seek(0)
            words = [self._python, "-I", "-X", "utf8", "-u", "-c", _RUNNER]
            process = subprocess.Popen(
                [*words, json.dumps(asdict(limits)), str(report.fileno())],
                stdin=source,
                stdout=out,
                stderr=err,
                pass_fds=[report.fileno()],
                env={"PATH": os.defpath, "PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C.UTF-8"},
                cwd=home,
                start_new_session=True,
            )
            timed_out = self._wait(call, process, began, limits.wall_seconds)
            wall = time.monotonic() - began
            return _result(process.returncode, timed_out, (out, err, report), limits, wall)

    def _wait(
        self,
        call: Future[Execution],
        process: "subprocess.Popen[bytes]",
        began: float,
        limit: float,
    ) -> str:
        """Wait for the end, or bring it about; returns `wall` if the wall limit did."""
        timed_out = ""
        while process.poll() is None:
            wall = time.monotonic() - began
            if wall > limit and wall > _allowed(process.pid, limit):
                timed_out = "wall"
            if timed_out or call.cancelled() or self._closed.is_set():
                break
            time.sleep(_POLL_SECONDS)
        # What it has started must not outlive it; a group that is gone has nobody left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return timed_out


def _allowed(pid: int, limit: float) -> float:
    """The wall limit of a process, without the seconds for which it waited for a processor."""
    try:
        waited = waited_seconds(Path(f"/proc/{pid}/schedstat").read_bytes())
        waits_now = is_runnable(Path(f"/proc/{pid}/stat").read_bytes())
    except (OSError, IndexError, ValueError):
        crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
        return limit * min(max(1.0, crowd), _PATIENCE)
    # The kernel counts a wait when it ends, so one that goes on now is not in the sum yet; a
    # program that is always ready to run ends by its CPU limit.
    return limit * _PATIENCE if waits_now else min(limit + waited, limit * _PATIENCE)


def _result(
    code: int,
    timed_out: str,
    files: tuple[IO[bytes], IO[bytes], IO[bytes]],
    limits: Limits,
    wall: float,
) -> Execution:
    phase, memory, error = _read_report(files[2])
    if code < 0 and results.signal_name(-code) in _TIME_SIGNALS:
        timed_out = "cpu"
    ended = results.Ended(
        exit_code=code,
        timed_out=timed_out,
        compiled=phase != "syntax",
        memory_error=memory,
        error=error,
    )
    streams = results.Streams.of_files(files[0].fileno(), files[1].fileno(), limits)
    return results.execution(ended, streams, limits, _cpu(timed_out, limits), wall)


def _cpu(timed_out: str, limits: Limits) -> float:
    """The usage of one child among threads is not known everywhere; the limit is."""
    return limits.cpu_seconds if timed_out == "cpu" else 0.0


def _read_report(file: IO[bytes]) -> tuple[str, bool, str]:
    file.seek(0)
    try:
        phase, memory, error = json.loads(file.read(65_536))
    except ValueError:
        return "", False, ""
    return str(phase), bool(memory), str(error)
