"""The one description of an environment, in one frozen dataclass."""

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from os import PathLike, fspath
from typing import Any, Self

import rewards
from rewards import Reward
from rewards.suggestion import did_you_mean
from torl_env.components import (
    Components,
    Grader,
    read_grader,
    read_length,
    read_parser,
    read_prompt,
    read_reward,
    read_tools,
)
from torl_env.errors import ConfigError
from torl_env.loading import reference_of
from torl_env.parsing.types import Parser
from torl_env.problems.types import ProblemSource
from torl_env.sandbox.types import Limits, Sandbox
from torl_env.tools.toolbox import PythonTool
from torl_env.tools.types import Tool

FORMAT = 1
"""Of `EnvConfig.to_json`."""
OBJECT = "object without a name"
"""Key under which `to_json` keeps the repr of what it cannot keep."""


class OverBudget(StrEnum):
    """What a tool call does when the budget is used up."""

    IGNORE = "ignore"
    """Nothing runs and the turn goes on as text (ToRL, section 3.2)."""
    NOTICE = "notice"
    """Nothing runs, and a notice in place of the output says so."""
    END = "end"
    """The episode is truncated."""


class ErrorFormat(StrEnum):
    """How much of a traceback the model sees."""

    LAST_LINE = "last_line"
    """`NameError: name 'a' is not defined`, as in ToRL."""
    TRACEBACK = "traceback"


class OnTimeout(StrEnum):
    """What a call does that ran into a time limit."""

    OBSERVE = "observe"
    """The model reads it and goes on."""
    END = "end"
    """The episode is truncated."""


_ENUMS: dict[str, type[StrEnum]] = {
    "over_budget": OverBudget,
    "error_format": ErrorFormat,
    "on_timeout": OnTimeout,
}
_LEAST = {"tool_budget": 0, "max_turns": 1, "output_limit": 16, "max_response": 1}


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """All that makes one environment differ from another; each field is a keyword of `gym.make`.

    A field that takes an object also takes its name `module:object`. Everything is checked here,
    when the description is made; problems and sandbox are opened by the environment.

    Raises:
        ConfigError: A value has a wrong type or is out of range, a name cannot be loaded, or two
            options contradict each other.

    Example:
        >>> EnvConfig(tool_budget=2).tool_budget
        2
        >>> EnvConfig(tool_budget=4, max_turns=4)
        Traceback (most recent call last):
            ...
        torl_env.errors.ConfigError: max_turns must exceed tool_budget, or the model cannot answer \
after its last call: got max_turns=4, tool_budget=4
        >>> EnvConfig.from_json(EnvConfig(tools="python").to_json()) == EnvConfig(tools="python")
        True
    """

    problems: str | ProblemSource = "procedural:easy"
    """A name or path, see `torl data list`, `module:object` or a source."""
    split: str | None = None
    """Split of problems opened by name; their default one when left out."""
    prompt: str | Callable[[str], str] = "{question}"
    """The first observation: a template with `{question}`, a function of it or `module:object`."""
    system: str | None = None
    """System text for chat models, `{tools}` replaced by their schemas; made up when left out."""
    parser: str | Parser = "fenced"
    """How calls are written: `fenced`, `xml`, `hermes`, `module:object` or an object."""
    tools: tuple[str | Tool, ...] | None = None
    """Tools a model may call: `python`, `module:object` or objects; Python alone when left out."""
    tool_budget: int = 1
    """C of ToRL: tool calls per episode; 0 is reasoning without tools."""
    max_turns: int = 16
    """Turns of the model; a call in the last one does not run and truncates the episode."""
    over_budget: OverBudget = OverBudget.IGNORE
    """A call past the budget goes on as text, is answered by a notice, or ends the episode."""
    stateful: bool = False
    """Whether variables live from one call to the next within an episode."""
    limits: Limits = field(default_factory=Limits)
    """What one program may use."""
    error_format: ErrorFormat = ErrorFormat.LAST_LINE
    """How much of a traceback the model sees."""
    on_timeout: OnTimeout = OnTimeout.OBSERVE
    """Whether the model goes on after a call that ran out of time, or the episode ends."""
    output_limit: int = 256
    """Longest output shown, in units of `length`; head and tail are kept. ToRL, THOR: 256."""
    max_response: int = 262_144
    """Longest response, in units of `length`; a longer one is truncated. Samplers stop earlier."""
    length: str | Callable[[str], int] = "characters"
    """What limits on text count: `characters`, a function (of tokens, say) or `module:object`."""
    reward: str | Reward | Callable[[Any], float] = "torl"
    """A preset of `rewards`, `module:object`, a `Reward` or a function of an `Attempt`."""
    grader: str | Grader | None = None
    """`grader(response, reference)` to a `Grade` or bool; `rewards.grade` when left out."""
    sandbox: str | Sandbox = "local"
    """Where programs run: a backend's name with its arguments, or an object that you close."""

    def __post_init__(self) -> None:
        if self.tools is not None:
            given = self.tools if isinstance(self.tools, list | tuple) else (self.tools,)
            object.__setattr__(self, "tools", tuple(given))
        for name, enum in _ENUMS.items():
            object.__setattr__(self, name, _member(enum, name, getattr(self, name)))
        for name, least in _LEAST.items():
            object.__setattr__(self, name, _integer(name, getattr(self, name), least))
        object.__setattr__(self, "limits", _limits(self.limits))
        if not isinstance(self.stateful, bool):
            raise ConfigError(f"stateful must be True or False, got {self.stateful!r}")
        object.__setattr__(self, "problems", _problems(self.problems))
        for name in ("split", "system"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name} must be text or None, got {getattr(self, name)!r}")
        if self.max_turns <= self.tool_budget:
            raise ConfigError(
                "max_turns must exceed tool_budget, or the model cannot answer after its last "
                f"call: got max_turns={self.max_turns}, tool_budget={self.tool_budget}"
            )
        if not isinstance(self.sandbox, str) and not hasattr(self.sandbox, "submit"):
            raise ConfigError(
                f"sandbox must be a name such as 'local', or an object with run, submit and "
                f"session, got {self.sandbox!r}"
            )
        # Asked here, so that a wrong object is refused now and not in the middle of an episode.
        _ = self.components

    @cached_property
    def components(self) -> Components:
        """The objects that the fields name."""
        tools = read_tools(self.tools)
        return Components(
            tools=tools,
            parser=read_parser(self.parser, tuple(tool.name for tool in tools)),
            reward=read_reward(self.reward),
            grader=read_grader(self.grader),
            prompt=read_prompt(self.prompt),
            length=read_length(self.length),
        )

    def __getstate__(self) -> dict[str, Any]:
        # Components are looked up again where a copy is used: some cannot be pickled.
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of(cls, config: "EnvConfig | None" = None, **options: Any) -> "EnvConfig":
        """A description, with some of its fields changed.

        Raises:
            ConfigError: As the class; also for a name that is no field.
        """
        known = [one.name for one in fields(cls)]
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known, most=1)
                # What Gymnasium gives an env of `make_vec` whose spec has a time limit.
                hint = " Did you mean max_turns?" if name == "max_episode_steps" else hint
                raise ConfigError(f"{name!r} is no option.{hint} Options: {', '.join(known)}")
        if config is None:
            return cls(**options)
        if not isinstance(config, EnvConfig):
            raise ConfigError(f"config must be an EnvConfig, got {config!r}")
        return cls(**{**config.__getstate__(), **options})

    def to_json(self) -> str:
        """As text: values and names; an object that has no name is kept as its repr and marked.

        Functions, classes and presets know their names, so that `[sql]` becomes `mine:sql` where
        `sql` is a function of the module `mine`.
        """
        kept = {one.name: _stored(getattr(self, one.name)) for one in fields(self)}
        return json.dumps({"format": FORMAT, **kept})

    @classmethod
    def from_json(cls, text: str, **given: Any) -> Self:
        """Read what `to_json` wrote.

        Args:
            text: The text.
            **given: Fields to replace, among them each that held an object without a name.

        Raises:
            ConfigError: It is no such text, or holds an object without a name that is not given.
        """
        try:
            kept = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"expected the text that EnvConfig.to_json() gave: {error}") from None
        if not isinstance(kept, dict) or kept.pop("format", None) != FORMAT:
            raise ConfigError(f"expected the text that EnvConfig.to_json() gave, format {FORMAT}")
        kept |= given
        lost = [
            f"{name} ({one[OBJECT]})"
            for name, value in kept.items()
            for one in (value if isinstance(value, list) else [value])
            if isinstance(one, Mapping) and OBJECT in one
        ]
        if lost:
            raise ConfigError(
                f"this environment was made with objects that have no module:object name: "
                f"{', '.join(lost)}; give them again, as from_json(text, name=object)"
            )
        made: Self = cls.of(None, **kept)  # type: ignore[assignment]
        return made


def _stored(value: object) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Limits):
        return asdict(value)
    if isinstance(value, tuple):
        return [_stored(one) for one in value]
    if type(value) is PythonTool:
        return value.name
    if isinstance(value, Reward) and _is_preset(value):
        return value.name
    return reference_of(value) or {OBJECT: repr(value)}


def _is_preset(reward: Reward) -> bool:
    return reward.name in rewards.presets() and rewards.reward(reward.name) is reward


def _member(enum: type[StrEnum], name: str, value: str) -> StrEnum:
    try:
        return enum(value)
    except ValueError:
        choices = ", ".join(repr(str(member)) for member in enum)
        raise ConfigError(f"{name} must be one of {choices}, got {value!r}") from None


def _integer(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)  # numpy's integers are integers, 1.0 and "1" are not
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ConfigError(
            f"{name} must be an integer of at least {least}, got {value!r} ({type(value).__name__})"
        )
    if number < least:
        raise ConfigError(f"{name} must be at least {least}, got {number}")
    return number


def _problems(given: Any) -> Any:
    if isinstance(given, PathLike):
        return fspath(given)
    if not isinstance(given, str | list | tuple | type | ProblemSource):
        raise ConfigError(
            "problems must be a name, a path, module:object, a source or a list of Problem, "
            f"got {given!r}"
        )
    return given


def _limits(value: object) -> Limits:
    """The limits themselves, or those that a mapping names."""
    if isinstance(value, Limits):
        return value
    known = [one.name for one in fields(Limits)]
    if not isinstance(value, Mapping) or set(value) - set(known):
        raise ConfigError(
            f"limits must be a Limits or a mapping of some of {', '.join(known)}, got {value!r}"
        )
    for name, amount in value.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise ConfigError(f"limits[{name!r}] must be a number, got {amount!r}")
    try:
        return Limits(**value)
    except ValueError as error:
        raise ConfigError(str(error)) from None
