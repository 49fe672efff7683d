"""Permutations in cycles: `(1 2 3)(4 5)`, whose cycles may stand in any order."""

from rewards.equality.syntax.tokens import NUMBER, Tokens
from rewards.equality.values.kinds import Permutation


def read_permutation(tokens: Tokens, loosely: bool = False) -> Permutation | None:
    """Cycles of numbers with spaces between them; `(1, 2)` is a point and `(12)` a number.

    Read `loosely`, against a permutation, `(1, 2)` and `(12)` are the cycle `(1 2)`.
    """
    if len(tokens) < (3 if loosely else 4) or tokens[0].text != "(" or tokens[-1].text != ")":
        return None
    cycles, cycle = set[tuple[int, ...]](), list[int]()
    opened, seen = False, set[int]()
    for token in tokens:
        if token.text == "(" and not opened:
            opened, cycle = True, []
        elif token.text == ")" and opened and len(cycle) > 1:
            least = cycle.index(min(cycle))
            cycles.add((*cycle[least:], *cycle[:least]))
            opened = False
        elif opened and token.kind == NUMBER and token.number is not None and token.decimals < 0:
            glued = loosely and not cycle and len(token.text) > 1 and token.text.isdigit()
            members = [int(digit) for digit in token.text] if glued else [int(token.number)]
            apart = token.spaced or loosely or not cycle
            if not apart or seen & {*members} or len({*members}) < len(members):
                return None
            cycle += members
            seen |= {*members}
        elif not (loosely and opened and cycle and token.text == ","):
            return None
    return None if opened else Permutation(frozenset(cycles))
