r"""One spelling for what is written in many: Unicode, over-escaping, digit groups, markup.

Works on the string, before any token is cut. What only needs to be skipped (`\left`, `$`, thin
spaces) is left to the tokenizer.
"""

import re
import unicodedata

from rewards.equality import limits
from rewards.equality.syntax.vocabulary import GREEK_LETTERS, NUMERALS, UNICODE
from rewards.errors import LimitHitError, UnreadableError
from rewards.grading_options import GradingOptions

_TABLE = str.maketrans(
    {**UNICODE, **{letter: f"\\{name} " for letter, name in GREEK_LETTERS.items()}}
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_OVER_ESCAPED = re.compile(r"\\\\(?=[A-Za-z])")
_ESCAPED_COMMAND = re.compile(r"\\\\(?=(?:frac|dfrac|sqrt|pi|text|left|right|begin|end|cdot)\b)")
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))")
_SUPERSCRIPT = re.compile(r"<(sup|sub)>(.*?)</\1>", re.DOTALL)
_GROUPED = re.compile(
    r"(?<![\w.,])([1-9]\d{0,2})"
    r"((?:,\d{3})+|(?:(?:\{,\}|,\\!\s?|\\!|\\[,;: ]| |~)\d{3})+)(?![\d])(?!,\d)"
)
_SPACES = re.compile(r" {2,}")
_MODULE = re.compile(r"\b(?:np|numpy|math|sp|sympy|cmath)\.(?=[A-Za-z])|\b(?:np\.)?float64(?=\()")
_BASE_WORD = re.compile(r"_\s*\{?\s*\\text\s*\{\s*(" + "|".join(NUMERALS) + r")\s*\}\s*\}?")
_WRAPPER = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MAX_WRAPPERS = 5
_GROUP_MARK = re.compile(r"\D+")
_DECIMAL_COMMA = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d)")
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^?\s*\{?\s*(?:\\(?:text|mathrm|textrm)\s*\{\s*)?(?:th|st|nd|rd)(?![A-Za-z])\s*\}?\s*\}?"
)
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
    if "  " in text:
        text = _SPACES.sub(" ", text)
    if "_" in text:
        text = _BASE_WORD.sub(lambda m: f"_{{{NUMERALS[m[1]]}}}", text)
    if "." in text:
        text = _MODULE.sub("", text)
    if not text.isascii() or not text.isprintable():
        text = _fold(text, options)
    if "\\\\" in text:
        pattern = _ESCAPED_COMMAND if "\\begin" in text else _OVER_ESCAPED
        text = pattern.sub(r"\\", text)
    if "^" in text:
        text = _DEGREE.sub(r"\\degree ", text)
    if "<su" in text:
        text = _SUPERSCRIPT.sub(lambda m: f"{'^' if m[1] == 'sup' else '_'}{{{m[2]}}}", text)
    if options.decimal_comma:
        text = _DECIMAL_COMMA.sub(".", text)
    text = _GROUPED.sub(lambda m: _join(m, join_commas), text)
    return _ORDINAL.sub("", text)


def _fold(text: str, options: GradingOptions) -> str:
    if _CONTROL.search(text):
        if not options.control_characters:
            raise UnreadableError("control_character", "holds a control character or a surrogate")
        text = _CONTROL.sub("", text)
    text = _SUPERSCRIPT_DIGITS.sub(lambda m: f"^{{{m[0].translate(_FOLD_DIGITS)}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE))
    text = text.translate(_TABLE)
    if any(char.isdigit() and not char.isascii() for char in text):
        raise UnreadableError("foreign_digits", "holds digits of another script")
    return text


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
