"""Self-correction as an agent of `torl eval`, and what it accounts for."""

import json

import pytest
import torch

from agents.core.testing.tiny import PHRASES, phrase_tokenizer, tiny_model
from torl.console import CommandError
from torl.evaluation.correction import accounts, correction


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "phrases"
    tokenizer = phrase_tokenizer(PHRASES)
    torch.manual_seed(0)
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def evaluate(torl, tiny, tmp_path):
    problems = tmp_path / "problems.jsonl"
    rows = [{"id": f"p{i}", "question": "What is 6*7?", "answer": "42"} for i in range(6)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(name, *more):
        out = tmp_path / f"{name or 'plain'}.jsonl"
        agent = ("--agent", f"torl.evaluation.correction:{name}") if name else ()
        words = ("--problems", problems, "--out", out, "--prompt", "torl", "--k", 4)
        ran = torl("eval", "--model", tiny, *agent, *words, "--max-tokens", 24, *more)
        answers = [json.loads(line) for line in out.read_text().splitlines()[1:]]
        return ran, out, answers

    return run


def failures(answers):
    calls = [turn["tool_status"] for a in answers for turn in a["turns"] if turn["tool_status"]]
    return sum(status != "ok" for status in calls) / len(calls)


@pytest.mark.long
def test_failed_calls_are_written_again_and_accounted_for(evaluate):
    _, _, plain = evaluate("", "--temperature", 1, "--tool-budget", 2)
    ran, out, corrected = evaluate(
        "suffix(tries=4,suffix_tokens=2)", "--temperature", 1, "--tool-budget", 2
    )
    assert ran.code == 0, ran.err
    assert failures(plain) > 0.2
    assert failures(corrected) < failures(plain) / 2
    assert all(a["tool_calls"] <= 2 for a in corrected)
    header = json.loads(out.read_text().splitlines()[0])["header"]
    assert header["settings"]["temperature"] == 1
    spent = accounts(out.with_suffix(".corrections.jsonl"))
    assert len(spent) == len(corrected) == 24
    tries = sum(account["tries"] for account in spent.values())
    assert tries > 0
    assert all(a["discarded_calls"] == a["tries"] for a in spent.values())
    assert sum(a["discarded_tokens"] for a in spent.values()) >= tries
    assert f"self-correction (suffix): {tries} tries, " in ran.err


def test_without_tries_nothing_is_taken_back(evaluate):
    ran, _, answers = evaluate("suffix(tries=0)", "--temperature", 1)
    assert "0 tries, 0 discarded tokens, 0 discarded calls" in ran.err
    assert failures(answers) > 0.2


@pytest.mark.parametrize("temperature", [("--temperature", 0), ()])
def test_greedy_correction_is_refused(torl, tiny, tmp_path, temperature):
    """With one answer greedy is the default, and what the record would say."""
    ran = torl(
        *("eval", "--model", tiny, "--agent", "torl.evaluation.correction:plan", *temperature),
        *("--problems", "procedural:easy:L1", "--count", 1, "--out", tmp_path / "x.jsonl"),
    )
    assert ran.code == 1
    assert "a greedy policy writes the same failure again" in ran.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sufix", "expected one of action, suffix, plan, shown"),
        ("suffix(try=1)", "expected tries or suffix_tokens"),
        ("suffix(tries=-1)", "a whole number of 0 or more, got 'tries=-1'"),
    ],
)
def test_bad_names_say_what_is_expected(name, message):
    with pytest.raises(CommandError, match=message.replace("(", r"\(")):
        correction(name)
