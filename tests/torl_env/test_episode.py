"""The state machine: moves, budgets, observations, endings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torl_env import Continue, EnvConfig, Episode, Finish, RunTool, StopReason
from torl_env.episode import NOTICE, SILENT, shorten
from torl_env.sandbox.types import Execution, Status
from torl_env.tools import ToolResult

BLOCK = "```python\nprint(1)\n```"
OK = Execution(Status.OK, stdout="1\n")
TRACE = (
    'Traceback (most recent call last):\n  File "<x>", line 1\nZeroDivisionError: division by zero'
)


def episode(**options: object) -> Episode:
    return Episode(EnvConfig(**options), "question")  # type: ignore[arg-type]


def test_a_call_runs_and_its_output_is_framed() -> None:
    run = episode()
    move = run.act("Let us see.\n" + BLOCK)
    assert isinstance(move, RunTool)
    assert move.code == "print(1)"
    assert run.observe(OK) == "\n```output\n1\n```\n"
    assert run.act("It is \\boxed{1}.") == Finish(StopReason.FINAL)
    assert run.response == f"Let us see.\n{BLOCK}\nIt is \\boxed{{1}}."
    assert run.prose == "Let us see.\n\n\nIt is \\boxed{1}."
    assert "output" not in run.response


@pytest.mark.parametrize(
    ("execution", "body"),
    [
        (OK, "1"),
        (Execution(Status.OK), SILENT),
        (Execution(Status.OK, stdout="\n"), SILENT),
        (Execution(Status.OK, stdout="Error: all is well\nok\n"), "Error: all is well\nok"),
        (Execution(Status.OK, stdout="2\n", stderr="Warning: old"), "2"),
        (
            Execution(Status.ERROR, "before\n", TRACE, "ZeroDivisionError: division by zero"),
            "before\nZeroDivisionError: division by zero",
        ),
        (Execution(Status.TIMEOUT, error="out of CPU seconds"), "out of CPU seconds"),
        (
            Execution(Status.OK, "<a.B object at 0x7ff166cf42e0> 0x7ff166cf42e0\n"),
            "<a.B object at 0x7f0000000000> 0x7ff166cf42e0",
        ),
        (
            Execution(Status.ERROR, error="TypeError: <code object f at 0x1C, file 'a', line 1>"),
            "TypeError: <code object f at 0x7f0000000000, file 'a', line 1>",
        ),
    ],
)
def test_what_the_model_reads(execution: Execution, body: str) -> None:
    run = episode()
    run.act(BLOCK)
    assert run.observe(execution) == f"\n```output\n{body}\n```\n"


def test_the_whole_traceback_is_an_option() -> None:
    run = episode(error_format="traceback")
    run.act(BLOCK)
    text = run.observe(Execution(Status.ERROR, "a\n", TRACE, "ZeroDivisionError: division by zero"))
    assert text == f"\n```output\na\n{TRACE}\n```\n"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_every_model_fault_is_one_tool_error(status: Status) -> None:
    run = episode()
    run.act(BLOCK)
    run.observe(Execution(status, error="X: y"))
    assert (run.state.tool_calls, run.state.tool_errors) == (1, 1)


def test_past_the_budget_the_turn_goes_on_as_text() -> None:
    run = episode(tool_budget=0)
    assert run.stop == ()
    assert run.act(BLOCK) == Continue("", same_turn=True)
    assert run.act("\nagain\n" + BLOCK) == Continue("", same_turn=True)
    assert run.act("\nso \\boxed{1}") == Finish(StopReason.FINAL)
    assert run.state.turn == 1
    assert run.state.tool_calls == 0
    assert run.prose == "\nagain\n\nso \\boxed{1}"


def test_after_a_continue_a_blank_piece_ends_the_turn() -> None:
    run = episode(tool_budget=0)
    run.act(BLOCK)
    assert run.act("") == Finish(StopReason.FINAL)


def test_past_the_budget_the_model_is_told() -> None:
    run = episode(tool_budget=0, over_budget="notice", max_turns=2)
    assert run.act(BLOCK) == Continue(f"\n```output\n{NOTICE}\n```\n", same_turn=False)
    assert run.act(BLOCK) == Finish(StopReason.MAX_TURNS)


def test_past_the_budget_the_episode_ends() -> None:
    run = episode(tool_budget=1, over_budget="end")
    run.act(BLOCK)
    run.observe(OK)
    assert run.act(BLOCK) == Finish(StopReason.TOOL_BUDGET)
    assert not StopReason.TOOL_BUDGET.terminates


def test_a_call_in_the_last_turn_does_not_run() -> None:
    run = episode(tool_budget=2, max_turns=3, over_budget="notice")
    for _ in range(2):
        assert isinstance(run.act(BLOCK), RunTool)
        run.observe(OK)
    assert run.act(BLOCK) == Finish(StopReason.MAX_TURNS)
    assert run.state.tool_calls == 2


def test_a_cut_turn_truncates_whatever_it_holds() -> None:
    for text in ("half a sen", BLOCK, "\\boxed{1} and", ""):
        run = episode()
        assert run.act(text, cut=True) == Finish(StopReason.LENGTH)
        assert run.state.action_kind == "cut"


def test_a_response_past_the_limit_is_truncated() -> None:
    run = episode(max_response=10)
    assert run.act("x" * 11) == Finish(StopReason.LENGTH)
    run = episode(max_response=3, length=lambda text: len(text.split()))
    assert run.act("two words") == Finish(StopReason.FINAL)


def test_a_timeout_may_end_the_episode() -> None:
    run = episode(on_timeout="end")
    run.act(BLOCK)
    assert run.observe(Execution(Status.TIMEOUT, error="slow")) == ""
    assert run.ending is StopReason.TOOL_TIMEOUT


def test_a_tool_may_end_the_episode() -> None:
    run = episode()
    run.act(BLOCK)
    assert run.observe(ToolResult("", should_stop=True)) == ""
    assert run.ending is StopReason.TOOL_STOPPED
    assert StopReason.TOOL_STOPPED.terminates


def test_a_call_that_cannot_be_read_costs_one_call() -> None:
    run = episode(parser="hermes")
    move = run.act("<tool_call>{</tool_call>")
    assert isinstance(move, Continue)
    assert "not valid JSON" in move.observation
    assert not move.same_turn
    assert (run.state.tool_calls, run.state.tool_errors) == (1, 1)


def test_out_of_order_calls_are_refused() -> None:
    run = episode()
    with pytest.raises(RuntimeError, match="asked for none"):
        run.observe(OK)
    run.act(BLOCK)
    with pytest.raises(RuntimeError, match="waits for its outcome"):
        run.act("x")
    run.observe(OK)
    run.act("done")
    with pytest.raises(RuntimeError, match="it ended"):
        run.act("x")


def test_stderr_is_shown_where_there_is_nothing_else() -> None:
    for printed, warned, seen in (
        ("", "note: 3\n", "note: 3"),
        ("42\n", "note: 3\n", "42"),
        ("", "", SILENT),
    ):
        run = episode()
        run.act(BLOCK)
        assert seen in run.observe(Execution(Status.OK, stdout=printed, stderr=warned))
        assert run.state.tool_errors == 0


def test_giving_up_uncounts_the_call() -> None:
    run = episode()
    run.act(BLOCK)
    assert run.fail() == Finish(StopReason.INFRA_ERROR)
    assert (run.state.tool_calls, run.state.tool_errors) == (0, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tool_budget": -1}, "tool_budget must be at least 0, got -1"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"tool_budget": 16}, "max_turns must exceed tool_budget"),
        ({"over_budget": "stop"}, "over_budget must be one of 'ignore', 'notice', 'end'"),
        ({"error_format": "all"}, "error_format must be one of"),
        ({"on_timeout": "raise"}, "on_timeout must be one of"),
        ({"output_limit": 1}, "output_limit must be at least 16"),
        ({"prompt": "solve"}, "prompt must contain"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EnvConfig(**options)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(16, 64))
def test_shortening_keeps_head_and_tail(text: str, limit: int) -> None:
    short = shorten(text, limit)
    if len(text) <= limit:
        assert short == text
    else:
        head, tail = text[: limit // 2], text[len(text) - (limit - limit // 2) :]
        count = len(text) - limit
        assert short == f"{head}[... {count} characters left out ...]{tail}"


def test_shortening_by_tokens() -> None:
    text = " ".join(str(i) for i in range(1000))
    short = shorten(text, 20, lambda part: len(part.split()))
    head, tail = short.split("[...")[0], short.split("...]")[1]
    assert len(head.split()) == len(tail.split()) == 10
    assert head.startswith("0 1 2")
    assert tail.endswith("998 999")


TURNS = st.lists(
    st.sampled_from(
        [BLOCK, "x\n" + BLOCK + "\n```output", "\\boxed{1}", "", "```\n", "```python\n1"]
    ),
    max_size=8,
)


@settings(deadline=None)
@given(
    turns=TURNS,
    budget=st.integers(0, 3),
    over=st.sampled_from(["ignore", "notice", "end"]),
    max_turns=st.integers(4, 6),
    cut=st.integers(0, 9),
)
def test_any_sequence_of_turns_keeps_the_promises(
    turns: list[str], budget: int, over: str, max_turns: int, cut: int
) -> None:
    run = episode(tool_budget=budget, over_budget=over, max_turns=max_turns)
    ran, written = 0, []
    for index, text in enumerate(turns):
        move = run.act(text, cut=index == cut)
        written.append(text)
        if isinstance(move, RunTool):
            ran += 1
            assert run.observe(OK)
        if run.ending:
            assert isinstance(move, Finish)
            break
    assert ran == run.state.tool_calls <= budget
    assert run.state.turn <= max_turns
    own = [segment.text for segment in run.state.segments if segment.role == "model"]
    assert own == written
    assert "".join(run.turns) == "".join(written)
