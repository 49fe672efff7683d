"""`torl completion`: what the Tab key completes, for bash, zsh and fish."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from torl.__main__ import COMMANDS
from torl.environment import FIELDS


@dataclass(frozen=True, slots=True)
class CompletionOptions:
    """Print a completion script for a shell.

    bash: torl completion bash > ~/.local/share/bash-completion/completions/torl
    zsh: torl completion zsh > ~/.torl-completion, and `source ~/.torl-completion` in ~/.zshrc
    fish: torl completion fish > ~/.config/fish/completions/torl.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]


def main(options: CompletionOptions) -> int:
    """Print the script."""
    found = {name: words_of(name) for name in COMMANDS}
    if options.shell == "fish":
        print(_fish(found))
    else:
        # zsh reads bash's completions once it is asked to.
        head = "autoload -Uz bashcompinit && bashcompinit\n" if options.shell == "zsh" else ""
        print(head + _bash(found))
    return 0


def words_of(command: str) -> list[str]:
    """The words and options that may follow a command."""
    options = getattr(importlib.import_module(COMMANDS[command].module), COMMANDS[command].options)
    parts = get_args(options) or (options,)
    found: dict[str, None] = {}
    for part in parts:
        kind, *marks = get_args(part) or (part,)
        # What `tyro.conf.subcommand(NAME)` made of the word.
        found |= dict.fromkeys(mark.name for mark in marks if getattr(mark, "name", None))
        found |= dict.fromkeys(_options(kind))
    return [*found, "--help"]


def _options(kind: type[Any], prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        hint, name = hints[item.name], prefix + item.name.replace("_", "-")
        if get_origin(hint) is Annotated:
            if tyro.conf.Positional in get_args(hint):
                continue
            hint = get_args(hint)[0]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _options(hint, f"{name}.")
        else:
            yield f"--{name}"
        if name == "env":  # its options have short names too
            yield from (f"--{short.replace('_', '-')}" for short in FIELDS)


def _bash(found: Mapping[str, list[str]]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(found[name])}" ;;' for name in found)
    return f"""\
_torl() {{
  local words="{" ".join(found)} --help --version" current="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -gt 1 ]; then
    words=""
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _torl torl"""


def _fish(found: Mapping[str, list[str]]) -> str:
    lines = [
        f"complete -c torl -n __fish_use_subcommand -a {name} -d '{COMMANDS[name].summary}'"
        for name in found
    ]
    for name, words in found.items():
        seen = f"complete -c torl -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{seen} -a '{word}'" for word in words]
    return "\n".join(lines)
