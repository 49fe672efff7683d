r"""What a token is, of which kind a word or a command makes one, and slices of several.

A token is a plain tuple, because most of the time of an easy comparison is spent making them.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import NamedTuple

from rewards.equality.syntax.vocabulary import (
    COMMANDS,
    CONSTANTS,
    FUNCTIONS,
    GREEK,
    OPERATORS,
    PYTHON_NUMBERS,
)

NUMBER = "number"
BASED = "based"
"""A number with letters among its digits, or as Python writes one: `AB_{16}`, `0x400`, `0b101`."""
NAME = "name"
"""A symbol: one letter, a Greek name, or a decorated letter."""
FUNCTION = "function"
CONSTANT = "constant"
WORD = "word"
"""Natural language, or a name of Python's."""
OPERATOR = "operator"
COMMAND = "command"
"""A LaTeX command that is none of the above."""


class Token(NamedTuple):
    """One token."""

    kind: str
    text: str
    """Canonical spelling: two answers with the same kinds and texts say the same."""
    number: Fraction | None = None
    decimals: int = -1
    """Digits written after the point, -1 for an integer, -2 where they repeat."""
    spaced: bool = False
    """White space stands before it."""
    prose: bool = False
    r"""It stands in `\text{...}`."""


END = Token("end", "")
"""What stands behind the last token."""


def classify(word: str) -> tuple[str, str]:
    """Kind and canonical name of a run of letters."""
    if len(word) == 1:
        return (CONSTANT if word in "ei" else NAME), word
    if word in CONSTANTS:
        return CONSTANT, CONSTANTS[word]
    if word in FUNCTIONS:
        return FUNCTION, FUNCTIONS[word]
    if word in GREEK:
        return NAME, word
    lower = word.lower()
    if lower in FUNCTIONS and word[0].isupper() and len(word) > 2:
        return FUNCTION, FUNCTIONS[lower]
    if lower in ("infinity", "infty"):
        return CONSTANT, "oo"
    return WORD, word


def named_by_command(name: str, spaced: bool) -> Token:
    r"""The token of a command that is one token: `\cup`, `\pi`, `\sin`."""
    if name in OPERATORS:
        text = OPERATORS[name]
        if text in ("and", "or"):
            return Token(WORD, text, spaced=True, prose=True)
        return Token(OPERATOR, text, spaced=spaced)
    kind, canonical = classify(name)
    if kind == WORD or len(name) == 1:
        return Token(COMMAND, COMMANDS.get(name, name), spaced=spaced)
    return Token(kind, canonical, spaced=spaced)


Tokens = Sequence[Token]
RELATIONS = frozenset({"=", "≡", "≈", "!=", "<", ">", "<=", ">="})
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
"""Every ordering as it reads from its other end."""
ORDERINGS = frozenset(FLIPPED)
OPENING = frozenset({"(", "[", "{", "\\{", "langle", "lfloor", "lceil"})
CLOSING = frozenset({")", "]", "}", "\\}", "rangle", "rfloor", "rceil"})
LEADING = frozenset({",", ".", '"', "=", "≡", "≈", "⇒"})


def step(token: Token) -> int:
    """1 for a token that opens a bracket, -1 for one that closes it, else 0."""
    if token.kind == OPERATOR or token.kind == COMMAND:
        if token.text in OPENING or token.text.startswith("begin "):
            return 1
        if token.text in CLOSING or token.text.startswith("end "):
            return -1
    return 0


def closes(tokens: Tokens) -> bool:
    """Whether the first token is a bracket that the last one closes."""
    if len(tokens) < 2 or step(tokens[0]) != 1:
        return False
    depth = 0
    for index, token in enumerate(tokens):
        depth += step(token)
        if depth == 0:
            return index == len(tokens) - 1
    return False


def opening_of_last(tokens: Tokens) -> int:
    """Index of the bracket that the last token closes, -1 if it closes none."""
    depth = 0
    for index in range(len(tokens) - 1, -1, -1):
        depth -= step(tokens[index])
        if depth == 0:
            return index
    return -1


def split(tokens: Tokens, separators: AbstractSet[str], words: bool = False) -> list[Tokens]:
    """Pieces between separators outside brackets."""
    out: list[Tokens] = []
    if not any(token.text in separators for token in tokens):
        return [tokens]
    depth = start = 0
    for index, token in enumerate(tokens):
        depth += step(token)
        if depth == 0 and token.text in separators and (token.kind == WORD) == words:
            out.append(tokens[start:index])
            start = index + 1
    if not out:
        return [tokens]
    out.append(tokens[start:])
    return out


def split_relations(tokens: Tokens, relations: Iterable[str]) -> tuple[list[Tokens], list[str]]:
    """Pieces between relation signs outside brackets, and the signs."""
    parts: list[Tokens] = []
    operators: list[str] = []
    depth = start = 0
    for index, token in enumerate(tokens):
        depth += step(token)
        if depth == 0 and token.kind == OPERATOR and token.text in relations:
            parts.append(tokens[start:index])
            operators.append(token.text)
            start = index + 1
    parts.append(tokens[start:])
    return parts, operators


def looks_like_union(tokens: Tokens) -> bool:
    """Whether a letter U stands between brackets; a real union sign needs no looks."""
    if any(token.text == "∪" for token in tokens):
        return True
    return all(
        0 < index < len(tokens) - 1
        and tokens[index - 1].text in CLOSING
        and tokens[index + 1].text in OPENING
        for index, token in enumerate(tokens)
        if token.text == "U"
    )


def builder_bar(tokens: Tokens) -> int:
    """Index of the bar or colon in `{x | x > 2}`, or -1."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += step(token)
        if depth == 0 and token.text in ("|", ":"):
            named = any(part.kind == NAME for part in tokens[:index])
            stated = any(part.text in RELATIONS or part.text == "∈" for part in tokens[index:])
            return index if named and stated and index <= 16 else -1
    return -1


def relates(tokens: Tokens) -> bool:
    """Whether any relation sign stands among the tokens."""
    return any(token.text in RELATIONS for token in tokens)


def trim(tokens: Tokens) -> Tokens:
    """The tokens without stray punctuation at either end."""
    start, end = 0, len(tokens)
    while start < end and tokens[start].kind == OPERATOR and tokens[start].text in LEADING:
        start += 1
    while (
        end > start
        and tokens[end - 1].kind == OPERATOR
        and tokens[end - 1].text
        in (
            ",",
            ".",
            ";",
            '"',
        )
    ):
        end -= 1
    return tokens[start:end] if (start or end < len(tokens)) else tokens


def resumed(tokens: Tokens, start: int) -> int:
    """Where an answer goes on after a "for all ...": at an "and" before another equation."""
    for index in range(start, len(tokens)):
        if tokens[index].kind == WORD and tokens[index].text.lower() in ("and", "or"):
            rest = tokens[index + 1 :]
            if len(rest) > 2 and any(token.text == "=" for token in rest):
                return index
    return len(tokens)


def unit_start(tokens: Tokens) -> int:
    """Index of the first token of the words at the end, 0 if there are none."""
    for index, token in enumerate(tokens):
        if token.kind == WORD or (token.kind == NAME and token.prose):
            return 0 if token.text in PYTHON_NUMBERS else index
    return 0
