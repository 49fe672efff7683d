"""PPO: every sampled token is credited by a critic instead of by its group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from agents.core.algorithm import Algorithm, Group
from agents.core.credit import Potential, Shaping, read_shaping
from agents.core.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from agents.core.trainer.batch import Batch
    from agents.ppo.critic import Critic


@dataclass(frozen=True, slots=True)
class PPO(Algorithm):
    """Proximal policy optimisation (arXiv 1707.06347) over sampled tokens.

    Defaults are those of the trainer that ToRL uses (gamma and lambda 1, value clip 0.5). Ratio and
    clipping act only where a batch is used more than once: `Training(updates=..., epochs=...)`.
    """

    gamma: float = 1.0
    """Discount from one sampled token to the next."""
    policy_lambda: float = 1.0
    """Of the advantages; VC-PPO (arXiv 2503.01491): 0.95."""
    critic_lambda: float = 1.0
    """Of the critic's targets, decoupled from the policy's (VC-PPO: 1)."""
    length_alpha: float | None = None
    """Sets the policy's lambda to 1 - 1 / (alpha * length) (VAPO, arXiv 2504.05118: 0.05)."""
    critic: Literal["head", "model"] = "head"
    """A head on the policy's trunk, or a model of its own, started from the policy."""
    critic_learning_rate: float = 1e-3
    """1e-5 suits a model of its own (verl)."""
    value_weight: float = 0.1
    """Of the critic's loss in the sum; with `head` it also moves the trunk."""
    value_clip: float | None = 0.5
    """How far a value may profit from moving away from the old one; `None` is unclipped."""
    kl_penalty: float = 0.0
    """Paid at each token per nat away from the starting policy (arXiv 2203.02155); 0 needs no
    reference model."""
    whiten: bool = True
    """Advantages of a batch have mean 0 and standard deviation 1."""
    shaping: tuple[Shaping, ...] = ()
    """Added to rewards before credit: `otc`, `overlong(max_tokens=3072, cache=512)`, ..., or a sum
    of such, see `agents.core.credit`."""
    loss: Loss = field(default_factory=Loss)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shaping", read_shaping(self.shaping))
        for name in ("gamma", "policy_lambda", "critic_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("length_alpha", "value_clip"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive or None, got {getattr(self, name)}")
        for name in ("kl_penalty", "value_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for one in self.shaping:
            if isinstance(one, Potential) and (one.gamma, self.gamma) != (1, 1):
                raise ValueError(
                    "PPO discounts from id to id and a potential from turn to turn: together they "
                    f"change nothing of what is optimal only at gamma 1, got {self.gamma} and "
                    f"{one.gamma}"
                )
        if self.critic not in ("head", "model"):
            raise ValueError(f"critic must be head or model, got {self.critic!r}")

    @property
    def on_policy(self) -> bool:
        """The critic's values are of the policy of the moment."""
        return True

    @property
    def auxiliary_learning_rate(self) -> float:
        """The critic's."""
        return self.critic_learning_rate

    def auxiliary_module(self, model: Any) -> "Critic":
        """The critic, whose values are 0 at the start."""
        from agents.ppo.critic import Critic

        own_trunk = self.critic == "model"
        return Critic(model, own_trunk=own_trunk, keep_reference=self.kl_penalty > 0)

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """Zeros, which `prepare` replaces: the critic needs the whole batch as tensors."""
        return [[0.0] * len(t.ids) for group in groups for t in group]

    def prepare(self, batch: "Batch") -> "Mapping[str, Tensor]":
        """Advantages, the critic's targets and its values before the first update."""
        import torch

        from agents.ppo.gae import gae, lambdas, step_rewards, whitened

        critic, mask = cast("Critic", batch.auxiliary), batch.mask
        ids, attention, length = batch.input_ids, batch.attention, mask.shape[1]
        cuts = [slice(i, i + batch.micro_batch) for i in range(0, len(ids), batch.micro_batch)]
        values = torch.cat([critic.values(batch.model, ids[c], attention[c], length) for c in cuts])
        rewards = step_rewards(batch.trajectories, mask)
        if self.kl_penalty:
            # Both by the trainer's own pass: the sampler's log-probabilities differ from them by
            # rounding, or by another engine, and that difference is no distance from the start.
            now = critic.logprobs(batch.model, batch, length)
            start = critic.logprobs(critic.reference, batch, length)
            rewards = rewards - self.kl_penalty * (now - start) * mask
        policy = lambdas(mask, self.policy_lambda, self.length_alpha)
        targets = lambdas(mask, self.critic_lambda, None)
        advantages = gae(rewards, values, mask, self.gamma, policy)
        return {
            "advantages": whitened(advantages, mask) if self.whiten else advantages,
            "returns": gae(rewards, values, mask, self.gamma, targets) + values,
            "values": values,
        }

    def extra_loss(self, batch: "Batch") -> "Mapping[str, Tensor]":
        """The critic's squared error."""
        from agents.core.losses import clipped_value_error

        critic, old = cast("Critic", batch.auxiliary), batch.prepared["values"]
        values = critic.values(
            batch.model, batch.input_ids, batch.attention, old.shape[1], batch.hidden
        )
        error = clipped_value_error(values, old, batch.prepared["returns"], self.value_clip)
        return {"value": self.value_weight * batch.mean(error)}
