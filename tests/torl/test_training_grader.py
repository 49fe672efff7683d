"""Training refuses an answer that copies the question; evaluation in the same run does not."""

from dataclasses import replace

import pytest

from agents.core.run.folder import Run
from agents.core.types import Sampling
from torl.training.datasets import Datasets
from torl.training.options import TrainOptions, algorithm_of, resolved
from torl.training.run import grading_of
from torl.training.stages import Job
from torl_env import EnvConfig
from torl_env.problems.types import Problem

PROBLEM = Problem("sum", "What is 1 + ... + 10?", "55", "test")
COPIED, WORKED_OUT = r"It is \boxed{\sum_{k=1}^{10} k}.", r"It is \boxed{55}."


def rewards_of(make_envs, answers) -> list[float]:
    envs = make_envs([PROBLEM], len(answers))
    try:
        envs.reset(seed=0)
        return [float(reward) for reward in envs.step(answers)[1]]
    finally:
        envs.close()


@pytest.fixture
def options(tiny, tmp_path) -> TrainOptions:
    return resolved(TrainOptions(model=str(tiny), out=tmp_path / "run", steps=1))


def test_what_is_learned_from_is_worked_out_and_what_is_measured_need_not(options, tmp_path):
    job = Job(options, Run(tmp_path / "run"))
    found = Datasets((), (), ())
    _, _, sampler = job.model_and_sampler(options.model, found, algorithm_of(options))
    evaluated = sampler.evaluating(Sampling(max_tokens=4))
    assert rewards_of(sampler.rollout.make_envs, (COPIED, WORKED_OUT)) == [-1.0, 1.0]
    assert rewards_of(evaluated.make_envs, (COPIED, WORKED_OUT)) == [1.0, 1.0]
    assert "\\boxed" in sampler.rollout.prompt.system
    assert "must be worked out" in grading_of(options)


def always(response: str, reference: str) -> bool:
    return True


def test_a_grader_of_ones_own_is_left_alone(options, tmp_path):
    own = replace(options, env=EnvConfig.of(options.env, grader=always))
    job = Job(own, Run(tmp_path / "run"))
    assert job.training_envs is job.envs
    assert "worked out" not in grading_of(own)
