"""A training whose every program fails: by the machine's fault, and by the policy's."""

import json

import pytest
from one_step import PROBLEMS, trainer_of

from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.trainer.options import TrainingError
from agents.core.trainer.weight_sync import RolloutSampler
from agents.core.types import Sampling
from torl.wiring import envs_over
from torl_env import SandboxError, closes_tool_call
from torl_env.sandbox.backends.unsafe import UnsafeSandbox


class Scripted(RolloutSampler):
    """Writes by script, whatever the weights are."""

    def __init__(self, tokenizer, sandbox, script):
        self.rollout = Rollout(
            ScriptedPolicy(tokenizer, script, closes_tool_call),
            PlainPrompt(tokenizer, "{question}"),
            envs_over(sandbox=sandbox, tool_budget=1),
            Sampling(max_tokens=200),
        )

    def sync(self, model):
        self.rollout.forget()


class Burning(UnsafeSandbox):
    def submit(self, code, limits=None):
        raise SandboxError("the machine is on fire")


def test_a_machine_that_runs_nothing_stops_the_run(model, tokenizer, tmp_path):
    sampler = Scripted(tokenizer, Burning(), lambda row, turn: "```python\nprint(1)\n```")
    with pytest.raises(TrainingError, match=r"all 8 episodes of step 1 were lost: .*on fire"):
        trainer_of(model, tokenizer, tmp_path, sampler=sampler, problems=PROBLEMS).train()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_programs_that_all_fail_are_the_policys_own(model, tokenizer, sandbox, tmp_path):
    """Half of the rows still answer right: there is something to learn, and it is learned from."""

    def script(row, turn):
        if turn == 0:
            return "```python\nprint(1 / 0)\n```"
        return "It is \\boxed{0}." if row % 2 else "It is \\boxed{7}."

    sampler = Scripted(tokenizer, sandbox, script)
    trainer_of(model, tokenizer, tmp_path, sampler=sampler, problems=PROBLEMS).train()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (row["code_ratio"], row["pass_ratio"], row["infra_errors"]) == (1.0, 0.0, 0)
    assert row["accuracy"] == 0.25
    assert row["grad_norm"] > 0
