"""All built-in policies keep the contract of `agents.core.testing.policy_contract`."""

import hashlib
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from agents.core.policies.openai_client import Server
from agents.core.policies.server import ServerPolicy, TextTokenizer
from agents.core.policies.transformers import TransformersPolicy
from agents.core.testing.policy_contract import POLICY_CHECKS, PolicyCase
from agents.core.testing.tiny import ScriptedPolicy, byte_tokenizer, tiny_model
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import closes_tool_call

TEXTS = ("What is 6*7?", "What is 6*7?", "How many primes are below 100?")
CALL = "Hm.\n```python\nprint(1)\n```"


class Handler(BaseHTTPRequestHandler):
    """Writes what conversation and seed say, call or answer."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = json.dumps([body["messages"], body["seed"]]).encode()
        text = CALL if hashlib.sha256(request).digest()[0] % 2 else f"It is {body['seed']}."
        short = text[: body["max_tokens"]]
        reason = "length" if short != text else "stop"
        choice = {"message": {"content": short}, "finish_reason": reason}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [choice]}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def transformers(url):
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = tiny_model(tokenizer, spread=0.5)
    make = partial(TransformersPolicy, model, tokenizer, lambda text: len(text) % 7 == 6, marker="")
    return PolicyCase(make, list(map(tokenizer.encode, TEXTS)), tokenizer.encode("out"))


def ending(url):
    """The same model, which ends most turns itself."""
    case = transformers(url)

    def make():
        policy = case.make()
        policy.end_ids = frozenset(range(60, 130))
        return policy

    return replace(case, make=make)


def scripted(url):
    tokenizer = byte_tokenizer()

    def script(row, turn):
        return CALL if turn < 1 else "It is \\boxed{42}."

    make = partial(ScriptedPolicy, tokenizer, script, closes_tool_call)
    prompts = [tokenizer.encode(TEXTS[0])] * 3
    how = Sampling(max_tokens=90)
    return PolicyCase(make, prompts, tokenizer.encode("out"), how, reads_ids=False)


def served(url):
    tokenizer = TextTokenizer()
    return PolicyCase(
        make=lambda: ServerPolicy(Server("m", url)),
        prompts=list(map(tokenizer.encode, TEXTS)),
        output=tokenizer.encode("```output\n1\n```\n"),
        how=Sampling(max_tokens=120),
        knows_logprobs=False,
        reads_ids=False,
        close=ServerPolicy.close,
    )


@pytest.mark.parametrize("check", POLICY_CHECKS)
@pytest.mark.parametrize("case", [transformers, ending, scripted, served])
def test_it_keeps_the_contract(case, check, url):
    POLICY_CHECKS[check](case(url))


class Broken(ScriptedPolicy):
    """Writes one id too many, and forgets a log-probability."""

    def __init__(self, fault):
        super().__init__(byte_tokenizer(), lambda row, turn: "abc", closes_tool_call)
        self.fault = fault

    def advance(self):
        return [self.spoil(c) for c in super().advance()]

    def spoil(self, c):
        if self.fault == "logprobs":
            return Completion(c.row, c.ids, c.logprobs[1:], c.finish)
        if self.fault == "room":
            return Completion(c.row, list(c.ids) * 9, list(c.logprobs) * 9, c.finish)
        return Completion(c.row, c.ids, c.logprobs, FinishReason.STOP)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("logprobs", "log-probability for each of 4 ids, got 3"),
        ("room", "1 to 20 ids"),
        ("finish", "EOS must finish as 'eos'"),
    ],
)
def test_a_broken_policy_is_told_why(fault, message):
    case = PolicyCase(lambda: Broken(fault), [[5]], how=Sampling(max_tokens=20))
    with pytest.raises(AssertionError, match=message):
        POLICY_CHECKS["every_row_ends_once"](case)
