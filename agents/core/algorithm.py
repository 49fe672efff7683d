"""What an RL algorithm is here: how credit is assigned, and which loss turns it into a gradient."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from agents.core.loss import Loss
from agents.core.types import Trajectory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from agents.core.credit import Shaping
    from agents.core.rollout.branching import Brancher
    from agents.core.rollout.tree_rules import Tree
    from agents.core.trainer.batch import Batch

Group = Sequence[Trajectory]
"""The trajectories of one problem."""


if TYPE_CHECKING:
    default = property
else:

    class default:  # noqa: N801 - used as `property` is
        """A default that a subclass replaces by a field, a property or an attribute.

        A `property` could not be: it takes part in every assignment to its name, also in that of a
        dataclass field without slots, and refuses it.
        """

        def __init__(self, get: Callable[[Any], Any]) -> None:
            self._get = get
            self.__doc__ = get.__doc__

        def __get__(self, instance: Any, owner: type) -> Any:
            return self if instance is None else self._get(instance)


class Algorithm:
    """Credit and loss; sampling, batching, stepping, saving and logging are the trainer's.

    Most algorithms say only `assign_credit`. The other methods are for those that learn a critic,
    sample more, or add terms to the loss; what they leave out costs nothing.
    """

    __slots__ = ()

    @default
    def loss(self) -> Loss:
        """The clipped loss that the trainer computes from the advantages."""
        return Loss()

    @default
    def least_group_size(self) -> int:
        """Samples of a problem that credit needs; 2 where they are compared with each other."""
        return 1

    @default
    def resample(self) -> int:
        """How often groups that teach nothing may be replaced by groups of other problems."""
        return 0

    @default
    def oversample(self) -> int:
        """Times as many samples of a problem as are learned from (`agents.core.downsampling`)."""
        return 1

    @default
    def tree(self) -> "Tree | str | None":
        """How the samples of a problem share their beginnings; `None`: each is sampled alone.

        A rule, or one written as its name with arguments, such as `arpo(start=0.25)`.

        `assign_credit` may credit each as if it had sampled all of its ids: what several share is
        counted once afterwards.
        """
        return None

    @property
    def tree_rule(self) -> "Tree | None":
        """What `tree` says, read."""
        from agents.core.rollout.tree_rules import read_tree

        return read_tree(self.tree)

    @property
    def needs_states(self) -> bool:
        """Whether episodes are gone on with from inside, so that the sampler keeps their states."""
        return self.branches or self.tree_rule is not None

    @default
    def on_policy(self) -> bool:
        """Whether only what the policy of the moment wrote can be learned from."""
        return False

    @default
    def shaping(self) -> "Sequence[Shaping]":
        """What is added to the rewards of each group before its credit is assigned."""
        return ()

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """Advantages of a batch.

        Args:
            groups: P groups of G trajectories.

        Returns:
            P x G lists in the same order, one number per id of the trajectory. Numbers at ids the
            policy did not sample are ignored. A trajectory that is not `scorable` gets zeros and
            counts in no baseline.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it assigns credit")

    def report(self, groups: Sequence[Group]) -> Mapping[str, float]:
        """Numbers of a batch worth a line in the metrics, beside the usual ones."""
        return {}

    def branch(self, groups: Sequence[Group], brancher: "Brancher", seed: int) -> Sequence[Group]:
        """Sample more groups from inside these episodes; they add a loss term of their own.

        Args:
            groups: The batch of this step.
            brancher: Samples continuations.
            seed: Of this step.

        Returns:
            Groups whose credit `assign_credit_to_branches` assigns; their loss is a mean over
            their own tokens and is added to that of the episodes.
        """
        return ()

    def assign_credit_to_branches(self, groups: Sequence[Group]) -> list[list[float]]:
        """As `assign_credit`, for the groups that `branch` returned."""
        return self.assign_credit(groups)

    @default
    def branches(self) -> bool:
        """Whether `branch` is to be called; the sampler then keeps the states to branch from."""
        return False

    @default
    def branch_weight(self) -> float:
        """Of the branches' loss beside that of the rows they were branched from."""
        return 1.0

    def auxiliary_module(self, model: Any) -> "nn.Module | None":
        """A module, such as a critic, whose weights are trained beside the policy.

        Args:
            model: The policy before its first step.
        """
        return None

    @default
    def auxiliary_learning_rate(self) -> float:
        """Of the weights that `auxiliary_module` returned."""
        return 1e-3

    def prepare(self, batch: "Batch") -> "Mapping[str, Tensor]":
        """Work on the whole batch before its first update, without gradient.

        Returns:
            Tensors of shape (B, T) by name. `advantages` replaces what `assign_credit` said; all
            others are found in `Batch.prepared` by `extra_loss`.
        """
        return {}

    def extra_loss(self, batch: "Batch") -> "Mapping[str, Tensor]":
        """Terms to add to the clipped loss, by name; each is logged.

        Args:
            batch: The rows of one forward pass. Take means with `Batch.mean`, so that no term
                depends on how a batch is cut into passes.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What has to be in a checkpoint for a resumed run to go on as if it had not stopped.

        A dataclass gets this for free: numbers, texts, tensors and containers of these in its
        fields. Override both methods for anything else.
        """
        if not is_dataclass(self):
            return {}
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if _is_plain(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; a frozen dataclass never changes and takes none."""
        if not is_dataclass(self) or self.__dataclass_params__.frozen:
            return
        for name, value in state.items():
            setattr(self, name, value)


def _is_plain(value: object) -> bool:
    """Whether a checkpoint can hold this without running code when it is read."""
    if isinstance(value, Mapping):
        return all(_is_plain(x) for pair in value.items() for x in pair)
    if isinstance(value, list | tuple | set):
        return all(map(_is_plain, value))
    return value is None or type(value).__module__ in ("builtins", "torch")
