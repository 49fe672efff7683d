"""The space of all text."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Self, TypeVar

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector.utils import create_shared_memory

T = TypeVar("T")

_ALPHABET = [chr(code) for code in range(0x20, 0x7F)] + list("\n\t") + list("éßπΣ≤√∞→中文あكم😀")


class UnboundedSpace(Space[T]):
    """Elements of any length, of which there is no array of fixed size."""

    @property
    def is_np_flattenable(self) -> bool:
        """False: no fixed number of numbers holds every element."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> T:
        """A random element; masks are not supported."""
        if mask is not None or probability is not None:
            name = type(self).__name__
            raise ValueError(f"{name}.sample takes neither mask nor probability: leave them out")
        return self._draw()

    @abstractmethod
    def _draw(self) -> T: ...


class Unicode(UnboundedSpace[str]):
    r"""Every Python string, of any length and any characters.

    `gymnasium.spaces.Text` lists its characters: with all of Unicode that costs seconds and
    megabytes, and its default charset rejects a newline. Only `sample` has a length here.

    Args:
        sample_length: The longest string that `sample` returns, in characters.
        seed: Seed of `sample`.

    Example:
        >>> space = Unicode(seed=0)
        >>> "\\boxed{π}\n" in space, 3 in space
        (True, False)
        >>> space.sample() == Unicode(seed=0).sample()
        True
    """

    def __init__(
        self, sample_length: int = 64, seed: int | np.random.Generator | None = None
    ) -> None:
        if sample_length < 1:
            raise ValueError(f"sample_length must be at least 1, got {sample_length}")
        self.sample_length = sample_length
        super().__init__(seed=seed)

    def _draw(self) -> str:
        length = int(self.np_random.integers(1, self.sample_length + 1))
        picks = self.np_random.integers(len(_ALPHABET), size=length)
        return "".join(_ALPHABET[pick] for pick in picks)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string."""
        return isinstance(x, str)

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """The strings themselves."""
        return list(sample_n)

    def from_jsonable(self, sample_n: Sequence[str]) -> list[str]:
        """The strings themselves."""
        return list(sample_n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unicode)

    def __hash__(self) -> int:
        return hash(Unicode)

    def __repr__(self) -> str:
        return "Unicode()"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The generator's state must be copied, or batched sub-spaces would share one stream.
        copied = type(self)(self.sample_length)
        if self._np_random is not None:
            copied._np_random = np.random.Generator(type(self._np_random.bit_generator)())
            copied._np_random.bit_generator.state = self._np_random.bit_generator.state
        return copied


@create_shared_memory.register(Unicode)
def _refuse_shared_memory(space: Unicode, n: int = 1, ctx: Any = None) -> NoReturn:
    # A block of shared memory has a fixed size, and text has no longest one.
    raise TypeError(
        "AsyncVectorEnv cannot share text of any length: pass shared_memory=False, with "
        "gym.make_vec as vector_kwargs={'shared_memory': False}. Without vectorization_mode, "
        "gym.make_vec runs the programs of all episodes at once and needs no processes"
    )
