"""What the studies compare: the runs they need, each named once, and the rows of each table.

A run that several studies need is made once. `base` stands for a pretrained model that already
starts with code in some of its answers, as Qwen2.5-Math does in 0.4 of ToRL's: SmolLM2-135M writes
a program in one answer of a hundred, and RL alone has nothing to reward there (the run `raw` shows
it).

What is imitated covers half of the families only. With traces of all of them SFT on the reference
programs solves everything, which no SFT on the papers' data does, and leaves RL nothing to find.
"""

from dataclasses import dataclass, replace
from typing import Any

from agents.core.trainer.options import Training

TRAINING = Training(steps=6, prompts_per_step=6, learning_rate=1.5e-5)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much work a run is; the same for all of them."""

    model: str = "smollm2"
    problems: str = "procedural:easy:L1-4"
    imitated: tuple[str, ...] = ("product", "gcd", "prime_count", "digit_sum")
    """Families of the traces; RL and evaluation have all eight."""
    levels: str = "L1-4"
    traces: int = 64
    """Of each SFT stage."""
    training: Training = TRAINING
    """Of each RL stage."""
    heldout: int = 128
    """Held-out problems, the same for all runs and seeds."""
    temperature: float = 0.6
    """Of evaluation (THOR's)."""
    candidates: int = 8
    """N of best-of-N (THOR's)."""
    candidate_problems: int = 48


SCALES = {
    "easy": Scale(),
    "hard": Scale(
        problems="procedural:modular_power,square_sum,divisor_count,factorial_mod:L1-4", traces=32
    ),
}
"""`hard` has only families of which no trace was imitated, and fewer traces: programs fail there,
which is what step-level RL, self-correction and a second call are for."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One run, up to its seed."""

    name: str
    scale: str = "easy"
    """Of `SCALES`."""
    start: str = "base"
    """The run whose weights it starts from; "" is the model itself."""
    algorithm: str = "grpo"
    """Or `sft`."""
    settings: tuple[str, ...] = ()
    """Of the algorithm, as `torl train --set` takes them."""
    tool_budget: int = 1
    reward: str = "torl"
    code_share: float = 1.0
    """Of the traces of an SFT stage."""
    prompt: str = "chat"
    """Or `chat-text`, which speaks of no tool."""
    max_tokens: int = TRAINING.max_tokens
    """Of an answer."""
    tokens_of: str = ""
    """Stop after the step in which as many tokens were sampled as in all of this run."""
    also: tuple[str, ...] = ()
    """Evaluations beside `after`: `text` (C = 0), `correction`, `candidates`."""


_STEP = "step_group_size=8"
_BY_HAND: Any = {"tool_budget": 0, "prompt": "chat-text", "max_tokens": 384}
"""A fair opponent without the tool: asked as such, with room to work answers out."""
EASY = (
    Spec("base", start="", algorithm="sft", code_share=0.4, also=("text",)),
    Spec("base-by-hand", start="", algorithm="sft", code_share=0.0, **_BY_HAND),
    Spec("tir-sft", algorithm="sft"),
    Spec("torl"),
    Spec("cot-rl", start="base-by-hand", **_BY_HAND),
    Spec("tir-rl", start="tir-sft"),
    Spec("budget-2", tool_budget=2),
    Spec("budget-4", tool_budget=4),
    Spec("penalty", reward="torl_penalty"),
    Spec("ppo", algorithm="ppo", settings=("critic_learning_rate=0.003",), tokens_of="torl"),
    Spec("leave-one-out", settings=("baseline=leave_one_out",), tokens_of="torl"),
    Spec(
        "thor-episode",
        start="tir-sft",
        algorithm="thor",
        settings=("step_level=false",),
        reward="thor",
    ),
    Spec(
        "thor-step",
        start="tir-sft",
        algorithm="thor",
        settings=(_STEP, "suffix_tokens=10"),
        reward="thor",
        also=("correction", "candidates"),
    ),
    Spec("raw", start=""),
)


def _hard(spec: Spec, **changes: Any) -> Spec:
    """The same run on the harder problems."""
    start = spec.start and f"hard-{spec.start}"
    whole = {"name": f"hard-{spec.name}", "start": start, "scale": "hard", **changes}
    return replace(spec, **whole)


_NAMED = {spec.name: spec for spec in EASY}
_STEPS = _NAMED["thor-step"]
HARD = (
    _hard(_NAMED["base"]),
    _hard(_NAMED["tir-sft"], also=("correction",)),
    _hard(_NAMED["thor-episode"]),
    _hard(_STEPS, also=("correction",)),
    *(
        _hard(
            _STEPS,
            name=f"hard-thor-step-{name}",
            settings=(*_STEPS.settings, setting),
            also=("correction",) if name == "right" else (),
        )
        for name, setting in (
            ("right", "step_reward=runs_where_right"),
            ("ends-right", "step_reward=right"),
            ("quarter", "step_weight=0.25"),
        )
    ),
    *(
        _hard(_NAMED["tir-rl"], name=f"hard-tir-rl-{budget}", tool_budget=budget)
        for budget in (1, 2, 4)
    ),
    _hard(_NAMED["base-by-hand"]),
    _hard(_NAMED["cot-rl"]),
)
SPECS = (*EASY, *HARD)
"""In the order in which they are made; a run comes after those it needs."""
EXTRA_STEPS = 3
"""How many more steps a run may take to reach the tokens of another."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a study's table: an evaluation of a run."""

    label: str
    run: str
    evaluation: str = "after"


@dataclass(frozen=True, slots=True)
class Study:
    """One question, the rows that answer it, and the row they are compared with."""

    letter: str
    title: str
    rows: tuple[Row, ...]
    reference: int
    """Index of the row that the others are compared with."""
    paper: str
    """What the papers report."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs it needs, those they start from included, in order of making."""
        wanted = {row.run for row in self.rows}
        for spec in reversed(SPECS):
            if spec.name in wanted:
                wanted |= {name for name in (spec.start, spec.tokens_of) if name}
        return tuple(spec.name for spec in SPECS if spec.name in wanted)


STUDIES = (
    Study(
        "a",
        "ToRL against CoT-RL, TIR-SFT and TIR-RL",
        (
            Row("base, C = 0", "base", "text"),
            Row("base of worked answers, C = 0", "base-by-hand"),
            Row("base, C = 1", "base"),
            Row("CoT-RL (C = 0)", "cot-rl"),
            Row("TIR-SFT", "tir-sft"),
            Row("TIR-RL (SFT, then RL)", "tir-rl"),
            Row("ToRL (RL from base)", "torl"),
            Row("ToRL without any warm start", "raw"),
        ),
        6,
        "ToRL (arXiv 2503.23383, table 3 and figure 4): RL with the tool from a base model beats "
        "the same RL without it (7B, mean of five benchmarks: 53.7 against 44.3) and models "
        "trained by SFT on tool traces.",
    ),
    Study(
        "b",
        "Tool budget C = 0, 1, 2, 4",
        (
            Row("C = 0", "cot-rl"),
            Row("C = 1", "torl"),
            Row("C = 2", "budget-2"),
            Row("C = 4", "budget-4"),
        ),
        1,
        "ToRL (figure 6a and table 4): C = 2 is about two points better than C = 1; a step takes "
        "118, 237 and 288 s at C = 0, 1 and 2 on eight A800.",
    ),
    Study(
        "c",
        "The penalty of -0.5 for code that fails",
        (Row("no penalty", "torl"), Row("penalty -0.5", "penalty")),
        0,
        'ToRL (figure 6c, d): the penalty "does not enhance" performance. Its release averages '
        "penalised scores as accuracy, which makes the run with the penalty look worse; here "
        "accuracy counts verdicts only.",
    ),
    Study(
        "d",
        "THOR's ablation T1 to T6",
        (
            Row("T1 base, C = 0", "base", "text"),
            Row("T2 CoT-RL", "cot-rl"),
            Row("T3 cold start (TIR-SFT)", "tir-sft"),
            Row("T4 + episode-level RL", "thor-episode"),
            Row("T5 + step-level RL", "thor-step"),
            Row("T6 + self-correction", "thor-step", "correction"),
        ),
        4,
        "THOR (arXiv 2509.13761, table 3, 7B non-reasoning, mean of six benchmarks): T1 24.7, T2 "
        "41.4, T3 35.7, T4 58.1, T5 59.7, T6 61.2; best of 8 by execution 63.3, self-consistency "
        "62.9.",
    ),
    Study(
        "e",
        "GRPO against PPO against leave-one-out at equal sampled tokens",
        (
            Row("GRPO", "torl"),
            Row("PPO", "ppo"),
            Row("leave-one-out", "leave-one-out"),
        ),
        0,
        "Neither paper compares them; both use GRPO.",
    ),
    Study(
        "f",
        "THOR's ablation and the tool budget where programs fail",
        (
            Row("T1 base, C = 0", "hard-base", "text"),
            Row("T2 CoT-RL", "hard-cot-rl"),
            Row("T3 cold start (TIR-SFT)", "hard-tir-sft"),
            Row("T3 + self-correction", "hard-tir-sft", "correction"),
            Row("T4 + episode-level RL", "hard-thor-episode"),
            Row("T5 + step-level RL", "hard-thor-step"),
            Row("T6 + self-correction", "hard-thor-step", "correction"),
            Row("T5, steps paid only where right", "hard-thor-step-right"),
            Row("T6, steps paid only where right", "hard-thor-step-right", "correction"),
            Row("GRPO from T3, C = 1", "hard-tir-rl-1"),
            Row("GRPO from T3, C = 2", "hard-tir-rl-2"),
            Row("GRPO from T3, C = 4", "hard-tir-rl-4"),
        ),
        4,
        "as in studies b and d. Here nearly every answer needs a program that was never imitated.",
    ),
    Study(
        "g",
        "Why step-level RL lowers accuracy",
        (
            Row("T3 cold start (TIR-SFT)", "hard-tir-sft"),
            Row("T4 + episode-level RL", "hard-thor-episode"),
            Row("T5, a step is paid for running", "hard-thor-step"),
            Row("T5, for running where a continuation ends right", "hard-thor-step-right"),
            Row("T5, for ending right", "hard-thor-step-ends-right"),
            Row("T5, for running, a quarter of the weight", "hard-thor-step-quarter"),
        ),
        1,
        "THOR (arXiv 2509.13761, table 3) has T5 1.6 points above T4.",
    ),
)
