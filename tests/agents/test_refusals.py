"""Settings that cannot be, each refused where it is made with what was expected."""

import pytest

from agents.core.credit import read_shaping
from agents.core.curriculum import Curriculum
from agents.core.loss import Loss
from agents.core.replay import Replay
from agents.core.schedule import Schedule
from agents.core.trainer.alarms import Alarms
from agents.grpo import GRPO, GTPO
from agents.ppo import PPO
from agents.thor import THOR

WRITTEN = (
    (Schedule.parse, "temperature", "a schedule is name=step:value"),
    (Schedule.parse, "temperature=1:hot", "a schedule is name=step:value"),
    (Schedule.parse, "temperature=1:True", "a schedule is name=step:value"),
    (Schedule.parse, "learning_rte=1:1", "a schedule is of one of clip_low"),
    (Schedule.parse, "temperature=5:1.0", "steps rise from 1"),
    (Schedule.parse, "temperature=1:1.0,9:1.0,4:1.0", "steps rise from 1"),
    (Schedule.parse, "tool_budget=linear,1:1,9:4", "in stages, no line"),
    (Schedule.parse, "max_tokens=1:10.5", "expected whole numbers"),
    (Schedule.parse, "tool_budget=1:0", "without a tool the prompt is another"),
    (Schedule.parse, "kl=1:0.0", "for 0 has no reference model"),
    (read_shaping, "otcc", "a sum of overlong, otc, .* got 'otcc'"),
    (read_shaping, "otc(weight=open('x'))", "expected a sum of"),
    (read_shaping, "otc - ran", "expected a sum of"),
    (read_shaping, "otc(width=1)", "unexpected keyword"),
    (read_shaping, "overlong(max_tokens=5, cache=9)", "the cache is a part"),
)
SET = (
    (Alarms, {"action": "ring"}, "off, warn or stop"),
    (Alarms, {"window": 1}, "at least 2 steps"),
    (Alarms, {"entropy": -1.0}, "alarm entropy must be >= 0"),
    (Curriculum, {"mix": (0.5, 0.5)}, "three shares that sum to 1"),
    (Curriculum, {"mix": (0.5, 0.5, 0.5)}, "three shares that sum to 1"),
    (Curriculum, {"mix": (0, 1, 0), "easy": 0.1, "hard": 0.5}, "hard below easy"),
    (Curriculum, {"mix": (0, 1, 0), "decay": 1.0}, r"decay in \[0, 1\)"),
    (Replay, {"keep": 1, "max_age": 0}, "max_age at least 1"),
    (Loss, {"kl": -1.0}, "kl must be >= 0, got -1.0"),
    (Loss, {"nll": -1.0}, "nll must be >= 0, got -1.0"),
    (Loss, {"clip_low": 0.0}, "clip_low must be in"),
    (Loss, {"dual_clip": 1.1}, r"beyond 1 \+ clip_high = 1.2, got 1.1"),
    (Loss, {"surrogate": "cispo", "dual_clip": 3.0}, "never clips"),
    (Loss, {"surrogate": "cispo", "ratio": "sequence"}, "weighs each token"),
    (Loss, {"surrogate": "cispo", "clip_low": 0.1}, "cispo has no use for clip_low"),
    (Loss, {"surrogate": "sapo", "mean": "sequence", "clip_high": 0.3}, "no use for clip_high"),
    (Loss, {"sapo_positive": 2.0}, "clip has no use for sapo_positive"),
    (Loss, {"surrogate": "sapo"}, "published with mean=sequence, got token"),
    (Loss, {"mean": "constant", "ratio": "sequence"}, "use mean=sequence"),
    (Loss, {"kl_reset": 5}, "only kl > 0 has"),
    (Loss, {"drop": "void,void_turns"}, "choose one"),
    (Loss, {"drop": "overlng"}, "drop knows overlong, void, void_turns"),
    (Loss, {"surrogate": "ppo"}, "surrogate is one of clip, cispo, sapo"),
    (Loss, {"entropy_top": 0.0}, r"a share in \(0, 1\]"),
    (Loss, {"entropy": -0.1}, "entropy must be >= 0"),
    (Loss, {"sapo_positive": 0.0}, "sapo_positive must be positive"),
    (GRPO, {"baseline": "mine"}, "subtree or ancestors, got 'mine'"),
    (GRPO, {"resample": -1}, "resample must be >= 0"),
    (GRPO, {"oversample": 0}, "oversample must be >= 1"),
    (GRPO, {"tree": "arpoo"}, "tree: expected arpo, aepo, treerl, treepo"),
    (GRPO, {"tree": "arpo(begin=1)"}, "unexpected keyword argument 'begin'"),
    (GRPO, {"tree": "arpo(1)"}, "is none of them"),
    (GRPO, {"tree": "arpo(start=0.0)"}, "start is a share"),
    (GRPO, {"tree": "arpo(share='max')"}, "share is sum or mean"),
    (GRPO, {"tree": "treerl(places=0)"}, "at least 1"),
    (GRPO, {"tree": "treepo(ways=1)"}, "ways at least 2"),
    (GTPO, {"gamma": 0.0}, r"gamma must be in \(0, 1\]"),
    (GTPO, {"compare": "x"}, "compare must be turn or group"),
    (GTPO, {"baseline": "leave_one_out"}, "expected baseline=group"),
    (GTPO, {"gamma": 0.9, "shaping": "potential"}, r"write potential\(gamma=0.9\)"),
    (PPO, {"shaping": "potential(gamma=0.9)"}, "only at gamma 1"),
    (PPO, {"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
    (PPO, {"policy_lambda": -0.1}, "policy_lambda must be in"),
    (PPO, {"length_alpha": 0.0}, "length_alpha must be positive or None, got 0.0"),
    (PPO, {"value_clip": -1.0}, "value_clip must be positive or None"),
    (PPO, {"kl_penalty": -1.0}, "kl_penalty must be >= 0"),
    (PPO, {"critic": "oracle"}, "critic must be head or model, got 'oracle'"),
    (THOR, {"step_group_size": 1}, "step_group_size must be at least 2, got 1"),
    (THOR, {"suffix_tokens": -1}, "suffix_tokens must be >= 0"),
    (THOR, {"loss": Loss(mean="sequence")}, "or set step_level=False"),
    (THOR, {"loss": Loss(kl=0.1)}, "loss.kl=0, as in the paper, got"),
)


@pytest.mark.parametrize(("read", "text", "message"), WRITTEN)
def test_what_is_written_wrongly_is_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize(("made", "settings", "message"), SET)
def test_bad_settings_say_what_is_expected(made, settings, message):
    with pytest.raises(ValueError, match=message):
        made(**settings)
