"""A judge behind a real local HTTP server as a term of the reward."""

import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gymnasium as gym
import pytest

from rewards import Attempt, Reward, UndecidedError, Verdict
from rewards.terms import correct_or_not, overlong
from torl_env import is_scorable
from torl_env.errors import ConfigError
from torl_env.judge import Judge
from torl_env.problems import Listed
from torl_env.problems.types import Problem


class Handler(BaseHTTPRequestHandler):
    """Scores by words of the response."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.guard:
            server.bodies.append((self.path, self.headers.get("Authorization"), body))
            server.now += 1
            server.most = max(server.most, server.now)
        text = body["messages"][0]["content"]
        time.sleep(0.05)
        with server.guard:
            server.now -= 1
        status, said = 200, "Steps follow.\nScore: 7"
        if "silence" in text:
            said = "I would rather not say."
        elif "praise" in text:
            said = "**Score:** 70"
        elif "nobody" in text:
            status = 404
        elif "broken" in text:
            status = 500
        elif "twice" in text:
            said = "Score: 2 at first.\nScore: 4.5"
        answer = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.guard, made.bodies, made.now, made.most = threading.Lock(), [], 0, 0
    made.url = f"http://127.0.0.1:{made.server_port}/v1"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def attempt(response, question="Q", **more):
    return Attempt(Verdict.CORRECT, question=question, response=response, **more)


def test_what_is_asked_and_what_is_made_of_it(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    judge = Judge("judge", server.url, key_variable="MY_KEY", max_tokens=99)
    assert judge(attempt("a proof", question="Why {response}?")) == 0.7
    assert judge(attempt("said twice")) == 0.45
    path, key, body = server.bodies[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0.0, 99)
    (message,) = body["messages"]
    assert "Why {response}?" in message["content"]
    assert "a proof" in message["content"]


def test_the_reference_and_a_scale_of_ones_own(server):
    judge = Judge("judge", server.url, prompt="{response} for {reference}", highest=7)
    assert judge(attempt("x", reference="42")) == 1.0
    assert server.bodies[0][2]["messages"][0]["content"] == "x for 42"


def test_equal_attempts_are_asked_about_once(server):
    judge = Judge("judge", server.url, cache=2)
    for response in ("a", "b", "a", "b"):
        judge(attempt(response))
    assert judge.asked == len(server.bodies) == 2
    for response in ("c", "a"):
        judge(attempt(response))
    assert judge.asked == 4


def test_no_more_requests_at_a_time_than_allowed(server):
    judge = Judge("judge", server.url, parallel=2)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(judge, [attempt(f"r{i}") for i in range(8)])) == [0.7] * 8
    assert server.most == 2


def test_a_long_response_is_shown_by_head_and_tail(server):
    judge = Judge("judge", server.url, max_chars=20)
    judge(attempt("A" * 30 + "M" * 30 + "Z" * 30))
    asked = server.bodies[0][2]["messages"][0]["content"]
    assert "A" * 10 + "\n[... left out ...]\n" + "Z" * 10 in asked
    assert "M" not in asked.split("-" * 40)[1]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ("silence", "no score from 0 to 10"),
        ("praise", "no score from 0 to 10"),
        ("broken", "failed: HTTP 500"),
        (" ", "this attempt has none"),
    ],
)
def test_what_is_no_score_is_undecided(server, response, message):
    with pytest.raises(UndecidedError, match=message):
        Judge("judge", server.url)(attempt(response))


def test_a_server_that_refuses_is_named(server):
    with pytest.raises(ConfigError, match="look at its model, 'judge'"):
        Judge("judge", server.url)(attempt("nobody"))


def test_a_copy_opens_connections_of_its_own(server):
    judge = pickle.loads(pickle.dumps(Judge("judge", server.url)))
    assert judge(attempt("a")) == 0.7


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"prompt": "Judge!"}, "needs {response}"), ({"parallel": 0}, "parallel must be positive")],
)
def test_bad_settings_say_what_is_expected(setting, message):
    with pytest.raises(ConfigError, match=message):
        Judge("judge", **setting)


def play(judge, answer, **options):
    reward = Reward("judged", {"answer": correct_or_not, "process": judge}, {"process": 0.5})
    problems = Listed("one", [Problem("p", "What is 6*7?", "42")])
    env = gym.make("torl_env:ToRLMath-v0", problems=problems, reward=reward, **options)
    try:
        env.reset()
        _, paid, *_, info = env.step(answer)
        return paid, info
    finally:
        env.close()


def test_in_an_environment(server):
    """Weighted and logged as any term; what it does not decide is learned from by nobody."""
    judge = Judge("judge", server.url)
    paid, info = play(judge, "It is \\boxed{42}.")
    assert paid == pytest.approx(1 + 0.5 * 0.7)
    assert info["reward_terms"] == pytest.approx({"answer": 1.0, "process": 0.35})
    assert is_scorable(info)
    asked = server.bodies[0][2]["messages"][0]["content"]
    assert "What is 6*7?" in asked
    assert "It is \\boxed{42}." in asked
    paid, info = play(judge, "silence \\boxed{42}")
    assert (paid, info["verdict"], info["reward_terms"]) == (0.0, "ungradable", {})
    assert not is_scorable(info)


def test_a_judge_that_is_gone_costs_the_episode_and_not_the_run():
    judge = Judge("judge", "http://127.0.0.1:9/v1", retries=0)
    _, info = play(judge, "\\boxed{42}")
    assert not is_scorable(info)


def test_a_reward_sees_the_length_of_the_whole_response():
    seen = []

    def noted(attempt):
        seen.append(attempt)
        return overlong(limit=20, cache=10)(attempt)

    answer = "It is \\boxed{42}."
    paid, _ = play(noted, answer)
    assert (seen[-1].length, seen[-1].response) == (len(answer), answer)
    assert paid == pytest.approx(1 - 0.5 * 0.7)
    play(noted, answer, length=lambda text: text.count(" "))
    assert seen[-1].length == 2


def test_a_punishment_needs_room_to_grow():
    with pytest.raises(ValueError, match="cache must be in 1 to limit=5"):
        overlong(limit=5, cache=6)
