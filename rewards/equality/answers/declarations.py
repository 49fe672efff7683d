r"""What an answer declares of its names: `k \in \mathbb{Z}`, `for all x > 0`, `n \ge 1`.

It is cut off and is no part of the value; which names are integers is noted in the `Reading`.
"""

from itertools import pairwise

from rewards.equality.answers.sets import INTEGERS, Reading
from rewards.equality.answers.words import DECLARING
from rewards.equality.syntax.tokens import (
    COMMAND,
    NAME,
    NUMBER,
    WORD,
    Token,
    Tokens,
    closes,
    resumed,
    step,
    trim,
)
from rewards.equality.values.expressions import ONE, TWO, ZERO, Symbol
from rewards.equality.values.kinds import Chain, Quantity, Value

QUALIFIERS = frozenset({"for", "where", "with", "when", "whenever", "forall"})


def without_qualifiers(tokens: Tokens, reading: Reading) -> Tokens:
    """Cuts `for all x`, `where k is an integer`; notes which names are integers."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += step(token)
        word = token.text.lower() if token.kind in (WORD, COMMAND) else ""
        if depth == 0 and word in QUALIFIERS and index > 0:
            end = resumed(tokens, index) if word in ("for", "forall") else len(tokens)
            tail = tokens[index:end]
            if not _qualifies(tail, reading):
                return tokens
            if any(part.text in INTEGERS for part in tail):
                reading.parameters |= {t.text for t in tail if t.kind == NAME} - INTEGERS
            kept = trim([*trim(tokens[:index]), *tokens[end:]])
            return without_qualifiers(kept, reading) if end < len(tokens) else kept
    return tokens


def _qualifies(tail: Tokens, reading: Reading) -> bool:
    """Whether words behind a value only declare its names; notes what numbers they bring in.

    `for all x > 0` and `where k is an integer` do; `for x or 7`, `where x is wrong` do not.
    """
    for before, token in pairwise(tail):
        if token.kind == NUMBER:
            reading.conditions.add(before.text.strip("<>") + token.text)
    return all(
        token.text.lower() in DECLARING if token.kind == WORD else token.text not in ("+", "*")
        for token in tail
    )


def ranges_over_reals(tokens: Tokens) -> bool:
    r"""Whether this is `t \in \mathbb{R}` behind a value: any real parameter."""
    texts = [token.text for token in tokens]
    return texts[1:] == ["∈", "mathbbR"] and tokens[0].kind == NAME


def declares(tokens: Tokens, reading: Reading) -> bool:
    r"""Whether this is `k \in \mathbb{Z}` and no part of the answer."""
    if tokens[0].text == "(" and closes(tokens):
        tokens = tokens[1:-1]
    index = next((i for i, token in enumerate(tokens) if token.text == "∈"), -1)
    if index < 1 or not any(token.text in INTEGERS for token in tokens[index:]):
        return False
    if not all(_in_declaration(token) for token in tokens[index:]):
        return False  # k in Z plus 3
    names = {token.text for token in tokens[:index] if token.kind == NAME}
    reading.parameters |= names
    return bool(names)


def _in_declaration(token: Token) -> bool:
    r"""Whether this may stand behind the sign in `k \in \mathbb{Z}^+`, `n \in \mathbb{N}`."""
    if token.kind == WORD:
        return token.text.lower() in DECLARING or token.text in INTEGERS
    return token.text != "=" and (token.kind != NUMBER or token.text in ("0", "1", "2"))


def bounds_index(value: Value) -> bool:
    r"""`n \ge 1`: which terms of a sequence are meant."""
    if (
        not isinstance(value, Chain)
        or len(value.parts) != 2
        or value.operators[0] not in (">=", ">")
    ):
        return False
    name, least = value.parts
    if not isinstance(least, Quantity) or least.expression not in (ZERO, ONE, TWO):
        return False
    return isinstance(name, Quantity) and name.expression in (Symbol("n"), Symbol("k"), Symbol("m"))
