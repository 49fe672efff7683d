r"""Cut an answer into tokens; what only changes its looks is dropped here.

A token is a plain tuple, because most of the time of an easy comparison is spent making them.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from rewards.equality import limits
from rewards.equality.syntax.vocabulary import (
    COMMANDS,
    CONSTANTS,
    FUNCTIONS,
    GREEK,
    IGNORED,
    LETTER_COMMANDS,
    OPERATORS,
    PYTHON_RELATIONS,
    TEXT_COMMANDS,
    names,
)
from rewards.errors import LimitHitError, UnreadableError

NUMBER = "number"
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

_TOKEN = re.compile(
    r"(?P<space>(?:[\s$~]|\\[,;:! ]|\\[()\[\]])+)"
    r"|(?P<number>(?:\d+(?:\.\d+|\.(?=[-+*/),\]}]))?|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z\d]))?)"
    r"|\\(?P<command>[A-Za-z]+)\*?"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<operator>\*\*|<=|>=|!=|==|=>|->|\.\.\.|\\[\\{}|%$\#&_]|.)",
    re.DOTALL,
)
_OPERATOR_TEXT = {
    "**": "^",
    "==": "=",
    "\\%": "%",
    "\\|": "|",
    "\\$": "dollar",
    "\\#": "#",
    "\\&": "&",
    "\\_": "_",
    "...": "…",
    "\\\\": "newline",
    "€": "euro",
    "£": "sterling",
    "¥": "yen",
}
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+\*?)\}(?:\s*\{[lcr|\s]*\})?")
_SPACE_COMMAND = re.compile(r"\s*\{[^{}]*\}")
_REPEATING = re.compile(r"\s*\{?\s*(\d+)\s*\}?")
_PYTHON_IMAGINARY = re.compile(r"[jJ](?![A-Za-z])")
_SHORT = 3
"""Letters of a run that may still be a product of symbols."""


def tokenize(text: str) -> tuple[Token, ...]:
    """The tokens of a normalised answer.

    Raises:
        LimitHitError: Too many tokens, or a number with too many digits.
        UnreadableError: Braces of a text command do not close.
    """
    words = _LONG_WORD.findall(text) if len(text) > _SHORT else []
    cutter = _Cutter("\\" in text, any(classify(word)[0] == WORD for word in words))
    cutter.cut(text, prose=False)
    tokens = cutter.tokens
    while tokens and tokens[-1].kind == OPERATOR and tokens[-1].text in _DANGLING:
        if tokens[-1].text == "…" and (len(tokens) < 2 or tokens[-2].decimals < 1):
            break
        tokens.pop()
    return tuple(tokens)


class _Cutter:
    def __init__(self, latex: bool, speaks: bool) -> None:
        self.latex = latex
        self.speaks = speaks
        self.tokens: list[Token] = []

    def cut(self, text: str, prose: bool) -> None:
        position, spaced, size = 0, prose, len(text)
        while position < size:
            match = _TOKEN.match(text, position)
            assert match is not None
            position = match.end()
            group = match.lastgroup
            if group == "space":
                spaced = True
                continue
            piece = match[0]
            if group == "number":
                position = self.number(text, piece, position, spaced)
            elif group == "word":
                self.word(piece, spaced, prose, text[position : position + 1])
            elif group == "operator":
                self.operator(piece, spaced, prose)
            else:
                before = len(self.tokens)
                position = self.command(text, match["command"], position, spaced)
                if len(self.tokens) == before:
                    continue
            spaced = False
            if len(self.tokens) > limits.TOKENS:
                raise LimitHitError("limit_tokens", f"more than {limits.TOKENS} tokens")

    def number(self, text: str, piece: str, position: int, spaced: bool) -> int:
        if len(piece) > limits.DIGITS:
            raise LimitHitError("limit_digits", f"a number of more than {limits.DIGITS} digits")
        mantissa, _, exponent = piece.lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        decimals = len(fraction) if fraction else -1
        value = Fraction(int(whole + fraction or "0"), 10 ** len(fraction))
        if exponent:
            power = int(exponent) if len(exponent) < 6 else limits.DIGITS + 1
            if abs(power) > limits.DIGITS:
                raise LimitHitError("limit_power", f"an exponent beyond {limits.DIGITS}")
            value *= Fraction(10) ** power
            decimals = max(len(fraction) - power, 0)
        repeat = (
            text.find("\\overline", position, position + 10)
            if fraction or text[position : position + 1] == "."
            else -1
        )
        if repeat >= 0:
            match = _REPEATING.match(text, repeat + 9)
            start = position + (text[position] == ".")
            if match and repeat == start:
                period = Fraction(int(match[1]), 10 ** len(match[1]) - 1)
                value += period / 10 ** len(fraction)
                self.tokens.append(Token(NUMBER, str(value), value, -1, spaced))
                return match.end()
        self.tokens.append(Token(NUMBER, piece, value, decimals, spaced))
        if not self.latex and (imaginary := _PYTHON_IMAGINARY.match(text, position)):
            self.tokens.append(Token(CONSTANT, "i"))
            return imaginary.end()
        return position

    def word(self, word: str, spaced: bool, prose: bool, following: str = "") -> None:
        kind, name = classify(word)
        if word in _TIMES and following not in ("(", "{", "\\") and self.after_number():
            kind, name = WORD, word
        if word in _ONLY_CALLED and following != "(":
            kind, name = WORD, word
        if word in PYTHON_RELATIONS and following == "(":
            self.tokens.append(Token(WORD, word, spaced=spaced))
            return
        if self.is_scale(word):
            return
        if kind == NAME and len(word) == 1 and prose:
            self.tokens.append(Token(NAME, word, spaced=spaced, prose=True))
        elif kind != WORD or prose or self.is_word(word):
            self.tokens.append(Token(kind, name, spaced=spaced, prose=prose))
        elif (split := _function_and_letter(word)) is not None:
            for part in split:
                self.word(part, spaced, prose)
                spaced = False
        else:
            for letter in word:
                kind, name = classify(letter)
                self.tokens.append(Token(kind, name, spaced=spaced))
                spaced = False

    def is_scale(self, word: str) -> bool:
        """Whether the degrees before were of temperature; they then become a unit."""
        if word not in _SCALES or not self.tokens or self.tokens[-1].text != "°":
            return False
        self.tokens[-1] = Token(WORD, _SCALES[word], spaced=True, prose=True)
        return True

    def is_word(self, word: str) -> bool:
        """Whether a run of letters is a word here and not a product of symbols."""
        if len(word) > _SHORT or word.lower() in _WORDS or (self.speaks and len(word) == _SHORT):
            return True
        if word.lower() in _PROSE:
            return self.speaks
        return word in _UNITS and self.after_number()

    def after_number(self) -> bool:
        """Whether the last token ends a number, so that a unit may follow."""
        if not self.tokens:
            return False
        return self.tokens[-1].kind == NUMBER or self.tokens[-1].text == "}"

    def operator(self, piece: str, spaced: bool, prose: bool) -> None:
        text = _OPERATOR_TEXT.get(piece, piece)
        if text == "dollar" or (len(text) > 3 and text in ("euro", "sterling", "yen")):
            self.tokens.append(Token(WORD, text, spaced=True, prose=True))
        else:
            self.tokens.append(Token(OPERATOR, text, spaced=spaced, prose=prose))

    def command(self, text: str, name: str, position: int, spaced: bool) -> int:
        if name in IGNORED and not (
            name == "operatorname" and text[position : position + 1] == "{"
        ):
            if text[position : position + 1] == "." and name in ("left", "right"):
                return position + 1
            return position
        if name in TEXT_COMMANDS:
            return self.text(text, name, position, spaced)
        if name in LETTER_COMMANDS:
            match = re.compile(r"\s*\{?\s*([A-Za-z])\s*\}?").match(text, position)
            if match:
                self.tokens.append(Token(NAME, f"{name}{match[1]}", spaced=spaced))
                return match.end()
        if name in ("hspace", "vspace", "mspace", "phantom", "label", "tag", "color", "textcolor"):
            match = _SPACE_COMMAND.match(text, position)
            return match.end() if match else position
        if name in ("begin", "end"):
            match = _ENVIRONMENT.match(text, position)
            if match is None:
                raise UnreadableError("unbalanced", f"\\{name} without an environment")
            self.tokens.append(Token(OPERATOR, f"{name} {match[1].rstrip('*')}", spaced=spaced))
            return match.end()
        self.tokens.append(_command_token(name, spaced))
        return position

    def text(self, text: str, name: str, position: int, spaced: bool) -> int:
        opening = position
        while opening < len(text) and text[opening].isspace():
            opening += 1
        if text[opening : opening + 1] != "{":
            return position
        end = closing_brace(text, opening)
        inner = text[opening + 1 : end]
        if len(self.tokens) > limits.TOKENS:
            raise LimitHitError("limit_tokens", f"more than {limits.TOKENS} tokens")
        stripped = inner.strip()
        kind, canonical = classify(stripped)
        if self.is_scale(stripped):
            return end + 1
        if stripped in _TIMES and self.after_number():
            self.tokens.append(Token(WORD, stripped, spaced=True, prose=True))
        elif kind in (FUNCTION, CONSTANT) or (kind == NAME and len(stripped) == 1):
            prose = kind == NAME and name not in ("mathrm", "mathbf", "mathit", "mathsf")
            self.tokens.append(Token(kind, canonical, spaced=spaced, prose=prose))
        else:
            self.cut(inner, prose=name not in ("mathbf", "mathit") or len(stripped) > _SHORT)
        return end + 1


def closing_brace(text: str, opening: int) -> int:
    """Index of the brace that closes the one at `opening`. Raises `UnreadableError`."""
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, opening):
        if match[0] == "{":
            depth += 1
            if depth > limits.DEPTH:
                raise LimitHitError("limit_depth", f"braces nested more than {limits.DEPTH} deep")
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    raise UnreadableError("unbalanced", "a brace never closes")


def classify(word: str) -> tuple[str, str]:
    """Kind and canonical name of a run of letters."""
    if len(word) == 1:
        if word == "e":
            return CONSTANT, "e"
        if word == "i":
            return CONSTANT, "i"
        return NAME, word
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


def _function_and_letter(word: str) -> tuple[str, ...] | None:
    """`sinx` is sin x, `lnx` is ln x."""
    for cut in (-1, 1):
        head, tail = word[:cut], word[cut:]
        if head in FUNCTIONS and len(head) > 1:
            return head, tail
        if tail in FUNCTIONS and len(tail) > 1:
            return head, tail
    return None


def _command_token(name: str, spaced: bool) -> Token:
    if name in OPERATORS:
        text = OPERATORS[name]
        if text in ("and", "or"):
            return Token(WORD, text, spaced=True, prose=True)
        return Token(OPERATOR, text, spaced=spaced)
    kind, canonical = classify(name)
    if kind == WORD or len(name) == 1:
        return Token(COMMAND, COMMANDS.get(name, name), spaced=spaced)
    return Token(kind, canonical, spaced=spaced)


_WORDS = names("and or no yes odd any all the for are not one two six ten pct dne pts")
"""Short runs of letters that are words and not products of symbols."""
_PROSE = names("is to in of if at by am pm it as on be do so we he an its has was out per")
"""The same, where a longer word stands beside them."""
_UNITS = names(
    "cm mm km dm nm kg mg ft mi yd yds hr hrs min sec mph kph deg lb lbs oz ml mL kmh mps"
)
"""The same, behind a number."""
_DANGLING = frozenset({".", ",", "newline", "^", ";", "…"})
"""Marks that say nothing at the end of an answer; dots only behind a decimal."""
_ONLY_CALLED = names("re im")
_SCALES = {"C": "celsius", "F": "fahrenheit"}
_TIMES = names("min sec")
"""Functions that behind a number are minutes and seconds."""
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


def same_tokens(ours: Sequence[Token], theirs: Sequence[Token]) -> bool:
    """Whether two answers differ in spelling only."""
    if len(ours) != len(theirs):
        return False
    return all(
        a.text == b.text and (a.kind == b.kind or not {a.kind, b.kind} <= {NAME, CONSTANT})
        for a, b in zip(ours, theirs, strict=True)
    )
