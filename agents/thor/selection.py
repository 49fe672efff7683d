"""Best of N: which of several answers to one problem to give, from one dump of candidates.

All scores are functions of the same list of trajectories, and `best` takes the first that decides,
so strategies combine: THOR's self-reward is `best(candidates, executed, votes)`, self-consistency
is `best(candidates, votes)`, and THOR's hybrid `best(candidates, executed, judged(model))`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from agents.core.run.transcripts import read_rows
from agents.core.types import Trajectory
from rewards import ReferenceError, Verdict, grade_answer

Scores = Callable[[Sequence[Trajectory]], Sequence[float]]
"""A score for each candidate of one problem; higher is better."""


def executed(candidates: Sequence[Trajectory]) -> list[float]:
    """The share of a candidate's programs that ran without error (THOR, section 3.3).

    A candidate without a program has shown nothing and scores 0. (THOR's release casts the share to
    an integer, so that 3 of 4 counts as 0.)
    """
    shares = []
    for candidate in candidates:
        statuses = [turn.tool_status for turn in candidate.turns if turn.tool_status]
        shares.append(statuses.count("ok") / len(statuses) if statuses else 0.0)
    return shares


@lru_cache(maxsize=65_536)
def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same to the grader, which reads one as the reference.

    >>> same_answer("1/2", "0.5"), same_answer("2", "3")
    (True, False)
    """
    if one.strip() == other.strip():
        return True
    try:
        return grade_answer(other, one).verdict is Verdict.CORRECT
    except ReferenceError:
        return False


def answer_clusters(
    answers: Sequence[str], same: Callable[[str, str], bool] = same_answer
) -> list[int]:
    """Which answers are the same: the number of each one's cluster, -1 where there is no answer.

    Two are where each is right if the other is, so 0.333 is no vote for 1/3; what is the same as
    one of a cluster belongs to it. So the clusters are those of the answers in any order.

    >>> answer_clusters(["1/2", "", "3", "0.5"])
    [0, -1, 1, 0]
    """
    cluster: dict[str, int] = {}
    for text in (answer.strip() for answer in answers):
        if not text or text in cluster:
            continue
        joined = {cluster[known] for known in cluster if same(known, text) and same(text, known)}
        number = min(joined, default=len(cluster))
        cluster = {known: number if old in joined else old for known, old in cluster.items()}
        cluster[text] = number
    numbers = {old: number for number, old in enumerate(dict.fromkeys(cluster.values()))}
    return [numbers[cluster[text]] if (text := answer.strip()) else -1 for answer in answers]


def votes(
    candidates: Sequence[Trajectory], same: Callable[[str, str], bool] = same_answer
) -> list[float]:
    """How many candidates give this answer (self-consistency, arXiv 2203.11171); none has none."""
    clusters = answer_clusters([candidate.answer for candidate in candidates], same)
    sizes = Counter(clusters)
    return [float(sizes[cluster]) if cluster >= 0 else 0.0 for cluster in clusters]


def can_vote(candidates: Iterable[Trajectory]) -> bool:
    """Whether right answers are texts, so that one can see which are the same.

    Programs under tests, and answers to environments that tell a verdict alone, are none.
    """
    return all(c.answer.strip() for c in candidates if c.scorable and c.correct)


def judged(model: Callable[[Trajectory], float]) -> Scores:
    """The scores of a reward model: an outcome model, or a process model's minimum over steps."""
    return lambda candidates: [model(candidate) for candidate in candidates]


def best(candidates: Sequence[Trajectory], *scores: Scores) -> Trajectory:
    """The candidate with the highest first score; among equals the next score decides.

    What is still equal at the end goes to the earliest candidate. Candidates lost to a fault of the
    machine are no candidates.

    Raises:
        ValueError: There is none.
    """
    scorable = [c for c in candidates if c.scorable]
    if not scorable:
        raise ValueError(f"none of the {len(candidates)} candidates was scorable")
    columns = [score(scorable) for score in scores]
    ranks = [tuple(score[i] for score in columns) for i in range(len(scorable))]
    return scorable[ranks.index(max(ranks))]


def grouped(trajectories: Iterable[Trajectory]) -> list[list[Trajectory]]:
    """Candidates of each problem, in the order of first appearance."""
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault(trajectory.problem_id, []).append(trajectory)
    return list(groups.values())


def read_candidates(file: Path) -> list[list[Trajectory]]:
    """Candidates from a dump: a transcript of a run, or the records of an evaluation.

    Lines that hold no trajectory, such as the header of records, are passed over.

    Raises:
        ValueError: The file holds no trajectory at all.
    """
    found = grouped(Trajectory.from_json(row) for row in read_rows(file) if "turns" in row)
    if not found:
        raise ValueError(
            f"{file} holds no trajectories: expected lines as Trajectory.to_json writes them"
        )
    return found
