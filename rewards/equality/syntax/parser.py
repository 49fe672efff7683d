r"""Read tokens as one scalar expression; LaTeX and Python text share the grammar.

    sum     = [sign] product (("+" | "-" | "±" | "∓") product)*
    product = signed (("*" | "/" | ":" | mod) signed | power)*        juxtaposition multiplies
    power   = atom ("!" | "'" | "%" | "°" | "^" exponent | "_" subscript)*

Division and juxtaposition bind from the left, so `1/3p` is p/3 and `3/2(y+5)` is 3(y+5)/2.
"""

from collections.abc import Sequence
from fractions import Fraction

from rewards.equality import limits
from rewards.equality.syntax.functions import apply_function, determinant
from rewards.equality.syntax.tokens import (
    COMMAND,
    CONSTANT,
    FUNCTION,
    NAME,
    NUMBER,
    OPERATOR,
    WORD,
    Token,
)
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import (
    HALF,
    ONE,
    TWO,
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    negate,
    quotient,
)
from rewards.errors import LimitHitError, UnreadableError

_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
_SIGNS = ("+", "-", "±", "∓")
_MARKS = {"bar", "vec", "hat", "tilde", "dot", "ddot", "overline", "mathbf", "underline", "widehat"}
_BRACKET_COMMANDS = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
_BINOMIALS = ("binom", "frac")
_CALLABLE = frozenset("fghFGH") | {"phi", "Phi", "varphi", "psi", "Psi"}
_CALLABLE_IF_PLAIN = frozenset("pqrstuvwyPQRSTUVWNAMI")
PYTHON_NUMBERS = names("Rational Fraction Integer Float Decimal")
_BIG_OPERATORS = {"sum": "sum", "prod": "product"}


END = Token("end", "")


def parse(tokens: Sequence[Token]) -> Expression:
    """The expression that all the tokens make.

    Raises:
        UnreadableError: They are no expression.
        LimitHitError: They nest too deep.
    """
    if not tokens:
        raise UnreadableError("empty", "nothing to read")
    parser = _Parser(tokens)
    node = parser.sum()
    if parser.position < len(tokens):
        raise UnreadableError("syntax", f"unexpected {tokens[parser.position].text!r}")
    return node


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token so many places ahead; `END` behind the last."""
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else END

    def next(self) -> Token:
        """The token here; the place moves on."""
        token = self.peek()
        self.position += 1
        return token

    def at(self, *texts: str) -> bool:
        """Whether one of these operators stands here."""
        if self.position >= len(self.tokens):
            return False
        token = self.tokens[self.position]
        return token[1] in texts and token[0] == OPERATOR  # by index: this is the hottest line

    def expect(self, text: str) -> None:
        """Goes over a token that must be there. Raises `UnreadableError`."""
        token = self.next()
        if token.text != text:
            raise UnreadableError("syntax", f"expected {text!r}, found {token.text!r}")

    def descend(self) -> None:
        """Goes one level deeper. Raises `LimitHitError`."""
        self.depth += 1
        if self.depth > limits.DEPTH:
            raise LimitHitError("limit_depth", f"nested more than {limits.DEPTH} deep")

    def raw(self) -> str:
        """The text of one group, as a name."""
        if not self.at("{"):
            return self.next().text
        depth, out = 0, list[str]()
        while self.position < len(self.tokens):
            text = self.next().text
            depth += (text == "{") - (text == "}")
            if depth == 0:
                return "".join(out)
            if not (text == "{" and depth == 1):
                out.append(text)
        raise UnreadableError("unbalanced", "a brace never closes")

    def sum(self) -> Expression:
        self.descend()
        parts = [self.signed_product()]
        while self.at(*_SIGNS):
            parts.append(self.signed_product())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Apply("add", tuple(parts))

    def signed_product(self) -> Expression:
        negative, mark = False, ""
        while self.at(*_SIGNS):
            sign = self.next().text
            if sign == "-":
                negative = not negative
            elif sign != "+":
                mark = "pm" if sign == "±" else "mp"
        node = self.product()
        if mark:
            return Apply(mark, (negate(node) if negative else node,))
        return negate(node) if negative else node

    def product(self) -> Expression:
        parts = [self.signed()]
        while True:
            text = self.peek().text
            if text == "*":
                self.next()
                parts.append(self.signed())
            elif text in ("/", ":"):
                self.next()
                parts.append(Apply("inv", (self.signed(),)))
            elif text == "mod" and self.at("mod"):
                self.next()
                left = parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))
                parts = [Apply("mod", (left, self.signed()))]
            elif self.starts_atom():
                parts.append(self.power())
            else:
                return parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))

    def signed(self) -> Expression:
        text = self.peek().text
        if text == "-":
            self.next()
            self.descend()
            node = negate(self.signed())
            self.depth -= 1
            return node
        if text == "+":
            self.next()
        return self.power()

    def starts_atom(self) -> bool:
        token = self.peek()
        if token.kind in (NUMBER, NAME, CONSTANT, FUNCTION):
            return True
        if token.kind == OPERATOR:
            if token.text in ("(", "[", "{"):
                return True
            if token.text == "|":
                return self.bars == 0
            return token.text.startswith("begin ")
        if token.kind == COMMAND:
            return (
                token.text in ("frac", "binom", "lfloor", "lceil", "sum", "prod", "int", "lim")
                or token.text in _MARKS
            )
        return False

    def power(self) -> Expression:
        self.descend()
        node = self.atom()
        while self.peek().kind == OPERATOR:
            text = self.peek().text
            if text == "!":
                self.next()
                node = Apply("factorial", (node,))
            elif text == "%":
                self.next()
                node = Apply("percent", (node,))
            elif text == "°":
                self.next()
                node = Apply("degree", (node,))
            elif text == "'":
                self.next()
                node = self.prime(node)
            elif text == "_":
                self.next()
                node = self.subscript(node)
            elif text == "^":
                self.next()
                node = self.raised(node)
            else:
                break
        self.depth -= 1
        return node

    def prime(self, node: Expression) -> Expression:
        if type(node) is Symbol:
            return Symbol(node.name + "'")
        if type(node) is Number and not (self.at("'") or self.position == len(self.tokens)):
            raise UnreadableError("syntax", "a number with a prime inside an expression")
        return node

    def raised(self, node: Expression) -> Expression:
        if self.at("'") or (self.at("{") and self.peek(1).text == "'"):
            primes = self.raw().count("'")
            for _ in range(primes):
                node = self.prime(node)
            return node
        if self.at("*") or (self.at("+") and self.peek(1).kind is not NUMBER):
            mark = self.next().text
            if type(node) is Symbol:
                return Symbol(node.name + "^" + mark)
            raise UnreadableError("syntax", "an exponent that is no number")
        exponent = self.argument(exponent=True)
        if self.at("_") and type(node) is Symbol:
            self.next()
            node = self.subscript(node)
        return Apply("pow", (node, exponent))

    def subscript(self, node: Expression) -> Expression:
        index = self.raw().strip("()")
        if type(node) is Symbol:
            if self.peek() == Token(OPERATOR, "'") or self.at("'"):
                self.next()
                index += "'"
            return Symbol(f"{node.name}_{index}")
        if type(node) is Number and index.isdigit() and 2 <= int(index[:4]) <= 36:
            return Apply("base", (node, Number(Fraction(int(index)))))
        if type(node) is Constant and node.name in ("e", "i"):
            return Symbol(f"{node.name}_{index}")
        raise UnreadableError("syntax", "a subscript under something that is no symbol")

    def argument(self, exponent: bool = False) -> Expression:
        if self.at("{"):
            self.next()
            node = self.sum()
            self.expect("}")
            return node
        if exponent:
            if self.at("-", "+"):
                negative = self.next().text == "-"
                node = self.argument(exponent=True)
                return negate(node) if negative else node
            self.descend()
            node = self.atom()
            if self.at("^"):
                self.next()
                node = self.raised(node)
            self.depth -= 1
            return node
        token = self.peek()
        if token.kind == NUMBER and len(token.text) > 1 and token.text.isdigit():
            digits = [
                Token(NUMBER, digit, Fraction(int(digit))) for digit in token.text
            ]  # \frac12 takes one digit each
            self.tokens = [
                *self.tokens[: self.position],
                *digits,
                *self.tokens[self.position + 1 :],
            ]
        self.descend()
        node = self.atom()
        self.depth -= 1
        return node

    def atom(self) -> Expression:
        token = self.next()
        if token.kind == NUMBER:
            return self.number(token)
        if token.kind == NAME:
            return self.name(token)
        if token.kind == CONSTANT:
            return Constant(token.text)
        if token.kind == FUNCTION:
            return self.function(token.text)
        if token.kind == OPERATOR:
            return self.bracket(token.text)
        if token.kind == COMMAND:
            return self.command(token.text)
        if token.kind == WORD and token.text in PYTHON_NUMBERS and self.at("("):
            arguments = self.bracketed_arguments()
            return arguments[0] if len(arguments) == 1 else quotient(*arguments[:2])
        raise UnreadableError("syntax", f"unexpected {token.text!r}")

    def number(self, token: Token) -> Expression:
        assert token.number is not None
        node = Number(token.number, token.decimals)
        if token.decimals >= 0:
            return node
        fraction = self.fraction_part()
        if fraction is not None:
            return Number(token.number + fraction)
        return node

    def fraction_part(self) -> Fraction | None:
        r"""The proper fraction of a mixed number (`1 1/2`, `1\frac{1}{2}`), if one stands here."""
        start = self.position
        top = bottom = None
        first, slash, second = self.peek(), self.peek(1), self.peek(2)
        if first.kind == NUMBER and slash.text == "/" and second.kind == NUMBER:
            if first.decimals < 0 and second.decimals < 0 and first.spaced:
                top, bottom = first.number, second.number
                self.position += 3
        elif first.kind == COMMAND and first.text == "frac":
            self.next()
            try:
                over, under = self.argument(), self.argument()
            except UnreadableError:
                self.position = start
                return None
            if type(over) is Number and type(under) is Number and over.decimals < 0:
                top, bottom = over.value, under.value
        if top is not None and bottom is not None and 0 < top < bottom and not self.at("^"):
            return top / bottom
        self.position = start
        return None

    def name(self, token: Token) -> Expression:
        name = token.text
        if name in _CALLABLE and not token.prose:
            mark = self.derived()
            if mark:
                return self.call(name + mark)
        if token.prose or not self.at("("):
            return Symbol(name)
        if name in _CALLABLE or (name in _CALLABLE_IF_PLAIN and self.plain_call()):
            return self.call(name)
        return Symbol(name)

    def derived(self) -> str:
        """The mark of a derivative or inverse that is called here; the place moves on behind it."""
        inverse = tuple(self.peek(ahead).text for ahead in range(6))
        if inverse == ("^", "{", "-", "1", "}", "("):
            self.position += 5
            return "^-1"
        primes = 0
        while self.peek(primes).text == "'":
            primes += 1
        if primes and self.peek(primes).text == "(":
            self.position += primes
            return "'" * primes
        return ""

    def plain_call(self) -> bool:
        """Whether the bracket here holds symbols or numbers only, as in P(A) or T(10)."""
        ahead = 1
        while self.peek(ahead).kind in (NUMBER, NAME):
            if self.peek(ahead + 1).text == ")":
                return True
            if self.peek(ahead + 1).text != ",":
                return False
            ahead += 2
        return False

    def call(self, name: str) -> Expression:
        return Apply("call", (Symbol(name), *self.bracketed_arguments()))

    def bracketed_arguments(self) -> tuple[Expression, ...]:
        closing = _CLOSING[self.next().text]
        arguments = [self.sum()]
        while self.at(","):
            self.next()
            arguments.append(self.sum())
        self.expect(closing)
        return tuple(arguments)

    def bracket(self, text: str) -> Expression:
        if text in ("(", "[", "{"):
            node = self.sum()
            self.expect(_CLOSING[text])
            return node
        if text == "|":
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            self.expect("|")
            return Apply("abs", (node,))
        if text.startswith("begin "):
            return self.determinant(text[6:])
        raise UnreadableError("syntax", f"unexpected {text!r}")

    def command(self, name: str) -> Expression:
        if name == "frac":
            top = self.argument()
            return quotient(top, self.argument())
        if name == "binom":
            top = self.argument()
            return Apply("binomial", (top, self.argument()))
        if name in _BRACKET_COMMANDS:
            closing, function = _BRACKET_COMMANDS[name]
            node = self.sum()
            self.expect(closing)
            return Apply(function, (node,))
        if name in _MARKS:
            return Symbol(f"{name} {self.raw()}")
        if name in _BIG_OPERATORS:
            return self.big_operator(_BIG_OPERATORS[name])
        if name == "int":
            return self.integral()
        if name == "lim":
            return self.limit()
        raise UnreadableError("syntax", f"no rule for \\{name}")

    def function(self, name: str) -> Expression:
        """A function's base, exponent and arguments, behind its name."""
        if name == "sqrt":
            return self.root()
        base = exponent = None
        while self.at("_", "^"):
            if self.next().text == "_":
                base = self.argument()
            else:
                exponent = self.argument(exponent=True)
        if (name in ("max", "min", "gcd", "lcm") and self.at("\\{")) or self.at("(", "[", "{"):
            arguments = self.bracketed_arguments()
        else:
            arguments = (self.bare_argument(),)
        return apply_function(name, arguments, base, exponent)

    def root(self) -> Expression:
        """A root, with its index where there is one."""
        index: Expression = TWO
        if self.at("["):
            self.next()
            index = self.sum()
            self.expect("]")
        if self.at("("):
            arguments = self.bracketed_arguments()
            node = arguments[0]
            if len(arguments) != 1:
                raise UnreadableError("syntax", "a root of several numbers")
        else:
            node = self.argument()
        return Apply("pow", (node, HALF if index is TWO else Apply("inv", (index,))))

    def bare_argument(self) -> Expression:
        r"""What a function without brackets applies to: `\sin 2x\cos x` stops at the cosine."""
        self.descend()
        parts = [self.signed()]
        while self.peek().kind in (NUMBER, NAME, CONSTANT) or (
            self.peek().kind == COMMAND and self.peek().text == "frac"
        ):
            parts.append(self.power())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))

    def big_operator(self, operation: str) -> Expression:
        """A sum or product over one variable from a lower to an upper bound."""
        self.expect("_")
        self.expect("{")
        variable = self.next()
        if variable.kind not in (NAME, CONSTANT):
            raise UnreadableError("syntax", "no summation variable")
        self.expect("=")
        low = self.sum()
        self.expect("}")
        self.expect("^")
        high = self.argument(exponent=True)
        return Apply(operation, (Symbol(variable.text), low, high, self.product()))

    def integral(self) -> Expression:
        """A definite integral; its variable is the one behind the last d."""
        bounds = list[Expression]()
        for mark in ("_", "^"):
            self.expect(mark)
            bounds.append(self.argument() if self.at("{") else self.signed_atom())
        end, inside = self.position, 1
        while end < len(self.tokens):
            inside += self.tokens[end].kind == COMMAND and self.tokens[end].text == "int"
            inside -= self.is_differential(end)
            if inside == 0:
                break
            end += 1
        if end >= len(self.tokens):
            raise UnreadableError("syntax", "an integral without its variable")
        variable = Symbol(self.tokens[end + 1].text)
        inner = type(self)(self.tokens[self.position : end])
        inner.depth = self.depth
        body = inner.sum() if end > self.position else ONE
        if inner.position < end - self.position:
            raise UnreadableError("syntax", "an integrand that does not end at its variable")
        self.position = end + 2
        return Apply("integral", (variable, *bounds, body))

    def is_differential(self, index: int) -> bool:
        """Whether `dx` stands at this index."""
        following = self.tokens[index + 1] if index + 1 < len(self.tokens) else END
        return self.tokens[index].text == "d" and following.kind == NAME

    def limit(self) -> Expression:
        r"""A limit; `\to` stands between the variable and the point."""
        self.expect("_")
        self.expect("{")
        variable = self.next()
        arrow = self.next()
        if variable.kind != NAME or arrow.text not in ("to", "rightarrow", "->"):
            raise UnreadableError("syntax", "a limit without a variable and a point")
        point = self.sum()
        if self.at("^"):
            raise UnreadableError("syntax", "a one-sided limit")
        self.expect("}")
        return Apply("limit", (Symbol(variable.text), point, point, self.product()))

    def determinant(self, environment: str) -> Expression:
        """The value of a small matrix between bars."""
        if environment not in ("vmatrix", "Vmatrix"):
            raise UnreadableError("syntax", "a matrix inside an expression")
        rows: list[list[Expression]] = [[]]
        while True:
            rows[-1].append(self.sum())
            text = self.next().text
            if text == "newline":
                rows.append([])
            elif text != "&":
                break
        if text != f"end {environment}" or any(len(row) != len(rows) for row in rows):
            raise UnreadableError("syntax", "a determinant that is not square")
        if len(rows) > 4:
            raise LimitHitError("limit_determinant", "a determinant larger than four by four")
        return determinant(rows)

    def signed_atom(self) -> Expression:
        """A bound that is not in braces."""
        if self.at("-"):
            self.next()
            return negate(self.atom())
        return self.atom()
