"""Problems: procedural families, files and hub sets behind one interface."""

from torl_env.errors import ProblemError
from torl_env.problems.limr import limr_scores, limr_select, read_solve_rates
from torl_env.problems.opening import load
from torl_env.problems.source import Listed, Source, mix
from torl_env.problems.types import Problem, ProblemSource, content_id

__all__ = [
    "Listed",
    "Problem",
    "ProblemError",
    "ProblemSource",
    "Source",
    "content_id",
    "limr_scores",
    "limr_select",
    "load",
    "mix",
    "read_solve_rates",
]
