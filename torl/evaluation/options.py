"""The options of `torl eval`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from agents.core.models.loading import DEFAULT_MODEL
from agents.core.types import Sampling
from torl.console import CommandError
from torl.environment import environment, run_settings
from torl_env import EnvConfig


def _default_env() -> EnvConfig:
    return environment(tool_budget=1)


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """Evaluate a model; the same command takes an interrupted evaluation up again.

    A model of a run is evaluated in the environment of that run, with its prompt style and its
    length of answers, as far as nothing else is said.
    """

    model: str = DEFAULT_MODEL
    """Folder of a run or checkpoint, hub id, `smollm2` for the embedded default, or the address of
    a server with OpenAI's interface (http://host:8000/v1) that serves one model."""
    server: str = ""
    """Address of a server that serves several: --model is then the name it knows one by. The key
    is that of $OPENAI_API_KEY."""
    tokenizer: str | None = None
    """Folder or hub id whose tokenizer counts the tokens of a server's text; without one, four
    characters count as a token."""
    extra_body: str = ""
    """JSON object of fields to add to each request to a server; a null takes one out:
    '{"temperature": null, "chat_template_kwargs": {"enable_thinking": false}}'."""
    timeout: float = 600.0
    """Seconds that a server may take for one answer."""
    patience: float = 300.0
    """Seconds to go on asking a server that is busy, starting or gone; 0 asks once."""
    agent: str | None = None
    """`module:object` of your own in place of a model: called with these options, it is or makes
    `collect(problems, k, seed)`, which yields trajectories, or a policy to play with."""
    env: EnvConfig = field(default_factory=_default_env)
    """The environment. Each of its options may be written short where nothing else has its name:
    --problems (a file, a hub set, procedural:...), --split, --tool-budget (0: without the tool),
    --tools, --stateful, --sandbox, --system, ..."""
    text_env: str | gym.Env[Any, Any] | None = None
    """A Gymnasium environment of your own in place of --env: `module:object`, or an id. Its spaces
    are text; a problem is a seed. Branches (THOR) and live tools need ours."""
    suite: str | None = None
    """Benchmarks in place of --problems: aime24,aime25,amc23,math500,olympiadbench,minerva,gsm8k,
    procedural,humanevalplus,mbppplus, or all. Their counts are checked."""
    data: Path | None = None
    """Folder with NAME.jsonl files of the suites; default: $TORL_DATA, else the hub is asked."""
    count: int | None = None
    """Only the first so many problems."""
    k: int = 1
    """Answers to each problem (avg@k, pass@k, maj@k)."""
    temperature: float | None = None
    """Default: 0 (greedy, as ToRL evaluates) for k = 1, else 0.6 (THOR)."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Of one response, tool output included; ToRL: 3072."""
    prompt: str = "chat"
    """`chat` (the tokenizer's template) or `torl` (ToRL's template for base models)."""
    seed: int = 0
    device: str | None = None
    """`cpu`, `cuda`, ...; default: an accelerator where there is one."""
    policy: Literal["transformers", "vllm"] = "transformers"
    """What samples from the weights: transformers, or vLLM with an engine of its own."""
    rows: int = 32
    """Responses generated at once."""
    out: Path | None = None
    """Records (.jsonl), or a folder for suites; summaries lie beside them. Default: in out/eval."""


def defaults_for(model: str, **given: Any) -> EvalOptions:
    """What counts for a model where nothing is said: the settings of the run that it is of.

    Args:
        model: See `EvalOptions`.
        **given: `text_env`, or fields of the environment, in place of those of the run.
    """
    run = run_settings(model, **given) if model else None
    if run is None:
        return EvalOptions(model=model or DEFAULT_MODEL)
    env = EnvConfig.of(run.env, problems=run.heldout, split=None) if run.heldout else run.env
    return EvalOptions(
        model=model,
        env=env,
        text_env=run.text_env,
        prompt=run.prompt,
        max_tokens=run.max_tokens,
    )


def sampling_of(options: EvalOptions) -> Sampling:
    """How the evaluation samples.

    Raises:
        CommandError: Options contradict each other.
    """
    for name in ("k", "rows"):
        if getattr(options, name) < 1:
            raise CommandError(f"--{name}: expected at least 1, got {getattr(options, name)}")
    temperature = options.temperature
    if temperature is None:
        temperature = 0.0 if options.k == 1 else 0.6
    if temperature == 0 and options.k > 1:
        raise CommandError(
            f"--k {options.k} at temperature 0 would write the same answer {options.k} times; "
            f"set --temperature above 0 or --k 1"
        )
    return Sampling(temperature=temperature, top_p=options.top_p, max_tokens=options.max_tokens)
