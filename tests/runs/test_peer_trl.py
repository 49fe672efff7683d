"""TRL's own loop beside ours: the record of both, and what both begin with."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from agents.sft.traces import Trace
from torl_env import ToolCall
from torl_env.parsing import named_parser
from torl_env.problems import load

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture
def peer_trl(monkeypatch):
    """The module beside the scripts, which are no package."""
    monkeypatch.syspath_prepend(str(RUNS))
    pytest.importorskip("trl")
    import peer_trl

    yield peer_trl
    sys.modules.pop("peer_trl", None)


def share(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "count": 8}


def test_the_table_has_both_sides_and_the_ratio_of_their_cpu_seconds(peer_trl, tmp_path):
    settings = {"settings": {"model": "m", "steps": 2, "prompts": 5, "group": 8}}
    (tmp_path / "start.json").write_text(json.dumps({"accuracy": share(0.25)}))
    for name, cpu in (("ours-0", 10.0), ("trl-0", 30.0), ("ours-1", 10.0)):
        one = {"accuracy": share(0.5), "seconds": 2 * cpu, "cpu_seconds": cpu} | settings
        if name.startswith("ours"):
            rows = [
                {"step": 1, "stage": "rl", "reward": 0.25, "tokens": 40.0},
                {"step": 2, "stage": "rl", "reward": 0.5, "tokens": 60.0},
            ]
            (tmp_path / name).mkdir()
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / name / "metrics.jsonl").write_text(text)
        else:
            one |= {"rewards": [0.25, 0.5], "lengths": [40.0, 60.0]}
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    peer_trl.write(tmp_path, [0, 1])
    text = (tmp_path / "peer.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    before, after = "25.0 [15.0, 35.0]", "50.0 [40.0, 60.0]"
    assert rows[2:] == [
        ["this project", "0", before, after, "0.25 0.50", "4k", "10.0", "5.0"],
        ["this project", "1", before, after, "0.25 0.50", "4k", "10.0", "5.0"],
        ["TRL's own loop", "0", before, after, "0.25 0.50", "4k", "30.0", "15.0"],
    ]
    assert "median of 1: 3.00" in text, "only seeds that both sides have"
    assert "which have the same problems: 0.00\n" in text, "equal rewards have no spread"
    assert "model m, steps 2" in text
    assert json.loads((tmp_path / "peer.json").read_text())["trl"].keys() == {"0"}
    assert (tmp_path / "peer.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_made_with_other_settings_is_refused(peer_trl, tmp_path):
    sizes = {"steps": 12, "prompts": 4, "group": 8, "learning_rate": 1e-5}
    asked = Namespace(out=tmp_path, model="smollm2", **sizes)
    file = tmp_path / "trl-0.json"
    assert not peer_trl.complete(asked, "trl-0")
    file.write_text(json.dumps({"settings": peer_trl.settings(asked, "trl-0")}))
    assert peer_trl.complete(asked, "trl-0")
    asked.prompts = 8
    with pytest.raises(
        SystemExit, match=r"trl-0.json was made with .* prompts: 4 against 8; choose"
    ):
        peer_trl.complete(asked, "trl-0")


def test_what_is_imitated_calls_the_tool_in_the_form_that_trl_reads(peer_trl):
    problem = load("procedural:gcd:L1")[0]
    call, answer = peer_trl.turns(problem)
    read = named_parser("hermes").parse(call)
    assert isinstance(read, ToolCall)
    assert answer.endswith(f"\\boxed{{{problem.answer}}}.")


def test_the_end_of_a_turn_is_learned_before_tool_output(peer_trl):
    """Ids 2 and 3 are sampled, 4 ends the turn, 5 and 6 are tool output, 7 is sampled."""
    trace = Trace((1,), (2, 3, 4, 5, 6, 7), (1, 1, 0, 0, 0, 1), "text")
    assert list(peer_trl.ending(trace).loss_mask) == [1, 1, 1, 0, 0, 1]
