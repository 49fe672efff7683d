"""Where parts become a whole: names into environments, policies and collectors."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agents.core.types import Sampling, Trajectory
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox.types import Sandbox

Collector = Callable[[Sequence[Problem], int, int], Iterator[Trajectory]]
"""(problems, samples of each, seed) -> trajectories in the order of the problems."""


def env_options(tool_budget: int, reward: str = "torl") -> dict[str, Any]:
    """Options of an environment with room for an answer after the last call."""
    return {"tool_budget": tool_budget, "max_turns": tool_budget + 16, "reward": reward}


def envs_over(
    sandbox: Sandbox, options: dict[str, Any]
) -> Callable[[Sequence[Problem], int], ToRLMathVectorEnv]:
    """A factory of vector environments that share one sandbox.

    Returns:
        `make(problems, group_size)`: an environment with one slot for each row of the batch.
    """
    from gymnasium.vector import AutoresetMode

    def make(problems: Sequence[Problem], group_size: int) -> ToRLMathVectorEnv:
        return ToRLMathVectorEnv(
            num_envs=len(problems) * group_size,
            problems=Listed("batch", list({p.id: p for p in problems}.values())),
            sandbox=sandbox,
            autoreset_mode=AutoresetMode.DISABLED,
            **options,
        )

    return make


def rollout_over(
    policy: Any,
    sandbox: Sandbox,
    options: dict[str, Any],
    sampling: Sampling,
    prompt: str,
    *,
    keep_states: bool = False,
    overlap: bool = False,
) -> Any:
    """A rollout engine over a policy; with its states kept it can be branched."""
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import make_prompt

    make_envs = envs_over(sandbox, options)
    made = make_prompt(prompt, policy.tokenizer)
    how = {"keep_states": keep_states, "overlap": overlap}
    return Rollout(policy, made, make_envs, sampling, **how)


def make_rollout(
    model: Any,
    tokenizer: Any,
    sandbox: Sandbox,
    options: dict[str, Any],
    sampling: Sampling,
    prompt: str,
    *,
    keep_states: bool = False,
) -> Any:
    """A rollout engine that samples from `model` in this process."""
    from agents.core.policies.transformers import TransformersPolicy

    policy = TransformersPolicy(model, tokenizer)
    return rollout_over(policy, sandbox, options, sampling, prompt, keep_states=keep_states)


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
        """Told of each episode when it ends, which is before its batch is handed out."""

    def __call__(self, problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        """`k` trajectories of each problem, in the order of the problems."""
        from agents.core.rollout.engine import batches

        heard = {"on_end": self.on_end} if self.tells and self.on_end else {}
        for batch in batches(problems, self._rows, k):
            yield from self._rollout.collect(batch, k, seed, **heard)


def collector(rollout: Any, rows: int, *, tells: bool = True) -> Collecting:
    """See `Collecting`."""
    return Collecting(rollout, rows, tells=tells)


def make_collector(
    model: str,
    *,
    tool_budget: int,
    sampling: Sampling,
    prompt: str = "chat",
    seed: int = 0,
    device: str | None = None,
    rows: int = 64,
    policy: str = "transformers",
) -> Collector:
    """A collector for the model of this name, for evaluation.

    Args:
        model: `smollm2`, a folder (a model, a checkpoint or a run) or a hub id.
        tool_budget: C, tool calls per episode; 0 is text only.
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
    from torl_env.sandbox import open_sandbox

    torch.manual_seed(seed)
    options = env_options(tool_budget)
    if policy == "vllm":
        sampler = vllm_policy(model, rows, device)
        where = (open_sandbox("local"), options, sampling, prompt)
        return collector(rollout_over(sampler, *where, overlap=True), rows)
    if policy != "transformers":
        raise ValueError(f"unknown policy {policy!r}: expected transformers or vllm")
    loaded, tokenizer = loading.load(model, dtype="bfloat16", device=device)
    rollout = make_rollout(loaded, tokenizer, open_sandbox("local"), options, sampling, prompt)
    return collector(rollout, rows)


def vllm_policy(model: str, rows: int, device: str | None = None) -> Any:
    """A policy over a vLLM engine of its own, which ends with this process.

    Raises:
        ModelError: Nothing can be found under this name.
        ValueError: VLLM is missing, or the device is not the one it was built for.
    """
    import atexit

    from transformers import AutoTokenizer

    from agents.core.models import loading
    from agents.core.policies.stopping import end_ids
    from agents.core.policies.vllm import VLLMPolicy
    from agents.core.policies.vllm_engines import async_engine

    source, here = loading.resolve(model), loading.default_device()
    if device not in (None, here):
        raise ValueError(f"vLLM takes the device it was built for, {here}, not {device}")
    # Compilation takes minutes on a CPU and gains nothing there.
    tokenizer = AutoTokenizer.from_pretrained(source)
    policy = VLLMPolicy(
        async_engine(source, max_num_seqs=rows, enforce_eager=here == "cpu"),
        tokenizer,
        ends=end_ids(tokenizer, loading.generation_config(source)),
    )
    atexit.register(policy.close)
    return policy
