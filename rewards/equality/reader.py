"""A place in a sequence of tokens, and the steps one can take from it."""

from collections.abc import Sequence

from rewards.equality import limits
from rewards.equality.tokens import OPERATOR, Token
from rewards.errors import LimitHitError, UnreadableError

END = Token("end", "")


class Reader:
    """Goes through tokens one by one, and minds how deep they nest."""

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
