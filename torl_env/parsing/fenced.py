r"""How a turn of the model is read: the action grammar, and the fenced style of the papers.

A turn that ends with a closed tool block is a call; every other turn is final. Fenced style:

| the turn | is |
| --- | --- |
| prose, then a closed ```` ```python ```` block, then nothing | a call of `python` |
| the same, then white space, or a bare `<think>` or `</think>` | a call |
| the same, then ```` ```output ```` opened and empty | a call; the observation goes inside |
| the same, then any other text | final: no code runs |
| two or more closed blocks, the last at the end | a call of the last; the others never run |
| an empty closed block | a call of the empty program |
| a tool block that runs into another fence (```` ```output ````) | closed by it, as in ToRL |
| text behind the closing fence, glued to it or not | closes it; final, and the text counts |
| a fence and its block indented by up to three spaces, as in a list | the block without them |
| an unclosed ```` ```python ```` block | final: no program, and no answer inside it counts |
| a block inside another fence or behind `>` | quoted text, not a call |
| a fence that is not at the start of its line (up to three spaces) | plain text |
| no fence at all, or an empty turn | final |
| it ends at the opening of a fence without a language | unfinished: generation goes on |

A closing fence has at least as many back-ticks as the opening one, so no line of a program can
begin with them; other blocks close as in CommonMark. Lines end with LF or CRLF. A language is the
tool that is spelt so, else one that is in another case; `py` and `python3` mean `python` where no
tool is called so. `info["stop"]` names the strings at which a sampler stops, keeping them
in the text; one that sees tokens uses `closes_tool_call` instead.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torl_env.errors import ConfigError
from torl_env.parsing.types import (
    Malformed,
    Parser,
    Reading,
    ToolCall,
    Unfinished,
)


class _Block(NamedTuple):
    language: str
    loose: bool
    """Whether its language is a tool or `output`."""
    ticks: int
    indent: int
    """Blanks before the opening fence, which the lines inside lose as well."""
    start: int
    """Offset of the opening fence."""
    inside: int
    """Offset of the first character after the opening line."""
    close: int
    """Offset of the closing fence, or the end of the text."""
    end: int
    """Offset of what follows the block, or the end of the text."""
    closed: bool


# Possessive quantifiers keep the scan linear on a megabyte of back-ticks.
_FENCE = re.compile(r"^( {0,3})(`{3,}+)([^\n]*+)$", re.MULTILINE)
# ```output opens another block and so closes this one; ```So the answer is 5 closes it with text.
_INFO = re.compile(r"[\w+#.-]++[ \t\r]*+")
_THOUGHT = re.compile(r"</?think(?:ing)?>")
"""Tags that chat templates leave behind a call; alone they say nothing."""
_ALIASES = {"py": "python", "python3": "python"}


def _blocks(text: str, loose: Mapping[str, str]) -> Iterator[_Block]:
    """Fenced blocks in order; those of `loose` languages are closed by any fence long enough.

    Args:
        text: A turn.
        loose: These languages by their spellings.
    """
    block: _Block | None = None
    for fence in _FENCE.finditer(text):
        if block is None:
            block = _opened(fence, len(text), loose)
            continue
        rest = fence[3]
        if len(fence[2]) < block.ticks or (rest.strip() and not block.loose):
            continue
        another = _INFO.fullmatch(rest) is not None
        end = fence.start() if another else fence.end(2) if rest.strip() else fence.end()
        yield block._replace(close=fence.start(), end=end, closed=True)
        block = _opened(fence, len(text), loose) if another else None
    if block is not None:
        yield block


def _opened(fence: re.Match[str], size: int, loose: Mapping[str, str]) -> _Block | None:
    """The block that begins here, unclosed so far; `None` for inline code."""
    if "`" in fence[3]:
        return None
    words = fence[3].split(maxsplit=1)
    word = words[0] if words else ""
    folded = word.lower()
    language = next(
        (loose[one] for one in (word, folded, _ALIASES.get(folded, "")) if one in loose), folded
    )
    inside = min(fence.end() + 1, size)
    return _Block(
        language,
        language in loose,
        len(fence[2]),
        len(fence[1]),
        fence.start(),
        inside,
        close=size,
        end=size,
        closed=False,
    )


class TagStyle:
    r"""A style whose calls are named by their first line or tag, and whose output has a frame.

    Example:
        >>> style = TagStyle()
        >>> style.opening, style.closing = "<output>", "</output>"
        >>> style.frame("<python>1</python>", "1")
        '\n<output>\n1\n</output>\n'
        >>> style.frame("<python>1</python>\n<output>\n", "1")
        '1\n</output>\n'
    """

    stop: tuple[str, ...]
    """See `Parser`."""
    opening: str
    """First line of an output."""
    closing: str
    """Its last line."""
    spelling: str
    """A call, with `{name}` for its tool."""
    sample: str
    """The shortest call of `{name}`."""
    how: str
    """One sentence for the model on how to call."""

    def _refuse_unreadable(self, names: Iterable[str]) -> None:
        """Whether each tool can be called at all: a style may read another name, or stop in it."""
        for name in names:
            call = self.sample.format(name=name)
            reading = self.parse(call)
            read = isinstance(reading, ToolCall) and reading.name == name
            if not read or any(stop in call[:-1] for stop in self.stop):
                raise ConfigError(
                    f"a tool named {name!r} cannot be called as {self.spelling.format(name=name)}: "
                    "give it a name of letters, digits and _ that this style does not use itself, "
                    'or take parser="hermes", which writes names in JSON'
                )

    def parse(self, turn: str) -> Reading:
        """Read one whole turn."""
        raise NotImplementedError

    def describe(self, schemas: Sequence[Mapping[str, Any]]) -> str:
        """The tools, a line each, and how they are called, for a system text."""
        tools = [one["function"] for one in schemas]
        lines = [
            f"- {self.spelling.format(name=tool['name'])}: {tool['description']} "
            f"Inside: {_arguments(tool['parameters']['properties'])}"
            for tool in tools
        ]
        return "\n".join([self.how, *lines])

    def frame(self, turn: str, body: str) -> str:
        """The output on lines of its own, without its opening line where the turn has written it.

        The sampler may have stopped before or behind that line: the transcript has it once.
        """
        newline = "" if turn.endswith("\n") else "\n"
        start = "" if turn.rstrip().endswith(self.opening) else f"{self.opening}\n"
        return f"{newline}{start}{body}\n{self.closing}\n"


def _arguments(properties: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands inside a call that has no names: the one text, or a JSON object."""
    said = [
        f"{name} ({detail})" if detail else name
        for name, one in properties.items()
        for detail in [one.get("description") or one.get("type", "")]
    ]
    if len(said) == 1 and next(iter(properties.values())).get("type") == "string":
        return said[0]
    return f"a JSON object with {', '.join(said)}" if said else "nothing"


class FencedParser(TagStyle):
    r"""Markdown fences, as ToRL and THOR write them; the rules are in the table of this module.

    Args:
        names: Languages that are tools; one block runs the tool of its language.

    Raises:
        ConfigError: A name cannot be the language of a block.

    Example:
        >>> parser = FencedParser()
        >>> parser.parse("I compute.\n```python\nprint(6*7)\n```")
        ToolCall(name='python', body='print(6*7)', arguments=None)
        >>> parser.parse("It is \\boxed{42}.") is None
        True
    """

    stop: tuple[str, ...] = ("```output", "\n```\n")
    opening, closing = "```output", "```"
    spelling, sample = "```{name}", "```{name}\n```"
    how = "To call a tool, end your turn with a block of its name; its output follows."

    def __init__(self, names: tuple[str, ...] = ("python",)) -> None:
        self.names = frozenset(names)
        # The spelling itself comes before one in another case, and the first tool before others.
        folded = {name.lower(): name for name in reversed(names)}
        self._loose = folded | {name: name for name in (*names, "output")}
        self._refuse_unreadable(names)

    def parse(self, turn: str) -> Reading:
        """Read one whole turn; time is linear in its length."""
        before: _Block | None = None
        last: _Block | None = None
        # Only the last two blocks matter: the call, and an `output` that the model has opened.
        for block in _blocks(turn, self._loose):
            before, last = last, block
        if last is None:
            return None
        if not last.closed and not turn[last.inside :].strip():
            # The stop string "\n```\n" also ends the opening of a block without a language.
            if last.language == "" and turn.endswith("\n"):
                return Unfinished()
            if last.language != "output" or before is None:
                return None
            last, rest = before, turn[before.end : last.start]
        else:
            rest = turn[last.end :]
        if not last.closed or last.language not in self.names or _THOUGHT.sub("", rest).strip():
            return None
        body = turn[last.inside : last.close].replace("\r\n", "\n")
        if last.indent:
            # In an item of a list a block is indented as a whole (CommonMark, 4.5).
            body = re.sub(rf"^ {{1,{last.indent}}}", "", body, flags=re.MULTILINE)
        return ToolCall(last.language, body.removesuffix("\n"))

    def prose(self, turn: str) -> str:
        """The turn without tool and output blocks; an unclosed one reaches to the end."""
        kept, at = [], 0
        for block in _blocks(turn, self._loose):
            if block.loose:
                kept.append(turn[at : block.start])
                at = block.end
        return "".join([*kept, turn[at:]])


_FENCED = FencedParser()


def closes_tool_call(text: str, parser: Parser = _FENCED) -> bool:
    r"""Whether a sampler that has produced `text` in this turn should stop, for a tool is called.

    It costs one look at the end of the text unless that ends like a call.

    Example:
        >>> closes_tool_call("```python\nprint(1)\n```"), closes_tool_call("```python\n")
        (True, False)
    """
    tail = text.rstrip()
    if not any(tail.endswith(stop.strip()) for stop in parser.stop):
        return False
    return isinstance(parser.parse(text), ToolCall | Malformed)


def ends_of_calls(parser: Parser) -> tuple[str, ...]:
    r"""Strings that every finished call ends with one of.

    Unlike `Parser.stop` nothing may be left to come after a call: a model that has seen only
    outputs after a closing fence would have to write a line break that it was never shown.

    Example:
        >>> ends_of_calls(FencedParser())
        ('```',)
    """
    return ("```",) if isinstance(parser, FencedParser) else tuple(s.strip() for s in parser.stop)
