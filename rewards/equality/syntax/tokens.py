r"""What a token is, and of which kind a word or a command makes one.

A token is a plain tuple, because most of the time of an easy comparison is spent making them.
"""

from fractions import Fraction
from typing import NamedTuple

from rewards.equality.syntax.vocabulary import COMMANDS, CONSTANTS, FUNCTIONS, GREEK, OPERATORS

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
    """Digits written after the point, -1 for an integer."""
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
