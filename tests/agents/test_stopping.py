"""A turn ends at the end of its call in every style, whatever the policy was told before."""

from functools import partial

import pytest
import torch
from test_server_policy import at, server  # noqa: F401 - a fixture

from agents.core.policies.base import RowStart
from agents.core.policies.server import ServerPolicy
from agents.core.policies.stopping import StoppingCriterion
from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import phrase_tokenizer, tiny_model
from agents.core.types import Sampling
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.parsing import named_parser
from torl_env.problems.types import Problem

PROBLEMS = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(8)]
JSON = '{"name": "python", "arguments": {"code": "print(6*7)"}}'
CALLS = {
    "fenced": "\n```python\nprint(6*7)\n```",
    "xml": "<python>print(6*7)</python>",
    "hermes": f"<tool_call>\n{JSON}\n</tool_call>",
}
OUTPUTS = {"fenced": "```output", "xml": "<output>", "hermes": "<tool_response>"}


def play(sandbox, style, **policy_options):
    """Episodes of a random model that writes calls of this style, prose and an answer."""
    tokenizer = phrase_tokenizer(("Hm. ", "2 > 1. ", "`x` ", CALLS[style], "\\boxed{42}"))
    torch.manual_seed(1)
    policy = TransformersPolicy(tiny_model(tokenizer), tokenizer, **policy_options)
    sampling = Sampling(max_tokens=12)
    rollout = Rollout(
        policy,
        PlainPrompt(tokenizer),
        envs_over(sandbox=sandbox, tool_budget=1, parser=style),
        sampling,
    )
    return tokenizer, rollout.collect(PROBLEMS, 4, seed=0)


@pytest.mark.parametrize("style", CALLS)
@pytest.mark.parametrize("options", [{}, {"closes_call": partial(closes_tool_call)}])
def test_a_turn_ends_at_the_closing_tag(sandbox, style, options):
    tokenizer, done = play(sandbox, style, **options)
    called = [t for t in done if t.turns[0].action_kind == "tool"]
    assert len(called) > 4
    end = tokenizer.encode(CALLS[style])
    for row in called:
        first = row.turns[0]
        assert first.text.endswith(CALLS[style])
        assert list(row.ids[first.start : first.end]).count(end[0]) == 1
        # Output that did not fit is not in the ids, so the record does not hold it either.
        assert bool(first.observation) == (len(row.ids) > first.end)
        if not first.observation:
            continue
        assert OUTPUTS[style] in first.observation
        assert "42" in first.observation


def test_a_rule_of_ones_own_stays(sandbox):
    _, done = play(sandbox, "xml", closes_call=lambda text: text.endswith("`x` "), marker="`")
    assert any(t.turns[0].text.count("`x` ") == 1 for t in done)
    assert all(t.turns[0].text.count("`x` ") <= 1 for t in done)
    assert not any(t.turns[0].action_kind == "tool" for t in done if "`x`" in t.turns[0].text)


@pytest.mark.parametrize(("style", "marker"), [("fenced", "`"), ("xml", ">"), ("hermes", ">")])
def test_every_call_ends_with_a_marker(style, marker):
    criterion = StoppingCriterion(named_parser(style))
    assert criterion.marker == marker
    assert criterion(f"So {CALLS[style]}")
    assert not criterion(f"So {CALLS[style][:-1]}")


@pytest.mark.parametrize("style", CALLS)
def test_a_server_is_told_where_to_stop(server, sandbox, style):  # noqa: F811 - the fixture
    policy = ServerPolicy(at(server))
    policy.set_parser(named_parser(style))
    policy.open([RowStart([65])], Sampling(max_tokens=30))
    policy.advance()
    policy.close()
    stops = named_parser(style).stop
    assert server.seen[-1][1]["stop"] == [stop for stop in stops if stop != "\n```\n"]
