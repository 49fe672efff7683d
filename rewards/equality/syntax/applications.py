"""Grammar around an atom: functions, roots and mixed numbers; powers, indices and marks."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from rewards.equality.syntax.tokens import COMMAND, CONSTANT, NAME, NUMBER, OPERATOR, Token
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import (
    HALF,
    TWO,
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    difference,
    quotient,
)
from rewards.errors import UnreadableError

_TRIGONOMETRIC = names("sin cos tan cot sec csc sinh cosh tanh")


class Parser(Protocol):
    """What the rules here need of the grammar that calls them and that they call back."""

    tokens: Sequence[Token]
    position: int
    depth: int

    def __init__(self, tokens: Sequence[Token]) -> None: ...
    def peek(self, ahead: int = 0) -> Token: ...  # noqa: D102 - documented in `parser.Parser`, as below
    def next(self) -> Token: ...  # noqa: D102
    def at(self, *texts: str) -> bool: ...  # noqa: D102
    def raw(self) -> str: ...  # noqa: D102
    def expect(self, text: str) -> None: ...  # noqa: D102
    def descend(self) -> None: ...  # noqa: D102
    def sum(self) -> Expression: ...  # noqa: D102
    def product(self) -> Expression: ...  # noqa: D102
    def signed(self) -> Expression: ...  # noqa: D102
    def power(self) -> Expression: ...  # noqa: D102
    def atom(self) -> Expression: ...  # noqa: D102
    def argument(self, exponent: bool = False) -> Expression: ...  # noqa: D102
    def bracketed_arguments(self) -> tuple[Expression, ...]: ...  # noqa: D102


def function(parser: Parser, name: str) -> Expression:
    """A function's base, exponent and arguments, behind its name."""
    if name == "sqrt":
        return _root(parser)
    base = exponent = None
    while parser.at("_", "^"):
        if parser.next().text == "_":
            base = parser.argument()
        else:
            exponent = parser.argument(exponent=True)
    if (name in ("max", "min", "gcd", "lcm") and parser.at("\\{")) or parser.at("(", "[", "{"):
        arguments = parser.bracketed_arguments()
    else:
        arguments = (_bare_argument(parser),)
    return _applied(name, arguments, base, exponent)


def python_number(parser: Parser, name: str) -> Expression:
    """`Rational(3, 4)`, `np.int64(12)`, `complex(2, 3)`, `Poly(x**2 - 1, x, domain=ZZ)`."""
    if name != "Poly":
        arguments = parser.bracketed_arguments()
        if name == "complex" and len(arguments) == 2:
            return Apply("add", (arguments[0], Apply("mul", (Constant("i"), arguments[1]))))
        return arguments[0] if len(arguments) == 1 else quotient(*arguments[:2])
    parser.next()
    node, depth = parser.sum(), 1
    while depth:  # what follows names the variables and the domain
        text = parser.next().text
        if not text:
            raise UnreadableError("syntax", "a bracket never closes")
        depth += (text == "(") - (text == ")")
    return node


def polar(angle: Expression) -> Expression:
    r"""The number of length one at this angle: `\operatorname{cis} x`, and `1\angle x`."""
    return Apply("pow", (Constant("e"), Apply("mul", (Constant("i"), angle))))


def chooses(parser: Parser) -> bool:
    """`C(10, 3)`: two whole numbers behind a C."""
    kinds = tuple(parser.peek(ahead).kind for ahead in (1, 3))
    return kinds == (NUMBER, NUMBER) and parser.peek(2).text == "," and parser.peek(4).text == ")"


def _root(parser: Parser) -> Expression:
    """A root, with its index where there is one."""
    index: Expression = TWO
    if parser.at("["):
        parser.next()
        index = parser.sum()
        parser.expect("]")
    if parser.at("("):
        arguments = parser.bracketed_arguments()
        node = arguments[0]
        if len(arguments) != 1:
            raise UnreadableError("syntax", "a root of several numbers")
    else:
        node = parser.argument()
    return Apply("pow", (node, HALF if index is TWO else Apply("inv", (index,))))


def _bare_argument(parser: Parser) -> Expression:
    r"""What a function without brackets applies to: `\sin 2x\cos x` stops at the cosine."""
    parser.descend()
    parts = [parser.signed()]
    while parser.peek().kind in (NUMBER, NAME, CONSTANT) or (
        parser.peek().kind == COMMAND and parser.peek().text == "frac"
    ):
        parts.append(parser.power())
    parser.depth -= 1
    return parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))


def derivative(top: Expression, bottom: Expression) -> Expression | None:
    r"""`\frac{d^2y}{dx^2}` is y'', and `\frac{\partial u}{\partial t}` is u_t: one name each."""
    over = top.arguments if type(top) is Apply and top.operation == "mul" else ()
    under = bottom.arguments if type(bottom) is Apply and bottom.operation == "mul" else ()
    if len(over) != 2 or not under or len(under) % 2 or type(over[1]) is not Symbol:
        return None
    mark, order = _power_of(over[0])
    letters, total = "", 0
    for sign, factor in zip(under[::2], under[1::2], strict=True):
        variable, times = _power_of(factor)
        if sign != mark or type(variable) is not Symbol:
            return None
        letters += variable.name * times
        total += times
    if mark not in (Symbol("d"), Symbol("partial")) or not order or total != order:
        return None
    if mark == Symbol("partial"):
        return Symbol(f"{over[1].name}_{letters}")
    return Symbol(over[1].name + "'" * order) if len({*letters}) == 1 else None


def _power_of(node: Expression) -> tuple[Expression, int]:
    """`x^2` as x and 2; any other expression is its own first power."""
    if type(node) is Apply and node.operation == "pow":
        base, power = node.arguments
        whole = type(power) is Number and power.value.denominator == 1 and 0 < power.value < 10
        return (base, int(power.value)) if whole and type(power) is Number else (node, 0)
    return node, 1


def mixed_part(parser: Parser) -> Fraction | None:
    r"""The proper fraction of a mixed number (`1 1/2`, `1\frac{1}{2}`), if one stands here."""
    start = parser.position
    top = bottom = None
    braced = parser.at("{") and parser.peek(1).text == "frac"
    parser.position += braced
    first, slash, second = parser.peek(), parser.peek(1), parser.peek(2)
    if first.kind == NUMBER and slash.text == "/" and second.kind == NUMBER:
        if first.decimals < 0 and second.decimals < 0 and first.spaced:
            top, bottom = first.number, second.number
            parser.position += 3
    elif first.kind == COMMAND and first.text == "frac":
        parser.next()
        try:
            over, under = parser.argument(), parser.argument()
        except UnreadableError:
            parser.position = start
            return None
        if type(over) is Number and type(under) is Number and over.decimals < 0:
            top, bottom = over.value, under.value
        if braced and not parser.at("}"):
            top = None
        parser.position += braced
    if top is not None and bottom is not None and 0 < top < bottom and not parser.at("^"):
        return top / bottom
    parser.position = start
    return None


def derived(parser: Parser) -> str:
    """The mark of a derivative or inverse that is called here; the place moves on behind it."""
    inverse = tuple(parser.peek(ahead).text for ahead in range(6))
    if inverse == ("^", "{", "-", "1", "}", "("):
        parser.position += 5
        return "^-1"
    if inverse[:4] == ("^", "{", "'", "}") and inverse[4] == "(":  # f^{\prime}(x)
        parser.position += 4
        return "'"
    primes = 0
    while parser.peek(primes).text == "'":
        primes += 1
    if primes and parser.peek(primes).text == "(":
        parser.position += primes
        return "'" * primes
    return ""


def plain_call(parser: Parser) -> bool:
    """Whether the bracket here holds symbols or numbers only, as in P(A) or T(10)."""
    ahead = 1
    while parser.peek(ahead).kind in (NUMBER, NAME):
        if parser.peek(ahead + 1).text == ")":
            return True
        if parser.peek(ahead + 1).text != ",":
            return False
        ahead += 2
    return False


def _applied(
    name: str,
    arguments: tuple[Expression, ...],
    base: Expression | None,
    exponent: Expression | None,
) -> Expression:
    """The tree of a function with its subscript and exponent, where it has them."""
    first = arguments[0]
    node: Expression
    if name == "cis":
        node = polar(first)
    elif name == "arrangements" and len(arguments) == 2:  # perm(5, 2) is 5!/3!
        left = Apply("factorial", (difference(first, arguments[1]),))
        node = quotient(Apply("factorial", (first,)), left)
    elif name == "pow" and len(arguments) in (2, 3):
        node = Apply("pow", arguments[:2])
        node = node if len(arguments) == 2 else Apply("mod", (node, arguments[2]))
    elif name == "exp":
        node = Apply("pow", (Constant("e"), first))
    elif name == "cbrt":
        node = Apply("pow", (first, Number(Fraction(1, 3))))
    elif name in ("log", "ln", "lg", "log2"):
        node = _logarithm(name, arguments, base)
    elif base is not None:
        raise UnreadableError("syntax", f"a subscript under {name}")
    else:
        node = Apply(name, arguments)
    if exponent is None:
        return node
    if exponent == Number(Fraction(-1)) and name in _TRIGONOMETRIC:
        return Apply("arc" + name, arguments)
    return Apply("pow", (node, exponent))


def _logarithm(name: str, arguments: tuple[Expression, ...], base: Expression | None) -> Expression:
    if base is None and len(arguments) == 2:
        base = arguments[1]
    if base is None and name in ("lg", "log2"):
        base = Number(Fraction(10 if name == "lg" else 2))
    if base is None and name == "log":
        return Apply("log", arguments)
    node = Apply("ln", arguments[:1])
    return node if base is None else quotient(node, Apply("ln", (base,)))


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
