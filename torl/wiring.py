"""Where parts become a whole: environments, prompts, rollout engines, collectors."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

from gymnasium import registry

from agents.core.types import Sampling, Trajectory
from torl.environment import environment
from torl_env import EnvConfig, RolloutEnvs, TextEnv, ToRLMathVectorEnv
from torl_env.errors import ConfigError
from torl_env.loading import is_reference, load_object
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox.shared import SharedSandbox

Collector = Callable[[Sequence[Problem], int, int], Iterator[Trajectory]]
"""(problems, samples of each, seed) -> trajectories in the order of the problems."""


class BatchEnvs:
    """Makes a vector environment for each batch of problems; all use one sandbox.

    Args:
        config: All but the problems, which are those of the batch.
        text_env: An environment of the user's own in place of ours, see `text_env_of`.
    """

    def __init__(self, config: EnvConfig, text_env: TextEnv | None = None) -> None:
        # Tools and task of a foreign environment are unknown: what it observes says all.
        strange = {"tool_budget": 0, "system": config.system or ""}
        self.config = config if text_env is None else EnvConfig.of(config, **strange)
        self.text_env = text_env
        # Held here, so that the sandbox outlives the environments of single batches.
        self._sandbox = SharedSandbox(config.sandbox)

    def changed(self, **options: Any) -> "BatchEnvs":
        """The same with other options, over the same sandbox.

        Raises:
            ConfigError: The environment is the user's own, or an option is out of range.
        """
        if self.text_env is not None:
            raise ConfigError(f"an environment of your own has no {', '.join(options)} to change")
        other = copy(self)
        other.config = environment(self.config, **options)
        return other

    def __call__(self, problems: Sequence[Problem], group_size: int) -> RolloutEnvs:
        """An environment with one slot for each row of the batch."""
        if self.text_env is not None:
            return self.text_env.make_envs(problems, group_size)
        from gymnasium.vector import AutoresetMode

        batch = Listed("batch", list({p.id: p for p in problems}.values()))
        return ToRLMathVectorEnv(
            num_envs=len(problems) * group_size,
            config=EnvConfig.of(
                self.config, problems=batch, split=None, sandbox=self._sandbox.get()
            ),
            autoreset_mode=AutoresetMode.DISABLED,
        )


def text_env_of(given: Any) -> TextEnv | None:
    """An environment of the user's own, whose spaces are text.

    Args:
        given: A Gymnasium environment, an id, what makes one, `module:object` for one of these, or
            `None`.

    Raises:
        ConfigError: It is none, or its spaces are not text.
    """
    if given is None or isinstance(given, TextEnv):
        return given
    if isinstance(given, str) and is_reference(given) and given not in registry:
        given = load_object(given, "text_env")
    return TextEnv(given)


HELDOUT_SEEDS = 990_000
"""The first of the seeds of an environment of the user's own that are held out."""


def heldout_seeds(own: TextEnv, count: int) -> Listed:
    """Seeds that are held out from training, as problems."""
    found = [own.problems[HELDOUT_SEEDS + i] for i in range(count)]
    return Listed(own.problems.name, found)


def envs_over(config: EnvConfig | None = None, **options: Any) -> BatchEnvs:
    """See `BatchEnvs`; `options` are fields of the configuration."""
    return BatchEnvs(environment(config, **options))


def rollout_over(
    policy: Any, make_envs: BatchEnvs, sampling: Sampling, prompt: str, **how: bool | None
) -> Any:
    """A rollout engine over a policy; `how` is for `Rollout`: `keep_states`, `overlap`."""
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import make_prompt

    made = make_prompt(prompt, policy.tokenizer, make_envs.config)
    return Rollout(policy, made, make_envs, sampling, **how)  # type: ignore[arg-type]


def make_rollout(
    model: Any,
    tokenizer: Any,
    make_envs: BatchEnvs,
    sampling: Sampling,
    prompt: str,
    **how: bool | None,
) -> Any:
    """As `rollout_over`, for a policy that samples from `model` in this process."""
    from agents.core.policies.transformers import TransformersPolicy

    policy = TransformersPolicy(model, tokenizer)
    return rollout_over(policy, make_envs, sampling, prompt, **how)


class Collecting:
    """Collects any number of problems, `rows` rows at a time.

    Args:
        rollout: Runs the episodes of one batch.
        rows: Episodes at a time.
        tells: Whether `rollout.collect` takes `on_end`, and so can tell of single episodes.
    """

    def __init__(self, rollout: Any, rows: int, *, tells: bool = True) -> None:
        self._rollout, self._rows, self.tells = rollout, rows, tells
        self.on_end: Callable[[Trajectory], None] | None = None
        """Called with each episode when it ends, which is before its batch is handed out."""

    def __call__(self, problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        """`k` trajectories of each problem, in the order of the problems."""
        from agents.core.rollout.engine import batches

        heard = {"on_end": self.on_end} if self.tells and self.on_end else {}
        for batch in batches(problems, self._rows, k):
            yield from self._rollout.collect(batch, k, seed, **heard)


def make_collector(
    model: str,
    *,
    envs: BatchEnvs,
    sampling: Sampling,
    prompt: str = "chat",
    seed: int = 0,
    device: str | None = None,
    rows: int = 64,
    policy: str = "transformers",
) -> Collecting:
    """A collector for the model of this name, for evaluation.

    Args:
        model: `smollm2`, a folder (a model, a checkpoint or a run) or a hub id.
        envs: Makes the environments.
        sampling: How to sample.
        prompt: Prompt style, see `agents.core.rollout.prompts.PROMPTS`.
        seed: Unused by sampling itself, which is seeded per call; fixes torch's generator.
        device: `cpu`, `cuda`, ...; `None` takes an accelerator where there is one.
        rows: Episodes at a time.
        policy: What samples: `transformers`, or `vllm` with an engine of its own.

    Raises:
        ModelError: Nothing can be loaded under this name.
        ValueError: No such policy, or vLLM is missing.
    """
    import torch

    from agents.core.models import loading

    torch.manual_seed(seed)
    if policy == "vllm":
        sampler = vllm_policy(model, rows, device)
        return Collecting(rollout_over(sampler, envs, sampling, prompt, overlap=True), rows)
    if policy != "transformers":
        raise ValueError(f"unknown policy {policy!r}: expected transformers or vllm")
    loaded, tokenizer = loading.load(model, dtype="auto", device=device)
    return Collecting(make_rollout(loaded, tokenizer, envs, sampling, prompt), rows)


def vllm_policy(
    model: str, rows: int, device: str | None = None, chunk: int | None = None, **engine: Any
) -> Any:
    """A policy over a vLLM engine of its own, which ends with this process.

    Args:
        model: `smollm2`, a folder or a hub id.
        rows: Episodes at a time.
        device: The one that vLLM was built for.
        chunk: Most ids of one request, see `VLLMPolicy`.
        **engine: More fields of vLLM's `AsyncEngineArgs`.

    Raises:
        ModelError: Nothing can be found under this name.
        ValueError: VLLM is missing, or the device is not the one it was built for.
    """
    import atexit

    from transformers import AutoTokenizer

    from agents.core.models import loading
    from agents.core.models.dtype import default_device
    from agents.core.policies.stopping import end_ids
    from agents.core.policies.vllm import VLLMPolicy
    from agents.core.policies.vllm_engines import async_engine

    source, here = loading.resolve(model), default_device()
    if device not in (None, here):
        raise ValueError(f"vLLM takes the device it was built for, {here}, not {device}")
    # Compilation takes minutes on a CPU and gains nothing there.
    tokenizer = AutoTokenizer.from_pretrained(source)
    policy = VLLMPolicy(
        async_engine(source, max_num_seqs=rows, enforce_eager=here == "cpu", **engine),
        tokenizer,
        chunk=chunk,
        ends=end_ids(tokenizer, loading.generation_config(source)),
    )
    atexit.register(policy.close)
    return policy
