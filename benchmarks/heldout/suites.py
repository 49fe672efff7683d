"""The benchmarks of the papers by name: where they come from, how many problems, what is checked.

The counts are the published ones; a copy with another count is another benchmark, and comparing
its numbers with a paper's would be wrong, so opening it is an error unless the edition is known.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rewards.suggestion import did_you_mean
from torl_env.errors import ProblemError
from torl_env.problems import load
from torl_env.problems.types import Problem

DATA = "TORL_DATA"
"""Environment variable: a folder with `NAME.jsonl` files, which are taken before the hub."""


class SuiteError(ProblemError):
    """A suite is unknown, or a copy of it is not what its name says."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One benchmark."""

    name: str
    count: int
    """Problems as published."""
    about: str
    files: tuple[str, ...] = ()
    """Further file names (without ending) under which copies are found."""
    source: str = ""
    """What `torl_env.problems.load` is asked for where no file is at hand; default: the name."""
    other_counts: dict[int, str] = field(default_factory=dict)
    """Counts of known other editions, and what they are."""
    accepts: Callable[[str], bool] = bool
    """Whether an answer looks as all of this suite's do."""


def _integer(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+", text))


def _aime(text: str) -> bool:
    """Three digits at most; hub copies keep leading zeros (025), which equal the number."""
    return bool(re.fullmatch(r"\d{1,3}", text))


SUITES = {
    suite.name: suite
    for suite in (
        Suite("aime24", 30, "AIME 2024 I and II", accepts=_aime),
        Suite("aime25", 30, "AIME 2025 I and II", accepts=_aime),
        Suite("amc23", 40, "AMC 12 2023, reworded to integer answers", accepts=_integer),
        Suite("math500", 500, "MATH-500 of PRM800K"),
        Suite(
            "olympiadbench",
            675,
            "OlympiadBench OE_TO_maths_en_COMP as Qwen2.5-Math, ToRL and others evaluate it",
            other_counts={674: "the hub's edition, one problem fewer than the papers'"},
        ),
        Suite("minerva", 272, "Minerva Math (MIT OpenCourseWare)", ("minerva_math",)),
        Suite("gsm8k", 1319, "GSM8K test", ("gsm8k_test",), accepts=_integer),
        Suite("procedural", 1000, "procedural problems, held-out split", source="procedural"),
    )
}


CODE = ("humanevalplus", "mbppplus")
"""Suites of `benchmarks.heldout.code_suites`, whose answers are programs."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A suite with its problems."""

    suite: Suite
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()


def names(text: str) -> tuple[str, ...]:
    """Suites of a comma-separated list, `all` for every one but those whose answers are programs.

    Raises:
        SuiteError: If one is unknown or named twice.

    >>> names("aime24,humanevalplus")
    ('aime24', 'humanevalplus')
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if found == ("all",):
        return tuple(SUITES)
    known = (*SUITES, *CODE)
    for name in found:
        if name not in known:
            raise SuiteError(
                f"unknown suite {name!r}; expected some of {', '.join(known)}, or all."
                f"{did_you_mean(name, known)}"
            )
    if not found or len(set(found)) != len(found):
        raise SuiteError(f"expected suites separated by commas, each once, got {text!r}")
    return found


def open_suite(name: str, folder: Path | None = None) -> Opened:
    """Open a suite and check it.

    Args:
        name: One of `SUITES`.
        folder: Where files are looked for first; default: `$TORL_DATA`. Else the hub is asked.

    Raises:
        SuiteError: If the count is not the published one, or an answer is not of the suite's kind.
        ProblemError: If it cannot be opened at all.
    """
    (known,) = names(name)
    if known in CODE:
        raise SuiteError(f"{name}: its answers are programs, see `load_tasks`")
    suite = SUITES[known]
    place = _file(suite, folder)
    source = load(str(place)) if place else load(suite.source or name, _split(suite))
    problems = tuple(source)
    where = str(place or f"the hub's {name}")
    odd = [problem for problem in problems if not suite.accepts(problem.answer.strip())]
    if odd:
        raise SuiteError(
            f"{where}: {len(odd)} answers are not as in {suite.about}, such as "
            f"{odd[0].answer!r} of {odd[0].id}; get a clean copy"
        )
    return Opened(suite, problems, _count(suite, problems, where))


def _count(suite: Suite, problems: Sequence[Problem], where: str) -> tuple[str, ...]:
    if len(problems) == suite.count:
        return ()
    if len(problems) in suite.other_counts:
        edition = suite.other_counts[len(problems)]
        return (f"{suite.name}: {len(problems)} problems, not {suite.count}: {edition}",)
    raise SuiteError(
        f"{where} holds {len(problems)} problems, {suite.name} has {suite.count}; get a whole "
        f"copy, or evaluate this one under its own name with --problems"
    )


def _file(suite: Suite, folder: Path | None) -> Path | None:
    folder = _folder(folder)
    if folder is None or suite.name == "procedural":
        return None
    candidates = (folder / f"{stem}.jsonl" for stem in (suite.name, *suite.files))
    return next((path for path in candidates if path.exists()), None)


def code_file(name: str, folder: Path | None = None) -> Path:
    """The JSONL of a code suite: `NAME*.jsonl`, as EvalPlus publishes it.

    Raises:
        SuiteError: If the folder holds none, or no folder is named.
    """
    folder = _folder(folder)
    found = sorted(folder.glob(f"{name}*.jsonl")) if folder else []
    if not found:
        raise SuiteError(
            f"{name}: expected {name}*.jsonl of EvalPlus in {folder or f'--data or ${DATA}'}; "
            f"get it from github.com/evalplus"
        )
    return found[0]


def _folder(folder: Path | None) -> Path | None:
    if folder is None and DATA in os.environ:
        folder = Path(os.environ[DATA])
    if folder is not None and not folder.is_dir():
        raise SuiteError(f"expected a folder with NAME.jsonl files at {folder}, found none")
    return folder


def _split(suite: Suite) -> str | None:
    return "heldout" if suite.name == "procedural" else None
