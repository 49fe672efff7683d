r"""Piecewise functions: rows of `\begin{cases}`, and `Piecewise((x, x >= 0), (-x, True))`."""

from collections.abc import Callable, Sequence

from rewards.equality.comparison import Comparison, Outcome, different, equal
from rewards.equality.syntax.token_spans import Tokens, split, trim
from rewards.equality.syntax.tokens import WORD
from rewards.equality.values.kinds import Piecewise, Row, Text, Value, is_ordering, is_region

_ELSE = frozenset({"otherwise", "else", "true", "elsewhere"})
_BEFORE = frozenset({"if", "when", "for", "where"})


def read_pieces(rows: Sequence[Tokens], statement: Callable[[Tokens], Value]) -> Piecewise | None:
    """Rows of a value and its condition; `None` where some row has none: a system of equations."""
    pieces = list[tuple[Value, Value | None]]()
    for row in rows:
        parts = split(row, {"&"})
        if len(parts) == 1:
            parts = split(row, _BEFORE, words=True)
        if len(parts) == 1:
            parts = split(row, {","})
        parts = [trim(part) for part in parts]
        if len(parts) != 2 or not all(parts):
            return None
        condition = _condition(parts[1], statement)
        if condition is not None and not is_region(condition) and not is_ordering(condition):
            return None
        pieces.append((statement(parts[0]), condition))
    return Piecewise(tuple(pieces)) if pieces else None


def _condition(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Value | None:
    if tokens[0].kind == WORD and tokens[0].text.lower() in _BEFORE and len(tokens) > 1:
        tokens = tokens[1:]
    if tokens[0].text.lower() in _ELSE:
        return None
    return statement(tokens)


def from_python(rows: Sequence[Value]) -> Piecewise | None:
    """The pairs of a printed `Piecewise((x, x >= 0), (-x, True))`."""
    pieces = list[tuple[Value, Value | None]]()
    for row in rows:
        if not isinstance(row, Row) or len(row.items) != 2:
            return None
        value, condition = row.items
        otherwise = isinstance(condition, Text) and condition.words[-1:] == ("true",)
        pieces.append((value, None if otherwise else condition))
    return Piecewise(tuple(pieces))


def compare_piecewise(
    reference: Piecewise, answer: Piecewise, compare: Callable[[Value, Value], Comparison]
) -> Comparison:
    """The same values under the same conditions, in any order."""
    if len(reference.pieces) != len(answer.pieces):
        return different("count_differs", "another number of cases")
    left = list(answer.pieces)
    for value, condition in reference.pieces:
        for piece in left:
            last = condition is None or piece[1] is None
            if not last:
                assert condition is not None
                assert piece[1] is not None
                if compare(condition, piece[1]).outcome is not Outcome.EQUAL:
                    continue
            elif len(left) > 1 and not (condition is None and piece[1] is None):
                continue  # what is left over is compared last
            if compare(value, piece[0]).outcome is Outcome.EQUAL:
                left.remove(piece)
                break
        else:
            return different("case_differs", "a case has no counterpart")
    return equal("piecewise")
