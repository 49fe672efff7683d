"""TIRGen with a scripted generator and refiner over the real environment; each filter by itself."""

from dataclasses import replace

import pytest

from agents.core.policies.writing import write, writer
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.types import Sampling
from agents.thor import filters
from agents.thor.tirgen import NOTHING, Sample, Step, TIRGen, generate
from torl.training.tirgen import whole_lines
from torl_env import ToRLMathEnv, closes_tool_call
from torl_env.parsing.tags import XmlParser
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "Sum the squares below 4.", "14")
STEPS = ["I add up the squares, which gives 1 + 4 + 9 = 15. ", "Fine. ", "So it is \\boxed{14}."]
REFINED = "I add up the squares.\n```python\nprint(sum(k * k for k in range(4)))\n```\nThat is it."


@pytest.fixture
def env(sandbox):
    return ToRLMathEnv(
        problems=Listed("one", [PROBLEM]), sandbox=sandbox, tool_budget=4, max_turns=9
    )


def run(env, steps=STEPS, refined=REFINED, how=None):
    left, seen = list(steps), []

    def generator(problem, so_far):
        seen.append(so_far)
        return left.pop(0)

    def refiner(prompts):
        asked.extend(prompts)
        return [refined if "15" in prompts[0] else NOTHING]

    asked = []
    (sample,) = generate([PROBLEM], env, generator, refiner, how)
    return sample, seen, asked


def test_computation_becomes_code_that_really_ran(env):
    sample, seen, asked = run(env)
    call = "I add up the squares.\n```python\nprint(sum(k * k for k in range(4)))\n```"
    assert [step.text for step in sample.steps] == [call, "Fine. So it is \\boxed{14}."]
    assert sample.steps[0].observation == "\n```output\n14\n```\n"
    assert (sample.correct, sample.finished, sample.calls) == (True, True, 1)
    assert seen == ["", call + sample.steps[0].observation, sample.text[: -len(STEPS[2])]]
    assert len(asked) == 1
    assert STEPS[0] in asked[0]
    assert PROBLEM.question not in asked[0]
    assert "14" not in asked[0]


CALL, OTHER = (f"```python\nprint(sum(k * {x} for k in range(4)))\n```" for x in ("k", 2))
INVENTED = f"I compute.\n{OTHER}\n```output\n15\n```\nIt is 15.\n\n"


def test_a_program_of_the_generator_runs_and_the_output_it_invents_is_left_out(env):
    sample, _, asked = run(env, [INVENTED, *STEPS])
    assert sample.steps[0].text == f"I compute.\n{OTHER}"
    assert sample.steps[0].observation == "\n```output\n12\n```\n"
    assert "15" not in sample.text
    assert (sample.calls, sample.correct) == (2, True)
    assert len(asked) == 1
    assert filters.sift([sample])[0] == [sample]


def test_a_program_over_several_steps_is_one_call(env):
    steps = ["I compute.\n```python\nx = 15\n\n", f"print(x - 1)  # {REFINED[:20]}\n```\n\n"]
    sample, _, asked = run(env, [*steps, STEPS[2]])
    assert sample.steps[0].text == "".join(steps).rstrip()
    assert sample.steps[0].observation == "\n```output\n14\n```\n"
    assert not asked


def test_only_the_first_program_of_the_refiner_is_taken(env):
    refined = f"First.\n{CALL}\n```output\n15\n```\nThen double.\n{OTHER}"
    sample, _, _ = run(env, refined=refined)
    assert sample.steps[0].text == f"First.\n{CALL}"
    assert sample.steps[0].observation == "\n```output\n14\n```\n"
    assert sample.calls == 1


def test_nothing_is_refined_once_the_budget_is_spent(sandbox):
    problems = Listed("one", [PROBLEM])
    env = ToRLMathEnv(problems=problems, sandbox=sandbox, tool_budget=1, max_turns=9)
    sample, _, asked = run(env, [STEPS[0], STEPS[0], STEPS[2]])
    assert len(asked) == 1
    assert [step.status for step in sample.steps] == ["ok", ""]
    assert filters.sift([sample])[0] == [sample]
    # One that the generator writes itself cannot run either, and is not to be imitated.
    sample, _, _ = run(env, [STEPS[0], f"{OTHER}\n\n", STEPS[2]])
    assert filters.all_real()([sample]) == []


def test_ids_learn_what_was_written_and_not_what_came_back(env, tokenizer):
    sample, _, _ = run(env)
    row = sample.tokens(PlainPrompt(tokenizer, "{question}"), tokenizer)
    learned = [i for i, m in zip(row["ids"], row["loss_mask"], strict=True) if m]
    text = tokenizer.decode(learned, skip_special_tokens=True)
    assert text == "".join(step.text for step in sample.steps)
    assert row["ids"][-1] == tokenizer.eos_token_id
    assert len(row["ids"]) == len(row["loss_mask"])


def test_a_sample_asks_as_the_environment_does(sandbox, tokenizer):
    problems, asks = Listed("one", [PROBLEM]), "As an integer: {question}"
    env = ToRLMathEnv(problems=problems, sandbox=sandbox, prompt=asks, tool_budget=4, max_turns=9)
    for steps in (STEPS, STEPS[:2]):
        sample, _, _ = run(env, steps, how=TIRGen(fragments=len(steps)))
        assert sample.problem == PROBLEM
        assert sample.shown == f"As an integer: {PROBLEM.question}"
        assert Sample.from_json(sample.to_json()) == sample
        row = sample.tokens(PlainPrompt(tokenizer, "{question}"), tokenizer)
        assert tokenizer.decode(row["prompt_ids"]) == sample.shown


def test_an_answer_that_does_not_come_is_unfinished(env):
    sample, _, _ = run(env, ["Hmm. "] * 3, how=TIRGen(fragments=3))
    assert (sample.finished, sample.correct, sample.text) == (False, False, "Hmm. " * 3)


def test_a_refiner_without_a_whole_program_changes_nothing(env):
    sample, _, _ = run(env, refined="```python\nprint(1)")
    assert sample.calls == 0
    assert sample.text == "".join(STEPS)


def test_a_policy_writes(tokenizer):
    policy = ScriptedPolicy(tokenizer, lambda row, turn: f"text {row}", closes_tool_call)
    write = writer(policy, tokenizer.encode, Sampling(max_tokens=20))
    assert write(["a", "b"]) == ["text 0", "text 1"]
    assert write(["c"]) == ["text 0"]


def test_a_step_that_is_cut_off_loses_its_unfinished_line(tokenizer):
    said = "One and two\nare three and four are"
    policy = ScriptedPolicy(tokenizer, lambda row, turn: said, closes_tool_call)
    least = len(tokenizer.encode(said, add_special_tokens=False)) - 1
    for tokens, expected in ((least, "One and two\n"), (least + 9, said)):
        sampling = Sampling(max_tokens=tokens)
        assert write(policy, [[1]], sampling, 0, cut_off=whole_lines) == [expected]


def sample(*codes, statuses=None, answer="\\boxed{14}", problem=PROBLEM, **fields):
    statuses = statuses or ["ok"] * len(codes)
    steps = [
        Step(f"Think.\n```python\n{code}\n```", code, "\n```output\n1\n```\n", status)
        for code, status in zip(codes, statuses, strict=True)
    ]
    made = Sample(problem, (*steps, Step(answer, "", "", "")), correct=True, finished=True)
    return replace(made, **fields)


LOOP = "for k in range(3):\n    print(k)"


@pytest.mark.parametrize(
    ("predicate", "passes", "fails"),
    [
        (filters.well_formed, sample(LOOP), sample(LOOP, answer="14")),
        (filters.well_formed, sample(LOOP), sample(LOOP, answer="```python\n\\boxed{1}")),
        (filters.well_formed, sample(LOOP), sample(LOOP, finished=False)),
        (filters.calls_passed, sample(LOOP, LOOP), sample(LOOP, LOOP, statuses=["ok", "error"])),
        (filters.calls_passed, sample(LOOP), sample()),
        (filters.is_correct, sample(LOOP), sample(LOOP, correct=False)),
        (filters.substantial, sample("print(1)", LOOP), sample("print(1)", "print(2 + 3)")),
    ],
)
def test_each_predicate(predicate, passes, fails):
    assert predicate(passes)
    assert not predicate(fails)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from sympy import solve", True),
        ("from fractions import Fraction", True),
        ("import os, sys", False),
        ("x = 3\nprint(x ** 2)", False),
        ("print([k for k in range(3)])", True),
        ("print(1 if 2 else 3)", True),
        ("while True: pass", True),
        ("(" * 500, False),
    ],
)
def test_what_needs_code(code, expected):
    assert filters.needs_code(code) is expected


@pytest.mark.parametrize(
    ("text", "status", "real"),
    [
        (f"Think.\n{CALL}", "ok", True),
        (f"Think.\n{CALL}", "", False),
        (f"{OTHER}\n{CALL}", "ok", False),
        (f"{CALL}\n```output\n14\n```\nSo", "", False),
        (f"It gives\n``` Output\n14\n```\n{CALL}", "ok", False),
        ("Such as\n```text\n14\n```\nand so on", "", True),
    ],
)
def test_calls_and_outputs_are_real(text, status, real):
    made = replace(sample(), steps=(Step(text, "", "", status),))
    assert filters.all_real()([made]) == ([made] if real else [])


def test_calls_are_read_as_the_environment_reads_them():
    made = replace(sample(), steps=(Step("<python>1</python>", "1", "", ""),))
    assert filters.all_real()([made]) == [made]
    assert filters.all_real(XmlParser())([made]) == []


def test_filters_that_know_something_from_outside():
    other = replace(PROBLEM, id="q", question="Held out?")
    both = [sample(LOOP), sample(LOOP, problem=other)]
    assert filters.unsolved_by_text({"q"})(both) == both[:1]
    assert filters.decontaminated(lambda question: "Held out" in question)(both) == both[:1]


def test_balance_thins_the_most_frequent_number_of_calls_only():
    once, twice = [sample(LOOP)] * 10, [sample(LOOP, LOOP)] * 3
    kept = filters.balanced(ratio=2.0)([*once, *twice])
    assert [s.calls for s in kept] == [1] * 6 + [2] * 3
    assert filters.balanced(ratio=2.0)(once) == once


def test_yields_are_told_stage_by_stage():
    wrong, short = sample(LOOP, correct=False), sample("print(1)")
    kept, yields = filters.sift([sample(LOOP), wrong, short])
    assert kept == [sample(LOOP)]
    assert [(y.before, y.after) for y in yields] == [(3, 3)] * 3 + [(3, 2), (2, 1), (1, 1)]
    assert [y.name for y in yields][3:5] == ["correct", "library or control flow"]


def test_bad_settings_say_what_is_expected():
    with pytest.raises(ValueError, match="fragments must be at least 1, got 0"):
        TIRGen(fragments=0)
    with pytest.raises(ValueError, match="must contain"):
        TIRGen(refiner_prompt="Refine!")
