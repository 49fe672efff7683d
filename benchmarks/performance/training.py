"""What a training step costs: with the tool and without, ours and TRL's own, and where time goes.

    python -m benchmarks.performance.training [--json FILE] [--repeats N] [--parts tool trl profile]

Every row samples given ids (see `forced`), so both sides of a comparison sample the same number of
them with the same model. The two sides take turns, the order changing each time; the ratio is taken
pair by pair and its median is shown, so that other load on the machine moves it little; that of CPU
seconds, programs apart, is moved even less. A step is rollout, programs, loss, backward pass and
optimiser. Both sides have the same settings (bfloat16 autocast over float32 weights).
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.algorithm import Loss
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
from benchmarks.performance.steps import Clock, Figures, OurStep, Step, paired, recording
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
        copy, _ = self.load("bfloat16")
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
            algorithm=GRPO(group_size=self.size.group),
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


def tool(bench: Bench, repeats: int) -> Figures:
    """A step at C = 1 over one at C = 0: the same sampled ids, executed or not."""
    without, with_tool = bench.ours(0, name="c0"), bench.ours(1, name="c1")
    pairs = paired(without, with_tool, repeats)
    names = ("step at C = 0", "step at C = 1")
    return {
        **pairs.figures(names, "C = 1 over C = 0", "target: at most 1.1"),
        "sampled tokens, C = 0": _sampled(without.rows),
        "sampled tokens, C = 1": _sampled(with_tool.rows),
        "programs run, C = 0": sum(t.tool_calls for t in without.rows),
        "programs run, C = 1": sum(t.tool_calls for t in with_tool.rows),
        "tokens of tool output, C = 1": sum(len(t.ids) - sum(t.loss_mask) for t in with_tool.rows),
    }


def trl(bench: Bench, repeats: int) -> Figures:
    """A step of ours over one of TRL's own tool loop."""
    (theirs, forcing), ours = bench.trl(), bench.ours(1, hermes=True)
    pairs = paired(theirs, ours, repeats)
    names = ("step of TRL's tool loop", "step of ours")
    return {
        **pairs.figures(names, "ours over TRL's", "target: at most 0.5"),
        "sampled tokens, TRL": forcing.sampled / (repeats + 1),
        "sampled tokens, ours": _sampled(ours.rows),
        "tokens read by TRL": forcing.read / (repeats + 1),
        "tokens read by ours": sum(len(t.prompt_ids) + len(t.ids) for t in ours.rows),
        "programs run, ours": sum(t.tool_calls for t in ours.rows),
    }


def profile(bench: Bench, repeats: int) -> Figures:
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
    return {"step that is profiled: s": total / repeats, **shares}


PARTS: dict[str, Callable[[Bench, int], Figures]] = {"tool": tool, "trl": trl, "profile": profile}


def _sampled(rows: Any) -> int:
    return sum(sum(t.loss_mask) for t in rows)


def measure(model: str, size: Size, repeats: int, parts: list[str]) -> Iterator[Figures]:
    """The figures of one part after the other."""
    with LocalSandbox() as sandbox, tempfile.TemporaryDirectory() as folder, _quiet():
        for name in parts:
            place = Path(folder) / name
            yield PARTS[name](Bench(model, size, sandbox, place), repeats)


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    yield


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=2, help="pairs of steps (default: 2)")
    parser.add_argument("--prompts", type=int, default=4, help="problems in a step (default: 4)")
    parser.add_argument("--group", type=int, default=4, help="samples of each (default: 4)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument(
        "--tokens",
        nargs=2,
        type=int,
        default=[48, 112],
        metavar=("LEAST", "MOST"),
        help="sampled ids of a row (default: 48 112)",
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    options = options_of(words)
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    rows = options.prompts * options.group
    size = Size(*(options.prompts, options.group, min(16, rows)), tokens=tuple(options.tokens))
    figures: Figures = {}
    for part in measure(options.model, size, options.repeats, options.parts):
        figures |= part
        for name, value in part.items():
            print(f"{name:62} {value:12.2f}", flush=True)
    if options.json:
        record = {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "model": options.model,
            "rows": rows,
            "repeats": options.repeats,
            "loss": str(Loss()),
            "figures": figures,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
