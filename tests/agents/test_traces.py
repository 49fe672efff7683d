"""Traces from rollouts and from files: what is learned, what is context, what is refused."""

import json
from dataclasses import replace

import pytest
from one_step import trajectory

from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.types import Sampling
from agents.sft import (
    Trace,
    TraceError,
    TraceWriter,
    Written,
    accepted,
    ran_clean,
    read_traces,
    warm_start_traces,
    write_texts,
    write_traces,
)
from agents.sft.files import steps_of_text, trace_of_steps
from torl.wiring import envs_over
from torl_env import EnvConfig, ToRLMathEnv, closes_tool_call
from torl_env.problems import Listed, Problem, load

PROBLEM = Problem("p", "What is 6*7?", "42")
TEXT = "I see.\n```python\nprint(6*7)\n```\n```output\n42\n```\nSo \\boxed{42}."


@pytest.fixture
def prompt(tokenizer):
    return PlainPrompt(tokenizer, "{question}\n")


def trace_of_text(question, response, prompt, tokenizer):
    return trace_of_steps(Written(question, steps_of_text(response)), prompt, tokenizer)


def learned(trace, tokenizer):
    ids = [i for i, m in zip(trace.ids, trace.loss_mask, strict=True) if m]
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_text_becomes_the_trace_that_a_rollout_would_be(sandbox, tokenizer, prompt):
    turns = ["I see.\n```python\nprint(6*7)\n```", "So \\boxed{42}."]
    policy = ScriptedPolicy(tokenizer, lambda row, turn: turns[turn], closes_tool_call)
    rollout = Rollout(
        policy, prompt, envs_over(sandbox=sandbox, tool_budget=1), Sampling(max_tokens=500)
    )
    (done,) = rollout.collect([PROBLEM], 1, seed=0)
    assert done.response == TEXT
    trace = trace_of_text(PROBLEM.question, TEXT, prompt, tokenizer)
    (from_rollout,) = accepted([done])
    for name in ("prompt_ids", "ids", "loss_mask"):
        assert list(getattr(trace, name)) == list(getattr(from_rollout, name))
    assert learned(trace, tokenizer) == "".join(turns)


FENCE = "print('`' * 3); print('SECRET 99')"
ENDS = {
    "an output with a fence": f"```python\n{FENCE}\n```",
    "a blank behind the fence": "```python\nprint(99)\n``` ",
    "an end of line": "```python\nprint(99)\n```\n",
    "a blank and an end of line": "```python\nprint(99)\n``` \n",
    "an empty line": "```python\nprint(99)\n```\n\n",
    "an output that it opened": "```python\nprint(99)\n```\n```output\n",
    "no output": "```python\n\n```",
}


@pytest.mark.parametrize("case", ENDS)
def test_text_on_file_learns_what_the_played_turns_learn(
    case, sandbox, tokenizer, prompt, tmp_path
):
    turns = [f"I see.\n{ENDS[case]}", "So \\boxed{42}."]
    env = ToRLMathEnv(problems=Listed("one", [PROBLEM]), sandbox=sandbox, max_turns=9)
    played = TraceWriter(env, prompt, tokenizer).play(PROBLEM, turns)
    assert learned(played, tokenizer) == "".join(turns)
    env.reset(options={"problem_id": "p"})
    came_back = [env.step(turn)[0] for turn in turns]
    file = tmp_path / "texts.jsonl"
    write_texts(file, [Written(PROBLEM.question, list(zip(turns, came_back, strict=True)))])
    (read,) = read_traces(file, prompt, tokenizer)
    for name in ("prompt_ids", "ids", "loss_mask", "text"):
        assert list(getattr(read, name)) == list(getattr(played, name))


@pytest.mark.parametrize(
    ("between", "output"),
    [("", "99\n"), (" ", "99\n"), ("\n", "99\n"), (" \n\n", "99\n"), ("", "")],
)
def test_text_from_elsewhere_learns_no_output(between, output, tokenizer, prompt):
    call, answer = "```python\nprint(99)\n```", "So \\boxed{42}."
    text = f"{call}{between}\n```output\n{output}```\n{answer}\n```\nquoted\n```\n"
    trace = trace_of_text("Q", text, prompt, tokenizer)
    assert learned(trace, tokenizer) == f"{call}{answer}\n```\nquoted\n```\n"
    assert trace.text == text


def test_several_outputs_and_code_that_prints_fences(tokenizer, prompt):
    text = TEXT.replace("So", "Again.\n```python\nprint(1)\n```\n```output\n1\n```\nSo")
    trace = trace_of_text("Q", text, prompt, tokenizer)
    assert "output" not in learned(trace, tokenizer)
    assert "Again." in learned(trace, tokenizer)
    plain = trace_of_text("Q", "No code: \\boxed{1}", prompt, tokenizer)
    assert set(plain.loss_mask) == {1}


def test_text_asks_as_the_environment_does(sandbox, tokenizer, prompt, tmp_path):
    config = EnvConfig(prompt="Answer with an integer. {question}", sandbox=sandbox)
    policy = ScriptedPolicy(tokenizer, lambda row, turn: "\\boxed{42}", closes_tool_call)
    rollout = Rollout(policy, prompt, envs_over(config=config), Sampling(max_tokens=100))
    done = accepted(rollout.collect([PROBLEM], 1, seed=0))[0]
    show, file = config.components.prompt, tmp_path / "texts.jsonl"
    steps = [("\\boxed{42}", "")]
    write_texts(file, [Written("Q", steps, show("Q")), Written(PROBLEM.question, steps)])
    with file.open("a") as lines:
        lines.write(json.dumps({"question": PROBLEM.question, "response": "\\boxed{42}"}) + "\n")
    stored, bare, other = read_traces(file, prompt, tokenizer, show=show)
    assert tokenizer.decode(stored.prompt_ids) == "Answer with an integer. Q\n"
    for trace in (bare, other):
        assert list(trace.prompt_ids) == list(done.prompt_ids)
        assert list(trace.ids) == list(done.ids)
    rows = map(json.loads, file.read_text().splitlines())
    assert [row["question"] for row in rows] == ["Q", *[PROBLEM.question] * 2]


def rollouts():
    # 89 is an "x", which is what the turns say.
    right, wrong = trajectory((1,), (89, 0), (1, 1), 1.0), trajectory((1,), (3, 0), (1, 1), -1.0)
    cut = replace(right, truncated=True)
    lost = replace(right, scorable=False)
    called = replace(right, tool_calls=2)
    failed = replace(right, tool_calls=2, tool_errors=1)
    return [right, wrong, cut, lost, called, failed, right, right, right]


def test_rejection_sampling_takes_right_answers_and_not_too_many():
    assert len(accepted(rollouts())) == 4
    assert len(accepted(rollouts(), per_problem=9)) == 6
    assert len(accepted(rollouts(), ran_clean)) == 1


def test_a_file_may_mix_all_forms(tmp_path, tokenizer, prompt):
    file = tmp_path / "traces.jsonl"
    write_traces(file, [Trace((5,), (89, 7, 0), (1, 0, 1), "x...")])
    rows = [t.to_json() for t in rollouts()]
    rows += [{"question": "Q", "response": TEXT}, {"header": {"model": "m"}}]
    with file.open("a") as lines:
        lines.write("\n" + "".join(json.dumps(row) + "\n" for row in rows))
    traces = read_traces(file, prompt, tokenizer)
    assert traces[0] == Trace([5], [89, 7, 0], [1, 0, 1], "x...")
    assert len(traces) == 6


def rollout_of(ids):
    return json.dumps(replace(rollouts()[0], ids=ids).to_json())


BAD = {
    "not JSON": ("{", "line 1 is not JSON"),
    "no object": ("[1]", r"line 1: expected a JSON object: \[1\]"),
    "no form": ('{"q": 1, "a": 2}', "line 1: expected prompt_ids, ids and loss_mask.*got q, a"),
    "lengths": ('{"prompt_ids": [1], "ids": [2, 3], "loss_mask": [1]}', "got 2, 1 and an id 3"),
    "tokenizer": ('{"prompt_ids": [1], "ids": [9999], "loss_mask": [1]}', "another tokenizer"),
    "steps": ('{"question": "Q", "steps": ["a"]}', r"line 1: expected steps.*got \['a'\]"),
    "ids of no vocabulary": (rollout_of((9999, 0)), "ids below 258.*9999.*another tokenizer"),
    "ids of another one": (rollout_of((90, 0)), "spell the text beside them, 'x', got.*'y'.*steps"),
    "its text": (
        '{"prompt_ids": [1], "ids": [90, 0], "loss_mask": [1, 1], "text": "x"}',
        "spell the text beside them, 'x', got.*'y'",
    ),
    "nothing": (json.dumps(rollouts()[1].to_json()), "none of its 1 rollouts is accepted"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_with_the_line(case, tmp_path, tokenizer, prompt):
    line, message = BAD[case]
    file = tmp_path / "traces.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(TraceError, match=message):
        read_traces(file, prompt, tokenizer)


def test_ids_that_spell_their_text_are_taken_whatever_the_tokenizer_calls_an_end(
    sandbox, tokenizer, prompt, tmp_path
):
    """Output with control tokens, half a character, an end that is an ordinary token."""
    turns = ["\n I see.\n```python\nprint('<|im' + '_end|> é')\n```", "So \\boxed{42}."]
    policy = ScriptedPolicy(tokenizer, lambda row, turn: turns[turn], closes_tool_call)
    rollout = Rollout(policy, prompt, envs_over(sandbox=sandbox), Sampling(max_tokens=500))
    (done,) = rollout.collect([PROBLEM], 1, seed=0)
    last = done.turns[-1]
    half = done.ids[last.start : last.end - 1] + tuple(tokenizer.encode("é")[:1])
    ended = replace(
        done,
        ids=(*done.ids[: last.start], *half, 5),
        loss_mask=(*done.loss_mask, 1),
        turns=(*done.turns[:-1], replace(last, text=tokenizer.decode(half), end=last.end + 1)),
    )
    assert ended.turns[-1].text.endswith("\N{REPLACEMENT CHARACTER}")
    file, again = tmp_path / "rollouts.jsonl", tmp_path / "ids.jsonl"
    file.write_text("".join(json.dumps(t.to_json()) + "\n" for t in (done, ended)))
    traces = read_traces(file, prompt, tokenizer)
    write_traces(again, traces)
    assert [list(t.ids) for t in read_traces(again, prompt, tokenizer)] == [
        list(done.ids),
        list(ended.ids),
    ]


def test_without_programs_the_warm_start_shows_the_work(sandbox, tokenizer, prompt):
    """A text-only run that imitates bare answers would be no opponent."""
    problems = load("procedural:easy:L2").head(8)
    env = ToRLMathEnv(problems=Listed("warm", problems), sandbox=sandbox)
    writer = TraceWriter(env, prompt, tokenizer)
    text, mixed = (warm_start_traces(writer, problems, code_share=share) for share in (0.0, 0.5))
    assert len(text) == len(mixed) == 8
    assert "481 * 500 = 240500." in text[0].text
    assert not any("```" in trace.text for trace in text)
    assert all(set(trace.loss_mask) == {1} for trace in text)
    assert any("```python" in trace.text for trace in mixed)
    assert sum(len(t.ids) for t in text) > sum(len(t.ids) for t in mixed)
