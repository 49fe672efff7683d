"""Plain writing with a policy: prompts in, texts out, no tool and no environment."""

from collections.abc import Callable, Sequence

from agents.core.policies.base import Policy, RowStart
from agents.core.rollout.episode import row_seed
from agents.core.rollout.prompts import decode
from agents.core.types import FinishReason, Sampling


def write(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    seed: int,
    cut_off: Callable[[str], str] = str,
) -> list[str]:
    """One text for each prompt; a turn ends as the policy ends it.

    Args:
        policy: Writes.
        prompts: Ids.
        sampling: How.
        seed: Of the draws.
        cut_off: What becomes of a text that ran into its limit of tokens.
    """
    texts = [""] * len(prompts)
    starts = [RowStart(ids, row_seed(seed, "writing", row)) for row, ids in enumerate(prompts)]
    policy.open(starts, sampling)
    left = len(prompts)
    while left:
        for completion in policy.advance():
            text = decode(policy.tokenizer, completion.ids)
            if completion.finish is FinishReason.LENGTH:
                text = cut_off(text)
            texts[completion.row] = text
            policy.release(completion.row)
            left -= 1
    return texts


def writer(
    policy: Policy, encode: Callable[[str], Sequence[int]], sampling: Sampling, seed: int = 0
) -> Callable[[Sequence[str]], list[str]]:
    """A function from texts to texts; `encode` makes a prompt's ids, a chat template included."""
    return lambda texts: write(policy, [encode(text) for text in texts], sampling, seed)
