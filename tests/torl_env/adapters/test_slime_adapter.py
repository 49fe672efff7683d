"""What of slime's adapter needs no slime; the rest runs in `benchmarks/stacks/run_slime.py`."""

import asyncio
from enum import Enum
from types import SimpleNamespace

import pytest

from agents.core.testing.tiny import byte_tokenizer
from torl_env.adapters.slime import generated, scorable_groups


class Sample(SimpleNamespace):
    """The fields of slime's that the adapter reads and writes."""

    Status = Enum("Status", ["COMPLETED", "TRUNCATED", "ABORTED"])


@pytest.mark.parametrize(
    ("answers", "status", "removed"),
    [
        ([("It is \\boxed{42}.<|im_end|>", "stop")], "COMPLETED", False),
        ([("It is", "abort")], "ABORTED", True),
        ([("", "abort")], "ABORTED", True),
        ([("", "stop")] * 4, "ABORTED", True),
    ],
)
def test_what_slime_aborts_is_no_wrong_answer(answers, status, removed):
    tokenizer = byte_tokenizer()
    left = list(answers)

    async def post(url, payload):
        text, why = left.pop(0)
        ids = tokenizer.encode(text, add_special_tokens=False)
        how = {"output_token_logprobs": [(-0.5, i) for i in ids], "finish_reason": {"type": why}}
        return {"meta_info": how}

    sample = Sample(prompt="What is 6*7?", label="42", index=3, metadata={}, remove_sample=False)
    made = asyncio.run(generated(sample, {"max_new_tokens": 100}, tokenizer, post, "url"))
    assert (made.status.name, made.remove_sample) == (status, removed)
    assert made.reward == (0.0 if removed else 1.0)
    assert len(made.loss_mask) == made.response_length == len(made.rollout_log_probs)


def test_a_group_with_a_rollout_that_has_no_reward_is_dropped():
    kept, lost = SimpleNamespace(remove_sample=False), SimpleNamespace(remove_sample=True)
    assert scorable_groups(None, [kept, kept])
    assert not scorable_groups(None, [kept, lost], rollout_id=1)
