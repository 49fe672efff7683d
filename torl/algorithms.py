"""Names of algorithms, and their settings as words of the command line."""

import dataclasses
from ast import literal_eval
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from agents.core.algorithm import Algorithm
from agents.core.loss import LOSSES, Loss
from agents.cot import COT
from rewards.suggestion import did_you_mean
from torl.console import CommandError
from torl_env.errors import ConfigError
from torl_env.loading import load_object, reference_of

ALGORITHMS: Mapping[str, str] = {
    "grpo": "agents.grpo:GRPO",
    "rloo": "agents.grpo:GRPO",
    "ppo": "agents.ppo:PPO",
    "gtpo": "agents.grpo:GTPO",
    "arpo": "agents.grpo:GRPO",
    "aepo": "agents.grpo:GRPO",
    "treerl": "agents.grpo:GRPO",
    "treepo": "agents.grpo:GRPO",
    "thor": "agents.thor:THOR",
    "cot": "agents.grpo:GRPO",
    "sft": "agents.grpo:GRPO",
    "cot-sft": "agents.grpo:GRPO",
}
"""`cot` is GRPO without a tool (CoT-RL, ToRL's baseline); `sft` and `cot-sft` stop before RL."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "rloo": {"baseline": "leave_one_out"},
    "arpo": {"tree": "arpo"},
    "aepo": {"tree": "aepo"},
    "treerl": {"tree": "treerl", "baseline": "subtree"},
    "treepo": {"tree": "treepo", "baseline": "ancestors"},
}
"""What a name sets in its class by default."""


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


_FLAGS = {"group_size": "group", "prompts_per_step": "prompts"}


def make_algorithm(
    name: str | Algorithm, settings: Sequence[str], sizes: Mapping[str, int]
) -> Algorithm:
    """An algorithm by name, with settings given as `name=value`.

    Args:
        name: One of `ALGORITHMS`, `module:object` for one of your own, or an algorithm.
        settings: Fields of the algorithm or of its `loss`.
        sizes: Group and batch sizes, handed to algorithms that have a field for them.

    Raises:
        CommandError: No such algorithm or setting, or an impossible value.

    Example:
        >>> make_algorithm("grpo", ["clip_high=0.28"], {"group_size": 8}).loss.clip_high
        0.28
        >>> make_algorithm("grpo", ["loss=cispo", "nll=0.01"], {}).loss.surrogate
        'cispo'
    """
    if isinstance(name, str) and name not in ALGORITHMS and ":" not in name:
        raise CommandError(
            f"--algorithm: expected {', '.join(ALGORITHMS)} or module:Class, got {name!r}."
            f"{did_you_mean(name, ALGORITHMS)}"
        )
    found, label = name, name if isinstance(name, str) else algorithm_name(name)
    if isinstance(name, str):
        try:
            found = load_object(ALGORITHMS.get(name, name), "--algorithm")
        except ConfigError as error:
            raise CommandError(str(error)) from error
    try:
        if isinstance(found, type) and issubclass(found, Algorithm):
            return found(**_fields(found, label, settings, sizes))
        if isinstance(found, Algorithm):
            return _replaced(found, label, settings, sizes)
    except (TypeError, ValueError) as error:
        raise CommandError(f"--algorithm {label}: {error}") from error
    raise CommandError(
        f"--algorithm: {label} is {found!r}: expected a subclass of "
        "agents.core.algorithm.Algorithm, or an object of one"
    )


def algorithm_name(found: object) -> str:
    """What to call an algorithm in a message or a record.

    >>> algorithm_name(load_object("agents.grpo:GRPO")())
    'agents.grpo.algorithm:GRPO'
    """
    kind = found if isinstance(found, type) else type(found)
    return reference_of(kind) or kind.__qualname__


def _replaced(
    found: Algorithm, label: str, settings: Sequence[str], sizes: Mapping[str, int]
) -> Algorithm:
    """An object with settings of the command line; sizes are the run's, settings its own."""
    if not dataclasses.is_dataclass(found):
        if settings:
            raise CommandError(f"--set: {label} is no dataclass, so it has nothing to set")
        return found
    given = _fields(type(found), label, settings, sizes, found)
    changed: Algorithm = dataclasses.replace(found, **given) if given else found
    return changed


def _fields(
    made: type[Algorithm],
    name: str,
    settings: Sequence[str],
    sizes: Mapping[str, int],
    start: Algorithm | None = None,
) -> dict[str, Any]:
    """Keyword arguments for the class; `start` has the others already."""
    own = _names(made)
    given: dict[str, Any] = {key: value for key, value in sizes.items() if key in own}
    given |= SETTINGS.get(name, {}) if start is None else {}
    known = (own | _names(Loss)) - {"loss", *sizes}
    loss: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key == "loss":
            given["loss"] = _named_loss(text)
            continue
        if key in sizes:
            raise CommandError(
                f"--set: {key} is an option of the run: --{_FLAGS[key]} {text or '...'}"
            )
        if key == "tree" and key not in known:
            raise CommandError(
                f"--set: {name} learns from whole episodes of its own (a critic, steps), in which "
                "ids that several share would count more than once: tree goes with grpo, rloo, "
                "gtpo and cot"
            )
        if key not in known or not equals:
            choices = ", ".join(sorted({*known, "loss"}))
            raise CommandError(
                f"--set: {name} has name=value for {choices}; got {setting!r}. Options of the run, "
                "such as --learning-rate, are no settings of the algorithm"
            )
        kind: Any = made if key in own else Loss
        (field,) = (f for f in dataclasses.fields(kind) if f.name == key)
        (given if key in own else loss)[key] = _value(setting, field)
    if loss:
        default = given.get("loss", (start or made(**given)).loss)
        given["loss"] = dataclasses.replace(default, **loss)
    return given


def _named_loss(name: str) -> Loss:
    if name not in LOSSES:
        raise CommandError(f"--set: loss is one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]


def _names(of: type) -> set[str]:
    return {f.name for f in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else set()


def _value(setting: str, field: dataclasses.Field[Any]) -> Any:
    """A Python literal, or the text itself where it is none and the field takes texts."""
    _, _, text = setting.partition("=")
    try:
        value = literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    kinds, default = _kinds(field), field.default
    none = " or none" if NoneType in kinds else ""
    if not kinds <= {bool, int, float, NoneType} or (none and value is None):
        return value
    # A text would be true, whatever it says.
    if bool in kinds:
        expected, fits = "true or false", isinstance(value, bool) or value in (0, 1)
    elif float in kinds:
        expected, fits = "a number", type(value) in (int, float)
    else:
        expected, fits = "a whole number", type(value) is int
    if not fits:
        example = "" if default in (None, dataclasses.MISSING) else f", such as {default}"
        raise CommandError(f"--set {setting}: expected {expected}{none}{example}")
    return value


def _kinds(field: dataclasses.Field[Any]) -> set[Any]:
    """The types that a field takes; its default tells where its annotation is a text."""
    if not isinstance(field.type, str):
        return set(get_args(field.type) or (field.type,))
    kind = type(field.default)
    return {float, NoneType} if kind in (int, float) else {kind}
