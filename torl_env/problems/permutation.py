"""A keyed bijection of `range(size)` in constant memory: what makes `shuffle` of a million lazy."""

import hashlib

_ROUNDS = 4


class Permutation:
    """A pseudo-random order of `range(size)` that depends on `size` and `seed` alone.

    A balanced Feistel network over the next even number of bits, with cycle walking: values that
    fall outside the range are sent through the network again, at most four times on average.

    Example:
        >>> order = Permutation(10, seed=3)
        >>> sorted(order.forward(i) for i in range(10)) == list(range(10))
        True
        >>> order.inverse(order.forward(7))
        7
    """

    __slots__ = ("_half", "_mask", "_seed", "size")

    def __init__(self, size: int, seed: int) -> None:
        """An order of `range(size)`; `size` may be 0."""
        self.size = size
        self._half = max(1, ((max(size - 1, 1)).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        self._seed = str(seed).encode()

    def forward(self, index: int) -> int:
        """The value at place `index`."""
        value = self._encrypt(index)
        while value >= self.size:
            value = self._encrypt(value)
        return value

    def inverse(self, value: int) -> int:
        """The place of `value`."""
        index = self._decrypt(value)
        while index >= self.size:
            index = self._decrypt(index)
        return index

    def _mix(self, number: int, part: int) -> int:
        digest = hashlib.blake2b(
            number.to_bytes(1, "big") + part.to_bytes(16, "big"),
            digest_size=16,
            key=hashlib.sha256(self._seed).digest(),
        ).digest()
        return int.from_bytes(digest, "big") & self._mask

    def _encrypt(self, value: int) -> int:
        left, right = value >> self._half, value & self._mask
        for number in range(_ROUNDS):
            left, right = right, left ^ self._mix(number, right)
        return left << self._half | right

    def _decrypt(self, value: int) -> int:
        left, right = value >> self._half, value & self._mask
        for number in reversed(range(_ROUNDS)):
            left, right = right ^ self._mix(number, left), left
        return left << self._half | right
