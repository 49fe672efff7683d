"""The vLLM policy over engines with vLLM's interface, through the real environment.

vLLM itself is run by `test_vllm_real.py`; here is all that the policy does around it.
"""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch

from agents.core.policies.base import RowStart
from agents.core.policies.openai_client import Server, ServerError
from agents.core.policies.stopping import end_ids
from agents.core.policies.vllm import Answer, VLLMPolicy
from agents.core.policies.vllm_engines import (
    AsyncEngine,
    EngineError,
    SteppedEngine,
    settings_of,
)
from agents.core.policies.vllm_server import ServedEngine
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.rollout.stream import Stream
from agents.core.types import FinishReason, Sampling
from torl.wiring import envs_over
from torl_env.parsing.fenced import FencedParser, ends_of_calls
from torl_env.problems.types import Problem

CALL, ANSWER = "Hm.\n```python\nprint(6*7)\n```", "So \\boxed{42}."


def written(tokenizer, prompt, request):
    """The ids of a model that calls the tool, then answers; cut as an engine cuts."""
    text = tokenizer.decode(prompt)
    if "broken" in text:
        raise RuntimeError("the engine is dead")
    turn = ANSWER if "```output" in text else CALL
    start = text.rfind("```output") if "```output" in text else text.index("?") + 1
    done = text[start:].partition("\n```\n")[2] if "```output" in text else text[start:]
    rest = turn.removeprefix(done)
    at = rest.find(request.stop[0])
    stopped = at >= 0
    ids = tokenizer.encode(rest[: at + 3] if stopped else rest, add_special_tokens=False)
    ids += [] if stopped else [tokenizer.eos_token_id]
    full = len(ids) > request.remaining
    return ids[: request.remaining], "length" if full else "stop"


class Asynchronous:
    """`AsyncLLM.generate`, and the calls by which weights change."""

    busy = ()
    """For each time that prefixes are to be forgotten: whether some are in use, last first."""

    def __init__(self, tokenizer):
        self.tokenizer, self.asked, self.loaded = tokenizer, [], []

    async def generate(self, prompt, request, name):
        self.asked.append((list(prompt["prompt_token_ids"]), request, name))
        ids, reason = written(self.tokenizer, prompt["prompt_token_ids"], request)
        await asyncio.sleep(0.02 if len(self.asked) == 1 else 0)
        logprobs = [{i: SimpleNamespace(logprob=-0.5)} for i in ids]
        output = SimpleNamespace(token_ids=ids, logprobs=logprobs, finish_reason=reason)
        yield SimpleNamespace(outputs=[output])

    async def collective_rpc(self, name, kwargs):
        from safetensors.torch import load_file

        weights = load_file(f"{kwargs['weights_path']}/model.safetensors")
        self.loaded.append((name, {key: value.tolist() for key, value in weights.items()}))

    async def reset_prefix_cache(self):
        self.loaded.append("reset")
        return not self.busy.pop() if self.busy else True


class Stepped:
    """`LLMEngine`: one id for every request a step."""

    model_config = SimpleNamespace(max_model_len=500)

    def __init__(self, tokenizer):
        self.tokenizer, self.asked, self.left, self.loaded = tokenizer, [], {}, []

    def add_request(self, name, prompt, request):
        self.asked.append((prompt["prompt_token_ids"], request, name))
        self.left[name] = [0, *written(self.tokenizer, prompt["prompt_token_ids"], request)]

    def step(self):
        ended = []
        for name, state in list(self.left.items()):
            state[0] += 1
            shown = state[1][: state[0]]
            output = SimpleNamespace(
                token_ids=shown,
                logprobs=[{i: SimpleNamespace(logprob=-0.5)} for i in shown],
                finish_reason=state[2],
            )
            finished = state[0] == len(state[1])
            ended.append(SimpleNamespace(request_id=name, outputs=[output], finished=finished))
            if finished:
                del self.left[name]
        return ended

    def collective_rpc(self, name, kwargs):
        self.loaded.append((name, {key: w.tolist() for key, w in kwargs["weights_iterator"]}))

    busy = False

    def reset_prefix_cache(self):
        self.loaded.append("reset")
        return not self.busy


class Served:
    """`vllm serve` on a port of its own."""

    def __init__(self, tokenizer):
        outer, self.asked, self.loaded = self, [], []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.reply({"data": [{"id": "m", "max_model_len": 500}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/completions":
                    outer.note(self.path, body)
                    return self.reply({})
                request = SimpleNamespace(remaining=body["max_tokens"], **body)
                outer.asked.append((body["prompt"], request, len(outer.asked)))
                if "broken" in tokenizer.decode(body["prompt"]):
                    return self.send_error(400, "the engine is dead")
                ids, reason = written(tokenizer, body["prompt"], request)
                logprobs = {"token_logprobs": [-0.5] * len(ids)}
                choice = {"token_ids": ids, "logprobs": logprobs, "finish_reason": reason}
                return self.reply({"choices": [choice]})

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def note(self, path, body):
        from safetensors.torch import load_file

        if path == "/collective_rpc":
            weights = load_file(f"{body['kwargs']['weights_path']}/model.safetensors")
            named = {key: value.tolist() for key, value in weights.items()}
            self.loaded.append((body["method"], named))
        else:
            assert path == "/reset_prefix_cache"
            self.loaded.append("reset")


def plain(request):
    return request


@pytest.fixture(params=["async", "stepped", "served"])
def played(request, tokenizer):
    """A policy and the backend it asks."""
    if request.param == "served":
        backend = Served(tokenizer)
        engine = ServedEngine(Server("m", backend.url, patience=0), rows=4)
    else:
        kind, face = {
            "async": (Asynchronous, AsyncEngine),
            "stepped": (Stepped, SteppedEngine),
        }[request.param]
        backend = kind(tokenizer)
        engine = face(backend, plain)
    policy = VLLMPolicy(engine, tokenizer)
    yield policy, backend
    policy.close()
    if request.param == "served":
        backend.http.shutdown()
        backend.http.server_close()


def collect(policy, sandbox, question="What is 6*7?", max_tokens=400, rows=3):
    prompt = PlainPrompt(policy.tokenizer, "{question}")
    envs = envs_over(sandbox=sandbox, tool_budget=1)
    engine = Rollout(policy, prompt, envs, Sampling(max_tokens=max_tokens), overlap=True)
    return engine.collect([Problem("p", question, "42")], rows, seed=0)


def test_whole_episodes_with_ids_as_sampled(played, sandbox):
    policy, backend = played
    done = collect(policy, sandbox)
    assert [t.response for t in done] == [CALL + "\n```output\n42\n```\n" + ANSWER] * 3
    assert all(t.correct for t in done)
    first = done[0]
    assert set(zip(first.loss_mask, first.logprobs, strict=True)) == {(1, -0.5), (0, 0.0)}
    assert len({name for *_, name in backend.asked}) == 9, "the fence that opens a block goes on"
    assert len({request.seed for _, request, _ in backend.asked}) == 9
    last = max((ids for ids, *_ in backend.asked), key=len)
    assert policy.tokenizer.decode(last) == "What is 6*7?" + first.response.removesuffix(ANSWER)


def test_the_limit_of_tokens_holds(played, sandbox):
    (done,) = collect(played[0], sandbox, max_tokens=12, rows=1)
    assert (done.stop_reason, len(done.ids)) == ("length", 12)


def test_a_dead_engine_is_an_error(played, sandbox):
    with pytest.raises((RuntimeError, ServerError), match="the engine is dead"):
        collect(played[0], sandbox, question="broken?", rows=1)


def test_weights_are_taken_over_and_old_prefixes_forgotten(played):
    policy, backend = played
    policy.load_weights([("w", torch.tensor([1.0, 2.0]))])
    assert backend.loaded == [("take_weights", {"w": [1.0, 2.0]}), "reset"]


@pytest.mark.parametrize("played", ["async", "stepped"], indirect=True)
def test_prefixes_of_old_weights_that_stay_are_an_error(played, monkeypatch):
    """VLLM answers False while a request holds some."""
    policy, backend = played
    monkeypatch.setattr("agents.core.policies.vllm_engines.TRIES", 2)
    if isinstance(backend, Asynchronous):
        backend.busy = [False, True]
        policy.load_weights([("w", torch.zeros(1))])
        assert backend.loaded[1:] == ["reset", "reset"]
        backend.busy = [True, True]
    else:
        backend.busy = True
    with pytest.raises(EngineError, match="does not forget prefixes"):
        policy.load_weights([("w", torch.zeros(1))])


@pytest.mark.parametrize("played", ["async", "stepped"], indirect=True)
def test_weights_change_between_two_pieces_of_a_turn(played, sandbox):
    """No request is out while they do; each id has the version of its own request's weights."""
    policy, backend = played
    policy.chunk = 6
    prompt = PlainPrompt(policy.tokenizer, "{question}")
    envs = envs_over(sandbox=sandbox, tool_budget=1)
    stream = Stream(policy, prompt, envs, Sampling(max_tokens=400))
    load, at, ended = policy.engine.load_weights, [], {}

    def loads(weights):
        assert not policy.requests
        at.append(len(backend.asked))
        load(weights)

    policy.engine.load_weights = loads
    stream.renew([("w", torch.zeros(1))], 0)
    stream.begin(0, Problem("p", "What is 6*7?", "42"), 2, seed=0)
    while not ended:
        _, done = stream.step()
        ended = dict(done)
        if len(at) < 4:
            stream.renew([("w", torch.zeros(1))], len(at))
    rows = ended[0]
    assert [t.response for t in rows] == [CALL + "\n```output\n42\n```\n" + ANSWER] * 2
    for t in rows:
        assert [v >= 0 for v in t.policy_versions] == [bool(m) for m in t.loss_mask]
        sampled = [v for v in t.policy_versions if v >= 0]
        assert sampled == sorted(sampled)
        assert sampled[0] == 0
        assert sampled[-1] == 3
        # A piece is of one version.
        assert all(len(set(sampled[i : i + 6])) == 1 for i in (0, 6))


@pytest.mark.parametrize("played", ["stepped", "served"], indirect=True)
def test_a_prompt_longer_than_the_window_is_refused_with_the_numbers(played):
    with pytest.raises(ValueError, match="up to 490 tokens and its response take 510 tokens"):
        played[0].open([RowStart([5] * 490)], Sampling(max_tokens=20))


def test_a_server_that_is_down_or_another_is_said_so(tokenizer):
    with pytest.raises(ServerError, match="vllm serve"):
        ServedEngine(Server("m", "http://127.0.0.1:9/v1"))


def test_an_engine_is_told_every_end_that_the_model_declares(tokenizer):
    """Gemma's and Phi-3's turns end with a token that is not the tokenizer's."""
    ends = end_ids(tokenizer, SimpleNamespace(eos_token_id=[7, 9]))
    assert ends == {tokenizer.eos_token_id, 7, 9}
    asked = []
    engine = SimpleNamespace(window=None, ask=asked.append, answers=lambda: [])
    policy = VLLMPolicy(engine, tokenizer, ends=ends)
    policy.open([RowStart((65,), 0, 20)], Sampling())
    assert settings_of(asked[0])["stop_token_ids"] == sorted(ends)
    engine.answers = lambda: [Answer(asked[0].name, [66, 9], [-1.0, -1.0], False)]
    (done,) = policy.advance()
    assert done.finish is FinishReason.EOS


def test_calls_end_at_their_fence():
    assert ends_of_calls(FencedParser()) == ("```",)
