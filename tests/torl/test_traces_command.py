"""`torl traces`: rejection sampling, TIRGen and rollouts on file, each read back by TIR-SFT."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from agents.core.rollout.prompts import make_prompt
from agents.core.testing.tiny import byte_tokenizer, phrase_tokenizer, tiny_model
from agents.sft import read_traces

CALL = "\n```python\nprint(sum(k * 2 for k in range(7)))\n```"
PHRASES = ("Hm. ", "So it has to be added up.\n\n", CALL, " \\boxed{42}", " \\boxed{41}")
QUESTION = "What is 6*7?"


@pytest.fixture
def problems(tmp_path):
    file = tmp_path / "problems.jsonl"
    rows = [{"id": f"p{i}", "question": f"{QUESTION} ({i})", "answer": "42"} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random model that knows a few phrases, so that some of its answers are right."""
    folder = tmp_path_factory.mktemp("models") / "phrases"
    tokenizer = phrase_tokenizer(PHRASES)
    torch.manual_seed(0)
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible server: refines fragments, and answers questions by a program."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = body["messages"][-1]["content"]
        self.server.seen.append(said)
        if "Fragment:" in said:
            text = "I add up." + CALL + "\nThat is it."
        elif "output" in said:
            text = "It is \\boxed{42}."
        else:
            text = "I add up." + CALL
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [choice]}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as opened:
        opened.seen = []
        opened.url = f"http://127.0.0.1:{opened.server_address[1]}/v1"
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


def lines_of(file):
    return file.read_text().splitlines()


def test_rejection_sampling_keeps_right_answers_exactly_as_sampled(torl, tiny, problems, tmp_path):
    out = tmp_path / "traces.jsonl"
    words = ["traces", "sample", "--model", tiny, "--problems", problems, "--count", 4, "--k", 8]
    words += ["--prompt", "torl", "--max-tokens", 8, "--per-problem", 2, "--out", out]
    ran = torl(*words)
    assert ran.code == 0, ran.err
    answers = [json.loads(line) for line in lines_of(out.with_suffix(".answers.jsonl"))][1:]
    right = [a for a in answers if a["verdict"] == "correct" and not a["truncated"]]
    assert 0 < len(right) < len(answers) == 32
    traces = read_traces(out, None, phrase_tokenizer(PHRASES))
    assert 2 <= len(traces) <= 8
    known = {(tuple(a["ids"]), tuple(a["loss_mask"])) for a in right}
    assert all((tuple(t.ids), tuple(t.loss_mask)) in known for t in traces)
    assert "| right" in ran.out
    before = out.read_bytes()
    assert torl(*words).code == 0
    assert out.read_bytes() == before


def test_answers_of_a_server_become_text(torl, server, problems, tmp_path):
    out = tmp_path / "traces.jsonl"
    ran = torl(
        *("traces", "sample", "--model", "big", "--server", server.url, "--out", out),
        *("--problems", problems, "--count", 2, "--k", 1, "--clean", "--rows", 2),
        *("--env.prompt", "An integer: {question}"),
    )
    assert ran.code == 0, ran.err
    tokenizer = byte_tokenizer()
    traces = read_traces(out, make_prompt("chat", tokenizer), tokenizer)
    assert len(traces) == 2
    learned = [i for i, m in zip(traces[0].ids, traces[0].loss_mask, strict=True) if m]
    assert f"user\nAn integer: {QUESTION} (" in tokenizer.decode(traces[0].prompt_ids)
    assert json.loads(lines_of(out)[0])["question"].startswith(QUESTION)
    assert "```output" in traces[0].text
    assert "output" not in tokenizer.decode(learned)
    assert all("NaN" not in line for line in lines_of(out.with_suffix(".answers.jsonl")))


@pytest.mark.long
def test_tirgen_with_a_server_that_refines(torl, tiny, server, problems, tmp_path):
    out = tmp_path / "traces.jsonl"
    words = ["traces", "tirgen", "--model", tiny, "--problems", problems, "--count", 4]
    words += ["--refiner", "big", "--refiner-url", server.url, "--prompt", "torl", "--tries", 4]
    words += ["--step-tokens", 6, "--rows", 8, "--tool-budget", 3, "--out", out, "--temperature", 1]
    words += ["--per-problem", 2, "--env.prompt", "An integer: {question}"]
    ran = torl(*words)
    assert ran.code == 0, ran.err
    tokenizer = byte_tokenizer()
    traces = read_traces(out, make_prompt("chat", tokenizer), tokenizer)
    assert 1 <= len(traces) <= 8
    for trace in traces:
        assert f"user\nAn integer: {QUESTION} (" in tokenizer.decode(trace.prompt_ids)
        learned = [i for i, m in zip(trace.ids, trace.loss_mask, strict=True) if m]
        assert "```output\n42\n```" in trace.text
        assert "output" not in tokenizer.decode(learned)
    assert server.seen
    assert not any(QUESTION in said for said in server.seen)
    yields = json.loads((tmp_path / "traces.yields.json").read_text())
    assert yields["samples"] == 16
    assert yields["stages"][0]["before"] == 16
    assert yields["stages"][-1]["after"] == len(traces)
    for stage in yields["stages"]:
        assert f"| {stage['name']} | {stage['before']} | {stage['after']} |" in ran.out

    samples = tmp_path / "traces.samples.jsonl"
    whole, before = samples.read_bytes(), out.read_bytes()
    samples.write_bytes(whole[: whole.index(b"\n", len(whole) // 3) + 9])
    ran = torl(*words)
    assert ran.code == 0, ran.err
    assert samples.read_bytes() == whole
    assert out.read_bytes() == before
    assert "other samples (seed 0 there, 1 now)" in torl(*words, "--seed", 1).err


def test_rollouts_on_file_are_taken_as_they_are(torl, tiny, problems, tmp_path):
    first, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    torl(
        *("traces", "sample", "--model", tiny, "--problems", problems, "--count", 2, "--k", 8),
        *("--prompt", "torl", "--max-tokens", 8, "--out", first),
    )
    answers = first.with_suffix(".answers.jsonl")
    assert torl("traces", "accept", answers, "--out", out).code == 0
    assert out.read_bytes() == first.read_bytes()


BAD = {
    "held out": (["sample", "--out", "x.jsonl", "--problems", "aime24"], "training on it"),
    "held out split": (["tirgen", "--out", "x.jsonl", "--split", "heldout"], "training on it"),
    "held out group": (
        ["tirgen", "--out", "x.jsonl", "--problems", "procedural:transfer"],
        "training on it",
    ),
    "no JSON lines": (["sample", "--out", "x.txt"], "ends in .jsonl, got x.txt"),
    "greedy": (["sample", "--out", "x.jsonl", "--temperature", "0"], "greedy answers"),
    "no rollouts": (["accept", "nowhere.jsonl", "--out", "x.jsonl"], "nowhere.jsonl"),
    "no tries": (["tirgen", "--out", "x.jsonl", "--tries", "0"], "--tries: expected at least 1"),
    "no name": (["tirgen", "--out", "x.jsonl", "--refiner-url", "http://x"], "needs --refiner"),
    "same again": (
        ["tirgen", "--out", "x.jsonl", "--tries", "2", "--temperature", "0"],
        "temperature 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_expected(refused, case):
    words, message = BAD[case]
    assert message in refused("traces", *words)


def test_nothing_worth_imitating_is_said(refused, tiny, problems, tmp_path):
    message = refused(
        *("traces", "sample", "--model", tiny, "--problems", problems, "--count", 1, "--k", 1),
        *("--prompt", "torl", "--max-tokens", 1, "--out", tmp_path / "x.jsonl"),
    )
    assert "none of 1 answers is worth imitating" in message
