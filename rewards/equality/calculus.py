"""Sums and products over a variable, integrals, limits, determinants."""

from abc import ABC, abstractmethod

from rewards.equality.expressions import ONE, Apply, Expression, Symbol, negate
from rewards.equality.functions import determinant
from rewards.equality.reader import END, Reader
from rewards.equality.tokens import COMMAND, CONSTANT, NAME
from rewards.errors import LimitHitError, UnreadableError


class Calculus(Reader, ABC):
    """The part of the grammar that binds variables or spans rows."""

    @abstractmethod
    def sum(self) -> Expression:
        """Terms with signs between them."""

    @abstractmethod
    def product(self) -> Expression:
        """Factors, written with or without a sign."""

    @abstractmethod
    def atom(self) -> Expression:
        """What no operator holds together."""

    @abstractmethod
    def argument(self, exponent: bool = False) -> Expression:
        """A group in braces, or one atom."""

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
