"""The server policy against a small real HTTP server, through the real environment."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.policies.base import RowStart
from agents.core.policies.openai_client import Server, ServerError
from agents.core.policies.server import ServerPolicy, TextTokenizer, chat_writer
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.trainer.options import TrainingError, check_scorable
from agents.core.types import Sampling, Trajectory
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")
CALL = "```python\nprint(6*7)\n```"


class Handler(BaseHTTPRequestHandler):
    """Calls the tool first and reads its output then, as a chat or as plain text."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))
        time.sleep(self.server.pause)
        failure = self.server.failures.pop(0) if self.server.failures else None
        if failure:
            self.answer(*failure)
            return
        if self.server.script:
            choice = self.server.script.pop(0)
            message = choice if isinstance(choice, dict) else {"content": choice}
            choice = {"text": message["content"], "finish_reason": "stop", **message}
            choice = choice | ({} if "prompt" in body else {"message": message})
            self.answer(200, json.dumps({"choices": [choice]}))
            return
        so_far = body.get("prompt") or body["messages"][-1]["content"]
        text = "So \\boxed{42}." if "output" in so_far else f"Hm.\n{CALL}\n```output\n41\n```\n"
        # The stop string is left out, as OpenAI's servers do.
        for stop in body.get("stop") or ():
            text = text.split(stop)[0]
        text, reason = (text[:9], "length") if body.get("max_tokens", 99) < 20 else (text, "stop")
        choice = {"text": text, "message": {"content": text}, "finish_reason": reason}
        self.answer(200, json.dumps({"choices": [choice]}))

    def answer(self, code, text):
        with suppress(ConnectionError):
            self.send_response(code)
            for header in self.server.headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        opened.seen, opened.failures, opened.script, opened.headers = [], [], [], {}
        opened.pause = 0.0
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


def at(server, **options):
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return Server("tiny", url, **{"pause": 0.01, "patience": 0.1, **options})


def rollout(server, sandbox, max_tokens=400, **options):
    policy = ServerPolicy(at(server), closes_tool_call, **options)
    prompt = PlainPrompt(policy.tokenizer, "{question}")
    sampling = Sampling(max_tokens=max_tokens)
    return Rollout(
        policy, prompt, envs_over(sandbox=sandbox, tool_budget=1), sampling, overlap=True
    )


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
    assert len({body["seed"] for _, body, _ in server.seen}) == len(server.seen) > 3
    engine.policy.close()


def test_a_turn_cut_by_its_length_ends_the_episode(server, sandbox):
    engine = rollout(server, sandbox, max_tokens=15)
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    assert (done.truncated, done.stop_reason) == (True, "length")


def test_what_may_be_otherwise_in_a_moment_is_tried_again(server):
    server.failures += [(503, "busy"), (429, "slow down")]
    assert at(server).chat([{"role": "user", "content": "?"}], max_tokens=99).finish == "stop"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ([(404, "no such model")], "answered HTTP 404: no such model: is the server up"),
        ([(500, "oops")] * 99, "reached after .* attempts: HTTP 500: oops"),
        ([(200, "<html>")], "no JSON"),
        ([(200, '{"choices": []}')], "expected an OpenAI completion, got"),
    ],
)
def test_failures_are_told_and_never_an_empty_answer(server, failures, message):
    server.failures += failures
    with pytest.raises(ServerError, match=message):
        at(server).chat([{"role": "user", "content": "?"}], max_tokens=99)


def test_nobody_there():
    nobody = Server("tiny", "http://127.0.0.1:9/v1", patience=0)
    with pytest.raises(ServerError, match="Connection refused"):
        nobody.complete("?")


def test_a_chat_cannot_go_on_inside_a_turn(server):
    policy = ServerPolicy(at(server), closes_tool_call)
    with pytest.raises(ValueError, match="use chat=False"):
        policy.open([RowStart([65], prefix_length=1)], Sampling())
    policy.close()


def test_a_writer_for_refiners_and_judges(server):
    write = chat_writer(at(server), Sampling(max_tokens=99))
    first, second = write(["a", "the output"])
    assert first.startswith(f"Hm.\n{CALL}")
    assert second == "So \\boxed{42}."


@given(st.text(st.characters(exclude_characters="\0")))
def test_about_four_characters_are_an_id(text):
    ids = TextTokenizer().encode(text)
    assert len(ids) == -(-len(text) // 4)
    assert TextTokenizer().decode([*ids, 0]) == text


FENCES = "As code:\n```\n6 * 7\n```\nin C:\n```c\nreturn 42;\n```\nSo \\boxed{42}."


def test_a_fence_that_is_no_call_loses_no_answer(server, sandbox):
    server.script = [FENCES]
    (done,) = rollout(server, sandbox).collect([PROBLEM], 1, seed=0)
    assert done.correct
    assert not any(stop.strip("`\n") == "" for stop in server.seen[0][1]["stop"])


@pytest.mark.parametrize("chat", [True, False])
def test_what_is_written_behind_a_call_is_cut_off(server, sandbox, chat):
    server.script = [f"Hm.\n{CALL}\nIt prints 41. \\boxed{{41}}", "So \\boxed{42}."]
    (done,) = rollout(server, sandbox, chat=chat).collect([PROBLEM], 1, seed=0)
    assert done.correct
    assert done.turns[0].text == f"Hm.\n{CALL}"


@pytest.mark.parametrize("chat", [True, False])
def test_a_stop_string_that_ends_no_call_is_put_back_and_the_turn_goes_on(server, sandbox, chat):
    engine = rollout(server, sandbox, chat=chat)
    server.script = [{"content": "Write ", "stop_reason": "```output"}, "` in it.\n\\boxed{42}"]
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    assert done.response == "Write ```output` in it.\n\\boxed{42}"
    assert done.correct
    _, body, _ = server.seen[1]
    if chat:
        assert body["messages"][-1] == {"role": "assistant", "content": "Write ```output"}
        assert body["continue_final_message"] is True
    else:
        assert body["prompt"].endswith("Write ```output")


def test_a_server_that_cannot_go_on_inside_a_message_is_asked_to(server, sandbox):
    server.script = [{"content": "Write ", "stop_reason": "```output"}]
    engine = rollout(server, sandbox)
    server.failures = [None, (400, "unknown field continue_final_message")]
    engine.collect([PROBLEM], 1, seed=0)
    assert server.seen[2][1]["messages"][-1] == {"role": "user", "content": "Go on."}


CONTENTS = {
    "parts": {
        "content": [{"type": "text", "text": "So "}, {"type": "text", "text": "\\boxed{42}"}]
    },
    "thought": {"content": "So \\boxed{42}", "reasoning_content": "Is it \\boxed{41}?\n" + CALL},
    "vLLM's thought": {"content": "So \\boxed{42}", "reasoning": "Hm."},
}


@pytest.mark.parametrize("case", CONTENTS)
def test_every_form_of_content_is_read(server, sandbox, case):
    server.script = [CONTENTS[case]]
    (done,) = rollout(server, sandbox).collect([PROBLEM], 1, seed=0)
    assert done.correct
    thought = CONTENTS[case].get("reasoning_content") or CONTENTS[case].get("reasoning")
    assert done.response.startswith(f"<think>\n{thought}" if thought else "So")


def test_a_thought_is_not_sent_back(server, sandbox):
    server.script = [{"content": f"Hm.\n{CALL}", "reasoning_content": "Long."}]
    (done,) = rollout(server, sandbox).collect([PROBLEM], 1, seed=0)
    assert done.correct
    assert server.seen[1][1]["messages"][-2] == {"role": "assistant", "content": f"Hm.\n{CALL}"}


@pytest.mark.parametrize("style", ["fenced", "hermes", "xml"])
def test_a_call_that_the_server_took_out_of_the_text_is_made(server, sandbox, style):
    call = {"name": "python", "arguments": json.dumps({"code": "print(6*7)"})}
    server.script = [{"content": None, "tool_calls": [{"type": "function", "function": call}]}]
    engine = rollout(server, sandbox)
    engine.make_envs = envs_over(sandbox=sandbox, tool_budget=1, parser=style)
    server.script.append("So \\boxed{42}.")
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    assert (done.tool_calls, done.tool_errors) == (1, 0)
    assert "42" in done.turns[0].observation


def test_max_tokens_are_tokens_whatever_the_name_of_the_limit(server):
    server.failures = [(400, "Unsupported parameter: use 'max_completion_tokens' instead")]
    policy = ServerPolicy(at(server))
    policy.open([RowStart(policy.tokenizer.encode("a" * 100))], Sampling(max_tokens=77))
    policy.advance()
    policy.close()
    assert server.seen[0][1]["max_tokens"] == 77
    assert server.seen[1][1]["max_completion_tokens"] == 77
    assert "max_tokens" not in server.seen[1][1]


def test_fields_are_added_to_and_taken_out_of_a_request(server):
    extra = {"temperature": None, "chat_template_kwargs": {"enable_thinking": False}}
    asked = at(server, extra_body=extra)
    asked.chat([{"role": "user", "content": "?"}], max_tokens=99, temperature=0.5)
    _, body, _ = server.seen[0]
    assert "temperature" not in body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_an_answer_that_takes_too_long_is_asked_for_again_and_then_given_up(server):
    server.pause = 1.0
    with pytest.raises(ServerError, match="timed out"):
        at(server, timeout=0.05, patience=0.3).chat([{"role": "user", "content": "?"}])
    assert len(server.seen) >= 2
    server.pause = 0.0


def test_a_server_says_how_long_to_wait(server):
    server.headers = {"Retry-After": "3600"}
    server.failures = [(429, "slow down")]
    with pytest.raises(ServerError, match="429"):
        at(server, patience=1).chat([{"role": "user", "content": "?"}], max_tokens=99)
    server.headers = {"Retry-After": "0"}
    server.failures = [(429, "slow down")]
    # Its own pause would be longer than its patience.
    asked = at(server, pause=3600, patience=5).chat(
        [{"role": "user", "content": "?"}], max_tokens=99
    )
    assert asked.finish == "stop"


def test_unknown_log_probabilities_are_null_on_file_and_no_ground_for_a_gradient(server, sandbox):
    (done,) = rollout(server, sandbox).collect([PROBLEM], 1, seed=0)
    text = json.dumps(done.to_json(), allow_nan=False)
    back = Trajectory.from_json(json.loads(text))
    assert isnan(back.logprobs[0])
    assert json.dumps(back.to_json(), allow_nan=False) == text
    with pytest.raises(TrainingError, match="no log-probabilities of what it wrote"):
        check_scorable([done], step=1)
