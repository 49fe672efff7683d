"""Which problems the next episodes are about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from torl_env.errors import ProblemError
from torl_env.problems import load
from torl_env.problems.opening import as_source
from torl_env.problems.types import Problem, ProblemSource


def open_problems(
    problems: ProblemSource | str | PathLike[str], split: str | None
) -> ProblemSource:
    """The source itself, or the one of this name or path.

    Raises:
        ProblemError: It cannot be opened, or holds no problem.
        ValueError: A split is asked of an object.
    """
    if isinstance(problems, str | PathLike):
        problems = load(problems, split=split)
    elif not isinstance(problems, ProblemSource):
        problems = as_source(problems, "problems")
    elif split is not None:
        raise ValueError(
            f"split={split!r} selects from a source opened by name; for an object, take the split "
            "when you make it"
        )
    # Not `len`: the length of a filtered view would read all of it.
    try:
        problems[0]
    except IndexError:
        raise ProblemError(
            f"{problems.name} holds no problems: an env needs at least one"
        ) from None
    return problems


@dataclass(frozen=True, slots=True)
class ResetOptions:
    """The `options` of a reset, checked."""

    problem_ids: tuple[str, ...] | None = None
    group_size: int = 1
    mask: npt.NDArray[np.bool_] | None = None

    @classmethod
    def scalar(cls, options: Mapping[str, Any] | None) -> "ResetOptions":
        """Options of the scalar env: `problem_id`.

        Raises:
            ValueError: An unknown option, or an id that is no text.
        """
        pinned = _known(options, ("problem_id",)).get("problem_id")
        return cls(None if pinned is None else (_as_id(pinned),))

    @classmethod
    def vector(cls, options: Mapping[str, Any] | None, num_envs: int) -> "ResetOptions":
        """Options of the vector env: `problem_ids`, `group_size`, `reset_mask`.

        Raises:
            ValueError: An unknown option, an id that is no text, or sizes that do not fit the
                number of envs.
        """
        given = _known(options, ("problem_ids", "group_size", "reset_mask"))
        size, mask, ids = given.get("group_size", 1), given.get("reset_mask"), None
        places = num_envs
        if mask is not None:
            if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
                raise ValueError("reset_mask must be a numpy array of bool")
            if mask.shape != (num_envs,) or not mask.any():
                raise ValueError(
                    f"reset_mask must have shape ({num_envs},) and one True at least, got {mask}"
                )
            places = int(mask.sum())
        if not isinstance(size, int | np.integer):
            raise ValueError(f"group_size must be an integer, got {size!r}")
        wanted = given.get("problem_ids")
        # A string would be read as ids of one letter.
        if wanted is not None and (isinstance(wanted, str) or not isinstance(wanted, Iterable)):
            raise ValueError(f"problem_ids must be a list of ids, got {wanted!r}")
        if size < 1 or (places % size and wanted is None):
            raise ValueError(f"group_size must divide the {places} envs to reset, got {size}")
        if wanted is not None:
            ids = tuple(map(_as_id, wanted))
            if not 0 < len(ids) * size <= places:
                raise ValueError(
                    f"problem_ids x group_size must be 1 to {places} envs, "
                    f"got {len(ids)} x {size} = {len(ids) * size}"
                )
        return cls(ids, int(size), mask)

    def sample_one(self, problems: ProblemSource, random: np.random.Generator) -> Problem:
        """The problem of a single env."""
        if self.problem_ids is not None:
            return problems.find(self.problem_ids[0])
        return sample_problem(problems, random)

    def sample_groups(
        self, problems: ProblemSource, randoms: Sequence[np.random.Generator]
    ) -> dict[int, Problem]:
        """Env number to problem, groups of equal problems side by side.

        Without ids the first env of a group draws for all of it. With fewer ids than places the
        envs that are left over get nothing.
        """
        places = range(len(randoms)) if self.mask is None else np.flatnonzero(self.mask).tolist()
        chosen: dict[int, Problem] = {}
        if self.problem_ids is not None:
            found = [problems.find(problem_id) for problem_id in self.problem_ids]
            for rank, place in enumerate(places[: len(found) * self.group_size]):
                chosen[place] = found[rank // self.group_size]
            return chosen
        # Each env draws by its own generator, so that env `i` does as a scalar env of its seed.
        for rank, place in enumerate(places):
            if rank % self.group_size == 0:
                problem = sample_problem(problems, randoms[place])
            chosen[place] = problem
        return chosen


def sample_problem(problems: ProblemSource, random: np.random.Generator) -> Problem:
    """A problem, uniformly."""
    return problems[int(random.integers(len(problems)))]


def _known(options: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options of reset are a mapping with {', '.join(names)}; got {options!r}")
    given = dict(options or {})
    unknown = sorted(str(name) for name in given if name not in names)
    if unknown:
        raise ValueError(f"options of reset are {', '.join(names)}; got {', '.join(unknown)}")
    return given


def _as_id(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(
            f'the id of a problem is text, as info["problem_id"] has it; got {given!r}'
        )
    return given
