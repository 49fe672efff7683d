"""Algorithms by name and their settings as words."""

import pytest

from agents.grpo import GRPO
from agents.ppo import PPO
from torl.algorithms import make_algorithm
from torl.console import CommandError

SIZES = {"group_size": 4, "prompts_per_step": 2}


def test_names_and_settings():
    assert make_algorithm("grpo", (), SIZES) == GRPO(group_size=4, prompts_per_step=2)
    assert make_algorithm("ppo", (), SIZES) == PPO()
    made = make_algorithm("grpo", ("scale_by_std=false", "clip_high=0.28", "nll=0.01"), SIZES)
    assert (made.scale_by_std, made.loss.clip_high, made.loss.nll) == (False, 0.28, 0.01)
    assert make_algorithm("ppo", ("critic=model", "value_clip=None"), {}).value_clip is None


def test_one_of_your_own(tmp_path, monkeypatch):
    text = "from agents.core.algorithm import Algorithm\nclass Mine(Algorithm):\n    pass\n"
    (tmp_path / "my_own_algorithm.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert type(make_algorithm("my_own_algorithm:Mine", (), SIZES)).__name__ == "Mine"


BAD = {
    "name": ("gprop", (), "expected grpo, cot, ppo, thor or module:Class, got 'gprop'"),
    "module": ("nowhere:Mine", (), "expected module:Class that can be imported"),
    "no class": ("agents.grpo:Loss", (), "agents.grpo:Loss"),
    "setting": ("grpo", ("clip=1",), "grpo has name=value for baseline, clip_high"),
    "form": ("grpo", ("clip_high",), "got 'clip_high'"),
    "value": ("grpo", ("clip_high=-1",), "clip_high positive"),
    "kind": ("grpo", ("clip_high=wide",), "--algorithm grpo"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_expected(case):
    name, settings, message = BAD[case]
    with pytest.raises(CommandError, match=message):
        make_algorithm(name, settings, SIZES)
