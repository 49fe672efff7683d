"""Pieces of question text that several families share."""

from collections.abc import Iterable, Sequence


def polynomial(coefficients: Sequence[int], variable: str = "x") -> str:
    """A polynomial in LaTeX, highest power first.

    Example:
        >>> polynomial([1, 0, -3, 1])
        'x^{3} - 3x + 1'
    """
    text = ""
    degree = len(coefficients) - 1
    for place, value in enumerate(coefficients):
        power = degree - place
        if not value:
            continue
        size = str(abs(value)) if abs(value) != 1 or power == 0 else ""
        letter = "" if power == 0 else variable if power == 1 else f"{variable}^{{{power}}}"
        if text:
            text += f" {'-' if value < 0 else '+'} {size}{letter}"
        else:
            text = f"{'-' if value < 0 else ''}{size}{letter}"
    return text or "0"


def listing(items: Iterable[object], last: str = "and") -> str:
    """Items as prose.

    Example:
        >>> listing([1, 2, 3])
        '1, 2 and 3'
    """
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def pmatrix(rows: Sequence[Sequence[int]]) -> str:
    """A matrix in LaTeX."""
    body = r" \\ ".join(" & ".join(map(str, row)) for row in rows)
    return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"


def edges(pairs: Iterable[tuple[int, int]]) -> str:
    """The edges of a graph, numbered from 1, as `1-2, 1-3`."""
    return ", ".join(f"{a + 1}-{b + 1}" for a, b in pairs)
