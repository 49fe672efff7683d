"""What a training step costs: with the tool and without, ours and TRL's own, and where time goes.

Every row samples given ids (see `forced`), so both sides of a comparison sample the same number of
them with the same model. The ratio of CPU seconds, programs apart, is what other load on the
machine moves least. A step is rollout, programs, loss, backward pass and optimiser. Both sides have
the same settings (bfloat16 autocast over float32 weights).
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.trainer.options import Training
from agents.core.types import Sampling
from benchmarks.performance.forced import (
    FENCED,
    HERMES,
    ForcedPolicy,
    Forcing,
    TemplatePrompt,
    scripts,
)
from benchmarks.performance.measuring import Figures, Measured, Options, in_turns, median, ratio
from benchmarks.performance.steps import Clock, OurStep, Step, recording
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import LocalSandbox, Sandbox

QUESTION = "A farmer has six fields with seven trees each. How many trees does the farmer have?"
LIMIT = 400
"""Tokens of a response; no script comes near."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a step works on."""

    prompts: int = 4
    group: int = 4
    micro_batch: int = 16
    tokens: tuple[int, int] = (48, 112)
    """Least and most sampled ids of a row."""

    @property
    def rows(self) -> int:
        """Episodes of a step."""
        return self.prompts * self.group

    @property
    def problems(self) -> list[Problem]:
        """As many as a step has, and one step more, which the trainers want to see."""
        return [Problem(f"p{i}", f"{i}. {QUESTION}", "42") for i in range(2 * self.prompts)]

    def training(self) -> Training:
        """Of one step."""
        return Training(
            steps=1,
            prompts_per_step=self.prompts,
            group_size=self.group,
            micro_batch=self.micro_batch,
            max_tokens=LIMIT,
            save_every=1000,
        )


class Bench:
    """Makes trainers of one model.

    Args:
        model: Name of the model.
        size: Of a step.
        sandbox: Runs the programs.
        folder: Where trainers write.
    """

    def __init__(self, model: str, size: Size, sandbox: Sandbox, folder: Path) -> None:
        self.model, self.size, self.sandbox, self.folder = model, size, sandbox, folder

    def load(self, dtype: str = "float32") -> tuple[Any, Any]:
        """Model and tokenizer; the latter with a chat template that renders tools."""
        from trl.chat_template_utils import qwen2_5_chat_template

        from agents.core.models import loading

        model, tokenizer = loading.load(self.model, dtype=dtype)
        tokenizer.chat_template = qwen2_5_chat_template
        return model, tokenizer

    def ours(self, budget: int, *, hermes: bool = False, name: str = "ours") -> OurStep:
        """A step of our trainer."""
        from agents.core.rollout.engine import Rollout
        from agents.core.rollout.prompts import PlainPrompt
        from agents.core.run.folder import Run
        from agents.core.trainer.trainer import RLTrainer
        from agents.grpo import GRPO

        model, tokenizer = self.load()
        copy, _ = self.load("auto")
        call = HERMES if hermes else FENCED
        written = scripts(tokenizer, self.size.rows, self.size.tokens, call)
        policy = ForcedPolicy(copy, tokenizer, written)
        prompt = TemplatePrompt(tokenizer, [python_schema()]) if hermes else PlainPrompt(tokenizer)
        options: dict[str, Any] = {
            "tool_budget": budget,
            "parser": "hermes" if hermes else "fenced",
        }
        rollout = Rollout(policy, prompt, self._envs(options), Sampling(max_tokens=LIMIT))
        sampler = recording(rollout, copy)
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=GRPO(),
            training=self.size.training(),
            problems=self.size.problems,
            sampler=sampler,
            run=Run(self.folder / name),
        )
        return OurStep(trainer, sampler)

    def _envs(self, options: dict[str, Any]) -> Callable[..., ToRLMathVectorEnv]:
        def make(problems: Any, group_size: int) -> ToRLMathVectorEnv:
            return ToRLMathVectorEnv(
                num_envs=len(problems) * group_size,
                problems=Listed("batch", list(problems)),
                sandbox=self.sandbox,
                autoreset_mode="Disabled",
                **options,
            )

        return make

    def trl(self) -> tuple[Step, Forcing]:
        """A step of TRL's trainer with its own tool loop on our environment."""
        from datasets import Dataset
        from trl import GRPOTrainer

        from agents.core.trainer.trl_config import trl_config
        from agents.grpo import GRPO
        from torl_env.adapters.trl import answer_reward, environment_factory, rows

        model, tokenizer = self.load()
        written = scripts(tokenizer, self.size.rows, self.size.tokens, HERMES)
        forcing = Forcing(model.generate, written, tokenizer.eos_token_id)
        model.generate = forcing
        args = trl_config(GRPO(), self.size.training(), self.folder / "trl")
        args.max_tool_calling_iterations = 1
        problems = Listed("trl", self.size.problems)
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows(problems)),
            environment_factory=environment_factory(problems, sandbox=self.sandbox, tool_budget=1),
            reward_funcs=answer_reward,
            args=args,
        )
        return Step(trainer, forcing.begin), forcing


def python_schema() -> dict[str, Any]:
    """The tool as TRL describes it to the model."""
    from transformers.utils import get_json_schema

    from torl_env.adapters.trl import ToRLEnvironment

    schema: dict[str, Any] = get_json_schema(ToRLEnvironment.python)
    return schema


def paired(steps: dict[str, Step], repeats: int, ours: str, other: str, target: str) -> Measured:
    """The second of two steps over the first, after one of each that is not counted."""
    for step in steps.values():
        step.run()
    costs = in_turns(repeats, {name: step.run for name, step in steps.items()})
    under, over = costs.values()
    cpu = ratio(over, under, "cpu")
    figures = {f"{name}: s": median(cost) for name, cost in costs.items()}
    figures[f"{ours} over {other} ({target})"] = ratio(over, under)
    figures[f"{ours} over {other}, CPU seconds"] = cpu
    return Measured(figures, {f"training, CPU seconds: {other} / {ours}": 1 / cpu})


def tool(bench: Bench, repeats: int) -> Measured:
    """A step at C = 1 over one at C = 0: the same sampled ids, executed or not."""
    without, with_tool = bench.ours(0, name="c0"), bench.ours(1, name="c1")
    steps: dict[str, Step] = {"step at C = 0": without, "step at C = 1": with_tool}
    found = paired(steps, repeats, "C = 1", "C = 0", "target: at most 1.1")
    return Measured(
        {
            **found.figures,
            "sampled tokens, C = 0": _sampled(without.rows),
            "sampled tokens, C = 1": _sampled(with_tool.rows),
            "programs run, C = 0": sum(t.tool_calls for t in without.rows),
            "programs run, C = 1": sum(t.tool_calls for t in with_tool.rows),
            "tokens of tool output, C = 1": sum(
                len(t.ids) - sum(t.loss_mask) for t in with_tool.rows
            ),
        },
        found.ratios,
    )


def trl(bench: Bench, repeats: int) -> Measured:
    """A step of ours over one of TRL's own tool loop."""
    (theirs, forcing), ours = bench.trl(), bench.ours(1, hermes=True)
    steps = {"step of TRL's tool loop": theirs, "step of ours": ours}
    found = paired(steps, repeats, "ours", "TRL's", "target: at most 0.5")
    return Measured(
        {
            **found.figures,
            "sampled tokens, TRL": forcing.sampled / (repeats + 1),
            "sampled tokens, ours": _sampled(ours.rows),
            "tokens read by TRL": forcing.read / (repeats + 1),
            "tokens read by ours": sum(len(t.prompt_ids) + len(t.ids) for t in ours.rows),
            "programs run, ours": sum(t.tool_calls for t in ours.rows),
        },
        found.ratios,
    )


def profile(bench: Bench, repeats: int) -> Measured:
    """Where the time of a step at C = 1 goes, in percent."""
    step, clock = bench.ours(1, name="profile"), Clock()
    step.run()
    trainer, rollout, policy = step.trainer, step.sampler.rollout, step.sampler.rollout.policy
    clock.watch(step.sampler, "sync", "copying weights to the sampler")
    clock.watch(policy, "open", "reading prompts")
    clock.watch(policy, "_forward", "decoding: forward passes")
    clock.watch(policy, "_sample", "decoding: drawing and stopping")
    clock.watch(trainer, "_get_per_token_logps_and_entropies", "loss: forward")
    clock.watch(trainer.accelerator, "backward", "loss: backward")
    make = rollout.make_envs

    def watched(*args: Any) -> Any:
        envs = make(*args)
        clock.watch(envs, "recv", "waiting for tools and grader")
        clock.watch(envs, "send", "sending turns")
        return envs

    rollout.make_envs = watched
    optimizer = trainer.optimizer
    clock.watch(getattr(optimizer, "optimizer", optimizer), "step", "optimiser")
    total = sum(step.run().wall for _ in range(repeats))
    parts = {name: 100 * seconds / total for name, seconds in clock.seconds.items()}
    parts["everything else"] = 100 - sum(parts.values())
    shares = {f"share of a step, {name}: %": share for name, share in parts.items()}
    return Measured({"step that is profiled: s": total / repeats, **shares})


def _sampled(rows: Any) -> int:
    return sum(sum(t.loss_mask) for t in rows)


def measure(options: Options) -> Measured:
    """With the tool and without, ours and TRL's, and where the time goes."""
    from transformers.utils import logging

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    rows = options.prompts * options.group
    size = Size(options.prompts, options.group, min(16, rows), options.tokens)
    figures: Figures = {"rows": rows}
    ratios: Figures = {}
    with LocalSandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        for part in (tool, trl, profile):
            bench = Bench(options.model, size, sandbox, Path(folder) / part.__name__)
            found = part(bench, options.repeats)
            figures |= found.figures
            ratios |= found.ratios
    return Measured(figures, ratios)
