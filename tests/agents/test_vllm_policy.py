"""The vLLM policy over an engine with AsyncLLM's `generate`, through the real environment.

vLLM itself is not installed here; what is tested is all that the policy does around it.
"""

import asyncio
from types import SimpleNamespace

import pytest

from agents.core.policies.vllm import VLLMPolicy
from agents.core.prompts import PlainPrompt
from agents.core.rollout import Rollout
from agents.core.types import Sampling
from torl.wiring import env_options, envs_over
from torl_env.problems.types import Problem

CALL, ANSWER = "Hm.\n```python\nprint(6*7)\n```\n", "So \\boxed{42}."


class Engine:
    """Calls the tool first; answers, slower in the first row, once it has read an output."""

    def __init__(self, tokenizer):
        self.tokenizer, self.asked, self.loaded = tokenizer, [], []

    async def generate(self, prompt, params, request_id):
        text = self.tokenizer.decode(prompt["prompt_token_ids"])
        self.asked.append((text, params, request_id))
        if "broken" in text:
            raise RuntimeError("the engine is dead")
        await asyncio.sleep(0.05 if len(self.asked) == 1 else 0)
        written = ANSWER if "```output" in text else CALL
        ids = self.tokenizer.encode(written, add_special_tokens=False)
        ids += [self.tokenizer.eos_token_id] if written == ANSWER else []
        reason = "stop"
        if len(ids) > params["room"]:
            ids, reason = ids[: params["room"]], "length"
        for end in (1, len(ids)):
            logprobs = [{i: SimpleNamespace(logprob=-0.5)} for i in ids[:end]]
            told = SimpleNamespace(token_ids=ids[:end], logprobs=logprobs, finish_reason=reason)
            yield SimpleNamespace(outputs=[told])

    async def collective_rpc(self, name, kwargs):
        self.loaded.append((name, kwargs["weights_iterator"]))

    async def reset_prefix_cache(self):
        self.loaded.append("reset")


def params(how, room, seed, stop):
    return {"room": room, "seed": seed, "stop": stop}


@pytest.fixture
def policy(tokenizer):
    made = VLLMPolicy(Engine(tokenizer), tokenizer, params=params)
    yield made
    made.close()


def collect(policy, sandbox, question="What is 6*7?", max_tokens=400, rows=3):
    prompt = PlainPrompt(policy.tokenizer, "{question}")
    envs = envs_over(sandbox, env_options(1))
    engine = Rollout(policy, prompt, envs, Sampling(max_tokens=max_tokens), overlap=True)
    return engine.collect([Problem("p", question, "42")], rows, seed=0)


def test_whole_episodes_with_ids_as_sampled(policy, sandbox):
    done = collect(policy, sandbox)
    assert [t.response for t in done] == [CALL + "```output\n42\n```\n" + ANSWER] * 3
    assert all(t.correct for t in done)
    first = done[0]
    assert set(zip(first.loss_mask, first.logprobs, strict=True)) == {(1, -0.5), (0, 0.0)}
    engine = policy._engine
    assert len({request for _, _, request in engine.asked}) == 6
    assert len({options["seed"] for _, options, _ in engine.asked}) == 6
    assert engine.asked[-1][0] == "What is 6*7?" + first.response.removesuffix(ANSWER)


def test_the_limit_of_tokens_holds(policy, sandbox):
    (done,) = collect(policy, sandbox, max_tokens=12, rows=1)
    assert (done.stop_reason, len(done.ids)) == ("length", 12)


def test_a_dead_engine_is_an_error(policy, sandbox):
    with pytest.raises(RuntimeError, match="the engine is dead"):
        collect(policy, sandbox, question="broken", rows=1)


def test_weights_are_taken_over_and_old_prefixes_forgotten(policy):
    policy.load_weights([("w", SimpleNamespace(data=1))])
    assert policy._engine.loaded == [("reload_weights", [("w", 1)]), "reset"]
