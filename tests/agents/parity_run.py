"""A real training of a tiny model on a made-up task, as a process that can be killed.

The task pays for a response with an even number of bytes below 64: a random model is right about
half of the time, so every step moves the weights and a resume that lost anything would show.
"""

import sys
from pathlib import Path

import torch

from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.run.folder import Run
from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer import distributed
from agents.core.trainer.options import Training
from agents.core.trainer.trainer import RLTrainer
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling
from agents.grpo import GRPO
from agents.ppo import PPO
from rewards.types import Grade, Verdict
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.problems.types import Problem
from torl_env.sandbox import open_sandbox

STEPS = 6


def parity(response, reference):
    low = sum(byte < 64 for byte in response.encode("utf-8", "replace"))
    verdict = Verdict.CORRECT if low % 2 == 0 else Verdict.WRONG
    return Grade(verdict, str(low), "parity")


def main(out, seed=0, algorithm="grpo"):
    torch.set_num_threads(1)
    run = Run(out)
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model, copy = tiny_model(tokenizer), tiny_model(tokenizer)
    problems = [Problem(f"p{i}", f"Say {i}.", "") for i in range(2 * STEPS)]
    checkpoint = run.checkpoint()
    distributed.join()
    if distributed.is_main():
        run.rewind("rl", int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0)
    distributed.barrier()
    with open_sandbox("local") as sandbox:
        options = {"tool_budget": 1, "max_turns": 4, "grader": parity}
        policy = TransformersPolicy(copy, tokenizer, closes_tool_call)
        rollout = Rollout(
            policy,
            PlainPrompt(tokenizer, "{question}"),
            envs_over(sandbox=sandbox, **options),
            Sampling(max_tokens=12),
        )
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=PPO() if algorithm == "ppo" else GRPO(),
            training=Training(
                steps=STEPS,
                prompts_per_step=2,
                group_size=4,
                learning_rate=1e-3,
                micro_batch=4,
                save_every=2,
                seed=seed,
                dtype="float32",
            ),
            problems=problems,
            sampler=CopySampler(rollout, copy),
            run=run,
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]), *sys.argv[3:])
