"""The nouns of rollouts: how to sample, a sampled completion, a turn, a finished trajectory."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import isnan, nan
from typing import Any


class FinishReason(StrEnum):
    """Why a policy stopped writing a turn."""

    STOP = "stop"
    """The turn closed a tool call."""
    EOS = "eos"
    """The policy ended its answer; the end-of-sequence id is the last of the sampled ids."""
    LENGTH = "length"
    """The token limit cut the turn."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a policy samples."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus: smallest set of ids with at least this probability; 1 keeps all."""
    max_tokens: int = 512
    """Tokens of one whole response: sampled ids and tool output together (ToRL: 3,072)."""
    entropies: bool = False
    """Also keep the entropy of the distribution that each id was drawn from, where the sampler has
    logits at hand (transformers, not vLLM)."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be >= 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1, got {self.max_tokens}")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy wrote in one go."""

    row: int
    ids: Sequence[int]
    """Ids exactly as sampled; never re-tokenised."""
    logprobs: Sequence[float]
    """Log-probability of each id under the sampling distribution, same length as `ids`."""
    finish: FinishReason
    entropies: Sequence[float] = ()
    """Of the sampling distribution at each id, in nats, same length as `ids`; empty where the
    sampler was not asked for them or has no logits."""
    versions: Sequence[int] = ()
    """Of the weights that sampled each id, where these may change in between; else empty."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of the environment: what the policy wrote and what came back."""

    text: str
    observation: str
    """`""` where the environment added nothing."""
    start: int
    """First index of the turn's sampled ids in `Trajectory.ids`."""
    end: int
    """One past the last."""
    action_kind: str
    tool_status: str
    """A sandbox `Status`, or `""` when no program ran in this turn."""
    error_type: str
    reward: float
    tool_name: str = ""
    """The tool that was called, also by a name that no tool has; `""` when none was."""
    images: Sequence[str] = ()
    """PNG files that the call drew, in base64, for readers: the ids hold nothing of them."""
    images_dropped: int = 0
    """How many more it drew than are kept here."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One finished episode, token by token. Lengths of `ids`, `loss_mask`, `logprobs` agree."""

    problem_id: str
    prompt_ids: Sequence[int]
    ids: Sequence[int]
    """Everything after the prompt: sampled ids and tool-output ids in the order of the episode."""
    loss_mask: Sequence[int]
    """1 exactly on ids the policy sampled, 0 on ids the environment added."""
    logprobs: Sequence[float]
    """The sampler's log-probabilities; 0.0 where `loss_mask` is 0, `nan` where unknown."""
    turns: Sequence[Turn]
    reward: float
    verdict: str
    answer: str
    """The final answer as extracted, `""` when there is none."""
    tool_calls: int
    tool_errors: int
    stop_reason: str
    truncated: bool
    scorable: bool
    """False for an infrastructure error or an undecided grade: nothing may be learned from it."""
    infra_error: str = ""
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    question: str = ""
    reference: str = ""
    level: str = ""
    subject: str = ""
    sample: int = 0
    """Index of this trajectory within the group of its problem."""
    entropies: Sequence[float] = ()
    """Entropy of the sampling distribution at each id, in nats, 0 where `loss_mask` is 0; empty
    where they were not kept (`Sampling.entropies`)."""
    parent: int = -1
    """`sample` of the trajectory that this one branched off, -1 for one sampled from the prompt."""
    shared: int = 0
    """How many of the first ids are the parent's own: they were sampled once, for both."""
    policy_versions: Sequence[int] = ()
    """Steps that the weights had learned from that sampled each id, -1 where `loss_mask` is 0; kept
    where sampling and learning overlap, else empty."""

    @property
    def correct(self) -> bool:
        """Whether the final answer is right, whatever the reward preset says."""
        return self.verdict == "correct"

    @property
    def response(self) -> str:
        """The whole response as a reader sees it, tool output included."""
        return "".join(turn.text + turn.observation for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields (the record format of transcripts and evaluations).

        Unknown log-probabilities (`nan`, see `policies.server`) become null.
        """
        known = [None if isnan(p) else p for p in self.logprobs]
        record = asdict(self) | {"logprobs": known}
        if not self.policy_versions:
            del record["policy_versions"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Trajectory":
        """The inverse of `to_json`; unknown keys are ignored."""
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        known["turns"] = tuple(
            Turn(**{**turn, "images": tuple(turn.get("images", ()))}) for turn in record["turns"]
        )
        known["logprobs"] = tuple(nan if p is None else p for p in record["logprobs"])
        return cls(**known)
