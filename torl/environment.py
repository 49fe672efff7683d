"""The environment of a command or a call: from keywords, words, or the file of a run."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import gymnasium as gym

from agents.core.run.folder import Run
from rewards.suggestion import did_you_mean
from torl.console import CommandError
from torl_env import EnvConfig

Options = TypeVar("Options")

FIELDS = tuple(item.name for item in fields(EnvConfig))
"""Of the environment; each is an option of its own too where a command has no other of its name."""

TURNS = 16
"""So many are left for text when all calls of a budget are made."""


def environment(base: EnvConfig | None = None, **given: Any) -> EnvConfig:
    """A description with some of its fields changed, and turns enough for its calls.

    Raises:
        ConfigError: See `EnvConfig`.

    Example:
        >>> environment(tool_budget=20).max_turns
        36
    """
    budget = given.get("tool_budget")
    if isinstance(budget, int) and "max_turns" not in given:
        given["max_turns"] = budget + TURNS
    return EnvConfig.of(base, **given)


def made(kind: type[Options], given: Mapping[str, Any], default: Options | None = None) -> Options:
    """Options from the keywords of a Python call; fields of the environment may stand among them.

    Args:
        kind: The dataclass of a command.
        given: Its fields, those of `EnvConfig`, and `env`: a mapping of such, or an `EnvConfig`.
        default: What counts where nothing is given.

    Raises:
        CommandError: A keyword is none of them.
        ConfigError: See `EnvConfig`.
    """
    own = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    mine: dict[str, Any] = {}
    env: dict[str, Any] = {}
    for name, value in given.items():
        if name not in own and name not in FIELDS:
            hint = did_you_mean(name, [*own, *FIELDS], most=1)
            raise CommandError(
                f"{name!r} is no option.{hint} Options: {', '.join(own)}; of the environment: "
                f"{', '.join(FIELDS)}"
            )
        (mine if name in own else env)[name] = value
    start = _values(kind) if default is None else _values(default)
    base, described = start.get("env"), mine.pop("env", None)
    if isinstance(described, gym.Env):
        mine["text_env"] = described
    elif isinstance(described, EnvConfig):
        base = described
    elif isinstance(described, Mapping):
        env = {**described, **env}
    elif described is not None:
        raise CommandError(
            f"env: expected a dict of options, an EnvConfig or a Gymnasium environment, got "
            f"{described!r}"
        )
    if "env" in own:
        mine["env"] = environment(base, **env)
    return kind(**{**start, **_as_declared(kind, mine)})


def _values(of: Any) -> dict[str, Any]:
    """The fields of an instance, or the defaults of a class."""
    if not isinstance(of, type):
        return {item.name: getattr(of, item.name) for item in fields(of)}
    found = {}
    for item in fields(of):
        if item.default is not MISSING:
            found[item.name] = item.default
        elif item.default_factory is not MISSING:
            found[item.name] = item.default_factory()
    return found


def _as_declared(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Text as a path and a list as a tuple, where the field is one."""
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for name, value in given.items():
        kinds = (hints[name], *get_args(hints[name]))
        if isinstance(value, str) and Path in kinds and str not in kinds:
            found[name] = Path(value)
        elif isinstance(value, list) and str(hints[name]).startswith("tuple"):
            found[name] = tuple(value)
        else:
            found[name] = value
    return found


def lengthened(words: Sequence[str], own: Collection[str]) -> list[str]:
    """Options of the environment by their whole names: `--stateful` is `--env.stateful`.

    Args:
        words: Of the command line.
        own: Fields of the command itself, which go before.

    Example:
        >>> lengthened(["--tool-budget", "3", "--no-stateful", "--out=a"], ["out", "env"])
        ['--env.tool-budget', '3', '--env.no-stateful', '--out=a', '--env.max-turns', '19']
    """
    found = []
    for word in words:
        name = word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        short = word.startswith("--") and name in FIELDS and name not in own
        found.append(f"--env.{word[2:]}" if short else word)
    # Room for text behind the last call, as `environment` gives it.
    if not any(word.split("=")[0] == "--env.max-turns" for word in found):
        budget = value_of("--env.tool-budget", found)
        if budget.isdigit():
            found += ["--env.max-turns", str(int(budget) + TURNS)]
    return found


def value_of(option: str, words: Sequence[str]) -> str:
    """What the command line says of an option, `""` where it says nothing; the last one counts.

    Example:
        >>> value_of("--model", ["--model", "a", "--model=b"])
        'b'
        >>> value_of("--model", [])
        ''
    """
    found = ""
    for word, after in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else after
    return found


def stored(config: EnvConfig) -> dict[str, Any]:
    """A description as a record keeps it; objects without a name leave their repr, no address."""
    text = re.sub(r" at 0x[0-9a-f]+", "", config.to_json())
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What an evaluation takes over from the run whose model it evaluates."""

    env: EnvConfig
    heldout: Any
    """Problems that the run evaluates on; `""` for the held-out split of its own."""
    prompt: str
    max_tokens: int
    text_env: Any


def run_settings(model: str | Path, text_env: Any = None, **given: Any) -> RunSettings | None:
    """How the run was made that this model is of; `None` for a model that is of no run.

    Args:
        model: A run folder, or a checkpoint in one.
        text_env: In place of the environment of the user's own that the run was made in.
        **given: Fields of the environment in place of those of the run, among them each that held
            an object without a name.

    Raises:
        ConfigError: The run used an object without a name, and it is not given.
    """
    path = Path(model)
    for folder in (path, path.parent):
        if (folder / "config.json").is_file():
            options = Run(folder).read_config().get("options")
            if isinstance(options, dict) and "env" in options:
                env = EnvConfig.from_json(json.dumps(options["env"]), **given)
                names = ("heldout", "prompt", "max_tokens", "text_env")
                kept: list[Any] = [options.get(name) for name in names]
                if isinstance(kept[-1], dict):
                    if text_env is None:
                        raise CommandError(
                            f"{folder} was trained in an environment that has no module:object "
                            f"name ({kept[-1]}): give it again, env=..."
                        )
                    kept[-1] = text_env
                # Problems that were an object are not on file either; others are asked for.
                if isinstance(kept[0], dict):
                    kept[0] = ""
                return RunSettings(env, *kept)
    return None
