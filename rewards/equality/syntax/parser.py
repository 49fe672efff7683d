r"""Read tokens as one scalar expression; LaTeX and Python text share the grammar.

    sum     = [sign] product (("+" | "-" | "±" | "∓") product)*
    product = signed (("*" | "/" | ":" | mod) signed | power)*        juxtaposition multiplies
    power   = atom ("!" | "'" | "%" | "°" | "^" exponent | "_" subscript)*

Division and juxtaposition bind from the left, so `1/3p` is p/3 and `3/2(y+5)` is 3(y+5)/2.
"""

from collections.abc import Sequence
from fractions import Fraction

from rewards.equality import limits
from rewards.equality.syntax.applications import (
    chooses,
    derivative,
    derived,
    function,
    mixed_part,
    plain_call,
    polar,
    python_number,
    raised,
    with_postfixes,
)
from rewards.equality.syntax.calculus import big_operator, determinant, integral, limit, series
from rewards.equality.syntax.tokens import (
    BASED,
    COMMAND,
    CONSTANT,
    END,
    FUNCTION,
    NAME,
    NUMBER,
    OPERATOR,
    WORD,
    Token,
)
from rewards.equality.syntax.vocabulary import PYTHON_NUMBERS
from rewards.equality.values.expressions import (
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
_CALLABLE = frozenset("fghFGH") | {"phi", "Phi", "varphi", "psi", "Psi"}
_CALLABLE_IF_PLAIN = frozenset("pqrstuvwyPQRSTUVWNAMI")


def parse(tokens: Sequence[Token]) -> Expression:
    """The expression that all the tokens make.

    Raises:
        UnreadableError: They are no expression.
        LimitHitError: They nest too deep.
    """
    if not tokens:
        raise UnreadableError("empty", "nothing to read")
    parser = Parser(tokens)
    node = parser.sum()
    if parser.position < len(tokens):
        raise UnreadableError("syntax", f"unexpected {tokens[parser.position].text!r}")
    return node


class Parser:
    """A place in the tokens and the rules of the grammar; minds how deep they nest."""

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
        r"""Terms with signs between them: `2x - 3 \pm \sqrt5`."""
        self.descend()
        parts = [self.signed_product()]
        while self.at(*_SIGNS):
            if self.peek(1).text == "…" and self.peek(2).text in _SIGNS:  # 1 + 2 + ... + n
                self.position += 2
                parts = [series("sum", parts, self.signed_product())]
                continue
            parts.append(self.signed_product())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Apply("add", tuple(parts))

    def signed_product(self) -> Expression:
        r"""A term with its signs: `-3x`, `--2`, `\pm 4`."""
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
        r"""Factors, with or without a sign between them: `2x`, `3 \cdot 4/5`, `17 \bmod 5`."""
        parts = [self.signed()]
        while True:
            text = self.peek().text
            if text == "…" or (text == "*" and self.peek(1).text == "…"):  # 1*2*...*n
                while self.at("*", "…"):
                    self.next()
                parts = [series("product", parts, self.factor())]
            elif text == "*":
                self.next()
                parts.append(self.signed())
            elif text in ("/", ":"):
                self.next()
                parts.append(Apply("inv", (self.signed(),)))
            elif text == "//":  # Python's whole division
                self.next()
                left = parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))
                parts = [Apply("floor", (quotient(left, self.signed()),))]
            elif text == "∠":  # 2\angle 60^\circ is 2 e^{i pi/3}
                self.next()
                parts.append(polar(self.signed()))
            elif text == "mod" and self.at("mod"):
                self.next()
                left = parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))
                parts = [Apply("mod", (left, self.signed()))]
            elif self.starts_atom():
                parts.append(self.power())
            else:
                return parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))

    def factor(self) -> Expression:
        """The last factor behind dots: `2n` in `2*4*...*2n`."""
        parts = [self.signed()]
        while self.starts_atom():
            parts.append(self.power())
        return parts[0] if len(parts) == 1 else Apply("mul", tuple(parts))

    def signed(self) -> Expression:
        """A factor that may carry a sign behind an operator: `3 * -2`."""
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
        r"""Whether a factor may begin here without a sign before it: `x` in `2x`, `\frac` too."""
        token = self.peek()
        if token.kind in (NUMBER, NAME, CONSTANT, FUNCTION, BASED):
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
        r"""An atom with all that stands behind it: `5!`, `9!!`, `28\%`, `30^\circ 15'`, `x_1^2`."""
        self.descend()
        node = with_postfixes(self, self.atom())
        self.depth -= 1
        return node

    def argument(self, exponent: bool = False) -> Expression:
        r"""What a command or exponent takes: a group or an atom; `\frac12` takes a digit each."""
        if self.at("{"):
            self.next()
            return self.group("}")
        if exponent:
            if self.at("-", "+"):
                negative = self.next().text == "-"
                node = self.argument(exponent=True)
                return negate(node) if negative else node
            self.descend()
            node = self.atom()
            if self.at("^"):
                self.next()
                node = raised(self, node)
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
        """What no operator holds together: a number, a name, something in brackets."""
        token = self.next()
        if token.kind == NUMBER:
            return self.number(token)
        if token.kind == BASED:
            assert token.number is not None
            digits, mark, _ = token.text.partition("_")
            base = Number(Fraction(token.decimals))
            spelled = (Symbol(digits if mark else digits[2:]), base)
            return Apply("base", spelled if mark else (*spelled, Number(token.number)))
        if token.kind == NAME:
            return self.name(token)
        if token.kind == CONSTANT:
            return Constant(token.text)
        if token.kind == FUNCTION:
            return function(self, token.text)
        if token.kind == OPERATOR:
            return self.bracket(token.text)
        if token.kind == COMMAND:
            return self.command(token.text)
        if token.kind == WORD and token.text in PYTHON_NUMBERS and self.at("("):
            return python_number(self, token.text)
        raise UnreadableError("syntax", f"unexpected {token.text!r}")

    def number(self, token: Token) -> Expression:
        r"""A number, mixed where a proper fraction follows: `3\frac14`, `2 1/3`, `3{\frac14}`."""
        assert token.number is not None
        node = Number(token.number, token.decimals)
        if token.decimals >= 0:
            return node
        fraction = mixed_part(self)
        if fraction is not None:
            return Number(token.number + fraction)
        return node

    def name(self, token: Token) -> Expression:
        """A symbol, or a function of our own making that is called: `f(x)`, `P(A)`, `f'(2)`."""
        name = token.text
        if name.startswith("partial_") and self.peek().kind == NAME:
            return Symbol(f"{self.next().text}_{name[8:]}")  # \partial_t u is u_t
        if name in _CALLABLE and not token.prose:
            mark = derived(self)
            if mark:
                return self.call(name + mark)
        if token.prose or not self.at("("):
            return Symbol(name)
        if name == "C" and chooses(self):
            return Apply("binomial", self.bracketed_arguments())
        if name in _CALLABLE or (name in _CALLABLE_IF_PLAIN and plain_call(self)):
            return self.call(name)
        return Symbol(name)

    def call(self, name: str) -> Expression:
        """`f(x, y)`."""
        return Apply("call", (Symbol(name), *self.bracketed_arguments()))

    def bracketed_arguments(self) -> tuple[Expression, ...]:
        r"""Arguments in brackets, separated by commas: `\gcd(12, 18)`."""
        closing = _CLOSING[self.next().text]
        arguments = [self.sum()]
        while self.at(","):
            self.next()
            arguments.append(self.sum())
        self.expect(closing)
        return tuple(arguments)

    def group(self, closing: str) -> Expression:
        r"""The inside of a bracket; plain TeX divides it: `{1 \over 2}`, `{10 \choose 3}`."""
        node = self.sum()
        if self.peek().kind == COMMAND and self.peek().text in ("over", "choose"):
            over = self.next().text == "over"
            below = self.sum()
            node = quotient(node, below) if over else Apply("binomial", (node, below))
        self.expect(closing)
        return node

    def bracket(self, text: str) -> Expression:
        r"""`(x+1)`, `|x|`, `\begin{vmatrix}...`."""
        if text in ("(", "[", "{"):
            return self.group(_CLOSING[text])
        if text == "|":
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            self.expect("|")
            return Apply("abs", (node,))
        if text.startswith("begin "):
            return determinant(self, text[6:])
        raise UnreadableError("syntax", f"unexpected {text!r}")

    def command(self, name: str) -> Expression:
        r"""`\frac{1}{2}`, `\binom52`, `\lfloor x \rfloor`, `\vec{a}`, `\sum_{k=1}^n k`."""
        if name == "frac":
            top, bottom = self.argument(), self.argument()
            return derivative(top, bottom) or quotient(top, bottom)
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
        if name in ("sum", "prod"):
            return big_operator(self, "sum" if name == "sum" else "product")
        if name == "int":
            return integral(self)
        if name == "lim":
            return limit(self)
        raise UnreadableError("syntax", f"no rule for \\{name}")
