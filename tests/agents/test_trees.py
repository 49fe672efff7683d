"""Tree rollouts: where they branch, who shares what with whom, and what a shared id is worth."""

import json
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import log_likelihood, norm_of, one_step, trajectory

from agents.core.algorithm import Algorithm
from agents.core.credit.trees import (
    ancestor_advantages,
    counted_once,
    segments,
    subtree_credit,
)
from agents.core.filters import learned_mask
from agents.core.loss import DAPO, GSPO, Loss
from agents.core.policies.transformers import TransformersPolicy
from agents.core.replay import Replay
from agents.core.rollout.branching import turn_of
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.rollout.tree_rules import (
    AEPO,
    ARPO,
    PROMPT,
    Fork,
    Growing,
    Tree,
    TreePO,
    TreeRL,
    read_tree,
)
from agents.core.rollout.trees import (
    check_tree,
    collect_trees,
    tree_metrics,
    without_lost,
)
from agents.core.testing.tiny import ScriptedPolicy, tiny_model
from agents.core.trainer.logprobs import token_logprobs
from agents.core.trainer.options import Training
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling, Turn
from agents.grpo import GRPO, GTPO
from agents.ppo import PPO
from torl.algorithms import make_algorithm
from torl.console import CommandError
from torl.training.checks import check_settings
from torl.training.options import TrainOptions
from torl.wiring import envs_over
from torl_env import ToRLMathEnv, closes_tool_call
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

PROMPT_IDS = (5, 6, 7)


def leaf(ids, reward, sample=0, parent=-1, shared=0, **more):
    row = trajectory(PROMPT_IDS, ids, (1,) * len(ids), reward)
    return replace(row, sample=sample, parent=parent, shared=shared, **more)


def worked():
    """Five answers in two trees: 1 and 2 branch off 0, 3 off 1, and 4 stands alone.

    0  a b c d e f        right
    1      g h i j        wrong
    2          k l        right
    3          m n        wrong      (of 1: a b g h m n)
    4  o p                right
    """
    return [
        leaf((10, 11, 12, 13, 14, 15), 1.0),
        leaf((10, 11, 16, 17, 18, 19), 0.0, 1, 0, 2),
        leaf((10, 11, 12, 13, 20, 21), 1.0, 2, 0, 4),
        leaf((10, 11, 16, 17, 22, 23), 0.0, 3, 1, 4),
        leaf((24, 25), 1.0, 4),
    ]


def test_segments_of_the_worked_tree():
    found = [[(s.start, s.end, s.leaves) for s in path] for path in segments(worked())]
    assert found == [
        [(0, 2, (0, 1, 2, 3)), (2, 4, (0, 2)), (4, 6, (0,))],
        [(0, 2, (0, 1, 2, 3)), (2, 4, (1, 3)), (4, 6, (1,))],
        [(0, 2, (0, 1, 2, 3)), (2, 4, (0, 2)), (4, 6, (2,))],
        [(0, 2, (0, 1, 2, 3)), (2, 4, (1, 3)), (4, 6, (3,))],
        [(0, 2, (4,))],
    ]


def test_a_shared_id_is_credited_once_with_the_sum_of_its_leaves():
    """Mean 0.6, std of (1, 0, 1, 0, 1) is 0.5477: right is worth 0.7303, wrong -1.0954."""
    algorithm = GRPO(tree="arpo")
    group = worked()
    credit = counted_once(group, algorithm.assign_credit([group]))
    right, wrong = 0.7303, -1.0954
    expected = [
        [2 * right + 2 * wrong] * 2 + [2 * right] * 2 + [right] * 2,
        [0.0] * 2 + [2 * wrong] * 2 + [wrong] * 2,
        [0.0] * 4 + [right] * 2,
        [0.0] * 4 + [wrong] * 2,
        [right] * 2,
    ]
    for row, wanted in zip(credit, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-3)
    mean = counted_once(group, algorithm.assign_credit([group]), "mean")
    assert mean[0] == pytest.approx([(right + wrong) / 2] * 2 + [right] * 2 + [right] * 2, abs=1e-3)
    learned = [learned_mask(t) for t in group]
    assert learned == [[1] * 6, [0, 0, 1, 1, 1, 1], [0] * 4 + [1] * 2, [0] * 4 + [1] * 2, [1] * 2]


def test_subtree_credit_is_that_of_treerl():
    """V(root) = 0.6; a b has 0.5 over four leaves, c d 1, g h 0, each over two."""
    rows = subtree_credit(worked())
    shared = (0.5 - 0.6 + 0.5 - 0.6) / 2
    assert rows[0] == pytest.approx(
        [shared] * 2 + [(1 - 0.6 + 1 - 0.5) / 2**0.5] * 2 + [1 - 0.6 + 1 - 1] * 2
    )
    assert rows[1] == pytest.approx(
        [shared] * 2 + [(0 - 0.6 + 0 - 0.5) / 2**0.5] * 2 + [0 - 0.6 + 0 - 0] * 2
    )
    assert rows[4] == pytest.approx([1 - 0.6 + 1 - 0.6] * 2)
    algorithm = GRPO(tree="treerl", baseline="subtree")
    assert algorithm.assign_credit([worked()]) == rows


def test_ancestor_advantages_are_those_of_treepo():
    """Sample 0: 1 - 0.6, 1 - 0.5 and 1 - 1; the last one has no subtree but the whole group."""
    plain = ancestor_advantages([worked()], scale=False)
    assert plain == pytest.approx([0.3, -1.1 / 3, 0.3, -1.1 / 3, 0.4])
    differences = [0.4, 0.5, 0.0] * 2 + [-0.6, -0.5, 0.0] * 2 + [0.4]
    std = torch.tensor(differences).std().item()
    scaled = ancestor_advantages([worked()], scale=True)
    assert scaled == pytest.approx([a / std for a in plain], rel=1e-4)
    algorithm = GRPO(tree="treepo", baseline="ancestors")
    assert [row[0] for row in algorithm.assign_credit([worked()])] == pytest.approx(scaled)


@st.composite
def trees(draw):
    """A random group: each answer from the prompt or off an earlier one, some of them lost."""
    rows, lost = [], []
    for i in range(draw(st.integers(2, 7))):
        parent, kept = -1, ()
        if rows and draw(st.booleans()):
            parent = draw(st.integers(0, i - 1))
            keep = draw(st.integers(0, len(rows[parent].ids) - 1))
            kept = rows[parent].ids[:keep]
            while parent >= 0 and keep <= rows[parent].shared:
                parent = rows[parent].parent
        new = tuple(1000 * (i + 1) + k for k in range(draw(st.integers(1, 4))))
        reward = float(draw(st.integers(0, 1)))
        rows.append(leaf((*kept, *new), reward, i, parent, len(kept) if parent >= 0 else 0))
        lost.append(draw(st.integers(0, 3)) == 0)
    return [replace(t, scorable=not gone) for t, gone in zip(rows, lost, strict=True)]


@given(trees())
def test_every_id_that_a_known_answer_holds_is_learned_once(group):
    """Whoever is lost: with the sum over the known answers that hold it, by their ids alone."""
    rows = without_lost(group)
    known = [i for i, t in enumerate(rows) if t.scorable]
    assert [t.scorable for t in rows] == [t.scorable for t in group]
    given_ = [[float(t.scorable) * (i + 1)] * len(t.ids) for i, t in enumerate(rows)]
    total = counted_once(rows, given_)
    learned: dict[tuple[int, ...], float] = {}
    for t, credit in zip(rows, total, strict=True):
        for k, on in enumerate(learned_mask(t)):
            if on:
                assert t.ids[: k + 1] not in learned
                learned[t.ids[: k + 1]] = credit[k]
    holders: dict[tuple[int, ...], float] = {}
    for i in known:
        for k in range(len(rows[i].ids)):
            prefix = rows[i].ids[: k + 1]
            holders[prefix] = holders.get(prefix, 0.0) + i + 1
    assert learned == holders
    for i, path in enumerate(segments(rows)):
        for s in path if rows[i].scorable else ():
            prefix = rows[i].ids[: s.end]
            assert s.leaves == tuple(j for j in known if rows[j].ids[: s.end] == prefix)


def test_a_lost_answer_leaves_the_baseline_and_what_others_share_with_it_is_learned():
    """Without sample 0 sample 2 owns a b c d, and sample 1 branches off it."""
    group = worked()
    group[0] = replace(group[0], scorable=False, reward=-100.0)
    rows = without_lost(group)
    assert [(t.parent, t.shared) for t in rows] == [(-1, 0), (2, 2), (-1, 0), (1, 4), (-1, 0)]
    credit = counted_once(rows, GRPO(tree="arpo").assign_credit([rows]))
    assert not any(credit[0])
    right, wrong = 0.5 / (1 / 3) ** 0.5, -0.5 / (1 / 3) ** 0.5
    assert credit[2] == pytest.approx([right + 2 * wrong] * 2 + [right] * 4, rel=1e-4)


def pair():
    """Two problems for the trainer: a tree of three, and one of a stem and two roots."""
    first = [
        leaf((10, 11, 12, 13, 0), 1.0),
        leaf((10, 11, 14, 0), -1.0, 1, 0, 2),
        leaf((10, 11, 12, 15, 16, 0), -1.0, 2, 0, 3),
        leaf((10, 11, 14, 17, 0), 1.0, 3, 1, 3),
    ]
    second = [replace(t, reward=1.0, parent=-1, shared=0) for t in first]
    return first, [*first, *second]


@pytest.mark.parametrize("share", ["sum", "mean"])
@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_trainers_gradient_is_the_hand_made_one(
    model, tokenizer, tmp_path, monkeypatch, share, micro_batch
):
    """-sum over leaves and ids of A log p, shared ones once, over the ids that were sampled."""
    first, rows = pair()
    rows = [replace(t, logprobs=[-k / 10 for k in t.ids]) for t in rows]
    monkeypatch.setattr(
        "agents.core.trainer.collector.collect_trees", lambda *_: [*map(replace, rows)]
    )
    algorithm = GRPO(tree=ARPO(share=share))
    _, norm = one_step(
        *(model, tokenizer, tmp_path, rows), algorithm=algorithm, micro_batch=micro_batch
    )
    a = 1 / (4 / 3) ** 0.5
    advantages = [a, -a, -a, a]
    sampled = 5 + 2 + 3 + 2 + sum(len(t.ids) for t in rows[4:])
    loss = 0.0
    if share == "sum":
        # As if each answer had sampled all of its ids, but for the number that is divided by.
        for t, advantage in zip(first, advantages, strict=True):
            loss = loss - advantage * log_likelihood(model, t).sum() / sampled
    else:
        weights = [
            [0.0, 0.0, 0.0, a, a],
            [0.0, 0.0, 0.0, -a],
            [0.0, 0.0, 0.0, -a, -a, -a],
            [0.0, 0.0, 0.0, a, a],
        ]
        # a b has all four leaves, mean 0; c has 0 and 2, mean 0; the 14 of sample 1 has 1 and 3.
        for t, weight in zip(first, weights, strict=True):
            loss = loss - (torch.tensor(weight) * log_likelihood(model, t)).sum() / sampled
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["tree_branches"] == 3
    assert row["tree_sampled_ids"] == sampled
    assert row["tree_sampled_share"] == pytest.approx(sampled / (20 + 20))
    # Each sampled id once: of sample 2 of the first group 15 16 0, of samples 1 and 3 14 0, 17 0.
    once = [10, 11, 12, 13, 0, 14, 0, 15, 16, 0, 17, 0, *(k for t in rows[4:] for k in t.ids)]
    assert row["tokens"] == pytest.approx(sampled / 8) == len(once) / 8
    assert row["entropy"] == pytest.approx(sum(once) / len(once) / 10)


def turns(*lengths, output=2):
    """Turns of these many sampled ids with tool output between them, and their mask."""
    found, mask, at = [], [], 0
    for i, length in enumerate(lengths):
        last = i == len(lengths) - 1
        found.append(Turn("x", "", at, at + length, "", "" if last else "ok", "", 0.0))
        mask += [1] * length + [0] * (0 if last else output)
        at = len(mask)
    return tuple(found), tuple(mask)


def episode(entropies, *lengths, sample=0, **more):
    """An answer in turns, whose sampled ids of a turn all have that turn's entropy."""
    made, mask = turns(*lengths)
    ids = tuple(100 * sample + k for k in range(len(mask)))
    values = [0.0] * len(mask)
    for turn, entropy in zip(made, entropies, strict=True):
        values[turn.start : turn.end] = [entropy] * (turn.end - turn.start)
    row = trajectory(PROMPT_IDS, ids, mask, 1.0, turns=made)
    return replace(row, sample=sample, entropies=tuple(values), **more)


def growing(group, room, rounds=0):
    return Growing(group, room, rounds, random.Random(0))


def test_arpo_branches_where_entropy_rose_after_tool_output():
    calm = episode((1.0, 0.5, 0.9), 3, 3, 3)
    stirred = episode((1.0, 1.2, 2.0), 3, 3, 3, sample=1)
    rule = ARPO()
    assert rule.first(16) == 8
    # 2.0 rose most, then 1.2; nothing of the calm one.
    assert rule.forks(growing([calm, stirred], 8)) == [Fork(1, 10), Fork(1, 5)]
    assert rule.forks(growing([calm, stirred], 1)) == [Fork(1, 10)]
    assert ARPO(paths=2).forks(growing([calm, stirred], 3)) == [Fork(1, 10)] * 2 + [Fork(1, 5)]
    # P = 0.5 + 0.2 (2.0 - 1.0) = 0.7 alone passes 0.6.
    assert ARPO(tau=0.6).forks(growing([calm, stirred], 8)) == [Fork(1, 10)]
    # A place is branched once, and what is left over starts at the prompt.
    branch = replace(calm, sample=2, parent=1, shared=10)
    other = replace(calm, sample=3, parent=1, shared=5)
    assert rule.forks(growing([calm, stirred, branch, other], 3)) == [PROMPT] * 3
    lost = replace(stirred, scorable=False)
    assert rule.forks(growing([calm, lost], 2)) == [PROMPT] * 2


def test_a_branch_is_branched_behind_its_own_place_alone():
    stem = episode((1.0, 2.0, 0.1), 3, 3, 3)
    branch = episode((1.0, 2.0, 3.0), 3, 3, 3, sample=1, parent=0, shared=5)
    assert ARPO().forks(growing([stem, branch], 8)) == [Fork(1, 10)]


def test_without_entropies_surprise_stands_for_them():
    stirred = replace(episode((0.0, 0.0), 2, 2), entropies=(), logprobs=(-1.0, -1.0, 0, 0, -3, -1))
    assert ARPO().forks(growing([stirred], 1)) == [Fork(0, 4)]
    calm = replace(stirred, logprobs=(-1.0, -1.0, 0, 0, -1, -0.5))
    assert ARPO().forks(growing([calm], 1)) == [PROMPT]


def test_aepo_divides_its_budget_by_entropy():
    """m = k sigmoid(H_root - H_tool)."""
    tools = episode((1.0, 3.0, 3.0), 3, 3, 3)
    rule = AEPO()
    assert rule.first(16) == 1
    # 16 sigmoid(-2) = 1.9: one more from the prompt.
    assert rule.forks(growing([tools], 15)) == [PROMPT]
    question = episode((3.0, 1.0, 1.0), 3, 3, 3)
    assert rule.forks(growing([question], 15)) == [PROMPT] * 13
    no_tool = episode((1.0,), 3)
    assert rule.forks(growing([no_tool], 15)) == [PROMPT] * 7
    # All of its budget goes to branches at once where one answer is enough.
    assert AEPO(balance=3.0).forks(growing([tools], 15)) == [Fork(0, 5), Fork(0, 10)]


def test_aepo_penalises_branches_in_a_row():
    """0.5 + 0.2 x 0.2 = 0.54 passes once; after a branch it is 0.54 x 0.9 = 0.486."""
    rise = episode((1.0, 1.2, 1.2), 3, 3, 3)
    assert AEPO(penalty=0.1).forks(growing([rise, rise], 8, 1))[0] == Fork(0, 5)
    assert Fork(0, 10) not in AEPO(penalty=0.1).forks(growing([rise, rise], 8, 1))
    assert Fork(0, 10) in AEPO(penalty=0.0).forks(growing([rise, rise], 8, 1))
    # A place that was branched in an earlier round counts too.
    branch = replace(rise, sample=1, parent=0, shared=5)
    assert AEPO(penalty=0.1).forks(growing([rise, branch], 8, 2)) == [PROMPT] * 8
    assert AEPO(penalty=0.0).forks(growing([rise, branch], 8, 2)) == [Fork(0, 10), Fork(1, 10)]
    # So does the one that an answer came from, however certain it was there itself.
    calm = episode((1.0, 0.5, 1.2), 3, 3, 3, sample=1, parent=0, shared=5)
    assert AEPO(penalty=0.1).forks(growing([rise, calm], 8, 2)) == [PROMPT] * 8


def surprising(logprobs, **more):
    ids = tuple(range(len(logprobs)))
    return replace(leaf(ids, 1.0), logprobs=logprobs, **more)


def test_treerl_branches_at_the_least_likely_ids():
    rule = TreeRL(margin=1)
    assert rule.first(30) == 6
    with pytest.raises(ValueError, match="multiple of 5, got 16"):
        rule.first(16)
    # Not the first id, nor the last.
    stem = surprising((-9.0, -1.0, -3.0, -2.0, -0.1, -9.0))
    other = surprising((-0.1, -0.2, -0.3, -0.4, -0.5, -0.6), sample=1)
    forks = rule.forks(growing([stem, other], 8))
    assert forks == [Fork(0, 2)] * 2 + [Fork(0, 3)] * 2 + [Fork(1, 4)] * 2 + [Fork(1, 3)] * 2
    # A second round pools all of a tree, without the first ids of branches and old places.
    branch = surprising((-9.0, -1.0, -9.0, -4.0, -0.1, 0.0), sample=1, parent=0, shared=2)
    twice = TreeRL(places=2, rounds=2, paths=1, margin=1)
    assert twice.forks(growing([stem, branch], 8, 1)) == [Fork(1, 3), Fork(0, 3)]
    assert twice.forks(growing([stem, branch], 3, 2)) == [PROMPT] * 3


def test_treerl_never_branches_at_tool_output():
    made, mask = turns(3, 3)
    stem = replace(trajectory(PROMPT_IDS, tuple(range(8)), mask, 1.0, turns=made))
    stem = replace(stem, logprobs=(0.0, 0.0, 0.0, -9.0, -9.0, -1.0, -2.0, -3.0))
    assert TreeRL(margin=0, places=1, paths=1).forks(growing([stem], 1)) == [Fork(0, 7)]


def test_treepo_branches_at_ends_of_segments():
    """Segments of 2 sampled ids begin at 0, 2, 6 and 8 of 3 + 2 + 5."""
    row = episode((0.0, 0.0), 3, 5)
    rule = TreePO(segment=2)
    assert rule.first(16) == 2
    group = [row, replace(row, sample=1)]
    assert rule.forks(growing(group, 14)) == [Fork(0, 2), Fork(1, 2)]
    grown = [*group, *(replace(row, sample=2 + i, parent=i, shared=2) for i in (0, 1))]
    assert rule.forks(growing(grown, 12, 1)) == [Fork(i, 6) for i in range(4)]
    assert rule.forks(growing(grown, 3, 1)) == [Fork(0, 6), Fork(1, 6), Fork(2, 6)]
    # One is long enough: it takes the branches of all.
    short = replace(episode((0.0,), 2, sample=1))
    assert rule.forks(growing([row, short], 14)) == [Fork(0, 2)] * 2
    # None is: back to finished ones, at any segment.
    forks = rule.forks(growing([short, short], 6))
    assert len(forks) == 6
    assert {fork.keep for fork in forks} == {0}


def test_trees_are_settings():
    assert make_algorithm("arpo", [], {}).tree == ARPO()
    assert make_algorithm("arpo", ["tree=arpo(start=0.25)"], {}).tree == ARPO(start=0.25)
    treerl = make_algorithm("treerl", ["clip_high=0.28"], {})
    assert (treerl.tree, treerl.baseline, treerl.loss.clip_high) == (TreeRL(), "subtree", 0.28)
    assert make_algorithm("gtpo", ["tree=aepo"], {}).tree == AEPO()
    assert make_algorithm("treepo", [], {}).baseline == "ancestors"
    assert read_tree("") is read_tree(None) is None
    with pytest.raises(ValueError, match="compares parts of a tree"):
        GRPO(baseline="subtree")


class Critic(GRPO):
    """Prepares a batch of its own."""

    def prepare(self, batch):
        return {}


CONTRADICTIONS = {
    "a critic": (Critic(tree="arpo"), {}, "learns from whole episodes of its own"),
    "RoC": (GRPO(tree="arpo", oversample=2), {}, "oversample=1"),
    "replay": (GRPO(tree="arpo"), {"replay": Replay(keep=2)}, "--replay.keep 0"),
    "filters": (GRPO(tree="arpo", loss=Loss(drop=("overlong",))), {}, "expected no drop"),
    "sequences": (GRPO(tree="arpo", loss=GSPO), {}, "only tokens can be counted"),
    "off-policy": (GRPO(tree="arpo", loss=Loss(off_policy_kl=0.1)), {}, "off_policy_kl"),
    "ratios": (GRPO(tree="arpo"), {"importance_mode": "sequence_mask"}, "--importance"),
    "group": (GRPO(tree="treerl"), {"group_size": 8}, "multiple of 5, got 8"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused_with_the_reason(case):
    algorithm, options, message = CONTRADICTIONS[case]
    with pytest.raises(ValueError, match=message):
        check_tree(algorithm, Training(**options))


def test_what_goes_with_trees_is_not_refused():
    check_tree(GRPO(tree="arpo", loss=replace(DAPO, nll=0.1, kl=0.01), resample=2), Training())
    check_tree(GTPO(tree="aepo", shaping="otc"), Training(updates=4, epochs=2))
    check_tree(PPO(), Training(importance_mode="sequence_mask"))


def test_the_command_line_refuses_them_too():
    options = TrainOptions(algorithm="arpo", replay=Replay(keep=2))
    with pytest.raises(ValueError, match=r"--replay\.keep 0"):
        check_settings(options)
    with pytest.raises(CommandError, match="cannot be put back into"):
        check_settings(TrainOptions(algorithm="arpo", text_env="mine:env"))
    for name in ("ppo", "thor"):
        with pytest.raises(CommandError, match="tree goes with grpo"):
            check_settings(TrainOptions(algorithm=name, set=("tree=arpo",)))


def test_a_place_before_tool_output_is_none():
    row = episode((0.0, 0.0), 3, 3)
    assert [turn_of(row, k) for k in (0, 2, 5, 7)] == [0, 0, 1, 1]
    for keep in (3, 4, 8):
        with pytest.raises(ValueError, match="before a sampled id"):
            turn_of(row, keep)


def test_entropies_are_those_of_the_sampled_distribution(sandbox, tokenizer):
    """Equal to teacher forcing at the same temperature; 0 on tool output; off by default."""
    torch.manual_seed(1)
    model = tiny_model(tokenizer, spread=0.3)
    envs = envs_over(sandbox=sandbox, tool_budget=1)
    prompt = PlainPrompt(tokenizer, "{question}")

    def sampled(**how):
        policy = TransformersPolicy(model, tokenizer, closes_tool_call)
        engine = Rollout(policy, prompt, envs, Sampling(0.7, max_tokens=12, **how))
        return engine.collect([Problem("p", "6*7?", "42")], 3, seed=0)

    rows = sampled(entropies=True)
    for t, plain in zip(rows, sampled(), strict=True):
        assert plain.entropies == ()
        assert plain.ids == t.ids
        ids = torch.tensor([[*t.prompt_ids, *t.ids]])
        wanted = torch.tensor([[0] * len(t.prompt_ids) + list(t.loss_mask)])
        _, entropies = token_logprobs(model, ids, torch.ones_like(ids), wanted, 0.7)
        assert list(t.entropies) == pytest.approx(
            entropies[0, len(t.prompt_ids) :].tolist(), abs=1e-3
        )
        assert json.loads(json.dumps(t.to_json()))["entropies"] == list(t.entropies)


class EveryTurn(Tree):
    """Branches at random sampled ids; `seed` says which."""

    __slots__ = ()

    def first(self, size):
        return max(1, size // 3)

    def forks(self, growing):
        known = [i for i, t in enumerate(growing.group) if t.scorable]
        rows = [growing.random.choice(known) for _ in range(min(2, growing.room))]
        return [
            Fork(i, growing.random.choice([k for k, m in enumerate(t.loss_mask) if m]))
            for i in rows
            for t in [growing.group[i]]
        ]


OPERATIONS = (
    "x = 1",
    "x = x + 1",
    "x = x * 3\nprint(x)",
    "y = [x] * 2\nprint(y)",
    "y.append(x)",
    "print(x, y)",
    "def f(n):\n    return n + x\nprint(f(1))",
    "import random\nprint(random.random())",
    "print(1/0)",
)


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 6), program=st.data())
def test_on_every_branch_the_interpreter_is_as_if_replayed(sandbox, tokenizer, seed, size, program):
    """Real sessions: each leaf's turns, played from the start elsewhere, give what it saw."""
    texts = program.draw(
        st.lists(st.sampled_from(OPERATIONS), min_size=4, max_size=8), label="programs"
    )
    calls = random.Random(seed)

    def script(row, turn):
        if turn < 3:
            return f"\n```python\n{calls.choice(texts)}\n```"
        return f"\nIt is \\boxed{{{calls.randint(0, 9)}}}."

    options = {"sandbox": sandbox, "stateful": True, "tool_budget": 6}
    policy = ScriptedPolicy(tokenizer, script, closes_tool_call)
    engine = Rollout(
        *(policy, PlainPrompt(tokenizer, "{question}"), envs_over(**options)),
        Sampling(max_tokens=3000),
        keep_states=True,
    )
    problem = Problem("p", "What?", "7")
    rows = collect_trees(CopySampler(engine, None), [problem], size, seed, EveryTurn())
    assert len(rows) == size
    env = ToRLMathEnv(problems=Listed("one", [problem]), **options)
    for t in rows:
        observation, _ = env.reset(options={"problem_id": "p"})
        for turn in t.turns:
            observation, reward, _, _, info = env.step(turn.text)
            assert (observation, reward) == (turn.observation, turn.reward)
            assert info["tool_status"] == turn.tool_status
        assert info["verdict"] == t.verdict
        assert info["tool_calls"] == t.tool_calls
        if t.parent >= 0:
            assert rows[t.parent].ids[: t.shared] == t.ids[: t.shared]
            assert rows[t.parent].loss_mask[: t.shared] == t.loss_mask[: t.shared]
            # The parent wrote another id there, or the same by chance.
            assert rows[t.parent].shared < t.shared
    env.close()


def test_a_tree_of_real_samples_holds_its_own_log_probabilities(sandbox, tokenizer):
    """Ids are never tokenised again: what a branch keeps has the numbers of its parent."""
    torch.manual_seed(2)
    model = tiny_model(tokenizer, spread=0.3)
    policy = TransformersPolicy(model, tokenizer, closes_tool_call)
    envs = envs_over(sandbox=sandbox, tool_budget=1)
    engine = Rollout(
        *(
            policy,
            PlainPrompt(tokenizer, "{question}"),
            envs,
            Sampling(max_tokens=16, entropies=True),
        ),
        keep_states=True,
    )
    problems = [Problem("a", "6*7?", "42"), Problem("b", "1+1?", "2")]
    tree = TreeRL(margin=0)
    rows = collect_trees(CopySampler(engine, None), problems, 5, 0, tree)
    again = collect_trees(CopySampler(engine, None), problems, 5, 0, tree)
    assert [t.ids for t in rows] == [t.ids for t in again]
    assert [t.sample for t in rows] == list(range(5)) * 2
    assert [t.problem_id for t in rows] == ["a"] * 5 + ["b"] * 5
    assert tree_metrics(rows)["tree_branches"] == 8
    assert len({t.ids for t in rows}) > 8
    for group in (rows[:5], rows[5:]):
        for t in group[1:]:
            stem = group[t.parent]
            assert stem.logprobs[: t.shared] == t.logprobs[: t.shared]
            assert stem.entropies[: t.shared] == t.entropies[: t.shared]
            assert len(t.entropies) == len(t.ids)
            ids = torch.tensor([[*t.prompt_ids, *t.ids]])
            wanted = torch.tensor([[0] * len(t.prompt_ids) + list(t.loss_mask)])
            found, _ = token_logprobs(model, ids, torch.ones_like(ids), wanted)
            assert list(t.logprobs) == pytest.approx(
                found[0, len(t.prompt_ids) :].tolist(), abs=1e-3
            )


class Planned(Tree):
    """Given forks, one a round."""

    __slots__ = ()
    plan = (Fork(0, 4), Fork(1, 6), Fork(1, 4), Fork(2, 5), Fork(2, 2), PROMPT)

    def first(self, size):
        return 1

    def forks(self, growing):
        return [self.plan[growing.round]]


def test_an_id_belongs_to_who_sampled_it(sandbox, tokenizer):
    """A fork at the place of another, or in what a row shares, is one of that row's parent."""
    policy = ScriptedPolicy(tokenizer, lambda row, turn: "ten letter", closes_tool_call)
    envs = envs_over(sandbox=sandbox, tool_budget=0)
    where = (PlainPrompt(tokenizer, "{question}"), envs, Sampling(max_tokens=99))
    engine = Rollout(policy, *where, keep_states=True)
    rows = collect_trees(CopySampler(engine, None), [Problem("p", "?", "1")], 7, 0, Planned())
    found = [(t.sample, t.parent, t.shared) for t in rows]
    assert found == [
        (0, -1, 0), (1, 0, 4), (2, 1, 6), (3, 0, 4), (4, 1, 5), (5, 0, 2), (6, -1, 0)
    ]  # fmt: skip


def test_an_algorithm_without_a_tree_keeps_no_states():
    assert not GRPO().needs_states
    assert GRPO(tree="arpo").needs_states
    assert Algorithm().tree is None
