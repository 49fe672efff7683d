"""What a run takes from its own sizes: chunks of its evaluations, vLLM's window and memory."""

from pathlib import Path
from types import SimpleNamespace

import pytest

# Before a test here replaces VLLMSampler: the trainer takes that name once, when it is imported.
import agents.core.trainer.trainer  # noqa: F401
from agents.core.rollout.prompts import PlainPrompt, make_prompt
from agents.core.run.folder import Run
from torl.training import stages
from torl.training.checks import longest_prompt
from torl.training.datasets import Datasets
from torl.training.options import TrainOptions, training_of
from torl.training.plan import device_gb, engine_share, plan_of, with_checkpointing
from torl_env import EnvConfig
from torl_env.problems import Problem, load


class ReachedError(Exception):
    """What follows is of no interest here."""


@pytest.fixture
def sampler_of(tiny, tmp_path, monkeypatch):
    """The stages of a run up to the trainer, and the sampler and evaluation that they make."""

    def run(**given):
        sizes = {"warm_start": 0, "prompts": 3, "group": 4, "max_tokens": 60, "threads": 1}
        options = TrainOptions(model=str(tiny), out=tmp_path, **{**sizes, **given})
        problems = tuple(load("procedural:easy:L1").shuffle(0).head(6))
        seen = SimpleNamespace(options=options, problems=problems)

        def trainer(*, sampler, **_):
            seen.sampler = sampler
            return SimpleNamespace(train=None)

        def measure(evaluation, asked, path, name, collect):
            seen.evaluation, seen.collect = evaluation, collect
            raise ReachedError

        monkeypatch.setattr("agents.core.trainer.trainer.RLTrainer", trainer)
        monkeypatch.setattr(stages, "measure", measure)
        job = stages.Job(options, Run(tmp_path))
        with pytest.raises(ReachedError):
            job.reinforce(str(tiny), Datasets((), problems, problems))
        return seen

    return run


def test_an_evaluation_asks_for_no_more_rows_at_once_than_a_step(sampler_of, monkeypatch):
    asked = []

    class Rollout:
        """Counts the episodes of each batch."""

        def collect(self, problems, group_size, seed, **_):
            asked.append(len(problems) * group_size)
            return []

    monkeypatch.setattr(
        "agents.core.trainer.weight_sync.CopySampler.evaluating", lambda *_: Rollout()
    )
    seen = sampler_of()
    assert seen.evaluation.rows == 12
    many = seen.problems * 5
    list(seen.collect(many, 1, 0))
    assert asked == [12, 12, 6]


def test_vllm_gets_its_window_and_memory_from_the_run(sampler_of, monkeypatch):
    made = []

    def sampler(vllm, over):
        made.append(vllm)
        return SimpleNamespace(evaluating=lambda _: None)

    monkeypatch.setattr("agents.core.trainer.vllm_generation.VLLMSampler", sampler)
    monkeypatch.setattr("agents.core.models.dtype.default_device", lambda: "cuda")
    seen = sampler_of(policy="vllm", device_gb=6.0)
    from transformers import AutoTokenizer

    options = seen.options
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompt = make_prompt(options.prompt, tokenizer, options.env)
    _, size = longest_prompt(prompt, options.env, seen.problems)
    assert made[0].window == size + 60
    share = engine_share(plan_of(options, memory=True).memory, 1e9 * device_gb(options))
    assert made[0].memory == share
    assert made[0].memory != type(made[0])().memory


def test_the_longest_of_many_prompts_is_found_wherever_it_stands():
    prompt = PlainPrompt(SimpleNamespace(encode=lambda text, **_: [*text.encode()]))
    problems = [Problem(str(size), "7" * size, "7") for size in range(1, 400)]
    for order in (problems, problems[::-1]):
        assert longest_prompt(prompt, EnvConfig(), order)[0] == "399"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "96 traces"),
        ({"traces": Path("traces.jsonl")}, "traces from a file"),
        ({"warm_start_from": Path("weights")}, "none"),
    ],
)
def test_the_plan_tells_what_is_imitated(tiny, given, told):
    lines = plan_of(TrainOptions(model=str(tiny), **given)).lines()
    (line,) = [line for line in lines if line.startswith("warm start")]
    assert told in line


def test_checkpointing_is_chosen_by_size_and_by_nobody_who_has_said(tiny, tmp_path):
    def chosen(**given):
        options = TrainOptions(model=str(tiny), out=tmp_path, warm_start=0, **given)
        return training_of(with_checkpointing(options)[0]).activation_checkpointing

    peak = plan_of(TrainOptions(model=str(tiny), device_gb=1.0), memory=True).memory.peak / 1e9
    assert not chosen(device_gb=1.1 * peak)
    assert chosen(device_gb=0.9 * peak)
    assert not chosen(device_gb=0.9 * peak, activation_checkpointing=False)
    assert chosen(device_gb=1.1 * peak, activation_checkpointing=True)
