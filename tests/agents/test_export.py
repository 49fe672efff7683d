"""A trajectory in the forms of verl and TRL, field by field."""

import dataclasses
import json

import pytest
from one_step import trajectory

from agents.core.export import to_trl, to_verl
from agents.core.types import Turn

CALL = Turn("code", "out", 0, 2, "tool", "ok", "", 0.0)
ANSWER = Turn("answer", "", 3, 5, "final", "", "", 1.0)
DONE = dataclasses.replace(
    trajectory((1, 2), (3, 4, 9, 5, 0), (1, 1, 0, 1, 1), 1.0, turns=(CALL, ANSWER)),
    logprobs=(-0.1, -0.2, 0.0, -0.3, -0.4),
    answer="42",
    tool_calls=1,
    reward_terms={"answer": 1.0},
)
VOID = dataclasses.replace(DONE, scorable=False, reward=0.0, verdict="", infra_error="worker")


def test_verl():
    assert to_verl(DONE) == {
        "prompt_ids": [1, 2],
        "response_ids": [3, 4, 9, 5, 0],
        "response_mask": [1, 1, 0, 1, 1],
        "response_logprobs": [-0.1, -0.2, 0.0, -0.3, -0.4],
        "reward_score": 1.0,
        "num_turns": 4,
        "metrics": {"generate_sequences": 0.0, "tool_calls": 0.0},
        "extra_fields": {
            "problem_id": "p",
            "verdict": "correct",
            "tool_calls": 1,
            "tool_errors": 0,
            "stop_reason": "final",
            "scorable": True,
            "reward_extra_info": {"acc": 1.0, "answer": 1.0},
        },
    }


def test_verl_takes_the_types_it_declares():
    pydantic = pytest.importorskip("pydantic")
    output = pydantic.create_model(
        "AgentLoopOutput",
        prompt_ids=(list[int], ...),
        response_ids=(list[int], ...),
        response_mask=(list[int], ...),
        response_logprobs=(list[float] | None, None),
        multi_modal_data=(dict | None, None),
        reward_score=(float | None, None),
        num_turns=(int, 0),
        metrics=(
            pydantic.create_model(
                "AgentLoopMetrics", generate_sequences=(float, 0.0), tool_calls=(float, 0.0)
            ),
            ...,
        ),
        extra_fields=(dict, {}),
        __config__={"extra": "forbid", "strict": True},
    )
    for one in (DONE, VOID):
        assert output(**to_verl(one)).num_turns == 4


def test_trl():
    assert to_trl(DONE) == {
        "prompt_ids": [1, 2],
        "completion_ids": [3, 4, 9, 5, 0],
        "logprobs": [-0.1, -0.2, 0.0, -0.3, -0.4],
        "env_mask": [1, 1, 0, 1, 1],
        "reward": 1.0,
    }


def test_nothing_that_teaches_nothing_has_a_reward():
    assert to_verl(VOID)["reward_score"] is None
    assert to_trl(VOID)["reward"] is None


def test_both_are_json():
    for form in (to_verl(DONE), to_trl(DONE)):
        assert json.loads(json.dumps(form)) == form
