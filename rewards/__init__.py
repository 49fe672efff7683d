"""Answers in, verdicts and numbers out: the grader and the rewards built on its verdicts."""

from rewards.batch import grade_batch
from rewards.errors import ReferenceError, UndecidedError
from rewards.extraction import Extraction, Style, extract
from rewards.grader import Reference, grade, grade_answer, grade_async, grade_training
from rewards.grading_options import TRAINING, Bases, Boxes, Degrees, GradingOptions, Percent, Units
from rewards.presets import presets, register, reward
from rewards.terms import Reward, Term
from rewards.types import Attempt, Grade, Scored, Verdict

__all__ = [
    "TRAINING",
    "Attempt",
    "Bases",
    "Boxes",
    "Degrees",
    "Extraction",
    "Grade",
    "GradingOptions",
    "Percent",
    "Reference",
    "ReferenceError",
    "Reward",
    "Scored",
    "Style",
    "Term",
    "UndecidedError",
    "Units",
    "Verdict",
    "extract",
    "grade",
    "grade_answer",
    "grade_async",
    "grade_batch",
    "grade_training",
    "presets",
    "register",
    "reward",
]
