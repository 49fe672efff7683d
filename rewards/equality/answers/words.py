"""Answers in words: yes and no, names, short phrases."""

import re
from collections.abc import Sequence
from itertools import pairwise

from rewards.equality.answers.number_words import is_number_word
from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.syntax.tokens import WORD, Token
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.kinds import Group, Text, Value

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
    "infinity": "infinitely many",
    "none of them": "none",
    "none of these": "none",
    "none of above": "none",
    "real numbers": "reals",
}
_WEEKDAYS = names("monday tuesday wednesday thursday friday saturday sunday")
_QUADRANTS = {"first": "i", "second": "ii", "third": "iii", "fourth": "iv"}
_ARTICLES = frozenset({"a", "an", "the"})
_LEADING = names("on in at by it is answer quadrant option choice")
"""Words that only announce: `on Tuesday`, `Quadrant II`, `the answer is none`."""
_SUBJECTS = names("limit solution value function integral sum series statement claim does")
_NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "cannot", "none", "nobody"})
_SENTENCE = 4
_VERBS = ("wins", "won", "win", "will win", "can win", "has winning strategy")
_PUNCTUATION = re.compile(r"[^\w+\-=<>/^ ]")


def phrase(text: Text) -> str:
    """The words without articles and announcements, in their usual synonym."""
    said = [_PUNCTUATION.sub("", word) for word in text.words if word not in _ARTICLES]
    said = [_weekday(word) for word in said]
    while len(said) > 1 and (
        said[0] in _LEADING
        or (said[0] in _SUBJECTS and said[1] in ("is", "dne"))
        or (len(said) > 2 and said[0] in _SUBJECTS and {"not", "diverges"} & set(said[1:4]))
    ):
        del said[0]  # on Tuesday; the limit does not exist; the statement is true
    if len(said) == 2 and said[1] == "quadrant":
        said = [_QUADRANTS.get(said[0], said[0])]
    if said[:2] in (["there", "is"], ["there", "are"]):
        del said[:2]
    if len(said) > 2 and said[-1] in ("exist", "exists"):
        del said[-1]  # no solutions exist, but not: does not exist
        said += ["exist"] if "not" in said else []
    phrase = " ".join(word for word in said if word)
    return _SYNONYMS.get(phrase, phrase)


def _weekday(word: str) -> str:
    """`tues` is Tuesday."""
    found = [day for day in _WEEKDAYS if len(word) >= 3 and day.startswith(word)]
    return found[0] if len(found) == 1 else word


def roman(text: Text) -> int | None:
    """The number that a Roman numeral of several letters says: `XIV` is 14."""
    word = text.words[0].upper() if len(text.words) == 1 else ""
    values = [_ROMAN.get(letter, 0) for letter in word]
    total = sum(
        -value if index + 1 < len(values) and value < values[index + 1] else value
        for index, value in enumerate(values)
    )
    return total if len(word) > 1 and 0 not in values and _in_roman(total) == word else None


_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def _in_roman(number: int) -> str:
    out = ""
    for value, letters in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"],
        strict=True,
    ):
        out += letters * (number // value)
        number %= value
    return out


_DENYING = names(
    "not never no none neither nor false wrong incorrect untrue isn't cannot except unless "
    "without twice half double triple thrice minus negative times less more fewer than least "
    "most nearly almost opposite inverse reciprocal impossible unlike contrary doubt if "
    "anything but isn plus choose divided"
)
_HARMLESS = names(
    "answer final result value solution the a an so thus hence therefore then we get have "
    "obtain find that gives which it is here finally and our required total sum area "
    "perimeter volume length probability number of let for all where by simplifying since "
    "because set to be equal equals 答案 答 所以 最终答案"
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


def announces(tokens: Sequence[Token]) -> bool:
    """Whether these are words that only lead to what follows: `therefore`, `so the answer`."""
    return all(token.kind == WORD and token.text.lower() in _HARMLESS for token in tokens)


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
    if heads[0] in ("yes", "no") and heads[0] == heads[1] and not _takes_back(answer, heads[0]):
        short = theirs == heads[0] or ours == heads[0]
        return equal("text") if short else different("text_differs", "another explanation")
    if _general(ours, theirs) or _general(theirs, ours):
        return equal("text")
    if _wins(ours, theirs) or _wins(theirs, ours):
        return equal("text")
    if ours == _predicate(theirs) or theirs == _predicate(ours):
        return equal("text")
    return different("text_differs")


def _takes_back(text: Text, head: str) -> bool:
    """Whether both of yes and no are said, or one of them is denied: `Yes/No`, `yes, not`.

    `No, it does not` takes nothing back.
    """
    words = [_SYNONYMS.get(word, word) for word in text.words[1:]]
    if words and words[0] not in _EXPLAINING:
        return True  # No is wrong
    against = {"/", "or", "wrong", "maybe", "yes" if head == "no" else "no"}
    denied = any(a == "not" and b in ("no", "yes") for a, b in pairwise(words))
    return denied or bool({*words} & against) or (head == "yes" and "not" in words)


DECLARING = names(
    "for where with when whenever all any some every each an a and the is are be being integer "
    "integers real reals number numbers constant constants positive negative non nonnegative "
    "natural whole arbitrary values value of to such that in set if term terms index prime odd "
    "even nonzero rational complex if given by function functions parameter denotes"
)
"""Words of a clause that says what the names of an answer stand for."""
_EXPLAINING = names(
    "it the there this that these those they he she we you i because since as always definitely "
    "of a an its his her their both in by for so indeed every all each"
)
"""What an explanation behind yes or no begins with."""


def explained(value: Value) -> Value:
    """`No, it does not.` is one statement of words, and no list."""
    if isinstance(value, Group) and value.items and not value.braces:
        texts = [item for item in value.items if isinstance(item, Text)]
        head = phrase(texts[0]) if len(texts) == len(value.items) else ""
        if head in ("yes", "no"):
            return Text(tuple(word for text in texts for word in text.words))
    return value


def _predicate(sentence: str) -> str:
    """What a sentence says of its subject: `curve is parabola`; nothing if that denies."""
    said = sentence.split()
    cut = next((i for i, word in enumerate(said[:5]) if word in ("is", "are")), 0)
    return " ".join(said[cut + 1 :]) if cut and not denies(said[:cut]) else ""


def _general(phrase: str, longer: str) -> bool:
    """`isosceles` and `isosceles triangle`: a noun that the question has said."""
    return longer.split() in (
        [*phrase.split(), noun] for noun in ("triangle", "number", "function")
    )


def _wins(name: str, sentence: str) -> bool:
    """`Alice` and `Alice wins`: the name with a verb that only repeats the question."""
    return sentence.split() in ([name, *verb.split()] for verb in _VERBS)


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
