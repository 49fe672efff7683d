r"""The grader as the reward function of other trainers, two lines each.

verl (`reward.custom_reward_function`, on its command line):

    reward.custom_reward_function.path=pkg://rewards.adapters
    reward.custom_reward_function.name=verl_reward

TRL (a column `answer` or `solution` beside `prompt`):

    from rewards.adapters import trl_reward
    trainer = GRPOTrainer(..., reward_funcs=trl_reward)

Both train, so that an answer which copies the question's sum for a plain number earns nothing
(`rewards.TRAINING`). Both judge text alone: they know of no tool calls, so choose a preset that
pays the answer only (`torl`, `thor`, `limr`). Where the grader cannot decide there is no number
to learn from: TRL takes `None` and leaves the row out of its group, verl counts the rollout as
failed when the function raises and trains on its siblings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.extraction import extract
from rewards.grader import grade, grade_training
from rewards.presets import reward
from rewards.types import Attempt, Grade, Verdict


class UngradableError(ValueError):
    """The grader could not decide, so there is no reward; `str(error)` says why."""


def graded(text: str, answer: str, preset: str = "torl") -> tuple[Grade, float | None]:
    r"""The grade of a text and the reward of its answer.

    Returns:
        The reward is `None` where the verdict is `UNGRADABLE`.

    Example:
        >>> graded("So it is \\boxed{1/2}.", "0.5")[1], graded("I give up.", "0.5")[1]
        (1.0, -1.0)
    """
    found = grade_training(text, answer)
    if found.verdict is Verdict.UNGRADABLE:
        return found, None
    attempt = Attempt(
        found.verdict,
        boxed=extract(text).boxed,
        length=len(text),
        response=text,
        reference=answer,
    )
    return found, float(reward(preset).score(attempt).total)


def verl_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    preset: str = "torl",
    **_: Any,
) -> dict[str, float]:
    r"""What verl calls for each response.

    Args:
        data_source: Name of the data set, unused.
        solution_str: The response.
        ground_truth: The reference answer.
        extra_info: Further columns, unused.
        preset: A preset of `rewards`, given as `reward.custom_reward_function.reward_kwargs`.

    Returns:
        `score`, which verl trains on, and `acc`, which it logs.

    Raises:
        UngradableError: The reference cannot be read, or a limit was hit.

    Example:
        >>> verl_reward("math", "It is \\boxed{41}.", "42")
        {'score': -1.0, 'acc': 0.0}
    """
    found, score = graded(solution_str, str(ground_truth), preset)
    if score is None:
        raise UngradableError(f"no reward for {ground_truth!r} ({found.rule}): {found.detail}")
    return {"score": score, "acc": float(found.verdict is Verdict.CORRECT)}


def trl_reward(
    completions: Sequence[str | Sequence[Mapping[str, Any]]],
    answer: Sequence[str] | None = None,
    solution: Sequence[str] | None = None,
    **_: Any,
) -> list[float | None]:
    r"""What TRL calls for a batch: `reward_funcs=trl_reward`.

    Args:
        completions: Texts, or conversations of which the turns of the assistant count.
        answer: The data set's column of reference answers.
        solution: The same under the name that TRL's own rewards use.

    Raises:
        ValueError: The data set has neither column.

    Example:
        >>> trl_reward(["\\boxed{42}", [{"role": "assistant", "content": "41"}]], answer=["42"] * 2)
        [1.0, -1.0]
    """
    references = answer if answer is not None else solution
    if references is None:
        raise ValueError("trl_reward needs a column 'answer' or 'solution' in the data set")
    return [
        graded(said(one), str(reference))[1]
        for one, reference in zip(completions, references, strict=True)
    ]


def said(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """What the model wrote, turns as paragraphs: two boxes of one paragraph are one answer."""
    if isinstance(completion, str):
        return completion
    turns = [one.get("content") or "" for one in completion if one.get("role") == "assistant"]
    return "\n\n".join(turn for turn in turns if turn)


def lm_eval_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    r"""`process_results` of a task of lm-evaluation-harness, with metrics `acc` and `ungradable`.

    In the task's YAML: `process_results: !function utils.process_results`, beside a `utils.py` that
    says `from rewards.adapters import lm_eval_results as process_results`. Where the grader cannot
    decide there is no `acc`, so that the answer is in no mean.

    Args:
        doc: The problem; its `answer` is the reference.
        results: What the model wrote.

    Example:
        >>> lm_eval_results({"answer": "0.5"}, ["\\boxed{1/2}"])
        {'acc': 1.0, 'ungradable': 0.0}
    """
    found = grade(results[0], str(doc["answer"]))
    if found.verdict is Verdict.UNGRADABLE:
        return {"ungradable": 1.0}
    return {"acc": float(found.verdict is Verdict.CORRECT), "ungradable": 0.0}
