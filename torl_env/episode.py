"""One episode as a pure state machine: no I/O, no clock, no randomness."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from torl_env.config import EnvConfig, ErrorFormat, OnTimeout, OverBudget
from torl_env.parsing.types import ActionKind, Malformed, ToolCall, Unfinished
from torl_env.sandbox.types import Execution, Status
from torl_env.tools.types import Outcome

SILENT = "[the program printed nothing]"
NOTICE = "[the budget of tool calls is used up: nothing was run, answer without tools]"


class StopReason(StrEnum):
    """Every way an episode can end; the first two terminate it, the others truncate it."""

    FINAL = "final"
    """The model ended a turn without a tool call."""
    TOOL_STOPPED = "tool_stopped"
    """A tool asked for the end."""
    MAX_TURNS = "max_turns"
    TOOL_BUDGET = "tool_budget"
    """A call past the budget, with `over_budget="end"`."""
    TOOL_TIMEOUT = "tool_timeout"
    """A call ran out of time, with `on_timeout="end"`."""
    LENGTH = "length"
    """The sampler's length limit, or `max_response`."""
    INFRA_ERROR = "infra_error"
    """The machine failed twice; nothing is to be learned from this episode."""

    @property
    def terminates(self) -> bool:
        """Whether this is an end of the task and not a limit from outside."""
        return self in (StopReason.FINAL, StopReason.TOOL_STOPPED)


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run this call, then give its outcome to `Episode.observe`."""

    call: ToolCall

    @property
    def code(self) -> str:
        """The program of a call of `python`, whatever the style."""
        return (
            self.call.body
            if self.call.arguments is None
            else str(self.call.arguments.get("code", ""))
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """The episode is over."""

    reason: StopReason


@dataclass(frozen=True, slots=True)
class Continue:
    """Nothing to run: append `observation` and sample on."""

    observation: str
    same_turn: bool
    """The model's turn is not over; the next action is its continuation."""


Move = RunTool | Finish | Continue


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the transcript."""

    role: Literal["prompt", "model", "tool"]
    text: str
    """Exactly as the model reads or wrote it."""
    body: str = ""
    """Tool output without its frame, for chat templates, which have frames of their own."""


@dataclass(frozen=True, slots=True)
class Report:
    """One outcome as the model and the info see it."""

    body: str
    """Shortened, without a frame."""
    status: Status
    error_type: str
    output_chars: int
    """Characters before shortening, as far as the sandbox kept them."""
    output_truncated: bool
    should_stop: bool = False


@dataclass(frozen=True, slots=True)
class EpisodeState:
    """All that an episode remembers: immutable, so that keeping one is a snapshot."""

    segments: tuple[Segment, ...] = ()
    turn: int = 0
    """Turns of the model that have begun."""
    open_turn: str | None = None
    """Text of the present turn while it goes on over several actions."""
    waiting: bool = False
    """A call was asked for and its outcome has not come yet."""
    action_kind: ActionKind = ActionKind.NONE
    tool_calls: int = 0
    tool_errors: int = 0
    last: Report | None = None
    """Outcome of the call in the last action, `None` when it had none."""
    ending: StopReason | None = None


class Episode:
    r"""Turns actions into moves and outcomes into observations.

    Args:
        config: Options of the env.
        prompt: The first observation.

    Example:
        >>> from torl_env.sandbox.types import Execution, Status
        >>> episode = Episode(EnvConfig(), "What is 6*7?")
        >>> episode.act("```python\nprint(6*7)\n```").code
        'print(6*7)'
        >>> episode.observe(Execution(Status.OK, stdout="42\n"))
        '\n```output\n42\n```\n'
        >>> episode.act("So \\boxed{42}.")
        Finish(reason=<StopReason.FINAL: 'final'>)
    """

    def __init__(self, config: EnvConfig, prompt: str = "") -> None:
        self.config = config
        self.parser = config.components.parser
        self.state = EpisodeState(segments=(Segment("prompt", prompt),))

    @property
    def ending(self) -> StopReason | None:
        """Why the episode is over, `None` while it runs."""
        return self.state.ending

    @property
    def stop(self) -> tuple[str, ...]:
        """Where the sampler should stop in the next turn: nowhere, when calls would be ignored."""
        spent = self.state.tool_calls >= self.config.tool_budget
        if self.state.ending or (spent and self.config.over_budget is OverBudget.IGNORE):
            return ()
        return self.parser.stop

    @property
    def transcript(self) -> str:
        """Everything so far, as one text."""
        return "".join(segment.text for segment in self.state.segments)

    @property
    def turns(self) -> tuple[str, ...]:
        """What the model wrote, turn by turn."""
        # A turn may come in pieces (see `Continue.same_turn`): they are one turn as long as nothing
        # of the env stands between them.
        whole: list[str] = []
        fresh = True
        for segment in self.state.segments:
            if segment.role != "model":
                fresh = True
            elif fresh:
                whole.append(segment.text)
                fresh = False
            else:
                whole[-1] += segment.text
        return tuple(whole)

    @property
    def response(self) -> str:
        """The model's own text only, its turns on lines of their own."""
        return "\n".join(turn.removesuffix("\n") for turn in self.turns)

    @property
    def prose(self) -> str:
        """The response without code and without what pretends to be output: what is graded.

        Turns are paragraphs of their own, since a grader may read two boxes of one paragraph as
        one answer of two parts.
        """
        return "\n\n".join(self.parser.prose(turn) for turn in self.turns)

    def act(self, text: str, *, cut: bool = False) -> Move:
        """Take one action.

        Args:
            text: The model's turn, or its next piece after a `Continue` with `same_turn`.
            cut: A length limit ended the text, not the model.

        Raises:
            RuntimeError: The episode is over, or a call waits for its outcome.
        """
        state = self.state
        # A programming error of the caller and not of the model, hence no value but an exception.
        if state.ending or state.waiting:
            what = f"it ended ({state.ending})" if state.ending else "a call waits for its outcome"
            raise RuntimeError(f"an episode acts only while it runs and nothing is pending: {what}")
        # The grammar reads whole turns: a fence may be opened in one piece and closed in the next.
        turn = (state.open_turn or "") + text
        # After a `Continue` a blank piece says that the model has nothing to add.
        done = state.open_turn is not None and not text.strip()
        reading = None if done else self.parser.parse(turn)
        self.state = replace(
            state,
            segments=(*state.segments, Segment("model", text)),
            turn=state.turn + (state.open_turn is None),
            open_turn=None,
            last=None,
        )
        # First of all: a call in a cut turn does not run, for there is no room for its output.
        if cut or self._too_long():
            return self._finish(ActionKind.CUT, StopReason.LENGTH)
        if reading is None:
            return self._finish(ActionKind.FINAL, StopReason.FINAL)
        if isinstance(reading, Unfinished):
            return self._stay(ActionKind.UNFINISHED, turn)
        return self._call(reading, turn)

    def _call(self, reading: ToolCall | Malformed, turn: str) -> Move:
        over = self.config.over_budget
        if self.state.tool_calls >= self.config.tool_budget:
            # ToRL's engine never looks at code again once the budget is spent: it is mere text.
            if over is OverBudget.IGNORE:
                return self._stay(ActionKind.OVER_BUDGET, turn)
            if over is OverBudget.END or self._last_turn():
                reason = StopReason.TOOL_BUDGET if over is OverBudget.END else StopReason.MAX_TURNS
                return self._finish(ActionKind.OVER_BUDGET, reason)
            self.state = replace(self.state, action_kind=ActionKind.OVER_BUDGET)
            return Continue(self._show(NOTICE), same_turn=False)
        kind = ActionKind.TOOL if isinstance(reading, ToolCall) else ActionKind.MALFORMED
        # The model could not read the output of a call in its last turn, so it does not run.
        if self._last_turn():
            return self._finish(kind, StopReason.MAX_TURNS)
        self.state = replace(
            self.state, action_kind=kind, waiting=True, tool_calls=self.state.tool_calls + 1
        )
        if isinstance(reading, ToolCall):
            return RunTool(reading)
        refusal = Report(reading.reason, Status.ERROR, "MalformedCall", 0, output_truncated=False)
        return Continue(self._note(refusal), same_turn=False)

    def observe(self, outcome: Outcome) -> str:
        """Take the outcome of the call that `act` asked for.

        Returns:
            The text to append, `""` when the outcome ends the episode.

        Raises:
            RuntimeError: No call is pending.
        """
        if not self.state.waiting:
            raise RuntimeError(
                "observe() takes the outcome of a pending call: act() asked for none"
            )
        seen = report(outcome, self.config)
        # The transcript keeps the output even where it ends the episode and no turn follows.
        text = self._note(seen)
        if seen.should_stop:
            self._end(StopReason.TOOL_STOPPED)
        elif seen.status is Status.TIMEOUT and self.config.on_timeout is OnTimeout.END:
            self._end(StopReason.TOOL_TIMEOUT)
        return "" if self.ending else text

    def fail(self) -> Finish:
        """The machine could not run the pending call or grade the response: give up."""
        # A call that never ran is none of the model's calls.
        if self.state.waiting:
            self.state = replace(self.state, tool_calls=self.state.tool_calls - 1)
        return self._end(StopReason.INFRA_ERROR)

    def _note(self, seen: Report) -> str:
        failed = seen.status is not Status.OK
        self.state = replace(
            self.state, waiting=False, last=seen, tool_errors=self.state.tool_errors + failed
        )
        return self._show(seen.body)

    def _show(self, body: str) -> str:
        text = self.parser.frame(self.turns[-1], body)
        shown = Segment("tool", text, body)
        self.state = replace(self.state, segments=(*self.state.segments, shown))
        return text

    def _stay(self, kind: ActionKind, turn: str) -> Continue:
        self.state = replace(self.state, action_kind=kind, open_turn=turn)
        return Continue("", same_turn=True)

    def _finish(self, kind: ActionKind, reason: StopReason) -> Finish:
        self.state = replace(self.state, action_kind=kind)
        return self._end(reason)

    def _end(self, reason: StopReason) -> Finish:
        self.state = replace(self.state, ending=reason, waiting=False, open_turn=None)
        return Finish(reason)

    def _last_turn(self) -> bool:
        return self.state.turn >= self.config.max_turns

    def _too_long(self) -> bool:
        # The model's own words alone: how long an output is, is not its choice.
        return self.config.components.length(self.response) > self.config.max_response


_ADDRESS: Final = re.compile(r"(?<= at )0x[0-9a-fA-F]+(?=[>,])")
_NO_ADDRESS: Final = "0x7f0000000000"
"""Where an object lies, as its `repr` has it, differs from process to process: a model that reads
it would go on otherwise in the same run made again."""


def report(outcome: Outcome, config: EnvConfig) -> Report:
    """What to say of an outcome."""
    if isinstance(outcome, Execution):
        words = _words(outcome, config.error_format)
        text, cut, stop = _ADDRESS.sub(_NO_ADDRESS, words), outcome.output_truncated, False
    else:
        text, cut, stop = outcome.text, False, outcome.should_stop
    body = shorten(text, config.output_limit, config.components.length)
    return Report(
        body, outcome.status, outcome.error_type, len(text), cut or body is not text, stop
    )


def _words(execution: Execution, form: ErrorFormat) -> str:
    printed = execution.stdout.rstrip("\n")
    if execution.ok:
        # Warnings beside an output would only be noise; alone they are what there is to read.
        return printed or execution.stderr.rstrip("\n") or SILENT
    said = execution.error
    if form is ErrorFormat.TRACEBACK and execution.stderr.strip():
        said = execution.stderr.rstrip("\n")
        if execution.error not in said:
            said = f"{said}\n{execution.error}"
    return f"{printed}\n{said}" if printed else said


def shorten(text: str, limit: int, length: Callable[[str], int] = len) -> str:
    """Head and tail of `text` with a marker between, or `text` itself where it is short enough.

    Args:
        text: What to shorten.
        limit: Longest head and tail together; the marker comes on top.
        length: Counts what `limit` limits; it must not shrink when text is added.

    Example:
        >>> shorten("0123456789" * 10, 16)
        '01234567[... 84 characters left out ...]23456789'
    """
    if length(text) <= limit:
        return text
    # Errors stand at the end of an output and headings at its start: both halves are worth it.
    half = limit // 2
    head = _longest(text, lambda size: length(text[:size]) <= half)
    tail = _longest(text[head:], lambda size: length(text[len(text) - size :]) <= limit - half)
    left_out = len(text) - head - tail
    return f"{text[:head]}[... {left_out} characters left out ...]{text[len(text) - tail :]}"


def _longest(text: str, fits: Callable[[int], bool]) -> int:
    """The largest size up to the length of `text` that fits, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
