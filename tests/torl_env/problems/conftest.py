"""One runner for the second solvers of all procedural families."""

from random import Random
from types import SimpleNamespace

import pytest

from torl_env.problems.procedural import FAMILIES, LEVELS


@pytest.fixture
def agree():
    """Compare a family with an independent solver; return at which levels that was feasible."""

    def run(name, solver, seeds=8):
        family, levels = FAMILIES[name], set()
        for level in LEVELS:
            for seed in range(seeds):
                drawn = family.draw(Random(f"second/{name}/{level}/{seed}"), level)
                expected = solver(SimpleNamespace(**drawn.parameters))
                if expected is None:
                    continue
                levels.add(level)
                assert drawn.answer() == expected, drawn.parameters
        return levels

    return run
