"""The policy-gradient loss as a description; `agents.core.losses` computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from agents.core.filters import check_names


@dataclass(frozen=True, slots=True)
class Loss:
    """The policy-gradient loss over sampled tokens; by default PPO's (arXiv 1707.06347, eq. 7).

    Every method is a field; two that contradict each other are refused. `LOSSES` has published
    combinations by name: `--set loss=dapo`.
    """

    surrogate: Literal["clip", "cispo", "sapo"] = "clip"
    """What holds a ratio r back: `clip` takes its gradient outside of the clip range (PPO),
    `cispo` caps it and keeps the gradient of every token (MiniMax-M1, arXiv 2506.13585, eq. 4),
    `sapo` lets it fade by a sigmoid (arXiv 2511.20347, eq. 5)."""
    clip_low: float = 0.2
    """Ratio below 1 - this earns no further gradient."""
    clip_high: float = 0.2
    """Ratio above 1 + this earns none; larger than `clip_low` is DAPO's clip-higher. For `cispo`
    the ratio is capped at 1 + this."""
    dual_clip: float | None = None
    """Upper bound of the ratio for negative advantages (arXiv 1912.09729)."""
    sapo_positive: float = 1.0
    """Temperature of the sigmoid of `sapo` for positive advantages."""
    sapo_negative: float = 1.05
    """And for negative ones, whose gradient spreads over the whole vocabulary and fades faster."""
    kl: float = 0.0
    """Weight of the KL term to the reference policy; 0 needs no reference model."""
    kl_reset: int = 0
    """Steps after which the reference becomes the policy of the moment and the optimiser starts
    anew (ProRL, arXiv 2505.24864, section 3.2); 0 keeps the starting policy."""
    mean: Literal["token", "sequence", "constant"] = "token"
    """Mean over all sampled tokens of the batch (ToRL, DAPO), or of per-response means (GRPO), or
    over responses times `max_tokens`, whatever their lengths (Dr. GRPO, arXiv 2503.20783)."""
    ratio: Literal["token", "sequence"] = "token"
    """Importance ratio per token, or per response (GSPO, arXiv 2507.18071)."""
    off_policy_kl: float | None = None
    """Responses with a negative advantage are left out where the policy in training has moved from
    that which sampled them by more than this, in nats a token (DeepSeek-V3.2, arXiv 2512.02556)."""
    nll: float = 0.0
    """Weight of the mean negative log-likelihood of the tokens of responses with a positive
    advantage (VAPO, arXiv 2504.05118, eq. 9; THOR, arXiv 2509.13761, eq. 5: 0.01)."""
    entropy: float = 0.0
    """Weight of the mean entropy of sampled tokens, a bonus (A3C, arXiv 1602.01783)."""
    entropy_top: float = 1.0
    """Share of sampled tokens that learn, those with the highest entropy in the batch (arXiv
    2506.01939, eq. 5: 0.2); they are divided by all tokens. Costs a forward pass."""
    drop: tuple[str, ...] = ()
    """What is sampled and not learned from, see `agents.core.filters`: overlong (DAPO), void or
    void_turns (SimpleTIR), failed_turns."""

    def __post_init__(self) -> None:
        if isinstance(self.drop, str):
            object.__setattr__(self, "drop", tuple(n for n in self.drop.split(",") if n))
        if not (0 < self.clip_low <= 1 and self.clip_high > 0):
            raise ValueError(
                "clip_low must be in (0, 1] and clip_high positive, got "
                f"{self.clip_low} and {self.clip_high}"
            )
        for name in ("kl", "nll", "entropy", "kl_reset"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("sapo_positive", "sapo_negative", "off_policy_kl"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not 0 < self.entropy_top <= 1:
            raise ValueError(f"entropy_top is a share in (0, 1], got {self.entropy_top}")
        if self.dual_clip is not None and self.dual_clip <= 1 + self.clip_high:
            raise ValueError(
                f"dual_clip bounds the ratio beyond 1 + clip_high = {1 + self.clip_high}, "
                f"got {self.dual_clip}"
            )
        self._check_choices()
        self._check_together()

    def _check_choices(self) -> None:
        choices = {
            "surrogate": ("clip", "cispo", "sapo"),
            "mean": ("token", "sequence", "constant"),
            "ratio": ("token", "sequence"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        check_names(self.drop)

    def _check_together(self) -> None:
        """What contradicts each other, with the reason."""
        soft = self.surrogate != "clip"
        usual = {f.name: f.default for f in fields(self)}
        idle = {
            "clip": ("sapo_positive", "sapo_negative"),
            "cispo": ("clip_low", "sapo_positive", "sapo_negative"),
            "sapo": ("clip_low", "clip_high"),
        }[self.surrogate]
        given = [name for name in idle if getattr(self, name) != usual[name]]
        needed = {"cispo": "token", "sapo": "sequence"}.get(self.surrogate, self.mean)
        for wrong, why in (
            (
                soft and self.dual_clip is not None,
                f"surrogate={self.surrogate} never clips, so dual_clip has nothing to bound",
            ),
            (
                bool(given),
                f"surrogate={self.surrogate} has no use for {', '.join(given)}: leave that out",
            ),
            (
                soft and self.ratio == "sequence",
                f"surrogate={self.surrogate} weighs each token by its own ratio; with "
                "ratio=sequence use surrogate=clip (GSPO)",
            ),
            (
                self.mean != needed,
                f"surrogate={self.surrogate} is published with mean={needed}, got {self.mean}",
            ),
            (
                self.ratio == "sequence" and self.mean == "constant",
                "mean=constant sums over tokens, ratio=sequence has one number a response: use "
                "mean=sequence",
            ),
            (
                bool(self.kl_reset) and not self.kl,
                "kl_reset moves the reference policy, which only kl > 0 has",
            ),
        ):
            if wrong:
                raise ValueError(why)


DAPO = Loss(clip_low=0.2, clip_high=0.28)
"""Clip-higher and token mean (DAPO, arXiv 2503.14476, section 3.1); with `GRPO(resample=...)`."""
GSPO = Loss(clip_low=3e-4, clip_high=4e-4, mean="sequence", ratio="sequence")
"""One ratio a response, with the narrow clip it needs (GSPO, arXiv 2507.18071, section 5.1)."""
DR_GRPO = Loss(mean="constant")
"""No division by a response's length (arXiv 2503.20783); with `GRPO(scale_by_std=False)`."""
CISPO = Loss(surrogate="cispo", clip_high=4.0)
"""Ratios capped at 5, as ScaleRL has them (arXiv 2510.13786); MiniMax-M1 does not tell its cap."""
SAPO = Loss(surrogate="sapo", mean="sequence")
"""A soft gate in place of the clip (arXiv 2511.20347), temperatures 1 and 1.05."""

LOSSES: Mapping[str, Loss] = {
    "grpo": Loss(),
    "dapo": DAPO,
    "dr_grpo": DR_GRPO,
    "gspo": GSPO,
    "cispo": CISPO,
    "sapo": SAPO,
}
"""Published losses by name."""
