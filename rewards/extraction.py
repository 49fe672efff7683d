r"""Find the final answer in a model's response: where it stands, and what it says.

The answer is the last `\boxed{...}` or `\fbox{...}` outside code and tool output. Braces balance at
any depth. The rules, all of them bounded and linear in the text:

| response                                          | extracted                                 |
| ------------------------------------------------- | ----------------------------------------- |
| several boxes, a blank line before the last       | the last one                              |
| several boxes in the paragraph of the last        | the last one, the others in `others`      |
| the last box is unclosed or empty                 | nothing: an earlier box is never taken    |
| a box inside a box                                | the outer one; its inner box is unwrapped |
| a box in a fenced block of code or output         | not seen, closed or not                   |
| a box in a block fenced as latex, math, text, ... | seen: that is a way to typeset, not code  |
| `\boxed 57`, `\boxed x`                           | the number, the letter                    |
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

WINDOW = 65_536
"""Characters from the end of a response in which an answer is looked for."""

_TYPESET = frozenset({"latex", "tex", "math", "markdown", "md", "text", "txt", "plaintext"})
_FENCE = re.compile(
    r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+-]*)[^\n]*$|```(python|py|output)[ \t]*\r?$", re.MULTILINE
)
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_HASHES = re.compile(r"^[ \t]*####[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<answer>((?:(?!</?answer>).)*)(</answer>)?", re.DOTALL | re.IGNORECASE)
_PHRASE = re.compile(
    r"\b(?:the\s+(?:final\s+|correct\s+)?answer\s+is|(?:final\s+)?answer\s*:)\s*:?\s*(.+?)"
    r"(?=\.(?:\s|$)|\n|$)",
    re.IGNORECASE,
)


class Style(StrEnum):
    """Ways in which a response may mark its answer."""

    BOX = "box"
    HASHES = "hashes"
    """The last line `#### answer`, as in GSM8K."""
    TAG = "tag"
    """The last `<answer>...</answer>`."""
    PHRASE = "phrase"
    """The last "the answer is ..." or "Answer: ...", to the end of its sentence."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in a response, and where."""

    answer: str | None
    """Without surrounding white space; `None` when `problem` is set."""
    kind: Style | None = None
    """The style under which something was found, even if it was unclosed or empty."""
    start: int = -1
    """Index in the response of the first character inside the marks; -1 when there is none."""
    end: int = -1
    """Index after the last character inside the marks."""
    boxed: bool = False
    """The answer came from a closed, non-empty box."""
    problem: str = ""
    """`no_box`, `unclosed_box` or `empty_box` (the same with another style's name), else `""`."""
    others: tuple[str, ...] = ()
    """Boxes before it in the same paragraph: further answers, or a hedge."""


def extract(response: str, styles: Sequence[Style | str] = (Style.BOX,)) -> Extraction:
    r"""Find the final answer of a response.

    Args:
        response: The model's own turns. Fenced code and output is skipped, closed or not.
        styles: What may mark an answer, in order of preference: the first style that marks
            anything decides, even if what it marks is unclosed or empty.

    Returns:
        The answer with its place, or the problem that left none.

    >>> extract(r"So $x = \boxed{\frac{1}{2}}$.").answer
    '\\frac{1}{2}'
    >>> extract(r"thus \boxed{4} and then \boxed{5").problem
    'unclosed_box'
    >>> extract("#### 72", styles=("box", "hashes")).answer
    '72'
    """
    offset = max(0, len(response) - WINDOW)
    prose = _mask_code(response)[offset:]
    for style in styles:
        found = _FINDERS[Style(style)](prose, offset)
        if found is not None:
            return found
    return Extraction(None, problem=f"no_{Style(styles[0])}" if styles else "no_style")


def _mask_code(text: str) -> str:
    """The text with fenced code and output blanked out, so that every index stays the same."""
    if "```" not in text and "~~~" not in text:
        return text
    out = list[str]()
    position = 0
    for start, end in _code_spans(text):
        out.append(text[position:start])
        out.append("\n" * (end - start))
        position = end
    out.append(text[position:])
    return "".join(out)


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of fenced code. A fence in a block closes it; one with a label opens the next."""
    opened: int | None = None
    typeset = False
    for match in _FENCE.finditer(text):
        label = (match[1] or match[2] or "").lower()
        start = match.start()
        if opened is not None:
            if not typeset:
                yield opened, match.end()
                start = match.end()
            opened = None
            if not label:
                continue
        opened, typeset = start, label in _TYPESET
    if opened is not None and not typeset:
        yield opened, len(text)


@dataclass(slots=True)
class _Box:
    start: int
    end: int
    """-1 when the brace never closes."""


def _find_box(prose: str, offset: int) -> Extraction | None:
    last = max(prose.rfind("\\boxed"), prose.rfind("\\fbox"))
    if last < 0:
        return None
    paragraph = 0
    for blank in _BLANK_LINE.finditer(prose, 0, last):
        paragraph = blank.end()
    boxes = _boxes(prose, paragraph)
    if boxes and boxes[0].end < 0 and paragraph:
        boxes = _boxes(prose, last)
    if not boxes:
        return None
    final = boxes[-1]
    if final.end < 0:
        return Extraction(None, Style.BOX, final.start + offset, -1, problem="unclosed_box")
    answer = prose[final.start : final.end].strip()
    if not answer:
        where = (final.start + offset, final.end + offset)
        return Extraction(None, Style.BOX, *where, problem="empty_box")
    others = tuple(
        inner
        for box in boxes[:-1]
        if box.end >= 0 and (inner := prose[box.start : box.end].strip())
    )
    return Extraction(
        answer, Style.BOX, final.start + offset, final.end + offset, boxed=True, others=others
    )


def _boxes(prose: str, start: int) -> list[_Box]:
    """The outermost boxes from `start` on, in order; one pass, whatever is nested in them."""
    boxes: list[_Box] = []
    position = start
    while match := _BOX.search(prose, position):
        inside = match.end()
        if prose[inside : inside + 1] == "{":
            end = _closing(prose, inside)
            boxes.append(_Box(inside + 1, end))
            if end < 0:
                break
            position = end
        else:
            bare = _BARE.match(prose, inside)
            if bare:
                boxes.append(_Box(inside, bare.end()))
            position = bare.end() if bare else inside
    return boxes


def _closing(prose: str, brace: int) -> int:
    """Index of the brace that closes the one at `brace`, or -1; escaped braces do not count."""
    depth = 0
    for match in _BRACE.finditer(prose, brace):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return -1


def _find_last(
    pattern: re.Pattern[str], style: Style, prose: str, offset: int
) -> Extraction | None:
    found = list(pattern.finditer(prose))
    if not found:
        return None
    final = found[-1]
    start, end = final.start(1) + offset, final.end(1) + offset
    if style is Style.TAG and final[2] is None:
        return Extraction(None, style, start, -1, problem="unclosed_tag")
    answer = final[1].strip()
    if not answer:
        return Extraction(None, style, start, end, problem=f"empty_{style}")
    return Extraction(answer, style, start, end)


def _find_hashes(prose: str, offset: int) -> Extraction | None:
    return _find_last(_HASHES, Style.HASHES, prose, offset)


def _find_tag(prose: str, offset: int) -> Extraction | None:
    return _find_last(_TAG, Style.TAG, prose, offset)


def _find_phrase(prose: str, offset: int) -> Extraction | None:
    return _find_last(_PHRASE, Style.PHRASE, prose, offset)


_FINDERS = {
    Style.BOX: _find_box,
    Style.HASHES: _find_hashes,
    Style.TAG: _find_tag,
    Style.PHRASE: _find_phrase,
}
