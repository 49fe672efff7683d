"""HumanEval+ and MBPP+: programs against tests, run in the sandbox, from their public JSONL.

The expected outputs are those of the reference solution on the same inputs, as EvalPlus (arXiv
2305.01210) defines them, and what its version 0.3.1 takes besides in some tasks is taken. Reference
and candidate run in separate executions and only outputs are compared, outside of the sandbox, so a
candidate cannot see or change what it is compared with.

A model is evaluated on them like on any problems, with `torl_env` grading nothing: `grading` wraps
a collector and sets the verdict of each trajectory by running the last program of its response.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.core.run.storage import read_lines
from agents.core.types import Trajectory
from benchmarks.heldout.code_outputs import (
    harness,
    is_error,
    is_root,
    read_outputs,
    same,
)
from benchmarks.heldout.evaluate import Collect
from benchmarks.heldout.suites import SuiteError
from rewards import Verdict
from torl_env.problems.types import Problem
from torl_env.sandbox.types import Limits, Sandbox, Status

LIMITS = Limits(cpu_seconds=30, wall_seconds=120, output_bytes=8_000_000)
GRADER = "EvalPlus tests"
"""Name of this way to give verdicts, for the header of records."""
_PATIENCE = 4
"""A program may take this many times what the reference took, as with EvalPlus."""
COUNTS = {"humanevalplus": 164, "mbppplus": 378}
INSTRUCTION = "Write the Python function. Answer with the whole program in one ```python block.\n\n"

_PROGRAM = re.compile(r"```(?:python|py)[ \t]*\r?\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Task:
    """One function to write."""

    id: str
    prompt: str
    entry_point: str
    solution: str
    """A whole program that is right."""
    preamble: str
    """Imports and helpers that the prompt promises; runs before a candidate."""
    inputs: tuple[tuple[Any, ...], ...]
    """Positional arguments of each test."""
    tolerance: float
    view: str = ""
    """What of an output is compared, a key of `code_outputs.VIEWS`."""
    root: bool = False
    """Any root of the polynomial is right (HumanEval/32)."""
    other: Callable[..., int] | None = None
    """Another reading of the task, whose output is right too."""

    @property
    def problem(self) -> Problem:
        """The task as a problem; its answer is the reference solution."""
        return Problem(self.id, INSTRUCTION + self.prompt, self.solution, source="code")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program did."""

    passed: bool
    reason: str
    """`""` when it passed."""


def load_tasks(path: Path) -> tuple[Task, ...]:
    """Read `humanevalplus*.jsonl` or `mbppplus*.jsonl` and check the count.

    Raises:
        SuiteError: If the count is not the published one, or a row is no task.
    """
    rows = list(read_lines(path))
    wanted = next((n for name, n in COUNTS.items() if path.name.startswith(name)), None)
    if wanted not in (None, len(rows)):
        raise SuiteError(f"{path} holds {len(rows)} tasks, expected {wanted}; get a whole copy")
    try:
        return tuple(_task(row) for row in rows)
    except (KeyError, SyntaxError, TypeError) as error:
        raise SuiteError(f"{path}: not a file of EvalPlus tasks ({error!r})") from None


class Checker:
    """Runs programs against the tests of their tasks; reference outputs are computed once."""

    def __init__(self, tasks: Sequence[Task], sandbox: Sandbox) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._sandbox = sandbox
        self._expected: dict[str, list[Any]] = {}
        self._limits: dict[str, Limits] = {}

    def check(self, task_id: str, program: str) -> Outcome:
        """Whether a program gives the reference's output on every input.

        Raises:
            SandboxError: If the machine failed.
            SuiteError: If the reference solution itself does not run.
        """
        task = self._tasks[task_id]
        if task_id not in self._expected:
            found, seconds = self._outputs(task, task.solution, _with_time(10 * LIMITS.cpu_seconds))
            if isinstance(found, str):
                raise SuiteError(f"{task_id}: the reference solution does not run: {found}")
            self._expected[task_id] = found
            self._limits[task_id] = _with_time(max(LIMITS.cpu_seconds, _PATIENCE * seconds))
        whole = task.preamble + "\n" + program
        outputs, _ = self._outputs(task, whole, self._limits[task_id])
        if isinstance(outputs, str):
            return Outcome(False, outputs)
        for number, (output, expected) in enumerate(
            zip(outputs, self._expected[task_id], strict=True)
        ):
            if is_error(expected):
                continue  # The input breaks the task's own contract.
            if is_error(output):
                return Outcome(False, f"test {number}: {output[1]}")
            if not _agrees(task, number, output, expected):
                return Outcome(False, f"test {number}: another output than the reference")
        return Outcome(True, "")

    def _outputs(self, task: Task, program: str, limits: Limits) -> tuple[list[Any] | str, float]:
        """Encoded output of each test, or why there are none, and CPU seconds."""
        tests = harness(program, task.entry_point, task.inputs, task.view)
        found = self._sandbox.run(tests, limits)
        if found.status is not Status.OK:
            return f"{found.status}: {found.error}", found.cpu_seconds
        outputs = read_outputs(found.stdout, len(task.inputs))
        ended = "the program ended before its tests"
        return ended if outputs is None else outputs, found.cpu_seconds


def _with_time(cpu_seconds: float) -> Limits:
    """The limits with more or less time, in which wall seconds only guard the machine."""
    wall = cpu_seconds * LIMITS.wall_seconds / LIMITS.cpu_seconds
    return replace(LIMITS, cpu_seconds=cpu_seconds, wall_seconds=wall)


def grading(collect: Collect, tasks: Sequence[Task], sandbox: Sandbox) -> Collect:
    """The same collector, with verdicts set by the tests."""
    checker = Checker(tasks, sandbox)

    def graded(problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        for trajectory in collect(problems, k, seed):
            if trajectory.infra_error:
                yield trajectory
                continue
            program = program_of(trajectory.response)
            if not program:
                verdict, detail = Verdict.NO_ANSWER, ""
            else:
                outcome = checker.check(trajectory.problem_id, program)
                verdict = Verdict.CORRECT if outcome.passed else Verdict.WRONG
                detail = outcome.reason
            yield replace(trajectory, verdict=str(verdict), answer=detail, scorable=True)

    return graded


def program_of(response: str) -> str:
    """The last Python block of a response, closed or not; `""` when there is none."""
    blocks = _PROGRAM.findall(response)
    return blocks[-1].strip("\n") if blocks else ""


# What EvalPlus compares otherwise than by equality, by entry point; the names are MBPP's alone.
_SETS = {
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
}
_FOUND = {"check_str", "text_match_three", "text_starta_endb"}


def _padded_digits(a: int, b: int) -> int:
    """Mbpp/558 with zeros before the shorter number."""
    width = max(len(str(a)), len(str(b)))
    pairs = zip(str(a).zfill(width), str(b).zfill(width), strict=True)
    return sum(abs(int(x) - int(y)) for x, y in pairs)


def _pyramid_surface(base: float, height: float) -> int:
    """Mbpp/581 with the height of the pyramid in place of its sides' height."""
    return round(base**2 + 2 * base * math.hypot(base / 2, height))


_OTHER = {"digit_distance_nums": _padded_digits, "surface_Area": _pyramid_surface}


def _task(row: Mapping[str, Any]) -> Task:
    name = row["entry_point"]
    calls, as_set = _calls(str(row.get("assertion", "")), name)
    inputs = [*row["base_input"], *row["plus_input"]]
    prompt = row["problem"]
    # MBPP describes the function in a docstring, HumanEval begins it and leaves out its body.
    whole = prompt.lstrip().startswith('"""')
    preamble = "" if whole else f"{prompt}\n    pass\n"
    body = row["answer"] if whole else f"{prompt}\n    {row['answer']}\n"
    ast.parse(preamble)
    return Task(
        id=row["id"],
        prompt=prompt,
        entry_point=name,
        solution=body,
        preamble=preamble,
        inputs=tuple(tuple(_typed(list(args), calls)) for args in inputs),
        tolerance=max(float(row.get("atol", 0)), 1e-6),
        view="set" if as_set or name in _SETS else "found" if name in _FOUND else "",
        root=name == "find_zero",
        other=_OTHER.get(name),
    )


def _calls(assertions: str, name: str) -> tuple[list[list[Any]], bool]:
    """Literal arguments of the calls in assertions, and whether these compare sets.

    JSON has no tuples, sets and complex numbers; the benchmark's assertions show where they belong.
    """
    found, as_set = [], False
    for node in ast.walk(ast.parse(assertions)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == name:
            try:
                found.append([ast.literal_eval(argument) for argument in node.args])
            except ValueError:
                continue
        elif node.func.id == "set" and node.args and isinstance(node.args[0], ast.Call):
            as_set = True
    return found, as_set


def _typed(arguments: list[Any], calls: Sequence[Sequence[Any]]) -> list[Any]:
    """Arguments with the types of a call of the assertions that has as many."""
    template = next((call for call in calls if len(call) == len(arguments)), None)
    if template is None:
        return arguments
    pairs = zip(arguments, template, strict=True)
    return [_number(v) if isinstance(f, _NUMBERS) else _like(v, f) for v, f in pairs]


_NUMBERS = (int, float, complex)


def _number(value: Any) -> Any:
    """An argument that is a number; JSON holds complex ones as text."""
    if isinstance(value, str):
        with suppress(ValueError):
            return complex(value.replace(" ", ""))
    return value


def _like(value: Any, form: Any, around: type = list) -> Any:
    """A JSON value in the types of a literal; `around` is the container that it stands in."""
    if isinstance(value, list):
        kind = type(form) if isinstance(form, list | tuple | set) else around
        forms = list(form) if isinstance(form, list | tuple | set) else []
        return kind(
            _like(item, _form_of(item, i, forms, len(value)), kind) for i, item in enumerate(value)
        )
    if isinstance(value, dict) and isinstance(form, dict) and form:
        key, inner = next(iter(form.items()))
        return {(int(k) if isinstance(key, int) else k): _like(v, inner) for k, v in value.items()}
    return value


def _form_of(item: Any, index: int, forms: Sequence[Any], count: int) -> Any:
    """The literal that shows an item's type: at its place, else the first of its kind."""
    if len(forms) == count:
        return forms[index]
    nested = isinstance(item, list)
    return next((form for form in forms if isinstance(form, list | tuple | set) == nested), None)


def _agrees(task: Task, number: int, output: Any, expected: Any) -> bool:
    if task.root:
        return is_root(task.inputs[number][0], output)
    if task.other and same(output, ["int", hex(task.other(*task.inputs[number]))], 0):
        return True
    return same(output, expected, task.tolerance)
