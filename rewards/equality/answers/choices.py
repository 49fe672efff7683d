"""Multiple choice: the letter of an answer, and when it is the only one."""

from collections.abc import Sequence

from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.syntax.tokens import CONSTANT, FUNCTION, NAME, OPERATOR, WORD, Token

_LETTERS = frozenset("ABCDEFGHIJ")
_ANNOUNCING = frozenset({"option", "choice", "answer", "letter", "选项", "答案"})
_AGAINST = frozenset(
    {"or", "and", "not", "wrong", "false", "incorrect", "isn't", "never", "maybe", "perhaps"}
    | {"unlikely", "neither", "nor", "except", "possibly"}
)
_JOINING = frozenset({",", "/", ";", "&"})
_GOING_ON = frozenset({*_JOINING, "+", "*", "=", "≡", "plus", "times", "choose"})
"""What the text of a choice does not begin with: `(A) + 3` is a calculation."""
_BETWEEN_LETTERS = frozenset({",", ";", "(", ")", "and", "&", "\\{", "\\}", "{", "}"})


def choice(tokens: Sequence[Token]) -> tuple[str, int]:
    """The letter of a multiple-choice answer and how many tokens it takes, `("", 0)` if none.

    Read are `A`, `(A)`, `A.`, `A)`, `A:`, these with the text of the choice behind them, and
    `Option A`. `(A) or (B)`, `A, B` and `(A) is wrong` give no letter.
    """
    start = 0
    leading = {*_ANNOUNCING, ":", "is", "the"}
    while start < min(4, len(tokens) - 1) and tokens[start].text.lower() in leading:
        start += 1
    letter, size = _first(tokens[start:])
    if not letter:
        return "", 0
    rest = tokens[start + size :]
    if tokens[start + size - 1].text == ":" and _is_ratio(tokens[start], rest):
        return "", 0
    if rest and rest[0].text.lower() in _GOING_ON:
        return "?", len(tokens)
    if any(token.text.lower() in _AGAINST for token in rest[:2]) or _another(rest):
        return "?", len(tokens)
    return letter, start + size


def _first(tokens: Sequence[Token]) -> tuple[str, int]:
    if len(tokens) == 1:
        return _letter(tokens[0]), 1
    if tokens[0].text == "(" and len(tokens) > 2 and tokens[2].text == ")" and _letter(tokens[1]):
        return _letter(tokens[1]), 3
    if tokens[1].kind == OPERATOR and tokens[1].text in (".", ")", ":") and _letter(tokens[0]):
        return _letter(tokens[0]), 2
    return "", 0


def _is_ratio(first: Token, rest: Sequence[Token]) -> bool:
    """Whether `a:b = 3:2` goes on behind `a:`; but `A: x = 3` is a choice with its text."""
    texts = [token.text for token in rest]
    if texts[1:2] not in ([":"], ["="]) or rest[0].kind not in (NAME, CONSTANT):
        return False
    return "=" in texts and (":" in texts or first.text.islower())


def _another(tokens: Sequence[Token]) -> bool:
    """Whether a second letter is offered: `(A) or (B)`, `A. or B.`, `(A), (C)`."""
    for index, token in enumerate(tokens[:-1]):
        joined = token.text in _JOINING or (token.kind == WORD and token.text.lower() in _AGAINST)
        following = tokens[index + 1 : index + 4]
        boxed = token.text == "(" and len(following) > 1 and following[1].text == ")"
        called = index and tokens[index - 1].kind in (NAME, CONSTANT, FUNCTION)  # f(A)
        letter, size = _first(following) if joined and following else ("", 0)
        if (letter and (index == 0 or size > 1)) or (
            boxed and not called and _letter(following[0])
        ):
            return True
    return False


def letters(tokens: Sequence[Token]) -> frozenset[str] | None:
    """The letters of `A, C`, `(A) and (C)`, `AC`, if all are meant: `None` for `A or C`."""
    found = list[str]()
    for token in tokens:
        if token.kind in (NAME, CONSTANT):
            if token.text not in _LETTERS:
                return None
            found.append(token.text)
        elif token.text.lower() not in _BETWEEN_LETTERS:
            return None
    tuples = any(a.text == "(" and b.text != ")" for a, b in zip(tokens, tokens[2:], strict=False))
    return None if len(found) < 2 or tuples else frozenset(found)


def compare_choices(ours: tuple[str, int], theirs: tuple[str, int]) -> Comparison:
    """Whether two answers name one letter."""
    if theirs[0] == "?":
        return different("several_choices", "more than one letter, or a letter that is denied")
    return equal("choice") if ours[0] == theirs[0] else different("choice_differs")


def _letter(token: Token) -> str:
    upper = token.text.upper()
    return upper if token.kind in (NAME, CONSTANT) and upper in _LETTERS else ""
