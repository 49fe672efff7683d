r"""Find the final answer in a model's response: where it stands, and what it says.

The answer is the last `\boxed{...}` or `\fbox{...}` outside code and tool output. Braces balance at
any depth. The rules, all of them bounded and linear in the text:

| response                                             | extracted                              |
| ---------------------------------------------------- | -------------------------------------- |
| a blank line, heading, rule, `</think>` or displayed | the last one                           |
| formula between the boxes, or *wait*, *so*, ...      |                                        |
| `either \boxed{4} or \boxed{5}`, `\boxed{1}, \boxed{2}` | the last one, the others in `others`  |
| parts (a), (b) with a box each                       | the last one, the others in `others`   |
| a box after the parts and a blank line, *so*, ...    | that one                               |
| the last box is unclosed                             | nothing: an earlier box is never taken |
| `\boxed{}`, `\boxed{...}`, `\boxed{answer}`          | not seen: that is a template           |
| a box inside a box                                   | the outer one; its inner is unwrapped  |
| a box in a fenced block of a language, or of output  | not seen, closed or not                |
| a box in a block without a language, or in latex     | seen: a way to typeset, and no code    |
| `\boxed 57`, `\boxed x`, `\boxed\pi`, `\boxed\frac12` | what TeX would put in the box          |
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

WINDOW = 1 << 20
"""Characters from the end of a response in which an answer is looked for."""

_TYPESET = frozenset({"", "latex", "tex", "math", "markdown", "md", "text", "txt", "plaintext"})
_FENCE = re.compile(
    r"^[ \t]*(`{3,}+|~{3,}+)([^\n]*)$|(`{3})(?=(?:python|py|output)[ \t]*\r?$)([^\n]*)$",
    re.MULTILINE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_GROUP = r"(?:\{[^{}]*\}|\s*[A-Za-z\d]|\s*\\[A-Za-z]+)"
_BARE = re.compile(
    r"-?\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])"
    rf"|-?\\[dt]?frac{_GROUP}{_GROUP}|-?\\sqrt(?:\[[^\]]*\])?{_GROUP}|-?\\(?!text|boxed|fbox)[A-Za-z]+"
)
_TEMPLATE = re.compile(
    r"(?:\\text\s*+\{)?\s*+(?:\.{2,}|…|\?+|_+|\\[lc]?dots|<[^<>]*>|(?:the |your )?(?:final )?answer"
    r"(?: here)?)?\s*+\}?",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    r"\n[ \t\r]*\n|</think>|^[ \t]*(?:\#{1,6}[ \t]|-{3,}|\*{3,}|_{3,})|\\\]|\$\$|"
    r"\b(?:wait|actually|correction|scratch that|instead|final answer|finally|therefore|thus|"
    r"hence|so|then|now|should be|which gives|the answer is|let me re)\b",
    re.MULTILINE | re.IGNORECASE,
)
"""What stands between a step and the answer, and not between two members of one answer."""
_HEDGE = re.compile(r"\b(?:or|either|maybe|perhaps|possibly|alternatively)\b", re.IGNORECASE)
_PART = re.compile(
    r"^[ \t*#]*(?:part[ \t]*)?\(?([a-h]|i{1,3}|iv|v)\)|^[ \t*#]*part[ \t]+([a-h])\b",
    re.IGNORECASE | re.MULTILINE,
)
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
    """Boxes beside it with nothing between that separates: members of a list, or a hedge."""


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
    """Spans of fenced code. A fence as long closes the block; one with a language opens the next.

    Text glued to a closing fence closes it and counts; a fence that ends on its own line is none.
    """
    opened, typeset, mark = -1, False, ""
    for match in _FENCE.finditer(text):
        fence = match[1] or match[3]
        rest = (match[2] if match[1] else match[4]) or ""
        words = rest.split(maxsplit=1)
        label = words[0].lower() if words else ""
        start = match.start()
        if opened >= 0:
            if not (fence.startswith(mark) or (label and fence[0] == mark[0] and len(mark) == 3)):
                continue
            language = bool(re.fullmatch(r"[\w+-]+", rest.strip()))
            if not typeset:
                yield opened, match.end() if language or not label else match.start() + len(fence)
                start = match.end()
            opened = -1
            if not language:
                continue
        elif "`" in rest and fence[0] == "`":
            continue
        opened, typeset, mark = start, label in _TYPESET, fence
    if opened >= 0 and not typeset:
        yield opened, len(text)


@dataclass(slots=True)
class _Box:
    start: int
    end: int
    """-1 when the brace never closes."""


def _find_box(prose: str, offset: int) -> Extraction | None:
    every = _boxes(prose, 0)
    if not every:
        return None
    if every[-1].end < 0:  # what follows an unclosed box may still be a whole one
        last = _boxes(prose, max(prose.rfind("\\boxed"), prose.rfind("\\fbox")))
        every = every[:-1] + last if last and last[-1].start > every[-1].start else every
    boxes = [b for b in every if b.end < 0 or not _is_template(prose[b.start : b.end])]
    if not boxes:
        where = (every[-1].start + offset, every[-1].end + offset)
        return Extraction(None, Style.BOX, *where, problem="empty_box")
    final = boxes[-1]
    if final.end < 0:
        return Extraction(None, Style.BOX, final.start + offset, -1, problem="unclosed_box")
    beside = _parts(prose, boxes) or _beside(prose, boxes)
    return Extraction(
        prose[final.start : final.end].strip(),
        Style.BOX,
        final.start + offset,
        final.end + offset,
        boxed=True,
        others=tuple(prose[box.start : box.end].strip() for box in beside),
    )


def _is_template(inner: str) -> bool:
    r"""`\boxed{}` of the instructions, `\boxed{...}`, `\boxed{answer}`."""
    return _TEMPLATE.fullmatch(inner.strip()) is not None


def _beside(prose: str, boxes: list[_Box]) -> list[_Box]:
    """Boxes before the last with nothing between that makes them steps to it."""
    first = len(boxes) - 1
    while first and boxes[first - 1].end >= 0:
        between = prose[boxes[first - 1].end : boxes[first].start]
        if _SEPARATOR.search(between) and not _HEDGE.search(between.rpartition("\n\n")[2]):
            break
        if "\n\n" in between.replace("\r", "").replace(" ", ""):
            break
        first -= 1
    return boxes[first:-1]


def _parts(prose: str, boxes: list[_Box]) -> list[_Box]:
    """Boxes of the parts (a), (b), ... of one question, up to the last; each part has its last.

    None where a box follows that a separator parts from the last of them: it is the whole answer.
    """
    labels = dict[str, _Box]()
    start = 0
    concluded = False
    for box in boxes:
        found = next(reversed([*_PART.finditer(prose, start, box.start)]), None)
        if found is not None:
            label = (found[1] or found[2]).lower()
            labels.pop(label, None)
            labels[label] = box
            concluded = False
        elif labels:
            labels[next(reversed(labels))] = box
            concluded = concluded or _SEPARATOR.search(prose, start, box.start) is not None
        start = max(box.end, box.start)
    names = list(labels)
    sequence = names in (
        list("abcdefgh")[: len(names)],
        ["i", "ii", "iii", "iv", "v"][: len(names)],
    )
    return list(labels.values())[:-1] if len(names) > 1 and sequence and not concluded else []


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
