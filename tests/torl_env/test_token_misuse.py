"""What a token view refuses, in words of its own."""

from typing import Any

import gymnasium as gym
import pytest

from torl_env import ToRLMathEnv
from torl_env.sandbox import Sandbox
from torl_env.testing import problem_list
from torl_env.wrappers import ChatTokens, Tokens

pytest.importorskip("transformers", reason="transformers is not installed")

ALTERNATING = (
    "{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)
WANTS_AN_ID = "{% for m in messages %}{{ m.content }}{{ m.tool_call_id[0] }}{% endfor %}"


@pytest.fixture
def tokenizer() -> Any:
    from agents.core.testing.tiny import byte_tokenizer

    return byte_tokenizer()


@pytest.mark.parametrize("template", [ALTERNATING, WANTS_AN_ID], ids=["Gemma", "Mistral"])
def test_a_template_without_tool_output_is_refused(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match="use InlineTokens"):
        ChatTokens(tokenizer)


@pytest.mark.parametrize("action", [[-1], [1.5], [10**6], "text", [[1]]])
def test_what_is_no_list_of_ids_is_refused(tokenizer: Any, box: Sandbox, action: Any) -> None:
    env = Tokens(ToRLMathEnv(problem_list([("1+1?", "2")]), sandbox=box), tokenizer)
    env.reset(seed=0)
    before = env.ids
    with pytest.raises(gym.error.InvalidAction, match="a list of token ids from 0 to"):
        env.step(action)
    assert env.ids == before
