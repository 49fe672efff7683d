"""Where the answers of a tree branch off each other: the rules of ARPO, AEPO, TreeRL and TreePO.

A rule sees the answers that there are and says how many begin at the prompt and which places are
branched next; `agents.core.rollout.trees` does it. TreePO was read in the paper's text, the others
in excerpts and in notes on papers and releases; what these leave open is said at each field.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp
from random import Random
from typing import Literal

from agents.core.types import Trajectory, Turn
from agents.core.written import made


@dataclass(frozen=True, slots=True)
class Fork:
    """Where another answer branches off."""

    row: int
    """Index of the trajectory in its group."""
    keep: int
    """How many of its ids stay; 0 begins at the prompt."""


PROMPT = Fork(0, 0)
"""From the prompt; all trajectories of a group have the same."""


@dataclass(frozen=True, slots=True)
class Growing:
    """A group whose tree is not complete."""

    group: Sequence[Trajectory]
    room: int
    """Trajectories that are missing, at least 1."""
    round: int
    """How often the group has been branched."""
    random: Random

    @property
    def taken(self) -> set[tuple[int, int]]:
        """Places that have branches already."""
        return {(t.parent, t.shared) for t in self.group}


@dataclass(frozen=True, slots=True)
class Tree:
    """How a group grows: `first` answers from the prompt, then `forks` until it is full."""

    share: Literal["sum", "mean"] = "sum"
    """Credit of an id that several answers share: the sum of theirs, as if each had sampled it
    (what TRL and verl compute from whole rows; ARPO's "soft" estimate), or their mean ("hard")."""

    def __post_init__(self) -> None:
        if self.share not in ("sum", "mean"):
            raise ValueError(f"share is sum or mean, got {self.share!r}")

    def first(self, size: int) -> int:
        """Answers of a group of `size` to sample from the prompt before any branch.

        Raises:
            ValueError: A group cannot have this size.
        """
        raise NotImplementedError

    def forks(self, growing: Growing) -> list[Fork]:
        """Where to branch next, at least one place; one may come several times."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ARPO(Tree):
    """Branches where the policy is less certain after tool output than at its start.

    ARPO (arXiv 2507.19849, section 3.1): of M answers N start at the prompt. With H the mean
    entropy of the first k ids after a tool's output and H_0 that of the first k ids of the answer,
    the place is branched where P = alpha + beta (H - H_0) > tau. What the places leave over of M
    starts at the prompt. Where there are more places than room, those of the largest P are taken.

    H is in nats an id here. (The paper divides a sum over k by the size of the vocabulary, its
    release a sum over k x 10 log-probabilities by its logarithm, and the release tosses a coin of
    that probability. With alpha = tau, as in both, the rule is the sign of the difference.)
    """

    start: float = 0.5
    """N / M (ARPO: 8 of 16)."""
    alpha: float = 0.5
    beta: float = 0.2
    """ARPO: 0.2; its figure 8 has 0.4 ahead."""
    tau: float = 0.5
    ids: int = 20
    """k; the paper does not tell, its release has 20."""
    paths: int = 1
    """Z: branches of a place, beside the answer that goes on there (release: 1)."""

    def __post_init__(self) -> None:
        Tree.__post_init__(self)
        if not 0 < self.start <= 1 or self.ids < 1 or self.paths < 1:
            raise ValueError(
                "arpo: start is a share in (0, 1], ids and paths are at least 1, got "
                f"{self.start}, {self.ids} and {self.paths}"
            )

    def first(self, size: int) -> int:
        """See `Tree`."""
        return max(1, round(self.start * size))

    def forks(self, growing: Growing) -> list[Fork]:
        """See `Tree`."""
        places: list[tuple[float, Fork]] = []
        for row, t in enumerate(growing.group):
            if t.scorable:
                places += self._places(growing, row, t)
        # Python's sort is stable: equal ones stay in the order of the group.
        places.sort(key=lambda place: -place[0])
        chosen = [fork for _, fork in places for _ in range(self.paths)]
        return chosen[: growing.room] or [PROMPT] * growing.room

    def _places(self, growing: Growing, row: int, t: Trajectory) -> list[tuple[float, Fork]]:
        """Places of one answer, with their P; those in what it shares are its parent's."""
        places, run, taken = [], 0, growing.taken
        start = uncertainty(t, t.turns[0], self.ids)
        for before, turn in pairwise(t.turns):
            if not before.tool_status or turn.start == turn.end:
                continue
            if place(growing.group, row, turn.start) in taken:
                run += 1
                continue
            p = self.probability(uncertainty(t, turn, self.ids) - start, run)
            if turn.start > t.shared and p > self.tau:
                places.append((p, Fork(row, turn.start)))
            run = run + 1 if p > self.tau else 0
        return places

    def probability(self, rise: float, run: int) -> float:
        """P, given how the entropy rose and how many places just before it were branched."""
        return self.alpha + self.beta * rise


@dataclass(frozen=True, slots=True)
class AEPO(ARPO):
    """ARPO with a budget by entropy and a penalty on branches in a row.

    AEPO (arXiv 2510.14545, section on dynamic entropy-balanced rollout): one answer is sampled
    first. With H_root the entropy at its start and H_tool the mean of those after its tool outputs,
    m = k sigmoid(balance (H_root - H_tool)) of k answers start at the prompt. A place is branched
    where (alpha + beta (H - H_0)) (1 - penalty l) > tau, l the number of places branched just
    before it on its path. The paper's changes to the loss (gradients of clipped uncertain ids,
    entropy-aware advantages) are not part of this.
    """

    balance: float = 1.0
    """The paper's beta; it does not tell a value."""
    penalty: float = 0.05
    """Of each branch in a row; the paper says linear, its release 0.05."""

    def first(self, size: int) -> int:
        """See `Tree`."""
        return 1

    def forks(self, growing: Growing) -> list[Fork]:
        """See `Tree`."""
        if growing.round == 0 and (more := self._budget(growing) - 1):
            return [PROMPT] * more
        return ARPO.forks(self, growing)

    def _budget(self, growing: Growing) -> int:
        """m, by the answer that is there."""
        t, size = growing.group[0], growing.room + 1
        after = [
            uncertainty(t, turn, self.ids)
            for before, turn in pairwise(t.turns)
            if before.tool_status and turn.end > turn.start
        ]
        if not after or not t.scorable:
            return ARPO.first(self, size)
        gap = uncertainty(t, t.turns[0], self.ids) - sum(after) / len(after)
        return min(size, max(1, round(size / (1 + exp(-self.balance * gap)))))

    def probability(self, rise: float, run: int) -> float:
        """See `ARPO`."""
        return ARPO.probability(self, rise, run) * max(0.0, 1 - self.penalty * run)


@dataclass(frozen=True, slots=True)
class TreeRL(Tree):
    """Branches at the ids that were least likely, of finished answers.

    EPTree (TreeRL, arXiv 2506.11902, section 3): M answers start at the prompt, each the stem of a
    tree. L times the N ids of each tree with the largest -log p are sampled anew, T ways: in all
    M (1 + N L T) answers, which is the size of the group. Ids at the beginning of a branch and at
    the end of an answer are left out. `GRPO(baseline="subtree")` is the credit of the paper.
    """

    places: int = 2
    """N (TreeRL: 2)."""
    rounds: int = 1
    """L (TreeRL: 1)."""
    paths: int = 2
    """T (TreeRL: 2, and M = 6, which makes 30 answers)."""
    margin: int = 8
    """Ids at the end of an answer that are not branched; the paper does not tell how many."""

    def __post_init__(self) -> None:
        Tree.__post_init__(self)
        if min(self.places, self.rounds, self.paths) < 1 or self.margin < 0:
            raise ValueError(
                "treerl: places, rounds and paths are at least 1 and margin at least 0, got "
                f"{self.places}, {self.rounds}, {self.paths} and {self.margin}"
            )

    def first(self, size: int) -> int:
        """See `Tree`."""
        each = 1 + self.places * self.rounds * self.paths
        if size % each:
            raise ValueError(
                f"treerl: a tree of {self.places} places, {self.rounds} rounds and {self.paths} "
                f"paths has {each} answers, so a group is a multiple of {each}, got {size}"
            )
        return size // each

    def forks(self, growing: Growing) -> list[Fork]:
        """See `Tree`."""
        chosen: list[Fork] = []
        roots = [i for i, t in enumerate(growing.group) if t.parent < 0 and t.scorable]
        taken = growing.taken
        for root in roots if growing.round < self.rounds else ():
            places = [
                (-t.logprobs[keep], Fork(row, keep))
                for row, t in enumerate(growing.group)
                if t.scorable and stem(growing.group, row) == root
                for keep in range(t.shared + 1, len(t.ids) - self.margin)
                if t.loss_mask[keep] and (row, keep) not in taken
            ]
            places.sort(key=lambda place: -place[0])
            chosen += [fork for _, fork in places[: self.places] for _ in range(self.paths)]
        return chosen[: growing.room] or [PROMPT] * growing.room


@dataclass(frozen=True, slots=True)
class TreePO(Tree):
    """Branches at the ends of segments of fixed length.

    TreePO (arXiv 2508.17445, section 2.2): after each `segment` sampled ids the answers that go on
    there are branched, shared out evenly, so that there are `ways` times as many, until the group
    is full. When no answer is long enough, others branch off finished ones at the end of a segment
    drawn at random. Not here: an early stop for repetitions, and lengths or temperatures that
    depend on log-probabilities. `GRPO(baseline="ancestors")` is the credit of the paper.
    """

    segment: int = 512
    """Sampled ids of a segment (TreePO: 256, 512 or 1,024 of 7,168)."""
    ways: int = 2
    """TreePO: 2."""
    stems: int = 2
    """Answers that start at the prompt (TreePO: 2; "more init divergence" is 2 to 8)."""

    def __post_init__(self) -> None:
        Tree.__post_init__(self)
        if self.segment < 1 or self.ways < 2 or self.stems < 1:
            raise ValueError(
                "treepo: segment and stems are at least 1 and ways at least 2, got "
                f"{self.segment}, {self.stems} and {self.ways}"
            )

    def first(self, size: int) -> int:
        """See `Tree`."""
        return min(size, self.stems)

    def forks(self, growing: Growing) -> list[Fork]:
        """See `Tree`."""
        known = [(row, t) for row, t in enumerate(growing.group) if t.scorable]
        depth = growing.round + 1
        active = []
        for row, t in known:
            ends = self._ends(t)
            if len(ends) > depth and ends[depth] > t.shared:
                active.append(Fork(row, ends[depth]))
        if active:
            wanted = self.stems * self.ways**depth - len(growing.group)
            count = min(growing.room, max(1, wanted))
            return sorted((active * count)[:count], key=lambda fork: (fork.row, fork.keep))
        ended = [(row, t) for row, t in known if t.stop_reason == "final"] or known
        if not ended:
            return [PROMPT] * growing.room
        chosen = (growing.random.choice(ended) for _ in range(growing.room))
        return [Fork(row, growing.random.choice(self._ends(t))) for row, t in chosen]

    def _ends(self, t: Trajectory) -> list[int]:
        """Where a segment begins, the first at 0."""
        return [i for i, m in enumerate(t.loss_mask) if m][:: self.segment]


TREES: Mapping[str, Callable[..., Tree]] = {
    "arpo": ARPO,
    "aepo": AEPO,
    "treerl": TreeRL,
    "treepo": TreePO,
}
"""By the name that `tree=` takes."""


def read_tree(given: "str | Tree | None") -> Tree | None:
    """A tree written as its name with arguments; empty or `None` is none.

    Raises:
        ValueError: A name, an argument or the form is unknown.

    Example:
        >>> read_tree("treerl(places=1)")
        TreeRL(share='sum', places=1, rounds=1, paths=2, margin=8)
    """
    if not isinstance(given, str):
        return given
    if not given.strip():
        return None
    try:
        found: Tree = made(ast.parse(given.strip(), mode="eval").body, TREES)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"tree: expected {', '.join(TREES)}, with name=value in brackets, got {given!r} "
            f"({error})"
        ) from error
    return found


def uncertainty(t: Trajectory, turn: Turn, ids: int) -> float:
    """Mean entropy of the first ids of a turn, in nats.

    Where no entropies were kept (vLLM) it is the mean of -log p, whose expectation it is.
    """
    part = slice(turn.start, min(turn.end, turn.start + ids))
    values = t.entropies[part] if t.entropies else [-p for p in t.logprobs[part]]
    return sum(values) / max(1, len(values))


def place(group: Sequence[Trajectory], row: int, keep: int) -> tuple[int, int]:
    """Where a branch after `keep` ids of a row hangs: whose id it replaces, and ids kept.

    Rows that share more than that have the same place. At the place of another branch it is that of
    its parent, so that two branches of one place are siblings; -1 stands for the prompt.
    """
    while row >= 0 and keep <= group[row].shared:
        row = group[row].parent
    return row, keep


def stem(group: Sequence[Trajectory], row: int) -> int:
    """The trajectory from the prompt that a row has its first id of."""
    while group[row].parent >= 0:
        row = group[row].parent
    return row
