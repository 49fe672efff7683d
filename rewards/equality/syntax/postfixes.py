r"""Marks behind an atom: factorials, percents, degrees and arc minutes, primes, powers, indices."""

from fractions import Fraction

from rewards.equality.syntax.applications import Parser
from rewards.equality.syntax.tokens import NUMBER, OPERATOR
from rewards.equality.values.expressions import Apply, Constant, Expression, Number, Symbol
from rewards.errors import UnreadableError


def with_postfixes(parser: Parser, node: Expression) -> Expression:
    r"""The atom with all that stands behind it: `5!`, `9!!`, `28\%`, `30^\circ 15'`, `x_1^2`."""
    while parser.peek().kind == OPERATOR:
        text = parser.peek().text
        if text == "!":
            parser.next()
            double = parser.at("!")  # 9!! is 9*7*5*3*1, and not the factorial of 9!
            if double:
                parser.next()
            node = Apply("double_factorial" if double else "factorial", (node,))
        elif text == "%":
            parser.next()
            node = Apply("percent", (node,))
        elif text == "°":
            parser.next()
            node = Apply("degree", (_arc_minutes(parser, node),))
        elif text == "'":
            parser.next()
            node = _prime(node)
        elif text == "_":
            parser.next()
            node = _subscript(parser, node)
        elif text == "^":
            parser.next()
            node = raised(parser, node)
        else:
            break
    return node


def _prime(node: Expression) -> Expression:
    """`y'` is a name, and `5'` is five minutes of arc: no 5."""
    if type(node) is Symbol:
        return Symbol(node.name + "'")
    if type(node) is Number:
        return Apply("arcminute", (node,))
    if type(node) is Apply and node.operation == "arcminute":
        return Apply("arcsecond", node.arguments)
    return node


def raised(parser: Parser, node: Expression) -> Expression:
    r"""`x^{2}`; `x^*`, `x^+` and `f^{\prime}` are names."""
    if parser.at("'") or (parser.at("{") and parser.peek(1).text == "'"):
        primes = parser.raw().count("'")
        for _ in range(primes):
            node = _prime(node)
        return node
    if parser.at("*") or (parser.at("+") and parser.peek(1).kind is not NUMBER):
        mark = parser.next().text
        if type(node) is Symbol:
            return Symbol(node.name + "^" + mark)
        raise UnreadableError("syntax", "an exponent that is no number")
    exponent = parser.argument(exponent=True)
    if parser.at("_") and type(node) is Symbol:
        parser.next()
        node = _subscript(parser, node)
    return Apply("pow", (node, exponent))


def _subscript(parser: Parser, node: Expression) -> Expression:
    """`52_8` has a base; `x^2_1` is a name with an index, squared."""
    index = parser.raw().strip("()")
    if type(node) is Symbol:
        if parser.at("'"):
            parser.next()
            index += "'"
        return Symbol(f"{node.name}_{index}")
    if type(node) is Number and index.isdigit() and 2 <= int(index[:4]) <= 36:
        return Apply("base", (node, Number(Fraction(int(index)))))
    if type(node) is Constant and node.name in ("e", "i"):
        return Symbol(f"{node.name}_{index}")
    raise UnreadableError("syntax", "a subscript under something that is no symbol")


def _arc_minutes(parser: Parser, node: Expression) -> Expression:
    r"""`30^\circ 15'` and `30^\circ 15' 20''`: sixtieths of a degree, and of these."""
    for marks, part in (("'", 60), ("''", 3600)):
        size = len(marks)
        behind = "".join(parser.peek(ahead).text for ahead in range(1, size + 1))
        number = parser.peek().number
        if number is None or behind not in (marks, '"' * (size - 1) or marks):
            return node
        node = Apply("add", (node, Number(number / part)))
        parser.position += 1 + size
    return node
