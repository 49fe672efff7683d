"""Sandbox Fusion's JSON: what its `/run_code` takes and gives, read and written in one place.

Its own servers ignore the fields of the name `torl`, in which two of ours exchange what the form
has no place for: CPU limits and exact statuses.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from torl_env.errors import SandboxError
from torl_env.sandbox.output import shorten_bytes
from torl_env.sandbox.results import signal_name
from torl_env.sandbox.types import Execution, Limits, Status

EXTENSION: Final = "torl"
_OWN_SIGNAL: Final = {Status.OUTPUT_LIMIT: -25}


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


def read_request(body: bytes, default: Limits, most: Limits) -> RunRequest:
    """Check a request's body.

    Args:
        body: JSON.
        default: Where the request says nothing.
        most: No request gets more than this.

    Raises:
        InvalidRequestError: When something is missing, of a wrong type or not supported.
    """
    data = _read_json(body)
    code = _field(data, "code", str, None)
    language = _field(data, "language", str, None)
    if language != "python":
        raise InvalidRequestError(
            "literal_error", ["language"], "Input should be 'python'", language
        )
    for name in ("files", "fetch_files"):
        if data.get(name):
            message = "not supported: programs have no file system here"
            raise InvalidRequestError("value_error", [name], message, data[name])
    seconds = float(_field(data, "run_timeout", (int, float), default.wall_seconds))
    memory = int(_field(data, "memory_limit_MB", (int, float), -1))
    extended = isinstance(data.get(EXTENSION), dict)
    limits = Limits(
        cpu_seconds=min(max(seconds, 1e-3), most.cpu_seconds),
        wall_seconds=min(max(seconds, 1e-3), most.wall_seconds),
        memory_mb=min(memory if memory > 0 else default.memory_mb, most.memory_mb),
        output_bytes=default.output_bytes,
        processes=default.processes,
        open_files=default.open_files,
    )
    if extended:
        limits = _extended_limits(data[EXTENSION], limits, most)
    stdin = data.get("stdin") or ""
    if not isinstance(stdin, str):
        raise InvalidRequestError("string_type", ["stdin"], "Input should be a valid string", stdin)
    return RunRequest(code, limits, stdin, expired=seconds <= 0, extended=extended)


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("json_invalid", [], f"JSON decode error: {error}", {}) from error
    if not isinstance(data, dict):
        raise InvalidRequestError("model_type", [], "Input should be a valid dictionary", None)
    return data


def _field(data: dict[str, Any], name: str, kind: Any, default: Any) -> Any:
    if name not in data:
        if default is None:
            raise InvalidRequestError("missing", [name], "Field required", data)
        return default
    value = data[name]
    if not isinstance(value, kind) or isinstance(value, bool) or value != value:
        word = "string" if kind is str else "number"
        raise InvalidRequestError(f"{word}_type", [name], f"Input should be a valid {word}", value)
    return value


def _extended_limits(extension: Mapping[str, Any], fallback: Limits, most: Limits) -> Limits:
    chosen: dict[str, Any] = {}
    for name, known in asdict(fallback).items():
        value = extension.get(name, known)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            message = "Input should be a positive number"
            raise InvalidRequestError("greater_than", [EXTENSION, name], message, value)
        chosen[name] = type(known)(min(value, getattr(most, name)))
    return Limits(**chosen)


def response_body(result: Execution, *, extended: bool) -> bytes:
    """A result as the server sends it."""
    timed_out = result.status is Status.TIMEOUT
    code = _OWN_SIGNAL.get(result.status, result.exit_code)
    answer: dict[str, Any] = _frame("Success" if result.ok else "Failed", "")
    answer["run_result"] = {
        "status": "TimeLimitExceeded" if timed_out else "Finished",
        "execution_time": result.wall_seconds,
        "return_code": None if timed_out else code,
        "stdout": result.stdout,
        "stderr": result.stderr,
    }
    if extended:
        answer[EXTENSION] = asdict(result)
    return json.dumps(answer).encode("ascii")


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


def read_response(body: bytes, limits: Limits) -> Execution:
    """What the client makes of an answer.

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
            return Execution(**{**extension, "status": Status(extension["status"])})
        return _read_run(run, limits)
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
        status, stdout, stderr, error, stdout_cut or stderr_cut, code, wall_seconds=seconds
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
