"""The server policy against a small real HTTP server, through the real environment."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isnan

import pytest

from agents.core.policies.server import (
    Server,
    ServerError,
    ServerPolicy,
    TextTokenizer,
    chat_writer,
)
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.trainer.options import TrainingError, check_scorable
from agents.core.types import Sampling, Trajectory
from torl.wiring import env_options, envs_over
from torl_env import closes_tool_call
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")


class Handler(BaseHTTPRequestHandler):
    """Calls the tool first and reads its output then, as a chat or as plain text."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))
        if self.server.failures:
            code, text = self.server.failures.pop(0)
            self.answer(code, text)
            return
        so_far = body.get("prompt") or body["messages"][-1]["content"]
        # The stop string is left out, as OpenAI's servers do.
        text = "So \\boxed{42}." if "output" in so_far else "Hm.\n```python\nprint(6*7)"
        text, reason = (text[:9], "length") if body["max_tokens"] < 20 else (text, "stop")
        choice = {"text": text, "message": {"content": text}, "finish_reason": reason}
        self.answer(200, json.dumps({"choices": [choice]}))

    def answer(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        opened.seen, opened.failures = [], []
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


def at(server, **options):
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return Server("tiny", url, **{"pause": 0.01, "retries": 2, **options})


def rollout(server, sandbox, max_tokens=400, **options):
    policy = ServerPolicy(at(server), closes_tool_call, **options)
    prompt = PlainPrompt(policy.tokenizer, "{question}")
    sampling = Sampling(max_tokens=max_tokens)
    return Rollout(policy, prompt, envs_over(sandbox, env_options(1)), sampling, overlap=True)


@pytest.mark.parametrize("chat", [True, False])
def test_it_plays_whole_episodes(server, sandbox, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    engine = rollout(server, sandbox, chat=chat, system="Be brief." if chat else "")
    done = engine.collect([PROBLEM], 3, seed=0)
    text = "Hm.\n```python\nprint(6*7)\n```\n```output\n42\n```\nSo \\boxed{42}."
    assert [t.response for t in done] == [text] * 3
    assert all(t.correct and t.tool_calls == 1 for t in done)
    assert all(isnan(t.logprobs[0]) for t in done)
    assert engine.policy.tokenizer.decode(done[0].ids) == text
    path, body, key = server.seen[-1]
    assert (path, key) == ("/v1/chat/completions" if chat else "/v1/completions", "Bearer secret")
    assert body["model"] == "tiny"
    if chat:
        assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
        assert body["messages"][-1]["content"] == "```output\n42\n```"
    else:
        assert body["prompt"] == PROBLEM.question + text[: text.index("So")]
    assert len({body["seed"] for _, body, _ in server.seen}) == 3
    engine.policy.close()


def test_a_turn_cut_by_its_length_ends_the_episode(server, sandbox):
    engine = rollout(server, sandbox, max_tokens=15)
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    assert (done.truncated, done.stop_reason) == (True, "length")


def test_what_may_be_otherwise_in_a_moment_is_tried_again(server):
    server.failures += [(503, "busy"), (429, "slow down")]
    assert at(server).chat([{"role": "user", "content": "?"}], max_tokens=99)[1] == "stop"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ([(404, "no such model")], "answered 404 Not Found: no such model: is the server up"),
        ([(500, "oops")] * 3, "answered 500 Internal Server Error: oops"),
        ([(200, "<html>")], "no JSON"),
        ([(200, '{"choices": []}')], "expected an OpenAI completion, got"),
    ],
)
def test_failures_are_told_and_never_an_empty_answer(server, failures, message):
    server.failures += failures
    with pytest.raises(ServerError, match=message):
        at(server).chat([{"role": "user", "content": "?"}], max_tokens=99)


def test_nobody_there():
    nobody = Server("tiny", "http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(ServerError, match="Connection refused"):
        nobody.complete("?")


def test_a_chat_cannot_go_on_inside_a_turn(server):
    policy = ServerPolicy(at(server), closes_tool_call)
    with pytest.raises(ValueError, match="use chat=False"):
        policy.open([[65]], [0], Sampling(), prefix_lengths=[1])
    policy.close()


def test_a_writer_for_refiners_and_judges(server):
    write = chat_writer(at(server), Sampling(max_tokens=99))
    assert write(["a", "the output"]) == ["Hm.\n```python\nprint(6*7)", "So \\boxed{42}."]


def test_characters_are_ids():
    text = "6·7 = 42 🙂"
    assert TextTokenizer().decode(TextTokenizer().encode(text)) == text


def test_unknown_log_probabilities_are_null_on_file_and_no_ground_for_a_gradient(server, sandbox):
    (done,) = rollout(server, sandbox).collect([PROBLEM], 1, seed=0)
    text = json.dumps(done.to_json(), allow_nan=False)
    back = Trajectory.from_json(json.loads(text))
    assert isnan(back.logprobs[0])
    assert json.dumps(back.to_json(), allow_nan=False) == text
    with pytest.raises(TrainingError, match="no log-probabilities of what it wrote"):
        check_scorable([done], step=1)
