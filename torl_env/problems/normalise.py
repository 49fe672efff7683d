"""When two question texts are the same question."""

import re
import unicodedata

_LATEX_SPACE = re.compile(r"\\(?:[,;:! ]|quad|qquad|left|right|displaystyle|dfrac|tfrac)(?![a-z])")
_DROPPED = re.compile(r"[^a-z0-9+\-=<>/!|]+")


def question_key(text: str) -> str:
    r"""A form in which copies of one question coincide whatever their white space and mark-up.

    Lower case, LaTeX spacing dropped, then only letters, digits and the signs `+-=<>/!|`. Signs
    stay: without them `z^4+z^2+1` and `z^4-z^2+1` would be one question. A question without any
    of these characters keeps its text.

    Example:
        >>> question_key("Find  $x^2\\,+\\,1$.") == question_key("find x^2+1")
        True
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    spaced = _LATEX_SPACE.sub(lambda m: "frac" if m.group().endswith("frac") else "", folded)
    return _DROPPED.sub("", spaced) or folded.strip()
