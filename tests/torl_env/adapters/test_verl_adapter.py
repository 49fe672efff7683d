"""What of verl's adapter needs no verl; the rest runs in `benchmarks/stacks/run_verl.py`."""

import pytest

from torl_env.adapters import verl as adapter
from torl_env.adapters.rows import write_rows
from torl_env.adapters.token_episode import TokenEpisode
from torl_env.problems.types import Problem

PROBLEM = Problem("a", "What is 6*7?", "42", source="mine")


def test_a_row_holds_the_whole_problem():
    (row,) = adapter.rows([PROBLEM], system="Use python.")
    assert row["agent_name"] == "torl"
    assert [one["role"] for one in row["prompt"]] == ["system", "user"]
    given = {**row, "raw_prompt": row["prompt"]}
    assert adapter.problem_of(given) == PROBLEM
    with pytest.raises(ValueError, match="needs problem_id, reward_model"):
        adapter.problem_of({"raw_prompt": []})


def test_written_files_read_back(tmp_path):
    datasets = pytest.importorskip("datasets")
    for name, kind in (("a.parquet", "parquet"), ("a.jsonl", "json")):
        assert write_rows(adapter.rows([PROBLEM] * 2), tmp_path / name) == 2
        back = datasets.load_dataset(kind, data_files=str(tmp_path / name), split="train")
        assert back[1]["problem_id"] == "a"
        assert back[1]["extra_info"]["index"] == 1


def test_turns_are_counted_as_verl_does():
    info = dict.fromkeys(("verdict", "stop_reason", "tool_calls", "tool_errors"), 0)
    episode = TokenEpisode([1], turns=2, outputs=1, info=info)
    assert adapter.output_fields(episode)["num_turns"] == 4


def test_engines_keep_the_stop_string_under_their_own_name():
    assert adapter.stops("vllm", ("```",)) == {"stop": ["```"], "include_stop_str_in_output": True}
    assert adapter.stops("sglang", ("```",)) == {"stop": ["```"], "no_stop_trim": True}
