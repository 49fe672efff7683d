"""Names of algorithms, and their settings as words of the command line."""

import dataclasses
import sys
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.core.algorithm import Algorithm, AlgorithmError, Loss, load_algorithm
from agents.cot import COT
from torl.console import CommandError

ALGORITHMS: Mapping[str, str] = {
    "grpo": "agents.grpo:GRPO",
    "rloo": "agents.grpo:GRPO",
    "ppo": "agents.ppo:PPO",
    "thor": "agents.thor:THOR",
    "cot": "agents.grpo:GRPO",
    "sft": "agents.grpo:GRPO",
    "cot-sft": "agents.grpo:GRPO",
}
"""`cot` is GRPO without a tool (CoT-RL, ToRL's baseline); `sft` and `cot-sft` stop before RL."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {"rloo": {"baseline": "leave_one_out"}}
"""What a name sets in its class, unless told otherwise."""


def implied(name: str, prompt: str) -> dict[str, Any]:
    """Options of `torl train` that follow from the agent's name.

    Args:
        name: Of the algorithm.
        prompt: The prompt style asked for.

    Example:
        >>> implied("sft", "chat"), implied("cot-sft", "torl")
        ({'steps': 0}, {'steps': 0, 'tool_budget': 0, 'warm_start_code': 0.0, 'prompt': 'torl'})
    """
    found: dict[str, Any] = {"steps": 0} if name.endswith("sft") else {}
    if name.startswith("cot"):
        style = COT.prompt if prompt == "chat" else prompt
        found |= {"tool_budget": COT.tool_budget, "warm_start_code": 0.0, "prompt": style}
    return found if name in ALGORITHMS else {}


def make_algorithm(name: str, settings: Sequence[str], sizes: Mapping[str, int]) -> Algorithm:
    """An algorithm by name, with settings given as `name=value`.

    Args:
        name: One of `ALGORITHMS`, or `module:Class` for one of your own.
        settings: Fields of the algorithm or of its `loss`.
        sizes: Group and batch sizes, handed to algorithms that have a field for them.

    Raises:
        CommandError: No such algorithm or setting, or an impossible value.

    Example:
        >>> make_algorithm("grpo", ["clip_high=0.28"], {"group_size": 8}).loss.clip_high
        0.28
    """
    if name not in ALGORITHMS and ":" not in name:
        raise CommandError(
            f"--algorithm: expected {', '.join(ALGORITHMS)} or module:Class, got {name!r}"
        )
    if ":" in name:
        # A console script, unlike `python -m`, does not look for modules in the present folder.
        sys.path.append(str(Path.cwd()))
    try:
        made = load_algorithm(ALGORITHMS.get(name, name))
        return made(**_fields(made, name, settings, sizes))
    except AlgorithmError as error:
        raise CommandError(f"--algorithm: {error}") from error
    except (TypeError, ValueError) as error:
        raise CommandError(f"--algorithm {name}: {error}") from error


def _fields(
    made: type[Algorithm], name: str, settings: Sequence[str], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Keyword arguments for the class."""
    own = _names(made)
    given: dict[str, Any] = {key: value for key, value in sizes.items() if key in own}
    given |= SETTINGS.get(name, {})
    loss: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key not in own | _names(Loss) or key == "loss" or not equals:
            choices = ", ".join(sorted((own | _names(Loss)) - {"loss"}))
            raise CommandError(f"--set: {name} has name=value for {choices}; got {setting!r}")
        (given if key in own else loss)[key] = _value(text)
    if loss:
        default = given.get("loss", made(**given).loss)
        given["loss"] = dataclasses.replace(default, **loss)
    return given


def _names(of: type) -> set[str]:
    return {f.name for f in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else set()


def _value(text: str) -> Any:
    """A Python literal, or the text itself where it is none."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)
