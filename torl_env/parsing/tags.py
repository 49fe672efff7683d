"""The two styles with tags: XML, one tag per tool, and Hermes, JSON in `<tool_call>`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torl_env.parsing.fenced import TagStyle
from torl_env.parsing.types import Malformed, Reading, ToolCall


class XmlParser(TagStyle):
    r"""`<python>` ... `</python>` (GEM, verl-tool): one tag per tool, output in `<output>`.

    Raises:
        ConfigError: A tool is named as the output is.

    Example:
        >>> XmlParser().parse("So\n<python>print(1)</python>\n")
        ToolCall(name='python', body='print(1)', arguments=None)
    """

    opening, closing = "<output>", "</output>"
    spelling, sample = "<{name}>...</{name}>", "<{name}></{name}>"
    how = "To call a tool, end your turn with one of these elements; its output follows."

    def __init__(self, names: tuple[str, ...] = ("python",)) -> None:
        self.stop = tuple(f"</{name}>" for name in names)
        choice = "|".join(re.escape(name) for name in (*names, "output"))
        self._tag = re.compile(f"<(/?)({choice})>")
        self._refuse_unreadable(names)

    def parse(self, turn: str) -> Reading:
        """A turn that ends with a closed tag of a tool is a call; tags inside it are its text."""
        last = None
        for name, _, inside, close, end in self._elements(turn):
            last = (name, inside, close, end)
        if last is None or last[2] == last[3]:
            return None
        name, inside, close, end = last
        rest = turn[end:].strip()
        if name == "output" or rest not in ("", "<output>"):
            return None
        return ToolCall(name, turn[inside:close].strip("\r\n").replace("\r\n", "\n"))

    def prose(self, turn: str) -> str:
        """The turn without its tags and what is in them."""
        kept, at = [], 0
        for _, start, _, _, end in self._elements(turn):
            kept.append(turn[at:start])
            at = end
        return "\n\n".join([*kept, turn[at:]])

    def _elements(self, turn: str) -> list[tuple[str, int, int, int, int]]:
        """Name, start, inside, close, end of each; an unclosed one closes and ends with the text.

        An `<output>` opened at the very end is no element: it waits for the observation.
        """
        found: list[tuple[str, int, int, int, int]] = []
        opening: re.Match[str] | None = None
        for tag in self._tag.finditer(turn):
            # Inside an element other tags are text: a "</search>" in <python> closes nothing.
            if opening is None:
                opening = None if tag[1] else tag
            elif tag[1] and tag[2] == opening[2]:
                found.append((tag[2], opening.start(), opening.end(), tag.start(), tag.end()))
                opening = None
        if opening is not None and not (
            opening[2] == "output" and not turn[opening.end() :].strip()
        ):
            found.append((opening[2], opening.start(), opening.end(), len(turn), len(turn)))
        return found


class HermesParser(TagStyle):
    r"""`<tool_call>` with JSON inside (Hermes, Qwen): `{"name": ..., "arguments": {...}}`.

    Example:
        >>> call = '{"name": "python", "arguments": {"code": "1"}}'
        >>> HermesParser().parse(f"<tool_call>\n{call}\n</tool_call>")
        ToolCall(name='python', body='', arguments={'code': '1'})
    """

    stop: tuple[str, ...] = ("</tool_call>",)
    opening, closing = "<tool_response>", "</tool_response>"
    _CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
    _OUTPUT = re.compile(r"<tool_response>.*?(?:</tool_response>|\Z)", re.DOTALL)

    def __init__(self, names: tuple[str, ...] = ("python",)) -> None:
        self.names = names

    def parse(self, turn: str) -> Reading:
        """A turn that ends with a closed element is a call of the last one."""
        text = turn.rstrip()
        # Text behind the element makes the turn final, as in the other styles.
        if not text.endswith("</tool_call>"):
            return None
        calls = self._CALL.findall(text)
        if not calls:
            return None
        try:
            call = json.loads(calls[-1])
        except (ValueError, RecursionError) as error:  # [[[[... nests too deep for the reader
            return Malformed(f"[the tool call is not valid JSON: {error}]")
        return _call_of(call)

    def prose(self, turn: str) -> str:
        """The turn without calls and without invented responses."""
        return self._OUTPUT.sub("\n\n", self._CALL.sub("\n\n", turn))

    def describe(self, schemas: Sequence[Mapping[str, Any]]) -> str:
        """The words in which Qwen's chat template tells of tools, on which it was trained."""
        return f"{describe_functions(schemas)}\n\n{_HOW}"


_HOW = (
    "For each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def describe_functions(schemas: Sequence[Mapping[str, Any]]) -> str:
    """Function schemas as lines of JSON."""
    lines = "\n".join(json.dumps(one, ensure_ascii=False) for one in schemas)
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        f"You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{lines}\n</tools>"
    )


def _call_of(call: object) -> ToolCall | Malformed:
    if isinstance(call, dict):
        name, arguments = call.get("name"), call.get("arguments", {})
        if isinstance(name, str) and isinstance(arguments, dict):
            return ToolCall(name, "", arguments)
    return Malformed('[the tool call must be {"name": "...", "arguments": {...}}]')
