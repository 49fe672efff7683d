"""`torl play`: a person is the policy, in the terminal or through a pipe."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import gymnasium as gym

import torl_env
from torl.console import CommandError
from torl_env import EnvConfig

HELP = (
    "You are the policy. Write text, a ```python block to run code, or \\boxed{answer}.\n"
    "An empty line outside of a block ends your turn; Ctrl-D ends the game."
)


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """Solve problems yourself and see what a model would see, and what reward it would get."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment. Each of its options may be written short: --problems, --tool-budget,
    --stateful, --reward, --tools, ..."""
    problem_id: str | None = None
    """Play this one problem."""
    seed: int = 0
    episodes: int = 1
    """Problems in a row; 0 goes on until Ctrl-D."""


def main(options: PlayOptions) -> int:
    """Play until the episodes or the input end.

    Raises:
        CommandError: An option is out of range.
    """
    if options.episodes < 0:
        raise CommandError(f"--episodes: expected 0 or more, got {options.episodes}")
    env = gym.make(torl_env.ENV_ID, config=options.env)
    source = env.unwrapped.problems  # type: ignore[attr-defined]
    pin = {"problem_id": options.problem_id} if options.problem_id else None
    try:
        print(HELP)
        played = 0
        while options.episodes == 0 or played < options.episodes:
            prompt, info = env.reset(seed=options.seed if played == 0 else None, options=pin)
            _heading(f"problem {info['problem_id']}", f"tool budget {options.env.tool_budget}")
            print(prompt)
            final = _episode(env)
            if final is None:
                print("no more input; the episode stays unfinished")
                return 0
            _outcome(final, source.find(final["problem_id"]).answer)
            played += 1
    finally:
        env.close()
    return 0


def read_turn(stream: TextIO, show: bool) -> str | None:
    """One turn of the person: lines up to an empty one outside of a code block, or to the end.

    Args:
        stream: Where the lines come from.
        show: Print a prompt before each line.

    Returns:
        The text with its last line break, `None` when the input has ended.
    """
    lines: list[str] = []
    fenced = False
    while True:
        if show:
            print("... " if lines else ">>> ", end="", flush=True)
        line = stream.readline()
        if not line:
            return "".join(lines) or None
        if not line.strip() and not fenced:
            if lines:
                return "".join(lines)
            continue
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line)


def _episode(env: "gym.Env[str, str]") -> dict[str, Any] | None:
    """Play to the end; the last info, or `None` when the input ended first."""
    interactive = sys.stdin.isatty()
    while True:
        text = read_turn(sys.stdin, interactive)
        if text is None:
            return None
        if not interactive:
            _heading("you")
            print(text, end="" if text.endswith("\n") else "\n")
        observation, reward, terminated, truncated, info = env.step(text)
        if observation:
            _heading("environment", info["tool_status"], info["error_type"])
            print(observation.strip("\n"))
        if terminated or truncated:
            return info | {"reward": reward}
        if info["continue_generation"]:
            print(f"(nothing ran: {info['tool_calls']} tool calls are used up; go on in text)")


def _outcome(info: Mapping[str, Any], reference: str) -> None:
    terms = ", ".join(f"{name} {value:+g}" for name, value in info["reward_terms"].items())
    _heading("end", str(info["stop_reason"]))
    if info["infra_error"]:
        print(f"infrastructure error: {info['infra_error']}; nothing is scored")
        return
    print(f"verdict    {info['verdict'] or '-'}")
    print(f"answer     {info['answer'] or '-'}   (reference {reference})")
    print(f"reward     {info['reward']:+g}" + (f"   ({terms})" if terms else ""))
    print(f"tool calls {info['tool_calls']}, of which failed {info['tool_errors']}")


def _heading(*parts: str) -> None:
    text = " · ".join(part for part in parts if part)
    line = f"── {text} " + "─" * max(0, 60 - len(text))
    print(f"\033[1m{line}\033[0m" if sys.stdout.isatty() else line, flush=True)
