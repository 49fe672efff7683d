"""`torl data export`: the data sets of other stacks."""

import json
from pathlib import Path

import pytest

from agents.core.rollout.prompts import TOOL_SYSTEM
from torl.commands.data import ExportOptions, main
from torl.console import CommandError

datasets = pytest.importorskip("datasets")


@pytest.mark.parametrize(("to", "key"), [("verl", "agent_name"), ("skyrl", "env_class")])
def test_each_row_says_who_plays_it(tmp_path: Path, to: str, key: str) -> None:
    out = tmp_path / "train.parquet"
    assert main(ExportOptions("procedural:gcd", out, to=to, limit=3)) == 0
    made = datasets.load_dataset("parquet", data_files=str(out), split="train")
    assert [row[key] for row in made] == ["torl"] * 3
    assert made[0]["prompt"][0] == {"role": "system", "content": TOOL_SYSTEM}
    assert len(set(made["problem_id"])) == 3


def test_nemo_gym_gets_requests_with_the_tool(tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    assert main(ExportOptions("procedural:gcd", out, to="nemo_gym", limit=2)) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({row["problem_id"] for row in rows}) == 2
    for row in rows:
        (tool,) = row["responses_create_params"]["tools"]
        assert tool["parameters"]["required"] == ["code"]
        assert row["responses_create_params"]["input"][-1]["content"] == row["question"]


def test_a_base_model_gets_one_text(tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    main(ExportOptions("procedural:gcd", out, limit=1, prompt="torl"))
    made = datasets.load_dataset("json", data_files=str(out), split="train")
    ((message,),) = made["prompt"]
    assert message["content"].endswith("\nAssistant:\n")
    with pytest.raises(CommandError, match=r"expected \.parquet or \.jsonl"):
        main(ExportOptions("procedural:gcd", tmp_path / "train.csv"))
