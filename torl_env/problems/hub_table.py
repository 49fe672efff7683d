"""The hub sets that have a short name: where they are, and which columns hold what.

Split names on the hub do not say what a set is for: several benchmarks have only `train`. `role`
says it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torl_env.problems.columns import Columns, Reading


class Role(StrEnum):
    """What a set is for."""

    HELDOUT = "heldout"
    TRAIN = "train"


class Rule(StrEnum):
    """Which rows of a set are problems."""

    ALL = "all"
    NUMINA = "numina"
    """Checked by its authors as valid, with a final answer (no proofs)."""

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is to be kept."""
        if self is Rule.ALL:
            return True
        return (
            row.get("problem_is_valid") == "Yes"
            and row.get("solution_is_valid") == "Yes"
            and row.get("question_type") != "proof"
            and row.get("answer") not in ("proof", "notfound")
        )


@dataclass(frozen=True, slots=True)
class HubSet:
    """A set on the hub."""

    name: str
    path: str
    config: str | None = None
    split: str = "train"
    columns: Columns | None = None
    """`None`: found by their names."""
    rows: int | None = None
    """Number of problems as published, `None` where not stated."""
    role: Role = Role.TRAIN
    rule: Rule = Rule.ALL
    revision: str | None = None
    """Commit or branch on the hub; `None` is the newest."""
    licence: str = ""


def _bench(
    name: str,
    path: str,
    split: str,
    columns: Columns,
    rows: int,
    config: str | None = None,
    licence: str = "not stated",
) -> HubSet:
    return HubSet(name, path, config, split, columns, rows, Role.HELDOUT, licence=licence)


def _train(
    name: str,
    path: str,
    columns: Columns,
    rows: int | None,
    config: str | None = None,
    rule: Rule = Rule.ALL,
    licence: str = "not stated",
) -> HubSet:
    return HubSet(name, path, config, "train", columns, rows, Role.TRAIN, rule, licence=licence)


_PROBLEM = Columns("problem", ("answer",))
_QUESTION = Columns("question", ("answer",))
_SOLUTION = Columns("problem", ("solution",), Reading.BOXED)
_INTEGER = Columns("problem", ("answer", "solution"), Reading.INTEGER)
_HASHES = Columns("question", ("answer",), Reading.HASHES)
_OLYMPIAD = Columns("question", ("final_answer",), Reading.FIRST)

_SETS = (
    _bench("aime24", "math-ai/aime24", "test", _INTEGER, 30),
    _bench("aime25", "math-ai/aime25", "test", _INTEGER, 30),
    _bench("aime26", "MathArena/aime_2026", "train", _INTEGER, 30, licence="CC BY-NC-SA 4.0"),
    _bench("amc23", "math-ai/amc23", "test", Columns("question", ("answer",), Reading.INTEGER), 40),
    _bench("amc_2022_2023", "AI-MO/aimo-validation-amc", "train", _INTEGER, 83),
    _bench("aime_2022_2024", "AI-MO/aimo-validation-aime", "train", _INTEGER, 90),
    _bench("math500", "HuggingFaceH4/MATH-500", "test", _PROBLEM, 500, licence="MIT"),
    _bench(
        "math_test",
        "DigitalLearningGmbH/MATH-lighteval",
        "test",
        _SOLUTION,
        5000,
        licence="MIT",
    ),
    _bench(
        "olympiadbench",
        "Hothan/OlympiadBench",
        "train",
        _OLYMPIAD,
        674,
        "OE_TO_maths_en_COMP",
        "Apache-2.0",
    ),
    _bench("minerva", "math-ai/minervamath", "test", _QUESTION, 272),
    _bench("gsm8k", "openai/gsm8k", "test", _HASHES, 1319, "main", "MIT"),
    _bench(
        "hmmt_feb25", "MathArena/hmmt_feb_2025", "train", _PROBLEM, 30, licence="CC BY-NC-SA 4.0"
    ),
    _bench("beyond_aime", "ByteDance-Seed/BeyondAIME", "test", _PROBLEM, 100),
    _bench("olymmath_easy", "RUC-AIBOX/OlymMATH", "test", _PROBLEM, 100, "en-easy", "MIT"),
    _bench("olymmath_hard", "RUC-AIBOX/OlymMATH", "test", _PROBLEM, 100, "en-hard", "MIT"),
    _bench("omni_math", "KbsdJames/Omni-MATH", "test", _PROBLEM, 4428, licence="Apache-2.0"),
    _bench(
        "humanevalplus",
        "evalplus/humanevalplus",
        "test",
        Columns("prompt", ("canonical_solution",)),
        164,
        licence="Apache-2.0",
    ),
    _bench(
        "mbppplus",
        "evalplus/mbppplus",
        "test",
        Columns("prompt", ("code",)),
        378,
        licence="Apache-2.0",
    ),
    _train("gsm8k_train", "openai/gsm8k", _HASHES, 7473, "main", licence="MIT"),
    _train("math_train", "DigitalLearningGmbH/MATH-lighteval", _SOLUTION, 7500, licence="MIT"),
    _train(
        "torl",
        "VerlTool/ToRL-Math",
        Columns("prompt.1.content", ("reward_model.ground_truth",)),
        None,
    ),
    _train("limr", "GAIR/LIMR", Columns("prompt", ("answer",)), 1389),
    _train(
        "deepscaler", "agentica-org/DeepScaleR-Preview-Dataset", _PROBLEM, 40_315, licence="MIT"
    ),
    _train(
        "numina15",
        "AI-MO/NuminaMath-1.5",
        _PROBLEM,
        None,
        rule=Rule.NUMINA,
        licence="Apache-2.0",
    ),
    _train("numina_cot", "AI-MO/NuminaMath-CoT", _SOLUTION, 859_494, licence="Apache-2.0"),
    _train("numina_tir", "AI-MO/NuminaMath-TIR", _SOLUTION, None, licence="Apache-2.0"),
    _train(
        "dapo",
        "open-r1/DAPO-Math-17k-Processed",
        Columns("prompt", ("solution", "reward_model.ground_truth")),
        None,
        "en",
    ),
    _train(
        "simplerl",
        "hkust-nlp/SimpleRL-Zoo-Data",
        Columns("extra_info.question", ("gt_answer", "reward_model.ground_truth")),
        8523,
    ),
    _train("open_rs", "knoveleng/open-rs", _PROBLEM, 7000, licence="MIT"),
    _train(
        "deepmath",
        "zwhe99/DeepMath-103K",
        Columns("question", ("final_answer",)),
        103_110,
        licence="MIT",
    ),
    _train("polaris", "POLARIS-Project/Polaris-Dataset-53K", _PROBLEM, None),
    _train("big_math", "SynthLabsAI/Big-Math-RL-Verified", _PROBLEM, None, licence="Apache-2.0"),
    _train("limo", "GAIR/LIMO", _QUESTION, 817, licence="Apache-2.0"),
    _train("aime_1983_2024", "gneubig/aime-1983-2024", Columns("Question", ("Answer",)), None),
)

HUB: dict[str, HubSet] = {item.name: item for item in _SETS}
"""Hub sets by short name.

Sources: the loaders of lm-evaluation-harness, lighteval, SkyThought, verl-tool, NeMo-RL and
tinker-cookbook, and the data set cards. `olympiadbench` has 674 rows on the hub; the file that
Qwen2.5-Math and ToRL evaluate has 675.
"""
