"""Answers in words: yes and no, names, short phrases."""

import re
from collections.abc import Sequence

from rewards.equality.answers.number_words import is_number_word
from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.syntax.tokens import WORD, Token
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
    "infinite": "infinitely many",
    "infinitely many solutions": "infinitely many",
    "infinite number": "infinitely many",
    "infinite number of solutions": "infinitely many",
    "countless": "infinitely many",
    "correct": "yes",
    "是": "yes",
    "对": "yes",
    "正确": "yes",
    "否": "no",
    "错": "no",
    "错误": "no",
    "无解": "none",
    "不存在": "dne",
    "never": "none",
    "nothing": "none",
}
_ARTICLES = frozenset({"a", "an", "the"})
_LEADING = frozenset(["on", "in", "at", "by", "it", "is", "answer", "quadrant", "option", "choice"])
"""Words that only announce: `on Tuesday`, `Quadrant II`, `the answer is none`."""
_SUBJECTS = frozenset(
    ["limit", "solution", "value", "function", "integral", "sum", "series", "does"]
)
_NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "cannot", "none", "nobody"})
_SENTENCE = 4
_PUNCTUATION = re.compile(r"[^\w+\-=<>/^ ]")


def phrase(text: Text) -> str:
    """The words without articles and announcements, in their usual synonym."""
    said = [_PUNCTUATION.sub("", word) for word in text.words if word not in _ARTICLES]
    while len(said) > 1 and said[0] in _LEADING:
        del said[0]
    if said[:2] in (["there", "is"], ["there", "are"]):
        del said[:2]
    if len(said) > 2 and said[-1] in ("exist", "exists"):
        del said[-1]  # no solutions exist, but not: does not exist
        said += ["exist"] if "not" in said else []
    while len(said) > 2 and said[0] in _SUBJECTS and {"not", "diverges"} & set(said[1:4]):
        del said[0]  # the limit does not exist
    phrase = " ".join(word for word in said if word)
    return _SYNONYMS.get(phrase, phrase)


_DENYING = frozenset(
    [
        "not",
        "never",
        "no",
        "none",
        "neither",
        "nor",
        "false",
        "wrong",
        "incorrect",
        "untrue",
        "isn't",
        "cannot",
        "except",
        "unless",
        "without",
        "twice",
        "half",
        "double",
        "triple",
        "thrice",
        "minus",
        "negative",
        "times",
        "less",
        "more",
        "fewer",
        "than",
        "least",
        "most",
        "nearly",
        "almost",
        "opposite",
        "inverse",
        "reciprocal",
        "impossible",
        "unlike",
        "contrary",
        "doubt",
        "if",
    ]
)
_HARMLESS = frozenset(
    [
        "answer",
        "final",
        "result",
        "value",
        "solution",
        "the",
        "a",
        "an",
        "so",
        "thus",
        "hence",
        "therefore",
        "then",
        "we",
        "get",
        "have",
        "obtain",
        "find",
        "that",
        "gives",
        "which",
        "it",
        "is",
        "here",
        "finally",
        "and",
        "our",
        "required",
        "total",
        "sum",
        "area",
        "perimeter",
        "volume",
        "length",
        "probability",
        "number",
        "of",
        "let",
        "for",
        "all",
        "where",
        "by",
        "simplifying",
        "since",
        "because",
        "set",
        "to",
        "be",
        "equal",
        "equals",
        "答案",
        "答",
        "所以",
        "最终答案",
    ]
)


def harmless(tokens: Sequence[Token], strictly: bool = False) -> bool:
    """Whether words before a value only announce it; `strictly` admits known words alone.

    `The answer`, `Paolo`, `so the area`; not `never`, `twice`, `it is false that`.
    """
    words = [token.text.lower() for token in tokens if token.kind == WORD]
    if denies(words):
        return False
    names = any(token.kind != WORD for token in tokens)
    return not (strictly and names) or all(word in _HARMLESS for word in words)


def denies(words: Sequence[str]) -> bool:
    """Whether words deny, compare or multiply what they stand before: `never`, `twice`."""
    return any(word in _DENYING or is_number_word(word) for word in words)


def equal_texts(reference: Text, answer: Text) -> Comparison:
    """Whether two phrases say the same; yes and no may be followed by an explanation."""
    ours, theirs = phrase(reference), phrase(answer)
    if ours == theirs and ours:
        return equal("text")
    if not ours or not theirs:
        return different("text_differs")
    heads = [_SYNONYMS.get(said.split()[0], said.split()[0]) for said in (ours, theirs)]
    if heads[0] in ("yes", "no") and heads[0] == heads[1] and not _takes_back(answer):
        short = theirs == heads[0] or ours == heads[0]
        return equal("text") if short else different("text_differs", "another explanation")
    if _general(ours, theirs) or _general(theirs, ours):
        return equal("text")
    if _wins(ours, theirs) or _wins(theirs, ours):
        return equal("text")
    return different("text_differs")


def _takes_back(text: Text) -> bool:
    """Whether both of yes and no are said, or one of them is denied: `Yes/No`, `yes, not`."""
    said = {_SYNONYMS.get(word, word) for word in text.words[1:]}
    return bool(said & {"yes", "no", "not", "/", "or", "wrong", "maybe"})


def _general(phrase: str, longer: str) -> bool:
    """`isosceles` and `isosceles triangle`: a noun that the question has said."""
    return longer.split() in (
        [*phrase.split(), noun] for noun in ("triangle", "number", "function")
    )


def _wins(name: str, sentence: str) -> bool:
    """`Alice` and `Alice wins`: the name with a verb that only repeats the question."""
    return sentence.split() in ([name, verb] for verb in ("wins", "won", "win"))


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
