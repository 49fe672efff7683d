"""Cut an answer into tokens; what only changes its looks is dropped here."""

import re
from fractions import Fraction

from rewards.equality import limits
from rewards.equality.syntax.tokens import (
    BASED,
    COMMAND,
    CONSTANT,
    END,
    FUNCTION,
    NAME,
    NUMBER,
    OPERATOR,
    WORD,
    Token,
    classify,
    named_by_command,
)
from rewards.equality.syntax.vocabulary import (
    CURRENCY_CODES,
    IGNORED,
    LETTER_COMMANDS,
    PYTHON_CALLS,
    PYTHON_RELATIONS,
    SHORT_PROSE,
    SHORT_UNITS,
    SHORT_WORDS,
    TEXT_COMMANDS,
    UNIT_LETTERS,
    function_and_letter,
    names,
)
from rewards.errors import LimitHitError, UnreadableError

_TOKEN = re.compile(
    r"(?P<space>(?:[\s$~]|\\[,;:! ]|\\[()\[\]])+)"
    r"|(?P<based>0[xX][0-9a-fA-F]+(?!\w)|0[bB][01]+(?!\w)|0[oO][0-7]+(?!\w)"
    r"|(?=\d*[A-F])[\dA-F]+_(?:1[1-6]|\{1[1-6]\}))"
    r"|(?P<number>(?:\d+(?:\.\d+|\.(?=[-+*/),\]}]))?|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z\d]))?)"
    r"|\\(?P<command>[A-Za-z]+)\*?"
    r"|(?P<word>[A-Za-z]+|[\u4e00-\u9fff]+)"
    r"|(?P<operator>\*\*|//|<=|>=|!=|==|=>|->|\.\.\.|\\[\\{}|%$\#&_]|.)",
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
    "¢": "cent",
}
_MONEY = names("dollar euro sterling yen cent")
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+\*?)\}(?:\s*\{[lcr|\s]*\})?")
_SPACE_COMMAND = re.compile(r"\s*\{[^{}]*\}")
_REPEATING = re.compile(r"\.?\\overline\s*\{?\s*(\d+)\s*\}?")
_INDEX = re.compile(
    r"_(?:\{\s*([A-Za-z\d,]+|\\[a-z]+)\s*\}"
    r"|\{\s*\\(?:text|mathrm|textrm|mathit)\s*\{\s*([A-Za-z\d,]+)\s*\}\s*\}|\{\s*\\rm\s+([A-Za-z\d]+)\s*\}"
    r"|\\(?:text|mathrm)\{([A-Za-z\d]+)\}|(\d+)|([A-Za-z]{3,}(?!_))|([A-Za-z]))"
)
r"""An index that is part of a name: `x_1`, `T_{\text{final}}`, `T_final`, `a_n`, `a_nb_n`."""
_GLUED = re.compile(r"\d+(?![.\d])")
"""Digits glued to a name: `x1` is the name x_1, and never x times 1."""
_PYTHON_IMAGINARY = re.compile(r"[jJ](?![A-Za-z])")
_CALL = re.compile(r"\s*(?:\\left)?\s*\(")
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
    tokens = _inward(cutter.tokens) if "[" in text or "]" in text else cutter.tokens
    while tokens and tokens[-1].kind == OPERATOR and tokens[-1].text in _DANGLING:
        if tokens[-1].text == "…" and (len(tokens) < 2 or tokens[-2].decimals < 1):
            break
        tokens.pop()
    return tuple(tokens)


def _inward(tokens: list[Token]) -> list[Token]:
    r"""Open ends as Bourbaki writes them, `]1, 2]`, `[0, \infty[`, as round brackets."""
    out = list(tokens)
    for index, token in enumerate(tokens):
        before = tokens[index - 1].text if index else ""
        behind = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.text == "]" and before in _BESIDE_INTERVALS:
            out[index] = token._replace(text="(")
        elif token.text == "[" and behind in _BESIDE_INTERVALS:
            out[index] = token._replace(text=")")
    return out


_BESIDE_INTERVALS = frozenset({"", "∪", "∩", "∈", "setminus", "=", "or"})


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
                before = len(self.tokens)
                self.word(piece, spaced, prose, text[position : position + 1])
                position = self.index(text, position, before)
            elif group == "based":
                self.based(piece, spaced)
            elif group == "operator":
                self.operator(piece, spaced, prose)
            else:
                before = len(self.tokens)
                position = self.command(text, match["command"], position, spaced)
                if len(self.tokens) == before:
                    continue
                position = self.index(text, position, len(self.tokens))
            spaced = False
            if len(self.tokens) > limits.TOKENS:
                raise LimitHitError("limit_tokens", f"more than {limits.TOKENS} tokens")

    def number(self, text: str, piece: str, position: int, spaced: bool) -> int:
        _limit_digits(piece)
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
        repeating = _REPEATING.match(text, position)
        if repeating and (fraction or text[position] == "."):
            period = Fraction(int(repeating[1]), 10 ** len(repeating[1]) - 1)
            value += period / 10 ** len(fraction)
            self.tokens.append(Token(NUMBER, str(value), value, -2, spaced))
            return repeating.end()
        self.tokens.append(Token(NUMBER, piece, value, decimals, spaced))
        if (
            not self.latex
            and "i" not in text
            and (imaginary := _PYTHON_IMAGINARY.match(text, position))
        ):
            self.tokens.append(Token(CONSTANT, "i"))
            return imaginary.end()
        return position

    def based(self, piece: str, spaced: bool) -> None:
        """`0x400` is 1024 whatever its base; `AB_{16}` must keep it."""
        digits, _, base = piece.partition("_")
        size = int(base.strip("{}")) if base else {"x": 16, "b": 2, "o": 8}[piece[1].lower()]
        _limit_digits(digits)
        try:
            value = int(digits, size if base else 0)
        except ValueError:
            raise UnreadableError("base_digits", f"{digits} has digits beyond {size}") from None
        spelled = f"{digits}_{size}" if base else piece
        self.tokens.append(Token(BASED, spelled, Fraction(value), size, spaced))

    def index(self, text: str, position: int, before: int) -> int:
        """Joins an index to the name that was just cut; the place behind it."""
        following = text[position : position + 1]
        if following != "_" and not (following.isdigit() and len(self.tokens) > before):
            return position
        last = self.tokens[-1] if self.tokens else END
        if last.kind != NAME and not (last.kind == CONSTANT and last.text in "ei"):
            return position
        if following == "_":
            match = _INDEX.match(text, position)
            index = "" if match is None else next(part for part in match.groups() if part)
        else:
            command = self.tokens[-2].kind == COMMAND if len(self.tokens) > 1 else False
            match = None if command else _GLUED.match(text, position)  # \frac x2 is x over 2
            index = "" if match is None else match[0]
        if match is None:
            return position
        self.tokens[-1] = last._replace(kind=NAME, text=f"{last.text}_{index.lstrip(chr(92))}")
        return match.end()

    def word(  # noqa: C901 - one branch a kind of word
        self, word: str, spaced: bool, prose: bool, following: str = ""
    ) -> None:
        kind, name = classify(word)
        if word in _TIMES and following not in ("(", "{", "\\") and self.after_number():
            kind, name = WORD, word
        if word in _ONLY_CALLED and following != "(":
            kind, name = WORD, word
        if following == "(" and (word in PYTHON_RELATIONS or word in PYTHON_CALLS):
            self.tokens.append(Token(WORD, word, spaced=spaced))
            return
        if word in ("gamma", "Gamma") and following == "(":
            self.tokens.append(Token(FUNCTION, "gamma_function", spaced=spaced))
            return
        if self.is_scale(word):
            return
        if kind == NAME and len(word) == 1 and prose:
            self.tokens.append(Token(NAME, word, spaced=spaced, prose=True))
        elif kind != WORD or prose or self.is_word(word):
            self.tokens.append(Token(kind, name, spaced=spaced, prose=prose and word != "const"))
        elif (split := function_and_letter(word)) is not None:
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
        if self.latex and word.isupper() and 1 < len(word) < _SHORT:
            return False  # segments: \frac{NO}{BO}
        if _MIXED.fullmatch(word):
            return word in SHORT_UNITS and self.after_unit()  # GMmr^{-2}
        if (
            len(word) > _SHORT
            or word.lower() in SHORT_WORDS
            or (self.speaks and len(word) == _SHORT)
        ):
            return True
        if word.lower() in SHORT_PROSE:
            return self.speaks or (word == "to" and self.after_number())  # 5 to 2
        return word in CURRENCY_CODES or (word in SHORT_UNITS and self.after_unit())

    def after_unit(self) -> bool:
        """Whether a unit may stand here: behind a number, or behind `N/` in `9.8 N/kg`."""
        if self.after_number():
            return True
        before = self.tokens[-2:]
        return len(before) == 2 and before[1].text in "/*" and before[0].text in UNIT_LETTERS

    def after_number(self) -> bool:
        """Whether the last token ends a number, so that a unit may follow."""
        last = self.tokens[-1] if self.tokens else END
        return last.kind == NUMBER or last.text == "}"

    def operator(self, piece: str, spaced: bool, prose: bool) -> None:
        text = _OPERATOR_TEXT.get(piece, piece)
        if text in _MONEY:
            self.tokens.append(Token(WORD, text, spaced=True, prose=True))
        else:
            self.tokens.append(Token(OPERATOR, text, spaced=spaced, prose=prose))

    def command(self, text: str, name: str, position: int, spaced: bool) -> int:
        if name == "angle" and self.after_number() and _POLAR.match(text, position):
            self.tokens.append(Token(OPERATOR, "∠", spaced=spaced))
            return position
        if name in IGNORED and not (
            name == "operatorname" and text[position : position + 1] == "{"
        ):
            if text[position : position + 1] == "." and name in ("left", "right"):
                return position + 1
            return position
        if name in TEXT_COMMANDS:
            return self.text(text, name, position, spaced)
        if name in LETTER_COMMANDS and (letter := _LETTER.match(text, position)):
            plain = letter[1] == "O" and name == "mathcal"  # \mathcal{O}(n) is O(n)
            self.tokens.append(Token(NAME, "O" if plain else f"{name}{letter[1]}", spaced=spaced))
            return letter.end()
        if name in _WITHOUT_TEXT:
            match = _SPACE_COMMAND.match(text, position)
            return match.end() if match else position
        return self.sign(text, name, position, spaced)

    def sign(self, text: str, name: str, position: int, spaced: bool) -> int:
        """A command that is one token: an environment's end, an operator, a function."""
        if name in ("begin", "end"):
            match = _ENVIRONMENT.match(text, position)
            if match is None:
                raise UnreadableError("unbalanced", f"\\{name} without an environment")
            self.tokens.append(Token(OPERATOR, f"{name} {match[1].rstrip('*')}", spaced=spaced))
            return match.end()
        token = named_by_command(name, spaced)
        if name == "Gamma" and _CALL.match(text, position):
            token = Token(FUNCTION, "gamma_function", spaced=spaced)
        self.tokens.append(token)
        return position

    def text(self, text: str, name: str, position: int, spaced: bool) -> int:
        opening = position
        while opening < len(text) and text[opening].isspace():
            opening += 1
        if text[opening : opening + 1] != "{":
            return position
        end = _closing_brace(text, opening)
        inner = text[opening + 1 : end]
        stripped = inner.strip()
        bold = name in _BOLD and self.bold(stripped, alone=end + 1 == len(text))
        if bold or self.is_scale(stripped):
            return end + 1
        kind, canonical = classify(stripped)
        if stripped == "mod":  # 3 \text{ mod } 7
            self.tokens.append(Token(OPERATOR, "mod", spaced=spaced))
        elif stripped in _TIMES and self.after_number():
            self.tokens.append(Token(WORD, stripped, spaced=True, prose=True))
        elif kind in (FUNCTION, CONSTANT) or (
            kind == NAME and len(stripped) == 1 and stripped.isalpha()
        ):
            upright = name not in ("mathrm", "mathbf", "mathit", "mathsf")
            unit = name == "mathrm" and spaced and stripped in UNIT_LETTERS and self.after_number()
            prose = kind == NAME and (upright or unit)
            self.tokens.append(Token(kind, canonical, spaced=spaced, prose=prose))
        else:
            self.cut(inner, prose=name not in _SLANTED or len(stripped) > _SHORT)
        return end + 1

    def bold(self, letter: str, alone: bool) -> bool:
        r"""Whether a bold letter is a unit vector, or the set of numbers in `x \in \mathbf{R}`."""
        if letter in ("i", "j", "k"):
            self.tokens.append(Token(NAME, f"hat {letter}"))
            return True
        alone = alone and not self.tokens
        if letter not in ("R", "Z", "N", "Q") or not (
            alone or (self.tokens and self.tokens[-1].text == "∈")
        ):
            return False
        self.tokens.append(Token(NAME, f"mathbb{letter}"))
        return True


_SLANTED = names("mathbf mathit boldsymbol bm")
_BOLD = names("mathbf textbf boldsymbol bm mathds")


def _limit_digits(digits: str) -> None:
    if len(digits) > limits.DIGITS:
        raise LimitHitError("limit_digits", f"a number of more than {limits.DIGITS} digits")


def _closing_brace(text: str, opening: int) -> int:
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


_DANGLING = frozenset({".", ",", "newline", "^", ";", "…"})
"""Marks that say nothing at the end of an answer; dots only behind a decimal."""
_ONLY_CALLED = names("re im pow comb perm nCr nPr")
_WITHOUT_TEXT = names(
    "hspace vspace mspace phantom vphantom hphantom label tag color textcolor colorbox"
)
"""Commands whose argument is no part of the answer."""
_SCALES = {"C": "celsius", "F": "fahrenheit"}
_TIMES = names("min sec")
"""Functions that behind a number are minutes and seconds."""
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_MIXED = re.compile(r"(?=[A-Za-z]{4,6}$)(?=.*[a-z])(?=.+[A-Z])(?!PAD|McD|mmHg|LaTeX)[A-Za-z]+")
"""Capitals behind small letters: factors, and no word of any language."""
_LETTER = re.compile(r"\s*\{?\s*([A-Za-z])\s*\}?")
_POLAR = re.compile(r"\s*(?:[-\d({]|\\d?frac|\\pi)")
"""What follows the sign of an angle in `2\\angle 60^\\circ`; in `m\\angle A` a name does."""
