"""When two question texts are the same question."""

import re
import unicodedata

_MARKUP = re.compile(
    r"\\[()\[\],;:! ]|\\(?:quad|qquad|left|right|displaystyle|text|mathrm)(?![a-z])"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:(\d)\s*(\d))?")
_POWER = re.compile(r"[⁰¹²³⁴-⁹]+")
_THOUSANDS = re.compile(r"(?<=\d)\{?,\}?(?=\d{3}(?!\d))")
# Letters of any script, and signs: arrows and operators (U+2190 to U+22FF) but no dots or stars,
# which stand for a product that others leave unwritten.
_SAYS = r"\w+\-=<>/!|^*()×÷±\u2190-\u2216\u221a-\u22c4\u22c6-\u22ff"
_BETWEEN_DIGITS = re.compile(rf"(?<=\d)[^{_SAYS}]+(?=\d)")
_DROPPED = re.compile(rf"[^{_SAYS}#]+")


# Blocks of capitals are words of their own: to avoid AA, BAB is not to avoid AAB, AB.
_BLOCKS = re.compile(r"(?<=[A-Z]{2}),\s*(?=[A-Z]{2})")
_MARKS = {ord("#"): None, ord("_"): " "}


def question_key(text: str) -> str:
    r"""A form in which copies of one question coincide whatever their white space and mark-up.

    Lower case, LaTeX mark-up and braces dropped, then only letters of any script, digits and signs
    of mathematics; different numbers stay apart. Signs stay: without them `z^4+z^2+1` and
    `z^4-z^2+1` would be one question. A text without any of these characters is its own key.

    Example:
        >>> question_key("Find  \\(x^{2}\\,+\\,1\\).") == question_key("find $x^2+1$")
        True
        >>> question_key("(1, 23)") == question_key("(12, 3)")
        False
    """
    powers = _POWER.sub(
        lambda m: "^" + unicodedata.normalize("NFKC", m.group()), _BLOCKS.sub("|", text)
    )
    folded = unicodedata.normalize("NFKC", powers).lower().replace("−", "-").translate(_MARKS)
    plain = _FRACTION.sub(_fraction, _MARKUP.sub("", folded))
    apart = _BETWEEN_DIGITS.sub("#", _THOUSANDS.sub("", plain))
    return _DROPPED.sub("", apart) or folded.strip()


def _fraction(match: re.Match[str]) -> str:
    r"""`\frac`, with the digits of the short form `\frac12` apart."""
    return f"frac{{{match[1]}}}{{{match[2]}}}" if match[1] else "frac"
