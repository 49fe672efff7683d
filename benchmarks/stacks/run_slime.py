"""slime: its `Sample` filled by our generate function, a transformers model in place of SGLang.

Takes a checkout of slime, which is on no registry.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from agents.core.policies.base import RowStart
from agents.core.policies.transformers import TransformersPolicy
from agents.core.types import Sampling
from benchmarks.stacks.apprentice import MAX_TOKENS, PROBLEMS, TOOL_BUDGET, apprentice
from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, commit_of, report
from torl_env.adapters.slime import generated, scorable_groups


def dropped(group: list[Any]) -> bool:
    """Whether slime's rollout drops a group, by our filter through its own call of it."""
    base: Any = __import__("slime.rollout.filter_hub.base_types", fromlist=["call_dynamic_filter"])
    output = base.call_dynamic_filter(scorable_groups, None, group)
    return bool(
        base.should_drop_dynamic_filter_output(output, remaining_batch_size=1, target_data_size=1)
    )


def main(checkout: str) -> None:
    """All problems, and one whose machine dies."""
    sys.path.insert(0, checkout)
    sample_class: Any = __import__("slime.utils.types", fromlist=["Sample"]).Sample
    pupil = apprentice()
    policy = TransformersPolicy(pupil.model, pupil.tokenizer)
    ours = pupil.rollout(policy)

    async def post(url: str, payload: dict[str, Any]) -> dict[str, Any]:
        how = payload["sampling_params"]
        assert how["stop"] == ["```"]
        assert how["no_stop_trim"]
        sampling = Sampling(0.0, 1.0, how["max_new_tokens"])
        policy.open([RowStart(payload["input_ids"])], sampling)
        ended: list[Any] = []
        while not ended:
            ended = policy.advance()
        policy.release(0)
        pairs = zip(ended[0].logprobs, ended[0].ids, strict=True)
        return {"meta_info": {"output_token_logprobs": [[p, i, None] for p, i in pairs]}}

    def sampled(index: int, **options: Any) -> Any:
        prompt = pupil.tokenizer.decode(list(ours[index].prompt_ids))
        answer = PROBLEMS[index].answer
        sample = sample_class(index=index, prompt=prompt, label=answer, metadata=options)
        how = {"temperature": 0, "max_new_tokens": MAX_TOKENS}
        return asyncio.run(generated(sample, how, pupil.tokenizer, post, "http://sglang"))

    samples = [sampled(i, tool_budget=TOOL_BUDGET) for i in range(len(PROBLEMS))]
    equal = all(
        one.tokens == [*theirs.prompt_ids, *theirs.ids]
        and one.loss_mask == list(theirs.loss_mask)
        and one.response_length == len(theirs.ids) == len(one.rollout_log_probs)
        and one.reward == theirs.reward
        for one, theirs in zip(samples, ours, strict=True)
    )
    assert equal, "ids, masks or rewards differ from our own rollouts"
    broken = sampled(0, sandbox=DYING)
    assert broken.remove_sample
    assert broken.status is sample_class.Status.ABORTED
    assert not dropped(samples[:2]), "a whole group is dropped"
    assert dropped([*samples[:2], broken]), "a group with a reward of nothing is trained on"
    report(
        Result(
            version=commit_of(Path(checkout)),
            ran="its Sample, filled by the generate function",
            episodes=len(samples),
            tokens=sum(sum(one.loss_mask) for one in samples),
            ids_equal=equal,
            fault="aborted and `remove_sample`; our filter drops its group, slime samples another",
            not_run="its router, SGLang and Megatron: they need a GPU",
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
