"""How long and how hard to train; needs no torch to be read or checked."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from math import isfinite, isnan
from typing import Literal, get_args

from agents.core.algorithm import Algorithm, Group
from agents.core.curriculum import Curriculum
from agents.core.replay import Replay
from agents.core.replay import check as check_replay
from agents.core.schedule import OF_ENV, OF_SAMPLING, Schedule
from agents.core.trainer.alarms import Alarms
from agents.core.trainer.distributed import ProcessesError, rows_of_one, world_size
from agents.core.types import Trajectory

ImportanceMode = Literal[
    "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
]
"""How an importance ratio is taken, and what becomes of one beyond its cap: TRL's names, and
`geometric_mask`, see `agents.core.losses.importance_ratio`."""


Late = Literal["wait", "mask"]
"""What becomes of a group that is sampled so slowly that it would be too old: the learner waits
for it, or goes on with others and later leaves out those of its ids that are."""


class TrainingError(Exception):
    """Training cannot go on; the message says why and what to do. Checkpoints stay usable."""


@dataclass(frozen=True, slots=True)
class Training:
    """How long and how hard to train, apart from the algorithm."""

    steps: int = 12
    """Batches; each is sampled afresh."""
    prompts_per_step: int = 8
    group_size: int = 8
    learning_rate: float = 1e-5
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    micro_batch: int = 16
    """Rows per forward and backward pass, on each process."""
    micro_batch_tokens: int = 0
    """Ids per pass in place of rows, padding included: passes are then of as many rows as fit, many
    short ones or a few long ones, so that memory follows this number and not the longest response
    times `micro_batch`. A row that is longer by itself has a pass of its own. 0 counts rows."""
    updates: int = 1
    """Optimiser steps that a batch is divided among; above 1 the later ones are off-policy, which
    is what ratio and clipping are for (THOR's release: 40)."""
    epochs: int = 1
    """Passes over each batch (PPO)."""
    temperature: float = 1.0
    """Of sampling, which is also that of the log-probabilities in the loss."""
    max_tokens: int = 110
    """Tokens of one response; only for TRL's own bookkeeping here."""
    save_every: int = 4
    """Steps between checkpoints; the last step is always saved."""
    transcripts: int = 256
    """Most episodes of a step that are kept on file, whole groups of every process; 0 keeps none.
    A paper's step of 2,048 long ones would write a hundred megabytes."""
    seed: int = 0
    dtype: str = "auto"
    """What the products of a pass are computed in, around float32 weights: `bfloat16`, `float32`,
    or `auto`, whichever the hardware is fast at."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: a third more work,
    and memory that grows with the layers' inputs alone."""
    importance_mode: ImportanceMode = "token_truncate"
    """Where another engine samples: what corrects for its log-probabilities being a little other
    than the trainer's. A ratio for each token or for the whole response; truncated at the cap, or
    left out of the loss beyond it."""
    importance_cap: float = 2.0
    """Largest importance ratio."""
    staleness: int = 0
    """Steps by which sampling, in a process of its own, may be ahead of learning; 0: each waits for
    the other. See `agents.core.trainer.async_sampler`."""
    late: Late = "wait"
    """What becomes of ids that are older."""
    schedule: tuple[Schedule, ...] = ()
    """Settings that change over the steps, see `agents.core.schedule`."""
    curriculum: Curriculum = field(default_factory=Curriculum)
    """Draws problems by how often they are solved, in place of the schedule of problems."""
    replay: Replay = field(default_factory=Replay)
    """Right answers to hard problems that are learned from again."""
    alarms: Alarms = field(default_factory=Alarms)
    """What rings where a training breaks down, and whether that stops it."""
    report_to: tuple[str, ...] = ()
    """Trackers that transformers knows and that get the metrics of each batch: tensorboard, wandb,
    trackio, ..."""

    def __post_init__(self) -> None:
        rows = self.prompts_per_step * self.group_size
        for name in ("prompts_per_step", "group_size", "micro_batch", "max_tokens", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.micro_batch_tokens < 0:
            raise ValueError(f"micro_batch_tokens must be >= 0, got {self.micro_batch_tokens}")
        if self.steps < 0 or not self.learning_rate > 0:
            raise ValueError(
                "steps must be at least 0 and learning_rate positive, got "
                f"{self.steps} and {self.learning_rate}"
            )
        if min(self.updates, self.epochs) < 1:
            raise ValueError(
                f"updates and epochs must be at least 1, got {self.updates} and {self.epochs}"
            )
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be positive to train, got {self.temperature}: greedy samples "
                "of a group are all the same"
            )
        if rows % self.updates:
            raise ValueError(
                f"prompts_per_step x group_size = {rows} rows cannot be divided among "
                f"{self.updates} updates"
            )
        if self.staleness < 0 or self.late not in get_args(Late):
            raise ValueError(
                f"staleness is at least 0 and late one of {', '.join(get_args(Late))}, got "
                f"{self.staleness} and {self.late!r}"
            )
        if self.importance_mode not in get_args(ImportanceMode) or self.importance_cap <= 0:
            raise ValueError(
                f"importance_mode is one of {', '.join(get_args(ImportanceMode))} and its cap is "
                f"positive, got {self.importance_mode!r} and {self.importance_cap}"
            )

    @property
    def optimizer_steps(self) -> int:
        """Optimiser steps of one batch."""
        return self.updates * self.epochs

    def pass_rows(self, processes: int = 1) -> int:
        """Rows of a pass: as many as `micro_batch` allows and an update divides into.

        Where tokens are counted these are all rows of an update, which are then cut as they are.

        Raises:
            ProcessesError: A batch cannot be shared by so many processes.

        Example:
            >>> Training(prompts_per_step=3, group_size=8, micro_batch=16).pass_rows()
            12
        """
        rows = self.prompts_per_step * self.group_size
        own = rows_of_one(rows, self.group_size, processes)
        if own % self.updates:
            raise ProcessesError(
                f"the {own} rows of each of {processes} processes cannot be divided among "
                f"{self.updates} updates"
            )
        update = own // self.updates
        if self.micro_batch_tokens:
            return update
        return max(n for n in range(1, min(self.micro_batch, update) + 1) if update % n == 0)

    @property
    def pass_size(self) -> str:
        """How much one pass takes at most, for a message."""
        if self.micro_batch_tokens:
            return f"{self.micro_batch_tokens} tokens (--micro-batch-tokens)"
        return f"{self.micro_batch} rows (--micro-batch)"

    def rows_at_once(self, length: int) -> int:
        """Rows of so many ids that one pass takes.

        Example:
            >>> Training(micro_batch=4).rows_at_once(1000)
            4
            >>> Training(micro_batch_tokens=2500).rows_at_once(1000)
            2
        """
        if not self.micro_batch_tokens:
            return self.micro_batch
        return max(1, self.micro_batch_tokens // length)

    def passes(self, processes: int = 1) -> int:
        """Passes of each process over its share of a batch, which is whole groups.

        Where tokens are counted these are the updates, whose passes nobody knows before.

        Raises:
            ProcessesError: A batch cannot be shared like that.

        Example:
            >>> Training(prompts_per_step=8, group_size=8, micro_batch=16).passes(2)
            2
        """
        rows = self.prompts_per_step * self.group_size
        return rows // processes // self.pass_rows(processes)


def checkpointing(config: type, on: bool) -> dict[str, bool]:
    """The setting of activation checkpointing under the name this transformers has for it.

    TRL has it on by default, which costs a second forward pass; 5.20 renamed it, and the versions
    that vLLM allows are older.
    """
    new, old = "activation_checkpointing", "gradient_checkpointing"
    return {new if new in config.__dataclass_fields__ else old: on}  # type: ignore[attr-defined]


def check_finite(number: float, step: int, what: str = "loss") -> None:
    """Stop before a loss or gradient that is no number spoils the weights, or a checkpoint.

    Raises:
        TrainingError: It is not finite.
    """
    if not isfinite(number):
        raise TrainingError(
            f"the {what} of step {step} is {number}: expected a finite number. Lower the learning "
            "rate in a new run from the last checkpoint (--model OUT --warm-start 0); --resume "
            "would come to the same step again"
        )


def check_window(prompt_ids: int, max_tokens: int, window: int | None, problem_id: str) -> None:
    """Fail before the first step when the longest prompt leaves no room for its response.

    Args:
        prompt_ids: Ids of the longest prompt.
        max_tokens: Of a response.
        window: Of the model; `None` where it has none.
        problem_id: Whose prompt it is.

    Raises:
        TrainingError: They exceed the window.
    """
    if window is not None and prompt_ids + max_tokens > window:
        raise TrainingError(
            f"the prompt of problem {problem_id} has {prompt_ids} tokens; with {max_tokens} of a "
            f"response that exceeds the model's window of {window}: lower --max-tokens, or leave "
            "long problems out"
        )


def check_scorable(trajectories: Sequence[Trajectory], step: int) -> None:
    """Stop when the machine has failed everywhere: such a step would silently teach nothing.

    Raises:
        TrainingError: No trajectory can be scored, or what was sampled has no log-probability.
    """
    if not any(t.scorable for t in trajectories):
        raise TrainingError(
            f"all {len(trajectories)} episodes of step {step} were lost: "
            f"{trajectories[0].infra_error or 'no answer could be graded'}. Look at the sandbox "
            "with `torl sandbox check`; --resume goes on from the last checkpoint"
        )
    if any(isnan(p) for t in trajectories if t.scorable for p in t.logprobs):
        raise TrainingError(
            "the policy gives no log-probabilities of what it wrote (a server of text?): a policy "
            "gradient needs them and the very ids that were sampled. Sample with transformers or "
            "vLLM, or imitate what it writes: torl traces sample --server URL"
        )


def check_credit(credit: Sequence[Sequence[float]], groups: Sequence[Group]) -> None:
    """Stop where an algorithm credits less than all ids: the others would silently teach nothing.

    Args:
        credit: What `assign_credit` returned, one row a trajectory.
        groups: What it was given.

    Raises:
        TrainingError: There are not as many rows as trajectories, or numbers as ids.
    """
    rows = [t for group in groups for t in group]
    wanted = f"assign_credit: expected a list for each of {len(rows)} trajectories"
    if not isinstance(credit, Sized) or len(credit) != len(rows):
        raise TrainingError(f"{wanted}, got {_size(credit)}")
    for place, (row, t) in enumerate(zip(credit, rows, strict=True)):
        numbers = f"{wanted}; in that of number {place}, a number for each of its {len(t.ids)} ids"
        if not isinstance(row, Sized) or len(row) != len(t.ids):
            raise TrainingError(f"{numbers}, got {_size(row)}")
        if not all(map(isfinite, row)):
            raise TrainingError(f"{numbers}, got one that is not finite")


def _size(found: object) -> str:
    return str(len(found)) if isinstance(found, Sized) else repr(found)


def check(algorithm: Algorithm, training: Training) -> None:
    """Whether an algorithm can learn in such a training.

    Raises:
        ValueError: It cannot; the message says why.
    """
    if training.group_size < algorithm.least_group_size:
        raise ValueError(
            f"{type(algorithm).__name__} compares the samples of a problem: expected a "
            f"group_size of at least {algorithm.least_group_size}, got {training.group_size}"
        )
    check_replay(algorithm, training.replay)
    if training.staleness:
        _check_staleness(algorithm, training, world_size())


def _check_staleness(algorithm: Algorithm, training: Training, processes: int) -> None:
    """Whether it may learn from what older weights have sampled."""
    name = type(algorithm).__name__
    staged = sorted(one.name for one in training.schedule if one.name in (*OF_SAMPLING, *OF_ENV))
    for wrong, why in (
        (processes > 1, f"{processes} processes learn; it has one learner and one sampler"),
        (
            algorithm.on_policy,
            f"{name} learns only from what the policy of the moment wrote (its critic or its "
            "branches belong to that)",
        ),
        (
            algorithm.needs_states,
            f"{name} goes on from inside of episodes, whose states are in another process",
        ),
        (
            algorithm.resample > 0,
            "resample samples other groups in the middle of a step, and would wait for them",
        ),
        (
            bool(staged),
            f"the schedule of {', '.join(staged)} says how a step is sampled, and episodes here "
            "begin in one step and are learned from in another",
        ),
    ):
        if wrong:
            raise ValueError(f"--staleness {training.staleness}: {why}. Use --staleness 0")
