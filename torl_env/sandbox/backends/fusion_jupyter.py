"""Sandbox Fusion's `/run_jupyter`: cells of a notebook as turns of one session."""

import secrets
import time
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any, Final

from torl_env.sandbox.backends import fusion_wire as wire
from torl_env.sandbox.local.sandbox import LocalSandbox
from torl_env.sandbox.types import Execution, Limits, Status

_PREPARE: Final = """
def __torl_cell__(source, mark, name):
    import ast, io, linecache
    source = source.removeprefix("\\ufeff")
    lines = io.StringIO(source + "\\n", newline=None).readlines()
    linecache.cache[name] = (len(source), None, lines, name)
    body = ast.parse(source, name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    try:
        exec(compile(ast.Module(body, []), name, "exec"), globals())
        shown = last and eval(compile(ast.Expression(last.value), name, "eval"), globals())
    except BaseException as error:
        raise error.with_traceback(error.__traceback__.tb_next)
    if shown is not None:
        print(mark, repr(shown), sep="", end="")
"""
"""What a cell's last expression gives is shown, as a notebook does. A cell is parsed here, not in
the server, which must not be reached by what a parser may do with hostile text."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A valid request."""

    cells: tuple[str, ...]
    limits: Limits
    cell_seconds: float
    total_seconds: float


def read_cells(body: bytes, default: Limits, most: Limits) -> Cells:
    """Check a request's body.

    Raises:
        wire.InvalidRequestError: Something is missing, of a wrong type or not supported.
    """
    data = wire.read_object(body)
    cells = data.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        message = "Input should be a list of valid strings"
        raise wire.InvalidRequestError("list_type", ["cells"], message, cells)
    kernel = data.get("kernel", "python3")
    if kernel != "python3":
        message = "Input should be 'python3'"
        raise wire.InvalidRequestError("literal_error", ["kernel"], message, kernel)
    wire.refuse_files(data)
    total = min(wire.number(data, ("total_timeout",), 45), most.wall_seconds)
    return Cells(
        tuple(cells),
        wire.read_limits(data, default, most, max(total, 1e-3)),
        wire.number(data, ("cell_timeout",), 0),
        total,
    )


def run_cells(sandbox: LocalSandbox, job: Cells) -> dict[str, Any]:
    """Run all cells, past errors too, as a kernel does; a timeout ends it and loses them.

    Raises:
        SandboxError: The machine failed.
    """
    began = time.monotonic()
    done: list[dict[str, Any]] = []
    # In place, for what a failed cell has changed stays changed in a notebook.
    with sandbox.open_session(job.limits, in_place=True) as session:
        session.run(_PREPARE)
        for number, cell in enumerate(job.cells, 1):
            left = began + job.total_seconds - time.monotonic()
            seconds = min(left, job.cell_seconds or left)
            result = Execution(Status.TIMEOUT)
            mark = f"\0{secrets.token_hex(16)}\0"
            if seconds > 0:
                limits = replace(job.limits, cpu_seconds=seconds, wall_seconds=seconds)
                words = f"{cell!r}, {mark!r}, '<cell {number}>'"
                result = session.run(f"__torl_cell__({words})", limits)
            if result.status is Status.TIMEOUT:
                return _answer("Failed", "TimeLimitExceeded", None, began, [])
            done.append(_cell(result, mark))
            if session.restarted:
                return _answer("Failed", "Finished", result.exit_code, began, done)
    return _answer("Success", "Finished", 0, began, done)


def _cell(result: Execution, mark: str) -> dict[str, Any]:
    stdout, _, shown = result.stdout.partition(mark)
    data = [{"image/png": b64encode(image).decode()} for image in result.images]
    data += [{"text/plain": shown}] if shown else []
    printed, trace, traceback = result.stderr.rpartition("Traceback (most recent call last):")
    if not trace:
        printed, traceback = ("", result.stderr) if not result.ok else (result.stderr, "")
    name, _, words = result.error.partition(": ")
    error = {"ename": name, "evalue": words, "traceback": (trace + traceback).splitlines()}
    return {
        "stdout": stdout,
        "stderr": result.stderr if result.ok else printed,
        "display": [{"data": item, "metadata": {}} for item in data],
        "error": [] if result.ok else [error],
    }


def _answer(
    status: str, run: str, code: int | None, began: float, cells: list[dict[str, Any]]
) -> dict[str, Any]:
    driver = {
        "status": run,
        "execution_time": time.monotonic() - began,
        "return_code": code,
        "stdout": "",
        "stderr": "",
    }
    return {
        "status": status,
        "message": "",
        "driver": driver,
        "cells": cells,
        "executor_pod_name": None,
        "files": {},
    }
