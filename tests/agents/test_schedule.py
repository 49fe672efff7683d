"""Settings that change over the steps: read, refused, and in force in the step they are for."""

import itertools
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_step import BATCH, PROBLEMS, FixedSampler, one_step, trainer_of

from agents.core import schedule
from agents.core.loss import CISPO, Loss
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.schedule import Schedule
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.trainer.options import TrainingError
from agents.core.trainer.weight_sync import RolloutSampler
from agents.core.types import Sampling
from agents.grpo import GRPO
from torl.console import CommandError
from torl.environment import environment
from torl.training.checks import check_settings
from torl.training.options import TrainOptions, from_json, to_json
from torl.wiring import envs_over
from torl_env import closes_tool_call


def test_values_by_hand():
    line = Schedule.parse("clip_high=linear, 1:0.2, 11:0.3, 21:0.3")
    assert [line.at(step) for step in (1, 6, 11, 16, 99)] == pytest.approx(
        [0.2, 0.25, 0.3, 0.3, 0.3]
    )


steps = st.lists(st.integers(2, 50), min_size=0, max_size=5, unique=True).map(sorted)


@given(steps, st.booleans(), st.data())
def test_a_value_is_between_those_of_its_neighbours(later, linear, data):
    points = tuple((s, data.draw(st.floats(0.1, 2.0))) for s in (1, *later))
    made = Schedule("temperature", points, linear)
    for (start, value), (end, after) in itertools.pairwise(points):
        assert made.at(start) == pytest.approx(value)
        between = made.at(end - 1)
        assert min(value, after) - 1e-9 <= between <= max(value, after) + 1e-9
        if not linear:
            assert between == value
    assert made.at(points[-1][0] + 1000) == points[-1][1]


TOGETHER = {
    "twice": (("temperature=1:1.0", "temperature=1:0.9"), "two schedules are of one setting"),
    "loss": (("clip_low=1:0.2,9:2.0",), "schedule, step 9: clip_low must be in"),
    "room": (("max_tokens=1:50,9:500",), "step 9: max_tokens=500, expected 1 to --max-tokens 110"),
    "cold": (("temperature=1:0.0",), "step 1: temperature must be positive"),
    "reference": (("kl=1:0.1",), "needs a reference model from the start"),
    "dual": (("clip_high=linear,1:0.2,9:3.0",), "step 8: dual_clip bounds the ratio beyond"),
    "in between": (
        ("dual_clip=1:1.5,100:3", "clip_high=linear,1:0.2,100:0.8"),
        "step 99: dual_clip bounds the ratio beyond",
    ),
    "without use": (("clip_low=1:0.1",), "step 1: surrogate=cispo has no use for clip_low"),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_schedules_that_fit_nothing_are_refused(case):
    texts, message = TOGETHER[case]
    loss = {"dual": Loss(dual_clip=3.0), "without use": CISPO}.get(case, Loss())
    with pytest.raises(ValueError, match=message):
        schedule.check([Schedule.parse(text) for text in texts], loss, 110)


def test_the_command_line_refuses_before_a_run():
    with pytest.raises(ValueError, match="step 5: entropy must be >= 0"):
        check_settings(TrainOptions(schedule=("entropy=1:0.1,5:-1",)))
    env = environment(tool_budget=0)
    with pytest.raises(CommandError, match="has a prompt without tools"):
        check_settings(TrainOptions(schedule=("tool_budget=1:1",), env=env))


def test_a_run_keeps_its_schedule_and_alarms():
    options = TrainOptions(schedule=("temperature=1:1.0,5:0.8",))
    kept = json.loads(json.dumps(to_json(options)))
    assert from_json(kept, {}) == options


class Fixed(FixedSampler):
    """Rows by hand, and a place for what a schedule sets."""

    def __init__(self, rows):
        super().__init__(rows)
        self.rollout = SimpleNamespace(sampling=Sampling(max_tokens=50), make_envs=None)
        self.evaluated_envs = None


@pytest.mark.parametrize("loss", [Loss(), Loss(entropy=0.3)], ids=["own head", "TRL's head"])
def test_a_temperature_is_that_of_the_gradient(model, tokenizer, tmp_path, loss):
    algorithm = GRPO(loss=loss)
    given = (Schedule.parse("temperature=1:0.5"),)
    options = {"algorithm": algorithm, "sampler": Fixed(BATCH)}
    _, plain = one_step(model, tokenizer, tmp_path / "a", algorithm=algorithm)
    _, cold = one_step(model, tokenizer, tmp_path / "b", algorithm=algorithm, temperature=0.5)
    _, staged = one_step(model, tokenizer, tmp_path / "c", schedule=given, **options)
    assert staged == pytest.approx(cold, rel=1e-5)
    assert staged != pytest.approx(plain, rel=1e-2)
    assert options["sampler"].rollout.sampling == Sampling(0.5, max_tokens=50)


def staged(model, tokenizer, path, texts, algorithm=None, steps=3, **options):
    """A trainer whose settings are noted at every batch, and what was noted."""
    options = {"sampler": Fixed(BATCH), "problems": PROBLEMS * steps, **options}
    options["schedule"] = tuple(map(Schedule.parse, texts))
    trainer = trainer_of(model, tokenizer, path, algorithm=algorithm, steps=steps, **options)
    seen, inner = [], trainer._compute_loss

    def compute(*args):
        seen.append((trainer.epsilon_low, trainer.epsilon_high, trainer.args.delta))
        return inner(*args)

    trainer._compute_loss = compute
    return trainer, seen


@pytest.mark.slow
def test_the_clip_of_each_step(model, tokenizer, tmp_path):
    texts = ("clip_high=1:0.2,2:0.3", "dual_clip=1:3.0,3:4.0")
    trainer, seen = staged(model, tokenizer, tmp_path, texts)
    trainer.train()
    assert seen == [(0.2, 0.2, 3.0), (0.2, 0.3, 3.0), (0.2, 0.3, 4.0)]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["scheduled_clip_high"] for row in rows] == [0.2, 0.3, 0.3]


def test_the_cap_of_cispo_counts_from_one(model, tokenizer, tmp_path):
    algorithm = GRPO(loss=CISPO)
    trainer, seen = staged(
        model, tokenizer, tmp_path, ("clip_high=1:4.0,2:2.0",), algorithm, steps=2
    )
    trainer.train()
    assert [high for _, high, _ in seen] == [5.0, 3.0]


@pytest.mark.slow
def test_a_resumed_run_is_in_its_stage(model, tokenizer, tmp_path):
    texts = ("clip_low=1:0.1,2:0.2,3:0.3",)
    trainer, _ = staged(model, tokenizer, tmp_path, texts, steps=2, save_every=1)
    trainer.train()
    resumed, seen = staged(model, tokenizer, tmp_path, texts, steps=3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [low for low, _, _ in seen] == [0.3]


def test_the_environment_of_each_step(model, tokenizer, tmp_path, sandbox):
    """A real environment: two programs are written, and as many run as the stage allows."""
    program = "```python\nprint(1)\n```"
    policy = ScriptedPolicy(
        tokenizer, lambda row, turn: program if turn < 2 else "\\boxed{1}", closes_tool_call
    )
    envs = envs_over(sandbox=sandbox, tool_budget=1)
    sampler = Fixed(())
    sampler.rollout = Rollout(
        policy, PlainPrompt(tokenizer, "{question}"), envs, Sampling(max_tokens=300)
    )
    ran, seen = [], []

    def collect(problems, group_size, seed):
        rows = sampler.rollout.collect(problems, group_size, seed)
        ran.append({t.tool_calls for t in rows})
        seen.append(sampler.rollout.sampling.max_tokens)
        return rows

    sampler.collect = collect
    texts = ("tool_budget=1:1,2:2", "max_tokens=1:200,2:300")
    trainer, _ = staged(model, tokenizer, tmp_path, texts, sampler=sampler, steps=2, max_tokens=300)
    trainer.train()
    assert (ran, seen) == ([{1}, {2}], [200, 300])
    assert sampler.rollout.make_envs.config.tool_budget == 2
    # Evaluations go on in the environment of the run.
    assert RolloutSampler.evaluating(sampler, Sampling()).make_envs.config.tool_budget == 1


def test_an_environment_that_has_no_options_says_so(model, tokenizer, tmp_path):
    trainer, _ = staged(model, tokenizer, tmp_path, ("output_limit=1:64",), steps=1)
    with pytest.raises(TrainingError, match=r"expected a rollout over\s+torl.wiring.BatchEnvs"):
        trainer.train()
