"""slime: this environment as its generate function.

    --custom-generate-function-path torl_env.adapters.slime.generate
    --input-key prompt --label-key answer --metadata-key metadata --apply-chat-template
    --dynamic-sampling-filter-path torl_env.adapters.slime.scorable_groups

The data set's column `prompt` is the question, `answer` the reference; `metadata` may hold fields
of `EnvConfig` (`{"tool_budget": 2}`) and `problem_id`. SGLang samples; what it sampled is kept, the
tool's output is tokenised once, `loss_mask` is 1 exactly on sampled ids. Where the machine failed,
the grader could not decide or slime aborted a request, the sample is marked aborted and
`remove_sample`, which takes it out of the loss; slime's mean of the group would still count it, so
the filter drops the group, and slime samples another in its place.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from torl_env.adapters.token_episode import Sampled, TokenEpisode, make_env, play
from torl_env.errors import SandboxError
from torl_env.info import is_scorable
from torl_env.problems.types import Problem

Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def generate(args: Any, sample: Any, sampling_params: Mapping[str, Any]) -> Any:
    """What slime calls for each sample."""
    state = importlib.import_module("slime.rollout.sglang_rollout").GenerateState(args)
    post = importlib.import_module("slime.utils.http_utils").post
    url = f"http://{args.sglang_router_ip}:{args.sglang_router_port}/generate"
    return await generated(sample, dict(sampling_params), state.tokenizer, post, url)


async def generated(
    sample: Any, sampling: Mapping[str, Any], tokenizer: Any, post: Post, url: str
) -> Any:
    """`generate` with the parts that slime holds."""
    options = dict(getattr(sample, "metadata", None) or {})
    problem_id = str(options.pop("problem_id", sample.index))
    text = sample.prompt if isinstance(sample.prompt, str) else sample.prompt[-1]["content"]
    env = await asyncio.to_thread(make_env, Problem(problem_id, text, str(sample.label)), options)

    async def ask(ids: list[int], max_tokens: int, stop: tuple[str, ...]) -> Sampled:
        how = {**sampling, "max_new_tokens": max_tokens, "stop": list(stop), "no_stop_trim": True}
        payload = {"input_ids": ids, "sampling_params": how, "return_logprob": True}
        said = (await post(url, payload))["meta_info"]
        if said.get("finish_reason", {}).get("type") == "abort":
            raise SandboxError("slime has enough samples and aborted this one")
        logprobs = said["output_token_logprobs"]
        return Sampled([int(one[1]) for one in logprobs], [float(one[0]) for one in logprobs])

    prompt_ids = tokenizer.encode(text, add_special_tokens=False)
    limit = int(sampling["max_new_tokens"])
    try:
        episode = await play(env, prompt_ids, tokenizer, ask, limit)
    except SandboxError:
        episode = TokenEpisode(prompt_ids)
    return fill(sample, episode, tokenizer)


def scorable_groups(args: Any, samples: Sequence[Any], **_: Any) -> bool:
    """Whether a group may be trained on: slime's dynamic sampling filter.

    It normalises the rewards of a group before it looks at `remove_sample`, so one that has no
    reward would move the mean of its siblings as a 0.
    """
    return not any(sample.remove_sample for sample in samples)


def fill(sample: Any, episode: TokenEpisode, tokenizer: Any) -> Any:
    """Write the episode into slime's sample."""
    sample.tokens = [*episode.prompt_ids, *episode.ids]
    sample.response = tokenizer.decode(episode.ids, skip_special_tokens=False)
    sample.response_length = len(episode.ids)
    sample.loss_mask = list(episode.loss_mask)
    sample.rollout_log_probs = episode.logprobs
    sample.reward = episode.reward
    status = type(sample).Status
    sample.status = status.TRUNCATED if episode.truncated else status.COMPLETED
    if not episode.info or not is_scorable(episode.info):
        sample.status, sample.remove_sample, sample.reward = status.ABORTED, True, 0.0
    return sample
