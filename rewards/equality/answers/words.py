"""Answers in words: yes and no, choice letters, short phrases."""

import re
from collections.abc import Sequence

from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.syntax.tokens import CONSTANT, NAME, OPERATOR, WORD, Token
from rewards.equality.values.kinds import Text

_SYNONYMS = {
    "true": "yes",
    "false": "no",
    "undefined": "dne",
    "does not exist": "dne",
    "not exist": "dne",
    "no solution": "none",
    "no solutions": "none",
    "no real solution": "none",
    "no real solutions": "none",
    "impossible": "none",
    "not possible": "none",
    "no such": "none",
}
_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "cannot", "none", "nobody"})
_SENTENCE = 4
_LETTERS = frozenset("ABCDEFGHIJ")
_PUNCTUATION = re.compile(r"[^\w+\-=<>/^ ]")


def phrase(text: Text) -> str:
    """The words without articles, in their usual synonym."""
    said = " ".join(word for word in text.words if word not in _ARTICLES)
    said = _PUNCTUATION.sub("", said)
    return _SYNONYMS.get(said, said)


def equal_texts(reference: Text, answer: Text) -> Comparison:
    """Whether two phrases say the same; yes and no may be followed by an explanation."""
    ours, theirs = phrase(reference), phrase(answer)
    if ours == theirs and ours:
        return equal("text")
    if not reference.words or not answer.words:
        return different("text_differs")
    heads = [_SYNONYMS.get(words.words[0], words.words[0]) for words in (reference, answer)]
    if heads[0] == heads[1] and heads[0] in ("yes", "no") and "yes no".count(ours or theirs):
        return equal("text")
    if heads[0] in ("yes", "no") and theirs == heads[0]:
        return equal("text")
    return different("text_differs")


def names_subject(reference: Sequence[Token], answer: Sequence[Token]) -> bool:
    """Whether a one-name answer is the subject of the sentence that the reference is.

    "Petya will receive the last token." asks who; it is answered by "Petya", if it denies nothing.
    """
    if len(answer) != 1 or answer[0].kind != WORD or not answer[0].text[:1].isupper():
        return False
    words = [token.text for token in reference if token.kind == WORD]
    if len(words) < _SENTENCE or reference[0].kind != WORD or words[0] != answer[0].text:
        return False
    return not any(word.lower() in _NEGATIONS for word in words) and not any(
        word[:1].isupper() for word in words[1:]
    )


def choice(tokens: Sequence[Token]) -> tuple[str, int]:
    """The letter of a multiple-choice answer and how many tokens it takes, `("", 0)` if it is none.

    Read are `A`, `(A)`, `A.`, `A)`, `A:` and these with the text of the choice behind them.
    """
    if not tokens:
        return "", 0
    if len(tokens) == 1:
        return _letter(tokens[0]), 1
    if tokens[0].text == "(" and len(tokens) > 2 and tokens[2].text == ")" and _letter(tokens[1]):
        return _letter(tokens[1]), 3
    if tokens[1].kind == OPERATOR and tokens[1].text in (".", ")", ":") and _letter(tokens[0]):
        return _letter(tokens[0]), 2
    return "", 0


def _letter(token: Token) -> str:
    upper = token.text.upper()
    return upper if token.kind in (NAME, CONSTANT) and upper in _LETTERS else ""
