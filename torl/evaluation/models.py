"""Who answers in an evaluation: weights, a server, or a class of the user's own."""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

from agents.core.types import Sampling
from benchmarks.heldout.evaluate import Collect
from torl.console import CommandError
from torl.evaluation.options import EvalOptions
from torl.wiring import BatchEnvs, Collecting, make_collector, text_env_of
from torl_env import EnvConfig, system_text
from torl_env.errors import ConfigError
from torl_env.loading import is_reference, load_object
from torl_env.sandbox import sandbox_factory

_POLICY = ("open", "advance", "resume", "release")


def is_address(name: str) -> bool:
    """Whether a model is named by the address of its server."""
    return name.startswith(("http://", "https://"))


def answering(options: EvalOptions, sampling: Sampling) -> Collect:
    """What answers the problems of an evaluation.

    Raises:
        CommandError: It cannot be found, or is nothing that answers.
        ModelError: No weights can be loaded under this name.
    """
    if options.text_env is None:
        sandbox_factory(options.env.sandbox)
    if options.agent:
        return _own(options, sampling)
    if options.server or is_address(options.model):
        return _served(options, sampling)
    if options.tokenizer:
        raise CommandError("--tokenizer is for a server's text; weights have one of their own")
    if options.extra_body:
        raise CommandError("--extra-body is for requests to a server; --model names weights")
    return make_collector(
        options.model,
        envs=BatchEnvs(options.env, text_env_of(options.text_env)),
        sampling=sampling,
        prompt=options.prompt,
        seed=options.seed,
        device=options.device,
        rows=options.rows,
        policy=options.policy,
    )


def _own(options: EvalOptions, sampling: Sampling) -> Collect:
    """What `module:name` makes of the options: a collector, a rollout, or a policy."""
    made: Any = _named(options.agent or "")(options)
    if callable(made):
        collect: Collect = made
        return collect
    if hasattr(made, "collect"):
        return Collecting(made, options.rows, tells=False)
    if all(hasattr(made, name) for name in _POLICY):
        return _played(made, options, sampling)
    raise CommandError(
        f"--agent {options.agent}: {type(made).__name__} is nothing that answers: expected "
        "something to call as collect(problems, k, seed), with such a method `collect`, or a "
        f"policy with the methods {', '.join(_POLICY)}"
    )


def _named(path: str) -> Callable[[EvalOptions], Any]:
    """The class or function of `module:name`; a module may know names that are more than a word."""
    try:
        if is_reference(path):
            found: Callable[[EvalOptions], Any] = load_object(path, "--agent")
        else:
            module, _, name = path.partition(":")
            found = getattr(import_module(module), name)
    except (ConfigError, ImportError, AttributeError, ValueError) as error:
        raise CommandError(
            f"--agent: expected module:name that can be imported here, got {path!r} ({error})"
        ) from None
    return found


def _played(
    policy: Any,
    options: EvalOptions,
    sampling: Sampling,
    template: str = "",
    *,
    overlap: bool = False,
) -> Collect:
    """A policy in the environment; its tokenizer makes the ids of the prompt."""
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import PlainPrompt, make_prompt

    prompt = (
        PlainPrompt(policy.tokenizer, template)
        if template
        else make_prompt(options.prompt, policy.tokenizer, options.env)
    )
    envs = BatchEnvs(options.env, text_env_of(options.text_env))
    rollout = Rollout(policy, prompt, envs, sampling, overlap=overlap)
    return Collecting(rollout, options.rows)


def _served(options: EvalOptions, sampling: Sampling) -> Collect:
    """Answers by a server with OpenAI's interface."""
    from agents.core.policies.openai_client import Server
    from agents.core.policies.server import ServerPolicy
    from agents.core.rollout.prompts import PROMPTS, PlainPrompt, make_prompt

    if options.prompt not in PROMPTS:
        raise CommandError(
            f"unknown --prompt {options.prompt!r}: choose one of {', '.join(PROMPTS)}"
        )
    url = options.server or options.model
    name = the_only_model(url) if is_address(options.model) else options.model
    chat = options.prompt != "torl"
    server = Server(
        name,
        url,
        timeout=options.timeout,
        patience=options.patience,
        extra_body=_extra_body(options.extra_body),
    )
    env = options.env
    if options.prompt == "chat-text":
        env = EnvConfig.of(env, tool_budget=0)
    policy = ServerPolicy(
        server,
        tokenizer=_tokenizer(options.tokenizer),
        chat=chat,
        system=system_text(env) if chat else "",
        rows=options.rows,
    )
    plain = make_prompt("torl", policy.tokenizer, env)
    assert isinstance(plain, PlainPrompt)
    # The server applies the chat template; to a base model the whole prompt is text.
    template = "{question}" if chat else plain.template
    return _played(policy, options, sampling, template, overlap=True)


def _extra_body(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise CommandError(f"--extra-body: expected a JSON object, got {text!r}: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"--extra-body: expected a JSON object, got {text!r}")
    return found


def _tokenizer(name: str | None) -> Any:
    if name is None:
        return None
    from transformers import AutoTokenizer

    from agents.core.models import loading

    try:
        return AutoTokenizer.from_pretrained(loading.resolve(name))
    except (OSError, ValueError) as error:
        raise CommandError(f"--tokenizer {name}: {str(error).splitlines()[0]}") from error


def the_only_model(url: str, seconds: float = 20.0) -> str:
    """The name of the model that a server lists.

    Raises:
        CommandError: It does not answer, or lists none or several.
    """
    from agents.core.policies.openai_client import ServerError, served_models

    try:
        names = list(served_models(url, seconds))
    except (ServerError, ValueError) as error:
        raise CommandError(
            f"{error}: expected an address up to and with /v1; or name both, --server URL "
            "--model NAME"
        ) from error
    if len(names) != 1:
        raise CommandError(
            f"{url} has the models {', '.join(names) or '(none)'}: say which with "
            f"--server {url} --model NAME"
        )
    return names[0]
