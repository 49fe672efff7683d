"""Sandbox Fusion's JSON: what its `/run_code` takes and gives, read and written in one place.

Its own servers ignore the fields of the name `torl`, in which two of ours exchange what the form
has no place for: CPU limits and exact statuses.
"""

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NoReturn

from torl_env.errors import SandboxError
from torl_env.sandbox.results import shorten_bytes, signal_name
from torl_env.sandbox.types import Execution, Limits, Status

EXTENSION: Final = "torl"
_OWN_SIGNAL: Final = {Status.OUTPUT_LIMIT: -25}
_STREAMS: Final = ("stdout", "stderr")
_MARKER: Final = re.compile(rb"\n\[\.\.\. \d+ bytes omitted \.\.\.\]\n")
_PART: Final = 1 << 16
_LARGEST: Final = 10**9
"""No number of a request is larger in size; what a program gets is bounded much lower."""


def request_body(code: str, limits: Limits, *, bound_memory: bool = False) -> bytes:
    """A program as the client sends it.

    Args:
        code: Python.
        limits: All of them reach a server of ours.
        bound_memory: Give the memory limit to other servers too.
    """
    body = {
        "code": code,
        "language": "python",
        "run_timeout": limits.wall_seconds,
        EXTENSION: asdict(limits),
    }
    if bound_memory:
        body["memory_limit_MB"] = limits.memory_mb
    return json.dumps(body).encode("ascii")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A valid request as the server reads it."""

    code: str
    limits: Limits
    stdin: str = ""
    expired: bool = False
    """Its time limit leaves no time at all."""
    extended: bool = False
    """The client is ours and reads the exact result."""


class InvalidRequestError(ValueError):
    """Answered with 422 and `detail`."""

    def __init__(self, kind: str, place: list[str | int], message: str, given: object) -> None:
        super().__init__(message)
        self.detail = [{"type": kind, "loc": ["body", *place], "msg": message, "input": given}]


def read_request(data: dict[str, Any], default: Limits, most: Limits) -> RunRequest:
    """Check a request's body.

    Args:
        data: Of `read_object`.
        default: Where the request says nothing.
        most: No request gets more than this.

    Raises:
        InvalidRequestError: When something is missing, of a wrong type or not supported.
    """
    language = _text(data, "language")
    if language != "python":
        raise InvalidRequestError(
            "literal_error", ["language"], "Input should be 'python'", language
        )
    seconds = number(data, ("run_timeout",), default.wall_seconds)
    return RunRequest(
        _text(data, "code"),
        read_limits(data, default, most, seconds),
        _text(data, "stdin", optional=True),
        expired=seconds <= 0,
        extended=isinstance(data.get(EXTENSION), dict),
    )


def refuse_files(data: dict[str, Any]) -> None:
    """Cells have no files.

    Raises:
        InvalidRequestError: Files are sent or asked for.
    """
    for name in ("files", "fetch_files"):
        if data.get(name):
            message = "not supported here: /run_code takes files"
            raise InvalidRequestError("value_error", [name], message, None)


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; `Infinity` and `NaN`, which JSON does not have, are refused.

    Raises:
        InvalidRequestError: It is something else.
    """
    try:
        data = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("json_invalid", [], f"JSON decode error: {error}", {}) from error
    if not isinstance(data, dict):
        raise InvalidRequestError("model_type", [], "Input should be a valid dictionary", None)
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_limits(
    data: dict[str, Any], default: Limits, most: Limits, seconds: float | None = None
) -> Limits:
    """The limits of a request.

    Args:
        data: `memory_limit_MB`, or all limits from a client of ours.
        default: Where the request says nothing.
        most: No request gets more than this.
        seconds: Its `run_timeout`, where it has one.

    Raises:
        InvalidRequestError: One is no finite, positive number, or a count is a fraction.
    """
    if seconds is not None:
        seconds = max(seconds, 1e-3)
        memory = int(number(data, ("memory_limit_MB",), -1, whole=True))
        default = replace(
            default,
            cpu_seconds=min(seconds, most.cpu_seconds),
            wall_seconds=min(seconds, most.wall_seconds),
            memory_mb=min(memory if memory > 0 else default.memory_mb, most.memory_mb),
        )
    chosen: dict[str, Any] = {}
    for name, known in asdict(default).items():
        value = known
        if isinstance(data.get(EXTENSION), dict):
            whole = not name.endswith("_seconds")
            value = number(data, (EXTENSION, name), known, whole=whole)
            if value <= 0:
                message = "Input should be greater than 0"
                raise InvalidRequestError("greater_than", [EXTENSION, name], message, value)
        value = min(value, getattr(most, name))
        chosen[name] = value if name.endswith("_seconds") else int(value)
    return Limits(**chosen)


def _text(data: dict[str, Any], name: str, *, optional: bool = False) -> str:
    if optional and data.get(name) is None:
        return ""
    if name not in data:
        raise InvalidRequestError("missing", [name], "Field required", data)
    value = data[name]
    if not isinstance(value, str):
        raise InvalidRequestError("string_type", [name], "Input should be a valid string", value)
    return value


def number(
    data: dict[str, Any], path: tuple[str, ...], default: float, *, whole: bool = False
) -> float:
    """A finite number of a request.

    Raises:
        InvalidRequestError: It is something else, or a fraction where `whole` is asked for.
    """
    for name in path[:-1]:
        data = data[name]
    value = data.get(path[-1], default)
    place: list[str | int] = list(path)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidRequestError("number_type", place, "Input should be a valid number", value)
    # Compared before anything is converted: an integer of 400 digits has no float.
    if not -_LARGEST <= value <= _LARGEST:
        message = f"Input should be a finite number of at most {_LARGEST}"
        raise InvalidRequestError("finite_number", place, message, str(value)[:40])
    if whole and value != math.floor(value):
        message = "Input should be a valid integer, got a number with a fractional part"
        raise InvalidRequestError("int_from_float", place, message, value)
    return value


def response_body(
    result: Execution,
    limits: Limits,
    *,
    extended: bool,
    restarted: bool = False,
    files: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A result as the server sends it.

    A client that is not ours knows no shortened output, and would take a marker in the middle for
    the program's own words: to it, more output than the server returns is a failure that says so.

    Args:
        result: What the program did.
        limits: Of the program.
        extended: The client is ours.
        restarted: For a turn of a session: its variables were lost.
        files: Fetched ones, in base64.
    """
    timed_out = result.status is Status.TIMEOUT
    code = _OWN_SIGNAL.get(result.status, result.exit_code)
    stdout, message = result.stdout, ""
    if not extended and _is_cut(stdout, limits):
        stdout = stdout.encode()[: limits.output_bytes // 2 - 64].decode("utf-8", "ignore")
        message = f"the output is longer than the {limits.output_bytes} bytes that are returned"
        code = code or _OWN_SIGNAL[Status.OUTPUT_LIMIT]
    answer = _frame("Failed" if message or not result.ok else "Success", message)
    run = {
        "status": "TimeLimitExceeded" if timed_out else "Finished",
        "execution_time": result.wall_seconds,
        "return_code": None if timed_out else code,
    }
    stderr = f"{result.stderr}\n{message}\n" if message else result.stderr
    del answer["run_result"]
    answer["files"] = dict(files)
    if extended:
        exact = {name: value for name, value in asdict(result).items() if name not in _STREAMS}
        exact["images"] = [b64encode(image).decode() for image in result.images]
        answer[EXTENSION] = exact | {"restarted": restarted}
    return b"".join((
        json.dumps(answer).encode("ascii")[:-1],
        b', "run_result": ', json.dumps(run).encode("ascii")[:-1],
        b', "stdout": "', *_escaped(stdout), b'", "stderr": "', *_escaped(stderr), b'"}}',
    ))  # fmt: skip


def _escaped(text: str) -> Iterator[bytes]:
    """The inside of a JSON string, in parts.

    Other threads of the server wait while one call of `json` works: 0.1 s for 4 MB.
    """
    for at in range(0, len(text), _PART):
        yield json.dumps(text[at : at + _PART])[1:-1].encode("ascii")


def _is_cut(text: str, limits: Limits) -> bool:
    """Whether this stream is the one that was shortened: the marker stands in its middle."""
    data, middle = text.encode("utf-8", "surrogatepass"), limits.output_bytes // 2
    return _MARKER.search(data, middle - 128, middle + 128) is not None


def failure_body(message: str) -> bytes:
    """The machine's fault, in the form."""
    return json.dumps(_frame("SandboxError", message)).encode("ascii")


def _frame(status: str, message: str) -> dict[str, Any]:
    return {
        "status": status,
        "message": message,
        "compile_result": None,
        "run_result": None,
        "executor_pod_name": None,
        "files": {},
    }


def read_response(body: bytes, limits: Limits) -> tuple[Execution, bool]:
    """What the client makes of an answer.

    Returns:
        The execution, and whether the variables of its session were lost.

    Raises:
        SandboxError: When the answer is not of the form, or says that the server failed.
    """
    try:
        data = json.loads(body)
        status, run = data["status"], data["run_result"]
        extension = data.get(EXTENSION)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SandboxError(
            f"the answer is not Sandbox Fusion's form: {body[:200]!r} ({error!r})"
        ) from error
    if status == "SandboxError" or not isinstance(run, dict):
        raise SandboxError(f"the sandbox server failed: {data.get('message') or 'no run_result'}")
    try:
        if isinstance(extension, dict):
            restarted = bool(extension.pop("restarted"))
            exact = extension | {name: run[name] for name in _STREAMS}
            exact["status"] = Status(extension["status"])
            exact["images"] = tuple(map(b64decode, extension.get("images", ())))
            return Execution(**exact), restarted
        return _read_run(run, limits), False
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxError(f"the answer has unknown contents: {error!r} in {run!r:.300}") from error


def _read_run(run: dict[str, Any], limits: Limits) -> Execution:
    stdout, stdout_cut = _bounded(run["stdout"], limits)
    stderr, stderr_cut = _bounded(run["stderr"], limits)
    seconds = float(run.get("execution_time") or 0.0)
    match run["status"]:
        case "TimeLimitExceeded":
            status, code = Status.TIMEOUT, -9
            error = f"wall time limit of {limits.wall_seconds:g} s exceeded"
        case "Finished":
            code = int(run["return_code"])
            status, error = _judge(code, str(run["stderr"] or ""))
        case other:
            raise SandboxError(f"the sandbox server could not run the program: {other}")
    return Execution(
        status,
        stdout,
        stderr,
        error,
        stdout_cut or stderr_cut,
        code,
        wall_seconds=seconds,
        self_reported=status in (Status.ERROR, Status.MEMORY),
    )


def _bounded(text: object, limits: Limits) -> tuple[str, bool]:
    data = str(text or "").encode("utf-8", "surrogatepass")
    return shorten_bytes(data, limits.output_bytes)


def _judge(code: int, stderr: str) -> tuple[Status, str]:
    """The exit code decides about success; the words only tell one failure from another."""
    if code == 0:
        return Status.OK, ""
    if code < 0:
        return Status.KILLED, f"killed by {signal_name(-code)}"
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    kind = last.partition(":")[0]
    if kind.endswith("MemoryError"):
        return Status.MEMORY, last
    before_running = not any(line.startswith("Traceback") for line in lines)
    if kind in ("SyntaxError", "IndentationError", "TabError") and before_running:
        return Status.SYNTAX_ERROR, last
    return Status.ERROR, last or f"exit code {code}"
