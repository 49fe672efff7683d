"""What is sampled and kept: resample on correct, the curriculum, replay of rare successes."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_step import BATCH, PROBLEMS, FixedSampler, log_likelihood, norm_of, trainer_of

from agents.core.curriculum import Curriculum, Pools
from agents.core.downsampling import penalty, resample_on_correct
from agents.core.replay import Memory, Replay
from agents.core.testing.algorithm_contract import episode
from agents.grpo import GRPO
from agents.ppo import PPO
from agents.thor import THOR
from torl.training.checks import check_settings
from torl.training.datasets import open_datasets
from torl.training.options import TrainOptions, from_json, to_json
from torl_env.problems import load
from torl_env.problems.types import Problem


def sample(i, *, right, errors=0, calls=2, boxes=1, scorable=True):
    t = episode(1.0 if right else -1.0, scorable=scorable, sample=i)
    turns = (t.turns[0], replace(t.turns[1], text=r"\boxed{1}" * boxes))
    return replace(t, tool_errors=errors, tool_calls=calls, turns=turns)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"errors": 0, "calls": 2}, 0.0),
        ({"errors": 1, "calls": 2}, 0.5),
        ({"calls": 0}, 0.5),
        ({"errors": 2, "calls": 2, "boxes": 0}, 2.0),
        ({"boxes": 2}, 0.5),
        ({"boxes": 9}, 1.0),
    ],
)
def test_the_penalty_by_hand(made, expected):
    assert penalty(sample(0, right=True, **made)) == expected


def test_clean_right_answers_are_kept_and_wrong_ones_uniformly():
    """Of 8 right ones 2 are clean, of 8 wrong ones 2: both of the former, half of the latter."""
    group = [sample(i, right=i < 8, errors=int(i % 4 > 0)) for i in range(16)]
    kept = Counter()
    for seed in range(400):
        found = resample_on_correct(group, 8, str(seed))
        assert [t.sample for t in found] == sorted(t.sample for t in found)
        assert sum(t.correct for t in found) == 4
        kept.update(t.sample for t in found)
    assert min(kept[0], kept[4]) > 380
    wrong = [kept[i] for i in range(8, 16)]
    assert sum(wrong) == 1600
    assert all(150 < n < 250 for n in wrong)


groups = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=4, max_size=16
)


@given(groups, st.integers(0, 5))
def test_as_many_are_kept_as_asked_and_no_kind_is_lost(kinds, seed):
    group = [
        sample(i, right=right, scorable=known, errors=errors, calls=3)
        for i, (right, known, errors) in enumerate(kinds)
    ]
    size = len(group) // 2
    kept = resample_on_correct(group, size, str(seed))
    assert len(kept) == size
    known = [t for t in group if t.scorable]
    assert sum(t.scorable for t in kept) == min(size, len(known))
    for right in (True, False):
        if len(known) > size and any(t.correct is right for t in known):
            assert any(t.correct is right for t in kept if t.scorable)


class Oversampling(FixedSampler):
    """Rows of one problem after the other, as many as are asked for."""

    def collect(self, problems, group_size, seed):
        self.asked = (len(problems), group_size)
        return [
            replace(BATCH[i % 4], tool_calls=2, tool_errors=int(i % 8 >= 4), sample=i)
            for i in range(len(problems) * group_size)
        ]


def test_the_trainer_samples_more_than_it_learns_from(model, tokenizer, tmp_path):
    sampler = Oversampling(())
    trainer_of(model, tokenizer, tmp_path, sampler=sampler, algorithm=GRPO(oversample=2)).train()
    assert sampler.asked == (2, 8)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["count"] == 8
    assert row["oversampled_accuracy"] == 0.5
    assert row["roc_error_ratio_sampled"] == 0.25
    assert row["roc_error_ratio_kept"] < 0.25


FILE = [Problem(f"q{i}", f"Q{i}", str(i), source="file") for i in range(12)]


def graded(problem, *right):
    return [replace(episode(1.0 if r else -1.0), problem_id=problem.id) for r in right]


def test_problems_are_drawn_from_pools_in_given_shares():
    pools = Pools(Curriculum((0.25, 0.5, 0.25), retire=0), FILE)
    pools.update([graded(p, 1, 1, 1, 1) for p in FILE[:4]])
    pools.update([graded(p, 0, 0, 0, 1) for p in FILE[4:8]])
    pools.update([graded(p, 0, 0, 0, 0) for p in FILE[8:]])
    assert [pools.pool(p.id) for p in FILE] == ["easy"] * 4 + ["normal"] * 4 + ["hard"] * 4
    chosen = pools.choose(8, seed=0)
    assert len({p.id for p in chosen}) == 8
    assert Counter(pools.pool(p.id) for p in chosen) == {"easy": 2, "normal": 4, "hard": 2}


def test_a_rate_follows_the_policy_by_hand():
    """0, then 1 with half of what was known: 0.5; then 1: 0.75; then 1: 0.875, easy."""
    pools = Pools(Curriculum((0.2, 0.6, 0.2)), FILE[:1])
    seen = []
    for right in (0, 1, 1, 1):
        pools.update([graded(FILE[0], *[right] * 4)])
        seen.append(pools.pool("q0"))
    assert seen == ["hard", "normal", "normal", "easy"]


def test_solved_problems_are_retired_and_come_back_when_all_are():
    pools = Pools(Curriculum((0.0, 1.0, 0.0), retire=2), FILE[:4])
    for _ in range(2):
        pools.update([graded(FILE[0], 1, 1), graded(FILE[1], 1, 0)])
    assert pools.metrics()["curriculum_retired"] == 1
    assert {p.id for step in range(9) for p in pools.choose(3, step)} == {"q1", "q2", "q3"}
    for _ in range(2):
        pools.update([graded(p, 1, 1) for p in FILE[1:4]])
    assert {p.id for p in pools.choose(4, 0)} == {"q0", "q1", "q2", "q3"}


def test_rows_lost_to_the_machine_tell_nothing_of_a_problem():
    pools = Pools(Curriculum((0.2, 0.6, 0.2)), FILE[:1])
    pools.update([[replace(t, scorable=False) for t in graded(FILE[0], 0, 0)]])
    assert pools.pool("q0") == "normal"


def test_untried_problems_come_before_those_tried():
    pools = Pools(Curriculum((0.0, 1.0, 0.0)), FILE)
    seen = [p.id for step in range(3) for p in pools.choose(4, step)]
    assert sorted(seen) == sorted(p.id for p in FILE)


def test_a_family_at_a_level_has_one_rate():
    problems = list(load("procedural:easy:L1-2").head(200))
    pools = Pools(Curriculum((0.0, 1.0, 0.0), retire=1), problems)
    hard = [p for p in problems if p.level == "2"]
    pools.update([graded(p, 1, 1) for p in problems if p.level == "1"])
    chosen = pools.choose(20, seed=1)
    assert {p.level for p in chosen} == {"2"}
    assert len({p.id for p in chosen}) == 20
    assert pools.metrics()["curriculum_normal"] == len({p.subject for p in hard})


@given(st.integers(1, 40), st.integers(0, 3), st.lists(st.booleans(), min_size=24, max_size=24))
def test_a_step_is_always_full_and_the_same_for_all_processes(count, seed, solved):
    made = [Pools(Curriculum((0.3, 0.4, 0.3), retire=1), FILE) for _ in range(2)]
    for pools in made:
        pools.update([graded(p, *solved[2 * i : 2 * i + 2]) for i, p in enumerate(FILE)])
    first, second = (pools.choose(count, seed) for pools in made)
    assert len(first) == count
    assert first == second
    live = [p for p in FILE if not made[0].retired(p.id)] or FILE
    assert len({p.id for p in first}) >= min(count, len(live))


class Asked(FixedSampler):
    """Notes what was asked for; problem q0 is solved by all, the others by half."""

    def __init__(self):
        self.problems = []

    def collect(self, problems, group_size, seed):
        self.problems.append([p.id for p in problems])
        rows = []
        for p in problems:
            for i, t in enumerate(BATCH[:4]):
                right = p.id == "q0" or i % 2 == 0
                verdict = "correct" if right else "wrong"
                rows.append(replace(t, problem_id=p.id, sample=i, verdict=verdict))
        return rows


@pytest.mark.slow
def test_a_resumed_curriculum_goes_on_as_if_it_had_not_stopped(model, tokenizer, tmp_path):
    how = {"curriculum": Curriculum((0.0, 1.0, 0.0), retire=1), "save_every": 1}
    how |= {"problems": FILE[:8], "learning_rate": 1e-4}

    def train(path, steps, checkpoint=None):
        import copy

        sampler = Asked()
        trainer = trainer_of(
            copy.deepcopy(model), tokenizer, path, sampler=sampler, steps=steps, **how
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        return sampler.problems

    whole = train(tmp_path / "whole", 4)
    train(tmp_path / "killed", 2)
    resumed = train(tmp_path / "killed", 4, str(tmp_path / "killed" / "checkpoint-2"))
    assert resumed == whole[2:]
    rates = (tmp_path / "whole" / "solve-rates.jsonl").read_text().splitlines()
    drawn = [json.loads(line)["problem_id"] for line in rates]
    assert drawn == [name for step in whole for name in step]
    row = json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["curriculum_retired"] == ("q0" in drawn)


def test_a_curriculum_has_a_whole_file_to_draw_from(tmp_path):
    file = tmp_path / "problems.jsonl"
    rows = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(50)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    from torl.environment import environment

    env = environment(problems=str(file))
    options = {"env": env, "steps": 2, "prompts": 3, "eval_problems": 0, "warm_start": 0}
    assert len(open_datasets(TrainOptions(**options)).schedule) == 6
    with_it = TrainOptions(**options, curriculum=Curriculum((0.2, 0.6, 0.2)))
    assert len({p.id for p in open_datasets(with_it).schedule}) == 50


def hard(*right):
    return [replace(t, problem_id="h") for t in graded(FILE[0], *right)]


def test_what_is_kept_and_for_how_long():
    memory = Memory(Replay(keep=2, rare=0.25, max_age=3))
    memory.update([hard(1, 0, 0, 0), graded(FILE[1], 1, 1, 0, 0)], step=1)
    assert len(memory) == 1
    rows, marks = memory.replayed([hard(0, 0, 0, 0)], step=4)
    assert marks == [False, False, False, True]
    assert [t.correct for t in rows] == marks
    assert memory.replayed([hard(0, 0, 0, 0)], step=5)[1] == [False] * 4
    assert memory.replayed([hard(0, 1, 0, 0)], step=2)[1] == [False] * 4
    for step in (2, 3):
        memory.update([hard(1, 0, 0, 0)], step)
    assert len(memory) == 2
    other = Memory(Replay(keep=2, rare=0.25, max_age=3))
    other.load_state_dict(json.loads(json.dumps(memory.state_dict())))
    found, expected = (one.replayed([hard(0, 0)], 4)[0][1].to_json() for one in (other, memory))
    assert json.dumps(found) == json.dumps(expected)


class Once(FixedSampler):
    """The first group's problem is solved by one sample in the first step, by none after that."""

    batches = 0

    def collect(self, problems, group_size, seed):
        self.batches += 1
        rows = [replace(t, problem_id=problems[i // 4].id) for i, t in enumerate(BATCH)]
        first = [self.given(t, i == 3 and self.batches == 1) for i, t in enumerate(rows[:4])]
        return [*first, *rows[4:]]

    @staticmethod
    def given(t, right):
        known = [-2.0 * m for m in t.loss_mask]
        verdict = "correct" if right else "wrong"
        return replace(t, reward=1.0 if right else -1.0, verdict=verdict, logprobs=known)


def test_a_replayed_answer_is_weighed_against_who_wrote_it(model, tokenizer, tmp_path):
    """Step 2: row 3 is the answer of step 1, its ratio exp(log p now - log p then), unclipped."""
    trainer = trainer_of(
        model,
        tokenizer,
        tmp_path,
        sampler=Once(()),
        problems=[*PROBLEMS, *PROBLEMS],
        steps=2,
        learning_rate=1e-9,
        replay=Replay(keep=1),
    )
    trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["replayed"] for row in rows] == [0.0, 1.0]
    # Metrics are of what was sampled: nothing of the first problem was right in step 2.
    assert [row["accuracy"] for row in rows] == pytest.approx([5 / 8, 4 / 8])
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for i, t in enumerate(BATCH[:4]):
        mask, logp = torch.tensor(t.loss_mask), log_likelihood(model, t)
        advantage = 1.5 if i == 3 else -0.5
        weight = torch.min((logp - -2.0).exp(), torch.tensor(1.2)) if i == 3 else logp
        loss = loss - advantage * (weight * mask).sum() / tokens
    assert rows[1]["grad_norm"] == pytest.approx(norm_of(model, loss), rel=1e-3)


@pytest.mark.parametrize("algorithm", [PPO, THOR])
def test_replay_is_refused_where_only_the_policy_of_the_moment_teaches(
    model, tokenizer, tmp_path, algorithm
):
    message = "learns only from what the policy of the moment wrote"
    with pytest.raises(ValueError, match=message):
        trainer_of(model, tokenizer, tmp_path, algorithm=algorithm(), replay=Replay(keep=1))
    with pytest.raises(ValueError, match=message):
        check_settings(TrainOptions(algorithm=algorithm(), replay=Replay(keep=1)))


def test_a_run_keeps_curriculum_and_replay():
    options = TrainOptions(curriculum=Curriculum((0.1, 0.7, 0.2)), replay={"keep": 3})
    assert options.replay == Replay(keep=3)
    assert from_json(json.loads(json.dumps(to_json(options))), {}) == options
