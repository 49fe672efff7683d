"""`torl eval` with a server, and with classes of one's own, in place of weights."""

import json
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.heldout import records
from torl.evaluation.run import move_bar_of
from torl.wiring import Collecting

ROWS = [{"problem": f"What is {i} * {i}?", "answer": str(i * i)} for i in range(2, 6)]


class Handler(BaseHTTPRequestHandler):
    """Lists its models; squares with a program, then copies what it printed."""

    def do_GET(self):
        self.answer({"data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        if len(self.server.seen) > self.server.patience:
            self.send_error(404, "no such model")
            return
        said = body.get("prompt") or body["messages"][-1]["content"]
        if "```output" in said:
            text = f"So \\boxed{{{said.split('```output')[1].split()[0]}}}."
        else:
            product = said.split("What is ")[1].split("?")[0]
            text = f"Hm.\n```python\nprint({product})\n```\n"
        choice = {"text": text, "message": {"content": text}, "finish_reason": "stop"}
        self.answer({"choices": [choice]})

    def answer(self, reply):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        opened.seen, opened.models, opened.patience = [], ["squares"], 1_000
        opened.url = f"http://127.0.0.1:{opened.server_address[1]}/v1"
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("prompt", ["chat", "torl"])
def test_the_only_model_of_a_server_is_evaluated(torl, server, problems, tmp_path, prompt):
    out = tmp_path / "a.jsonl"
    words = ("--problems", problems, "--out", out, "--prompt", prompt)
    ran = torl("eval", "--model", server.url, *words)
    assert ran.code == 0
    found = records.read(out)
    assert found.complete
    assert all(t.correct and t.tool_calls == 1 for t in found.trajectories)
    path, body = server.seen[0]
    assert path == ("/v1/chat/completions" if prompt == "chat" else "/v1/completions")
    assert body["model"] == "squares"


def test_another_model_at_the_same_address_is_another_evaluation(
    torl, refused, server, problems, tmp_path
):
    words = ("--model", server.url, "--problems", problems, "--out", tmp_path / "a.jsonl")
    assert torl("eval", *words).code == 0
    assert records.read(tmp_path / "a.jsonl").header.settings["served"] == "squares"
    server.models = ["cubes"]
    assert "'squares' against 'cubes'" in refused("eval", *words)


def test_a_model_of_several_must_be_named(torl, refused, server, problems, tmp_path):
    server.models = ["squares", "cubes"]
    words = ("--problems", problems, "--out", tmp_path / "a.jsonl")
    assert "squares, cubes: say which" in refused("eval", "--model", server.url, *words)
    assert torl("eval", "--server", server.url, "--model", "cubes", *words).code == 0
    assert server.seen[0][1]["model"] == "cubes"
    assert records.read(tmp_path / "a.jsonl").header.settings["server"] == server.url


def test_a_server_that_goes_away_leaves_what_it_has_answered(
    torl, refused, server, problems, tmp_path
):
    out = tmp_path / "a.jsonl"
    words = ("--model", server.url, "--problems", problems, "--out", out, "--rows", 1)
    server.patience = 4
    assert "the same command goes on from there" in refused("eval", *words)
    assert len(records.read(out).trajectories) == 2
    server.patience = 1_000
    assert torl("eval", *words).code == 0
    assert records.read(out).complete


def test_what_is_no_server_is_refused(refused, problems):
    message = refused("eval", "--model", "http://127.0.0.1:9/v1", "--problems", problems)
    assert "lists its models at http://127.0.0.1:9/v1/models" in message
    message = refused("eval", "--tokenizer", "smollm2", "--problems", problems)
    assert "one of their own" in message


OWN = """
from agents.core.policies.server import TextTokenizer
from agents.core.types import Completion, FinishReason, Trajectory, Turn


class Caller:
    def __init__(self, options):
        self.k = options.k

    def __call__(self, problems, k, seed):
        assert k == self.k
        turn = Turn("1", "", 0, 1, "final", "", "", 0.0)
        for p in problems:
            for sample in range(k):
                yield Trajectory(p.id, (1,), (2,), (1,), (0.0,), (turn,), 1.0, "correct", "1", 0, 0,
                                 "final", False, True, sample=sample)


class Collector:
    def __init__(self, options):
        self.caller = Caller(options)

    def collect(self, problems, group_size, seed):
        return list(self.caller(problems, group_size, seed))


class Policy:
    '''Says 4 to everything.'''

    def __init__(self, options):
        self.tokenizer = TextTokenizer()

    def open(self, starts, how):
        self.rows = list(range(len(starts)))

    def advance(self):
        ids = [*self.tokenizer.encode("\\\\boxed{4}"), 0]
        made = [Completion(row, ids, [0.0] * len(ids), FinishReason.EOS) for row in self.rows]
        self.rows = []
        return made

    def resume(self, row, ids):
        raise AssertionError

    def release(self, row):
        pass


def Nothing(options):
    return 7
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "mine_to_answer.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("name", "right"), [("Caller", 8), ("Collector", 8), ("Policy", 2)])
def test_a_class_of_ones_own_answers(torl, problems, tmp_path, name, right):
    out = tmp_path / f"{name}.jsonl"
    words = ("--agent", f"mine_to_answer:{name}", "--prompt", "torl", "--k", 2)
    assert torl("eval", *words, "--problems", problems, "--out", out).code == 0
    found = records.read(out)
    assert found.complete
    assert sum(t.correct for t in found.trajectories) == right


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"), [("Nothing", "int is nothing that answers"), ("Absent", "module:name")]
)
def test_what_does_not_answer_is_refused(refused, problems, name, message):
    assert message in refused("eval", "--agent", f"mine_to_answer:{name}", "--problems", problems)


class Slow:
    """A rollout that tells of each episode when it ends, and hands out the batch at the end."""

    def collect(self, problems, group_size, seed, on_end):
        self.ended = []
        for problem in problems:
            row = type("Row", (), {"problem_id": problem, "sample": 0})
            on_end(row)
            self.ended.append(row)
        return self.ended


def test_progress_moves_with_each_answer_and_not_for_those_on_record():
    moved, collect = [], Collecting(Slow(), rows=8)
    assert move_bar_of(collect, {("b", 0)}, moved.append)
    answers = collect(["a", "b", "c"], 1, 0)
    next(answers)
    assert moved == [1, 1]
    assert not move_bar_of(lambda problems, k, seed: [], set(), moved.append)


class Silent(Handler):
    """Gives no text, as some servers do with a reasoning model."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        self.answer({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]})


def test_a_silent_server_is_no_accuracy_of_zero(refused, server, problems, tmp_path):
    server.RequestHandlerClass = Silent
    words = ("--model", server.url, "--problems", problems, "--out", tmp_path / "a.jsonl")
    words += ("--max-tokens", 77, "--extra-body", '{"temperature": null, "top_k": 5}')
    said = refused("eval", *words)
    assert "4 of 4 answers were empty" in said
    # The same command would take them for answers.
    assert "delete the records in" in said
    _, body = server.seen[0]
    assert body["max_tokens"] == 77
    assert body["top_k"] == 5
    assert "temperature" not in body


def test_extra_fields_are_a_json_object(refused, server, problems, tmp_path):
    words = ("--model", server.url, "--problems", problems, "--out", tmp_path / "a.jsonl")
    assert "expected a JSON object" in refused("eval", *words, "--extra-body", "[1]")


def test_extra_fields_for_weights_are_refused(refused, problems, tmp_path):
    words = ("--model", "smollm2", "--problems", problems, "--out", tmp_path / "a.jsonl")
    assert "--extra-body is for requests to a server" in refused(
        "eval", *words, "--extra-body", "{}"
    )
