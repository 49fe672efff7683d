"""Functions and roots, and what they apply to."""

from abc import ABC, abstractmethod

from rewards.equality.calculus import Calculus
from rewards.equality.expressions import HALF, TWO, Apply, Expression
from rewards.equality.functions import apply_function
from rewards.equality.tokens import COMMAND, CONSTANT, NAME, NUMBER
from rewards.errors import UnreadableError


class Application(Calculus, ABC):
    """The part of the grammar in which a name stands before its arguments."""

    @abstractmethod
    def signed(self) -> Expression:
        """A factor with its signs."""

    @abstractmethod
    def power(self) -> Expression:
        """A factor with its exponents and marks."""

    @abstractmethod
    def bracketed_arguments(self) -> tuple[Expression, ...]:
        """Arguments in brackets, separated by commas."""

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
