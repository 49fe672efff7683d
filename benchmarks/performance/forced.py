"""Episodes whose ids are given, so that two trainers sample exactly the same number of them.

The model computes every distribution and an id is drawn from each; then the id of the script takes
its place. Nothing that costs time is left out, and what is compared does not depend on what a
model happens to write.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.policies.base import RowStart
from agents.core.policies.transformers import TransformersPolicy
from agents.core.types import FinishReason, Sampling

THOUGHT = "Let me think about it step by step and see what follows from the numbers given here. "
PROGRAM = "print(6*7)"
FENCED = f"\n```python\n{PROGRAM}\n```"
HERMES = f'<tool_call>\n{{"name": "python", "arguments": {{"code": "{PROGRAM}"}}}}\n</tool_call>'


@dataclass(frozen=True, slots=True)
class Script:
    """What a row samples: a thought and a call, then a thought and an answer."""

    before: tuple[int, ...]
    """Up to and with the call."""
    after: tuple[int, ...]
    """From behind the tool's output to the end-of-sequence id."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All sampled ids."""
        return self.before + self.after


def scripts(
    tokenizer: Any, rows: int, tokens: tuple[int, int], call: str = FENCED, seed: int = 0
) -> list[Script]:
    """A script for each row; every second one answers right.

    Args:
        tokenizer: Of the model.
        rows: How many.
        tokens: Least and most sampled ids of a row, drawn evenly.
        call: How the tool is called.
        seed: Of the lengths.
    """
    rng = random.Random(f"scripts/{seed}")
    thought = tokenizer.encode(THOUGHT, add_special_tokens=False)
    called = tokenizer.encode(call, add_special_tokens=False)
    made = []
    for row in range(rows):
        right = 42 if row % 2 else 41
        answer = tokenizer.encode(f" It is \\boxed{{{right}}}.", add_special_tokens=False)
        answer = [*answer, tokenizer.eos_token_id]
        remaining = max(2, rng.randint(*tokens) - len(called) - len(answer))
        words = (thought * (remaining // len(thought) + 1))[:remaining]
        first = 2 * remaining // 3
        made.append(Script((*words[:first], *called), (*words[first:], *answer)))
    return made


class ForcedPolicy(TransformersPolicy):
    """Our policy, writing scripts.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        scripts: Of the rows of each batch.
    """

    def __init__(self, model: Any, tokenizer: Any, scripts: Sequence[Script]) -> None:
        super().__init__(model, tokenizer)
        self._scripts = scripts
        self._at: dict[int, int] = {}

    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """As the policy, from the beginning of the scripts."""
        self._at = dict.fromkeys(range(len(starts)), 0)
        super().open(starts, how)

    def _finish(self, row: Any, token: int) -> FinishReason | None:
        row.ids[-1] = self._scripts[row.index].ids[self._at[row.index]]
        self._at[row.index] += 1
        return super()._finish(row, row.ids[-1])


class Forcing:
    """Puts scripts into `model.generate`, as TRL calls it: once a turn, rows that go on together.

    A turn ends with the end-of-sequence id there. To sample as many ids as ours all the same, the
    first turn leaves out one id of its thought.

    Args:
        generate: The model's own method.
        scripts: Of the rows of each batch.
        eos: The end-of-sequence id.
    """

    def __init__(self, generate: Any, scripts: Sequence[Script], eos: int) -> None:
        self._generate, self._eos = generate, eos
        self._turns = ([[*s.before[1:], eos] for s in scripts], [list(s.after) for s in scripts])
        self._turn = 0
        self.sampled = 0
        """Ids that were sampled so far."""
        self.read = 0
        """Ids of all episodes so far, prompts and tool outputs included."""

    def begin(self) -> None:
        """A new batch comes."""
        self._turn = 0

    def __call__(self, **options: Any) -> Any:
        """As `model.generate`."""
        from transformers import LogitsProcessorList

        turns = self._turns[self._turn]
        self._turn += 1
        self.sampled += sum(map(len, turns))
        start = options["input_ids"].shape[1]
        if self._turn == len(self._turns):
            self.read += int(options["attention_mask"].sum()) + sum(map(len, turns))

        def force(ids: Any, scores: Any) -> Any:
            place = ids.shape[1] - start
            wanted = [turn[place] if place < len(turn) else self._eos for turn in turns]
            forced = scores.new_full(scores.shape, float("-inf"))
            forced[range(len(wanted)), wanted] = 0.0
            return forced

        return self._generate(logits_processor=LogitsProcessorList([force]), **options)


class TemplatePrompt:
    """The ids that TRL makes of a question and of a tool's output, for ours to read the same.

    Args:
        tokenizer: With a chat template that renders tools.
        tools: Their schemas, as TRL shows them.
    """

    def __init__(self, tokenizer: Any, tools: Sequence[Mapping[str, Any]]) -> None:
        self.tokenizer, self._tools = tokenizer, list(tools)

    def _ids(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        ids: list[int] = self.tokenizer.apply_chat_template(
            list(messages), tokenize=True, return_dict=False, **options
        )
        return ids

    def question_ids(self, question: str) -> list[int]:
        """The prompt, with the tool's description."""
        asked = [{"role": "user", "content": question}]
        return self._ids(asked, tools=self._tools, add_generation_prompt=True)

    def observation_ids(self, observation: str) -> list[int]:
        """The end of the assistant's message, the tool's, and the head of the next."""
        if not observation:
            return []
        call = {"type": "function", "function": {"name": "python", "arguments": {}}}
        said: list[dict[str, Any]] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]
        body = observation.strip().removeprefix("<tool_response>").removesuffix("</tool_response>")
        answer = {"role": "tool", "name": "python", "content": body.strip()}
        before = self._ids(said)
        last = len(before) - before[::-1].index(self.tokenizer.eos_token_id) - 1
        return self._ids([*said, answer], add_generation_prompt=True)[last:]
