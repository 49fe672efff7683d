"""The multi-stage filter of TIRGen, every predicate a function of its own, every yield reported.

Sources: THOR (arXiv 2509.13761, section 2.2). Its release lacks the tests for libraries or control
flow and for problems that pure text already solves, and neither paper nor release decontaminates.
"""

import ast
import random
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from agents.thor.tirgen import Sample, Step, to_first_call
from torl_env.parsing.fenced import FencedParser
from torl_env.parsing.types import Parser

Filter = Callable[[Sequence[Sample]], Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Yield:
    """What one filter let through."""

    name: str
    before: int
    after: int


def well_formed(sample: Sample) -> bool:
    """It ends with a boxed answer, and every fence that it opens is closed."""
    last = sample.steps[-1].text if sample.steps else ""
    fences = sum(line.startswith("```") for line in sample.text.splitlines())
    return sample.finished and "\\boxed{" in last and fences % 2 == 0


def all_real(parser: Parser | None = None) -> Filter:
    """Drops samples with a call that never ran, or with an output that no run gave.

    Args:
        parser: How the environment reads calls.
    """
    reads = parser or FencedParser()
    # The words that an output begins with; a frame needs no turn for that.
    opening = reads.frame("", "").split()[0].lower()

    def real(step: Step) -> bool:
        if opening in step.text.replace(" ", "").lower():
            return False
        return to_first_call(step.text, reads) == (step.text if step.status else None)

    return keep(lambda sample: all(map(real, sample.steps)))


def calls_passed(sample: Sample) -> bool:
    """At least one program ran, and all ran without error."""
    statuses = [step.status for step in sample.steps if step.status]
    return bool(statuses) and all(status == "ok" for status in statuses)


def is_correct(sample: Sample) -> bool:
    """The answer is right."""
    return sample.correct


def substantial(sample: Sample) -> bool:
    """Some program does what is hard by hand: it uses a library or control flow."""
    return any(needs_code(step.code) for step in sample.steps if step.code)


def needs_code(code: str) -> bool:
    """Whether a program imports a library, loops, branches or defines.

    Example:
        >>> needs_code("print(2 + 3)"), needs_code("print(sum(k * k for k in range(9)))")
        (False, True)
        >>> needs_code("import sympy"), needs_code("import sys"), needs_code("1 +")
        (True, False, False)
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    flow = (ast.For, ast.While, ast.If, ast.IfExp, ast.comprehension, ast.FunctionDef)
    return any(isinstance(node, flow) or _imports_library(node) for node in ast.walk(tree))


def _imports_library(node: ast.AST) -> bool:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    heads = {name.partition(".")[0] for name in names}
    helps = {"math", "cmath", "fractions", "decimal", "itertools", "statistics", "functools"}
    return any(head in helps or head not in sys.stdlib_module_names for head in heads if head)


def keep(predicate: Callable[[Sample], bool]) -> Filter:
    """The filter of a predicate."""
    return lambda samples: [sample for sample in samples if predicate(sample)]


def unsolved_by_text(solved: Collection[str]) -> Filter:
    """Drops problems that pure text solves already; `solved` are their ids."""
    return keep(lambda sample: sample.problem.id not in solved)


def decontaminated(is_held_out: Callable[[str], bool]) -> Filter:
    """Drops questions that are part of a benchmark; `is_held_out` knows (see `torl data check`)."""
    return keep(lambda sample: not is_held_out(sample.problem.question))


def balanced(ratio: float = 2.0, seed: int = 0) -> Filter:
    """Thins out a number of calls that is more than `ratio` times as frequent as the next.

    Most samples call once; a policy that imitates them all would call once whatever the problem.
    """

    def thin(samples: Sequence[Sample]) -> Sequence[Sample]:
        strata: dict[int, list[int]] = {}
        for i, sample in enumerate(samples):
            strata.setdefault(sample.calls, []).append(i)
        sizes = sorted(map(len, strata.values()), reverse=True)
        if len(sizes) < 2:
            return samples
        most = max(1, int(ratio * sizes[1]))
        rng = random.Random(f"balance/{seed}")
        kept: set[int] = set()
        for _, places in sorted(strata.items()):
            kept.update(rng.sample(places, min(most, len(places))))
        return [sample for i, sample in enumerate(samples) if i in kept]

    return thin


def at_most(count: int) -> Filter:
    """Keeps the first `count` samples of each problem, so that easy ones do not crowd out the rest.

    THOR's release keeps one.
    """

    def first(samples: Sequence[Sample]) -> Sequence[Sample]:
        taken: Counter[str] = Counter()
        kept = []
        for sample in samples:
            taken[sample.problem.id] += 1
            if taken[sample.problem.id] <= count:
                kept.append(sample)
        return kept

    return first


REAL = "calls and outputs real"
"""The stage of `all_real`; replace it where calls are not Python in fences."""

STAGES: tuple[tuple[str, Filter], ...] = (
    ("format", keep(well_formed)),
    (REAL, all_real()),
    ("calls valid and passed", keep(calls_passed)),
    ("correct", keep(is_correct)),
    ("library or control flow", keep(substantial)),
    ("balance over calls", balanced()),
)
"""The stages that need nothing from outside; add `unsolved_by_text` and `decontaminated`."""


def sift(
    samples: Sequence[Sample], stages: Sequence[tuple[str, Filter]] = STAGES
) -> tuple[list[Sample], list[Yield]]:
    """Samples that pass all stages, and what each stage let through."""
    yields = []
    for name, stage in stages:
        before = len(samples)
        samples = stage(samples)
        yields.append(Yield(name, before, len(samples)))
    return list(samples), yields
