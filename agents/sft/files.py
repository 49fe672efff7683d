"""Traces from files and from rollouts: one JSON object a line, in one of three forms.

1. `prompt_ids`, `ids`, `loss_mask`: ids as they are, such as `Trace` and TIRGen write them.
2. A trajectory (`Trajectory.to_json`): transcripts of a run and records of an evaluation. Only
   accepted ones are taken, which is rejection sampling.
3. Text, which any tokenizer can read: `question` and `steps`, what was written and what came back,
   such as `write_texts` writes it; or, from elsewhere, `question` and `response` with real
   ```` ```output ```` blocks after its programs, each taken to end at its first fence. What came
   back is context and is not learned.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from agents.core.rollout.prompts import Prompt, decode
from agents.core.run.storage import RecordError
from agents.core.run.transcripts import read_rows
from agents.core.types import Trajectory
from agents.sft.traces import Trace

Accept = Callable[[Trajectory], bool]

_OUTPUT = re.compile(r"(?<=```)[ \t]*\n+```output\n(?:.*?\n)??```(?:\n|\Z)", re.DOTALL)
"""An output block, from the end of the program's closing fence."""

_REMEDY = (
    "Train the model that wrote them, or give text: question and steps, pairs of what was written "
    "and what came back"
)


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as text, turn by turn."""

    question: str
    steps: Sequence[tuple[str, str]]
    """What was written and what the environment put behind it, `""` where that was nothing."""
    shown: str = ""
    """The question as the environment showed it (its option `prompt`), where that is known."""


class TraceError(Exception):
    """A file of traces cannot be used; the message says which line and why."""


def accepted(
    trajectories: Iterable[Trajectory], accept: Accept | None = None, per_problem: int = 4
) -> list[Trace]:
    """Rejection sampling: the rollouts worth imitating, ids exactly as sampled.

    Args:
        trajectories: Rollouts.
        accept: What to take; by default right answers that came to their own end.
        per_problem: At most so many for each problem, so that easy ones do not crowd out the rest.
    """
    return [
        Trace(t.prompt_ids, t.ids, t.loss_mask, t.response)
        for t in chosen(trajectories, accept or is_good, per_problem)
    ]


def chosen(
    trajectories: Iterable[Trajectory], accept: Accept, per_problem: int = 4
) -> list[Trajectory]:
    """The rollouts that `accepted` makes traces of, the first ones of each problem."""
    taken: Counter[str] = Counter()
    kept = []
    for t in trajectories:
        if accept(t) and taken[t.problem_id] < per_problem:
            taken[t.problem_id] += 1
            kept.append(t)
    return kept


def is_good(trajectory: Trajectory) -> bool:
    """Right, not cut off, and nothing in it was lost to the machine."""
    return trajectory.correct and trajectory.scorable and not trajectory.truncated


def ran_clean(trajectory: Trajectory) -> bool:
    """Good, with at least one program, and no program that failed."""
    return is_good(trajectory) and trajectory.tool_calls > 0 and trajectory.tool_errors == 0


def steps_of_text(response: str) -> list[tuple[str, str]]:
    """What was written and what came back in a text whose turns nobody has noted.

    An output that prints a fence cannot be told from one that ends there.
    """
    steps: list[tuple[str, str]] = []
    at = 0
    for block in _OUTPUT.finditer(response):
        steps.append((response[at : block.start()], block.group()))
        at = block.end()
    return [*steps, (response[at:], "")]


def trace_of_steps(answer: Written, prompt: Prompt, tokenizer: Any) -> Trace:
    """The trace of an answer as text; what came back is context, masked as in a rollout.

    What was written and what came back are tokenised apart, as they are when the policy acts.
    """
    ids: list[int] = []
    mask: list[int] = []
    for written, came_back in answer.steps:
        learned = tokenizer.encode(written, add_special_tokens=False) if written else []
        shown = prompt.observation_ids(came_back) if came_back else []
        ids += [*learned, *shown]
        mask += [1] * len(learned) + [0] * len(shown)
    end = tokenizer.eos_token_id
    text = "".join(written + came_back for written, came_back in answer.steps)
    prompt_ids = prompt.question_ids(answer.shown or answer.question)
    return Trace(prompt_ids, (*ids, end), (*mask, 1), text)


def read_traces(
    file: Path,
    prompt: Prompt,
    tokenizer: Any,
    accept: Accept | None = None,
    show: Callable[[str], str] = str,
) -> list[Trace]:
    """Traces from a file; the forms may be mixed.

    Args:
        file: JSON lines, or transcripts of a step (`.jsonl.gz`, with their ids beside them).
        prompt: The style that questions of the third form are asked in.
        tokenizer: The policy's tokenizer.
        accept: As in `accepted`.
        show: What the environment shows of a question of the third form, where its line does not
            say it (`EnvConfig.components.prompt`).

    Raises:
        TraceError: A line is none of the three forms, its ids are not this tokenizer's, or nothing
            in the file is accepted.
    """
    traces: list[Trace] = []
    rollouts: list[Trajectory] = []
    for number, row in enumerate(_rows(file), start=1):
        if "turns" in row:
            rollouts.append(Trajectory.from_json(row))
            for trace in accepted(rollouts[-1:], accept):
                _refuse_other_ids(trace, tokenizer, f"{file}, line {number}")
        elif {"prompt_ids", "ids", "loss_mask"} <= row.keys():
            trace = Trace(row["prompt_ids"], row["ids"], row["loss_mask"], row.get("text", ""))
            _refuse_other_ids(trace, tokenizer, f"{file}, line {number}")
            traces.append(trace)
        elif "question" in row and ("steps" in row or "response" in row):
            written = _written(row, show, file, number)
            traces.append(trace_of_steps(written, prompt, tokenizer))
        elif "header" not in row:
            raise TraceError(
                f"{file}, line {number}: expected prompt_ids, ids and loss_mask, or a trajectory, "
                f"or question and steps or response; got {', '.join(row) or 'nothing'}"
            )
    traces += accepted(rollouts, accept)
    if not traces:
        raise TraceError(f"{file}: none of its {len(rollouts)} rollouts is accepted as a trace")
    return traces


def write_traces(file: Path, traces: Sequence[Trace]) -> None:
    """Write traces as ids, the first form."""
    rows = [
        {
            "prompt_ids": list(t.prompt_ids),
            "ids": list(t.ids),
            "loss_mask": list(t.loss_mask),
            "text": t.text,
        }
        for t in traces
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_texts(file: Path, answers: Iterable[Written]) -> None:
    """Write answers as text, the third form, which any tokenizer can read."""
    rows = (
        {
            "question": answer.question,
            "shown": answer.shown,
            "steps": [list(step) for step in answer.steps],
        }
        for answer in answers
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        yield from read_rows(file)
    except RecordError as error:
        raise TraceError(str(error)) from error


def _refuse_other_ids(trace: Trace, tokenizer: Any, where: str) -> None:
    """Ids of another vocabulary would teach noise; the text beside them, if any, tells."""
    ids, mask = trace.ids, trace.loss_mask
    largest = max([*trace.prompt_ids, *ids], default=-1)
    if len(ids) != len(mask) or largest >= len(tokenizer):
        raise TraceError(
            f"{where}: expected as many ids as loss_mask and ids below {len(tokenizer)}, got "
            f"{len(ids)}, {len(mask)} and an id {largest}: were the traces made with another "
            f"tokenizer? {_REMEDY}"
        )
    text, at = _squeezed(trace.text), 0
    for learned, run in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
        if not learned or not text:
            continue
        sampled = [int(i) for i, _ in run]
        # An end token is no text, even one that its tokenizer does not call special.
        readings = [decode(tokenizer, some) for some in (sampled, sampled[:-1])]
        read = next((r for r in map(_squeezed, readings) if r in text[at:]), None)
        if read is None:
            raise TraceError(
                f"{where}: expected ids that spell the text beside them, {trace.text!r:.80}, got "
                f"ids that spell {readings[0]!r:.80}: they are of another tokenizer. {_REMEDY}"
            )
        at = text.index(read, at) + len(read)


def _squeezed(text: str) -> str:
    """A text without what decoding a part of its ids may change: white space, half characters."""
    return "".join(text.replace("\N{REPLACEMENT CHARACTER}", "").split())


def _written(
    row: Mapping[str, Any], show: Callable[[str], str], file: Path, number: int
) -> Written:
    question = row["question"]
    shown = row.get("shown") or show(question)
    if "steps" not in row:
        return Written(question, steps_of_text(row["response"]), shown)
    steps = row["steps"]
    if not isinstance(steps, list) or not all(
        isinstance(step, list) and [type(text) for text in step] == [str, str] for step in steps
    ):
        raise TraceError(
            f"{file}, line {number}: expected steps to be a list of pairs [what was written, what "
            f"came back], got {steps!r:.80}"
        )
    return Written(question, [(written, came_back) for written, came_back in steps], shown)
