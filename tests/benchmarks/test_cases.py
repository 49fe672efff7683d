"""Each rule of emergent behaviour on a transcript that has it and on a near miss."""

import pytest

from benchmarks.heldout.cases import Case, cases, count_cases, execution_against_correctness


def run(make_turn, text, output, status="ok", error=""):
    return make_turn(text, f"```output\n{output}\n```\n", status, error, kind="tool")


CODE = "```python\nprint(6*7)\n```\n"


@pytest.fixture
def answer(make, turn):
    """A trajectory from (text, output or None, error) triples and a final answer."""

    def build(*steps, final="42", **changes):
        turns = []
        for text, output, error in steps:
            if output is None:
                turns.append(turn(text))
            else:
                turns.append(run(turn, text, output, "error" if error else "ok", error))
        turns.append(turn(f"\\boxed{{{final}}}"))
        return make(turns=turns, answer=final, **changes)

    return build


def test_text_only(answer):
    assert cases(answer(("Six times seven.", None, ""))) == {Case.TEXT_ONLY}


def test_fixed_and_repeated_errors(answer):
    fixed = answer((CODE, "NameError: x", "NameError"), (CODE, "42", ""))
    assert Case.FIXED_ERROR in cases(fixed)
    assert Case.FIXED_ERROR not in cases(answer((CODE, "42", ""), (CODE, "no", "NameError")))
    twice = answer((CODE, "a", "NameError"), (CODE, "b", "NameError"))
    assert Case.REPEATED_ERROR in cases(twice)
    assert Case.REPEATED_ERROR not in cases(fixed)


def test_changed_mind_and_confirmed(answer):
    early = "It is \\boxed{41}. I check.\n" + CODE
    assert Case.CHANGED_MIND in cases(answer((early, "42", "")))
    assert Case.CHANGED_MIND not in cases(answer((early, "41", ""), final="41"))
    assert Case.CONFIRMED in cases(answer((early, "41", ""), final="41"))
    assert Case.CONFIRMED not in cases(answer((early, "410", ""), final="41"))
    assert Case.CONFIRMED not in cases(answer((CODE, "42", "")))


def test_another_spelling_is_no_change_of_mind(answer):
    for early in ("41.0", "\\frac{82}{2}"):
        found = cases(
            answer((f"It is \\boxed{{{early}}}. I check.\n" + CODE, "41", ""), final="41")
        )
        assert Case.CHANGED_MIND not in found


def test_a_box_inside_of_code_is_no_early_answer(answer):
    code = "```python\nprint(r'\\boxed{41}')\n```\n"
    assert Case.CHANGED_MIND not in cases(answer((code, "42", "")))


def test_copied_and_contradicted(answer):
    assert Case.COPIED in cases(answer((CODE, "6 7 42", "")))
    assert Case.COPIED not in cases(answer((CODE, "42 43", "")))
    assert Case.CONTRADICTED in cases(answer((CODE, "43", "")))
    assert Case.CONTRADICTED not in cases(
        answer(
            (
                CODE,
                "43",
                "",
            ),
            final="x + 1",
        )
    )
    assert Case.CONTRADICTED not in cases(answer((CODE, "line 1: no", "NameError")))


def test_invented_output_and_code_that_did_not_run(answer):
    assert Case.INVENTED_OUTPUT in cases(answer((CODE + "```output\n999\n```\n", None, "")))
    assert Case.INVENTED_OUTPUT not in cases(answer((CODE + "```output\n", "42", "")))
    assert Case.CODE_NOT_RUN in cases(answer((CODE, None, "")))
    assert Case.CODE_NOT_RUN not in cases(answer((CODE, "42", "")))


def test_tags_of_other_styles_count_like_fences(make, turn):
    said = "It is \\boxed{41}. <sql>select 42</sql>"
    call = turn(said, "\n<output>\n42\n</output>\n", "ok", kind="tool")
    final = turn("\\boxed{42}")
    found = cases(make(turns=[call, final], answer="42"))
    assert {Case.TOOL, Case.CHANGED_MIND, Case.COPIED} <= found
    assert not {Case.TEXT_ONLY, Case.CODE_NOT_RUN, Case.INVENTED_OUTPUT} & found
    over = turn(said + "\n<output>\n41\n</output>", kind="over_budget")
    assert {Case.CODE_NOT_RUN, Case.INVENTED_OUTPUT} <= cases(make(turns=[over, final]))


def test_counts_name_their_examples_and_leave_out_what_is_not_scorable(answer):
    found = {
        count.case: count
        for count in count_cases(
            [
                answer((CODE, "42", ""), problem_id="a"),
                answer(("Text.", None, ""), problem_id="b", correct=False),
                answer((CODE, "42", ""), problem_id="c", scorable=False),
            ]
        )
    }
    assert found[Case.TOOL].share.value == 0.5
    assert found[Case.TOOL].accuracy.value == 1.0
    assert found[Case.TOOL].examples == (("a", 0),)
    assert found[Case.TEXT_ONLY].accuracy.value == 0.0
    assert set(found) == set(Case)


def test_execution_against_correctness_reproduces_the_table_of_thor(answer):
    passed, failed = (CODE, "42", ""), (CODE, "no", "NameError")
    cells = [
        (answer(passed), 3950),
        (answer(passed, correct=False), 1549),
        (answer(failed), 139),
        (answer(failed, correct=False), 318),
    ]
    found = execution_against_correctness(t for t, times in cells for _ in range(times))
    assert found.table == ((3950, 1549), (139, 318))
    assert found.right_if_passed == pytest.approx(0.718, abs=5e-4)
    assert found.right_if_failed == pytest.approx(0.304, abs=5e-4)
    assert found.statistic == pytest.approx(336.29, abs=0.01)
    assert found.p_value == pytest.approx(4.09e-75, rel=0.01)
