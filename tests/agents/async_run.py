"""A training of a tiny model whose sampler is another process, as a process that can be killed."""

import json
import sys
from pathlib import Path

import torch
from parity_run import parity

from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.rollout.stream import Stream
from agents.core.run.folder import Run
from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer.async_sampler import AsyncSampler, layout_of
from agents.core.trainer.options import Training
from agents.core.trainer.trainer import RLTrainer
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling
from agents.grpo import GRPO
from torl.wiring import envs_over
from torl_env.problems.types import Problem

STEPS = 6
SAMPLING = Sampling(max_tokens=12)


def parts():
    """A model with its policy, the same in both processes."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    policy = TransformersPolicy(tiny_model(tokenizer, spread=0.1), tokenizer)
    envs = envs_over(tool_budget=1, max_turns=4, grader=parity)
    return policy, PlainPrompt(tokenizer, "{question}"), envs, SAMPLING


def stream():
    return Stream(*parts())


class Kept(AsyncSampler):
    """Keeps the weights of every version."""

    def publish(self, model, version):
        kept = {name: w.detach().clone() for name, w in model.named_parameters()}
        self.__dict__.setdefault("published", {})[version] = kept
        super().publish(model, version)


def trainer_of(out, make=stream, patience=600.0, **training):
    """A trainer over an `AsyncSampler`; the sampler; the checkpoint to go on from."""
    policy, *rest = parts()
    torch.manual_seed(0)
    own = CopySampler(Rollout(policy, *rest), policy.model)
    sampler = Kept(own, make, layout_of(policy.model), threads=1, patience=patience)
    run = Run(out)
    checkpoint = run.checkpoint()
    run.rewind("rl", int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0)
    sizes = {"steps": STEPS, "prompts_per_step": 2, "group_size": 4, "micro_batch": 4}
    options = {**sizes, "learning_rate": 1e-3, "save_every": 2, "dtype": "float32", **training}
    trainer = RLTrainer(
        model=tiny_model(policy.tokenizer, spread=0.1),
        tokenizer=policy.tokenizer,
        algorithm=GRPO(),
        training=Training(**{"staleness": 1, **options}),
        problems=[Problem(f"p{i}", f"Say {i}.", "") for i in range(2 * options["steps"])],
        sampler=sampler,
        run=run,
    )
    return trainer, sampler, checkpoint


def main(out, **training):
    torch.set_num_threads(1)
    trainer, _, checkpoint = trainer_of(out, **training)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))
