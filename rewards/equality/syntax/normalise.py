r"""One spelling for what is written in many: Unicode, over-escaping, digit groups, markup.

Works on the string, before any token is cut. What only needs to be skipped (`\left`, `$`, thin
spaces) is left to the tokenizer.
"""

import re
import unicodedata
from collections.abc import Callable

from rewards.equality import limits
from rewards.equality.syntax.vocabulary import GREEK_LETTERS, NUMERALS, UNICODE
from rewards.errors import LimitHitError, UnreadableError
from rewards.grading_options import GradingOptions

_TABLE = str.maketrans(
    {**UNICODE, **{letter: f"\\{name} " for letter, name in GREEK_LETTERS.items()}}
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_OVER_ESCAPED = re.compile(r"\\\\(?=[A-Za-z])")
_SINGLE_COMMAND = re.compile(r"(?<!\\)\\(?=[A-Za-z{(\[])")
_ROW_SPACING = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm|in)\s*\]")
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))")
_SUPERSCRIPT = re.compile(r"<(sup|sub)>(.*?)</\1>", re.DOTALL)
_GROUPED = re.compile(
    r"(?<![\w.])(?<!(?<!\\),)([1-9]\d{0,2})"
    r"((?:,\d{3})+|(?:(?:\{(?:,|\\[,;: ])\}|\\text\{,\}|,\\!\s?|\\!|\\[,;: ]| |~)\d{3})+)"
    r"(?![\d/])(?!,\d)"
)
_SPACES = re.compile(r" {2,}")
_MODULE = re.compile(r"\b(?:np|numpy|math|sp|sympy|cmath|mpmath|fractions|decimal)\.(?=[A-Za-z])")
_SYMPIFIED = re.compile(r"\bS\((\d+)\)(?=\s*/)")
_SIZED = re.compile(r"\b(?:np\.)?(?:int|uint|float|complex)(?:16|32|64|128)(?=\()")
_POINT = re.compile(r"(?<=\bPoint)[23]D(?=\()")
_UNDERSCORES = re.compile(r"(?<![\w.])\d{1,3}(?:_\d{3})+(?![\w])")
_CALLED = re.compile(
    r"(?<=[A-Za-z])(?<!frac)(?<!sqrt)(?<!binom)\{\\left\(((?:[^{}]|\{[^{}]*\})*?)\\right\)\s*\}"
)
_QUOTED = re.compile(r"(?<![^\s\[({,:])(?:'([^'\"]*)'|\"([^\"]*)\"|``([^`']*)'')(?![^\s\])},:.])")
_TIMES_TEN = re.compile(r"(?<=[\d.])\s*[xX]\s*(?=10\s*(?:\^|\*\*))")
_BASE_SPELLED = re.compile(
    r"(?<![\w.])([0-9A-F]+)(?:\s|\\ |~)*\(?\s*(?:\\(?:text|mathrm)\s*\{)?\s*\(?(?:in )?base[\s~-]*"
    r"\}?\s*(\d{1,2}|" + "|".join(NUMERALS) + r")\s*\}?\s*\)?"
)
_BASE_WORD = re.compile(
    r"_\s*\{?\s*(?:\\(?:text|mathrm|rm)\s*\{?)?\s*(" + "|".join(NUMERALS) + r")\s*\}?\s*\}?"
)
_OVERLINED_BASE = re.compile(
    r"(?:\\(?:overline|text|mathrm)\s*\{([0-9A-F]+)\}|\(([0-9A-F]+)\))(?=\s*_)"
)
_CHOSEN = re.compile(
    r"(?<![A-Za-z\\}])(?:\{\})?[_^]\{?(\d+|n)\}?\s*C\s*_\s*\{?(\d+|[kr])\}?"
    r"|(?<![A-Za-z\\])C_(?:\{(\d+|n)\}|(\d|n))\^(?:\{(\d+|[km])\}|(\d|[km]))"
    r"|(?<![A-Za-z\\])C_\{(\d+n)\}\^(?:\{(\d*[nkm])\}|([nkm]))"
)
_SUBSCRIPT_DIGITS = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_FOLD_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?)")
r"""`√15` is the root of 15, though `\sqrt15` is that of 1, times 5."""
_OVERLINED_DIGITS = re.compile("((?:\\d[\u0304\u0305])+)")
_DOTTED = re.compile(r"(?<=[\d.])\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?")
_BARRED = re.compile(r"(?<=\.)(\d*)(?:\\bar\s*\{?(\d+)\}?|\((\d+)\)(?![\d(^!]))")
_ELLIPSIS = re.compile(r"(?<![\d.])(\d+\.)(\d{3,})\s*(?:\.\.\.|\\l?dots|\\cdots)(?:\s*\})?")
_FRACTIONS = re.compile(r"\s*([\u00bc-\u00be\u2150-\u215e\u2189])")
_CIRCLED = re.compile("[\u2460-\u2473](?:[\\s,]*[\u2460-\u2473])*")
_WRAPPER = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MAX_WRAPPERS = 5
_GROUP_MARK = re.compile(r"\D+")
_DECIMAL_COMMA = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d)")
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^?\s*(?:\{\s*\\(?:text|mathrm|textrm)\s*\{\s*(?:th|st|nd|rd)\s*\}\s*\}"
    r"|(?P<open>\\(?:text|mathrm|textrm)\s*\{)\s*(?:th|st|nd|rd)(?![A-Za-z])(?P<closed>\s*\})?"
    r"|\{\s*(?:th|st|nd|rd)\s*\}|(?:th|st|nd|rd)(?![A-Za-z]))"
)
r"""`5th`, `5^{\text{th}}`; in `15\text{th Day}` the text goes on."""
_CONTRACTED = re.compile(r"\b(ca|wo|[A-Za-z]+)n't\b", re.IGNORECASE)
_SHORTENED = {"ca": "can", "wo": "will"}
_BRACED_SIGN = re.compile(r"(?<!\\text)(?<!\\mathrm)\{([:=])\}")
_LETTER_DEGREE = re.compile(
    r"(?<=\d)\s*\^\s*(?:\{\s*(?:\\(?:mathrm|rm|text)\s*\{?\s*)?o\s*\}?\s*\}|o(?![A-Za-z]))"
)
r"""`45^{\mathrm{o}}`: a letter where the sign of degrees is meant."""
_SYMPY_SET = re.compile(r"\bS\.(?=Reals|Integers|EmptySet)")
_NO_WHOLE = re.compile(r"(?<!\d)\.(?=\\overline)")
_US_DOLLAR = re.compile(r"\b(?:US|U\.S\.)\s*\\?\$")
_SUPERSCRIPT_DIGITS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_FOLD_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")


def normalise(text: str, options: GradingOptions, join_commas: bool = True) -> str:
    """The text in one spelling.

    Args:
        text: An answer as written.
        options: For decimal commas and control characters.
        join_commas: Read `1,234` as one number and not as a list.

    Raises:
        LimitHitError: The text is longer than any answer we read.
        UnreadableError: It holds control characters, lone surrogates or digits of another script.
    """
    text = _unwrapped(text.strip())
    if len(text) > limits.LENGTH:
        raise LimitHitError("limit_length", f"longer than {limits.LENGTH} characters")
    if not text.isascii() or not text.isprintable():
        text = _fold(text, options)
    for mark, respell in _RESPELLINGS:
        if mark in text:
            text = respell(text)
    if options.decimal_comma:
        text = _DECIMAL_COMMA.sub(".", text)
    text = _GROUPED.sub(lambda m: _join(m, join_commas), text)
    if "th" in text or "st" in text or "nd" in text or "rd" in text:
        text = _ORDINAL.sub(lambda m: m["open"] if m["open"] and not m["closed"] else "", text)
    return text


def _unescaped(text: str) -> str:
    r"""Undoes a round of escaping, `\\\\pi`; in `1\\\\\\frac12` the row of a matrix ends."""
    if not _SINGLE_COMMAND.search(text):
        return text.replace("\\\\", "\\") if "begin" in text else _OVER_ESCAPED.sub(r"\\", text)
    if "begin" not in text:
        return _OVER_ESCAPED.sub(r"\\", text)
    return _ROW_SPACING.sub(r"\\\\ ", text)


def _unquoted(text: str) -> str:
    """Strings as Python prints them, `['70']`, and words in quotes; primes and minutes stay."""
    text = text.strip()
    for opening, closing in (("``", "''"), ("'", "'"), ('"', '"')):
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner and "'" not in inner:
            return _as_said(inner) if '"' not in inner else text
    return _QUOTED.sub(lambda m: _as_said("".join(m.groups(""))), text)


def _as_said(inner: str) -> str:
    """Letters in quotes are a word, and no product of symbols."""
    return f"\\text{{{inner}}}" if inner.isalpha() and len(inner) > 1 else inner


def _repeating(text: str) -> str:
    r"""One spelling for a period: `0.(6)`, `0.\dot6`, `0.1\bar{6}`, `0.1212\ldots`, `0.666...`."""
    text = _DOTTED.sub(lambda m: f"\\overline{{{m[1]}{m[2] or ''}{m[3] or ''}}}", text)
    text = _BARRED.sub(lambda m: f"{m[1]}\\overline{{{m[2] or m[3]}}}", text)
    return _ELLIPSIS.sub(_period, text)


def _period(match: re.Match[str]) -> str:
    """`0.333...` repeats 3 and `0.123123...` repeats 123; `3.14159...` repeats nothing."""
    digits = match[2]
    for size in range(1, len(digits) // 2 + 1):
        block, times = digits[-size:], 1
        while digits[: len(digits) - size * times].endswith(block):
            times += 1
        if times >= (3 if size == 1 else 2):
            kept = digits[: len(digits) - size * times]
            return f"{match[1]}{kept}\\overline{{{block}}}"
    return match[0]


def _fold(text: str, options: GradingOptions) -> str:
    if _CONTROL.search(text):
        if not options.control_characters:
            raise UnreadableError("control_character", "holds a control character or a surrogate")
        text = _CONTROL.sub("", text)
    text = _OVERLINED_DIGITS.sub(lambda m: f"\\overline{{{m[1][::2]}}}", text)
    text = _SUBSCRIPT_DIGITS.sub(lambda m: f"_{{{m[0].translate(_FOLD_SUBSCRIPT)}}}", text)
    text = _FRACTIONS.sub(_fraction, text)
    text = _ROOT.sub(r"√{\1}", text)
    text = _CIRCLED.sub(
        lambda m: ",".join(str(ord(c) - 0x245F) for c in m[0] if c > "\u245f"), text
    )
    text = _SUPERSCRIPT_DIGITS.sub(lambda m: f"^{{{m[0].translate(_FOLD_DIGITS)}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE))
    text = text.translate(_TABLE)
    if any(char.isdigit() and not char.isascii() for char in text):
        raise UnreadableError("foreign_digits", "holds digits of another script")
    return text


def _fraction(match: re.Match[str]) -> str:
    """`2⅓` is a mixed number, so the fraction must not be folded to `1/3` behind the digit."""
    top, bottom = unicodedata.normalize("NFKC", match[1]).split("\u2044")
    return f"\\frac{{{top}}}{{{bottom}}}"


def _unwrapped(text: str) -> str:
    r"""The inside of a `\boxed{...}` that is all of the text."""
    if text[:1] in ("`", "*") or text[-1:] in ("`", "*"):
        text = text.strip("`").removeprefix("**").removesuffix("**").strip()
    for _ in range(_MAX_WRAPPERS):
        wrapper = _WRAPPER.match(text)
        if wrapper is None or not text.endswith("}"):
            break
        inner = text[wrapper.end() : -1]
        if inner.count("{") != inner.count("}") or -1 < inner.find("}") < inner.find("{"):
            break
        text = inner.strip()
    return text


def _in_list(before: str) -> bool:
    r"""Whether a bracket of a list is open; the braces of `\frac{1}{10,500}` are none."""
    if any(before.count(opening) > before.count(closing) for opening, closing in ("()", "[]")):
        return True
    return before.count("\\{") > before.count("\\}") or before.startswith("{")


def _join(match: re.Match[str], join_commas: bool) -> str:
    groups = match[2]
    plain = "," in groups and "\\" not in groups and "{" not in groups
    if plain and (not join_commas or _in_list(match.string[: match.start()])):
        return match[0]
    return match[1] + _GROUP_MARK.sub("", groups)


def _module(text: str) -> str:
    text = _SYMPY_SET.sub("", text)
    return _NO_WHOLE.sub("0.", _repeating(_MODULE.sub("", _SIZED.sub("", text))))


def _underscores(text: str) -> str:
    r"""`1001_{two}`, `\overline{1001}_2`, Python's `10_000`."""
    text = _BASE_WORD.sub(lambda m: f"_{{{NUMERALS[m[1]]}}}", text)
    text = _OVERLINED_BASE.sub(lambda m: m[1] or m[2], text)
    text = _CHOSEN.sub(_chosen, text)
    return _UNDERSCORES.sub(lambda m: m[0].replace("_", ""), text)


def _called(match: re.Match[str]) -> str:
    r"""`f{\left(x \right)}`, as sympy prints it; `\sin{\left(a\right)\left(b\right)}` stays."""
    inner = match[1]
    product = 0 <= inner.find("\\right)") < inner.find("\\left(")
    return match[0] if product else f"({inner})"


def _chosen(match: re.Match[str]) -> str:
    r"""`C_{10}^{3}` and `_{10}C_3` are binomials; `C_1^2` is the square of a constant."""
    top, bottom = (part for part in match.groups() if part)
    if top.isdigit() and bottom.isdigit() and not int(bottom) <= int(top) > 2:
        return match[0]
    return f"\\binom{{{top}}}{{{bottom}}}"


def _superscripts(text: str) -> str:
    return _SUPERSCRIPT.sub(lambda m: f"{'^' if m[1] == 'sup' else '_'}{{{m[2]}}}", text)


def _base(text: str) -> str:
    """`2516 (base 8)`, `1001 base two`."""
    return _BASE_SPELLED.sub(lambda m: f"{m[1]}_{{{NUMERALS.get(m[2], m[2])}}}", text)


_EMPTY = re.compile(r"(?<=[}\w)])\{\}(?!\{)")

_RESPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Point", lambda text: _POINT.sub("", text)),
    ("{}", lambda text: _EMPTY.sub("", text)),
    ("  ", lambda text: _SPACES.sub(" ", text)),
    ("\\\\", _unescaped),
    ("_", _underscores),
    (".", _module),
    ("base", _base),
    ("n't", lambda text: _CONTRACTED.sub(lambda m: f"{_SHORTENED.get(m[1], m[1])} not", text)),
    ("'", _unquoted),
    ('"', _unquoted),
    ("US", lambda text: _US_DOLLAR.sub(r"\\$", text)),
    ("S(", lambda text: _SYMPIFIED.sub(r"\1", text)),
    ("10", lambda text: _TIMES_TEN.sub(r"\\times ", text)),
    ("{\\left(", lambda text: _CALLED.sub(_called, text)),
    ("circ", lambda text: _DEGREE.sub(r"\\degree ", text)),
    ("o", lambda text: _LETTER_DEGREE.sub(r"\\degree ", text)),
    ("{:}", lambda text: _BRACED_SIGN.sub(r"\1", text)),
    ("{=}", lambda text: _BRACED_SIGN.sub(r"\1", text)),
    ("<su", _superscripts),
)
"""What is done to a text that holds the mark; most answers hold few."""
