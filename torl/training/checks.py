"""What `torl train` refuses before it writes or loads anything large."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from agents.core import schedule
from agents.core.rollout.trees import check_tree
from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError, check_window
from agents.core.trainer.options import check as check_algorithm
from torl.console import CommandError
from torl.training.options import (
    TrainOptions,
    algorithm_of,
    default_env,
    sampling_of,
    training_of,
    vllm_of,
)
from torl.training.plan import PROMPT_TOKENS
from torl_env import EnvConfig
from torl_env.problems.types import Problem
from torl_env.sandbox import sandbox_factory

if TYPE_CHECKING:
    from agents.core.rollout.prompts import Prompt


def check_settings(options: TrainOptions) -> None:
    """Each option for itself, and those that must fit together.

    Raises:
        CommandError: One does not.
        ValueError: So do those that say themselves what they expect.
    """
    for name in ("warm_start", "eval_problems", "lora_rank", "threads", "sampler_threads"):
        if getattr(options, name) < 0:
            word = name.replace("_", "-")
            raise CommandError(f"--{word}: expected 0 or more, got {getattr(options, name)}")
    algorithm, _, training = algorithm_of(options), sampling_of(options), training_of(options)
    training.passes(distributed.world_size())
    if not options.env.tool_budget and any(one.name == "tool_budget" for one in training.schedule):
        raise CommandError("--schedule tool_budget: --tool-budget 0 has a prompt without tools")
    check_algorithm(algorithm, training)
    _check_idle(options)
    _check_staleness(options)
    check_tree(algorithm, training)
    if algorithm.needs_states and options.text_env is not None:
        raise CommandError(
            f"--text-env: {type(algorithm).__name__} goes on from inside of episodes here, which "
            "an environment of your own cannot be put back into: use --env, or grpo without a tree"
        )
    schedule.check(training.schedule, algorithm.loss, options.max_tokens)
    _check_trackers(options.report_to)
    if options.text_env is None:
        # Else it would be opened first when sampling begins, which may be long after SFT.
        sandbox_factory(options.env.sandbox)
    options.sft.pass_rows(distributed.world_size())
    if options.traces is not None and options.warm_start_from is not None:
        raise CommandError(
            "--traces and --warm-start-from both say where RL starts from: give one of them"
        )
    imitates = not options.warm_start_from and (options.warm_start or options.traces)
    if not options.steps and not imitates:
        raise CommandError(
            "nothing would be trained: without RL (--steps 0, as `sft` has it) there must be "
            "something to imitate: --traces FILE, or --warm-start N where problems are procedural"
        )
    if options.traces is not None and not options.traces.is_file():
        raise CommandError(f"--traces: no such file: {options.traces}")


def _check_staleness(options: TrainOptions) -> None:
    """Whether another process can sample."""
    if not options.staleness:
        return
    if options.policy == "vllm-server":
        raise CommandError(
            f"--staleness {options.staleness} with --policy vllm-server: a server answers its "
            "requests with whatever weights it has, and of which version an id is nobody knows. "
            "Use --policy vllm or transformers, or --staleness 0"
        )
    from agents.core.trainer.async_sampler import sendable

    sendable(options)


def _check_idle(options: TrainOptions) -> None:
    """Whether all that is given does something: else the run is not the one that was meant."""
    usual = TrainOptions(env=options.env, text_env=options.text_env)
    traced = options.traces is not None or options.warm_start_from is not None
    for names, works, partner in (
        (("late", "sampler_threads"), options.staleness > 0, "--staleness"),
        (
            ("importance", "importance_cap"),
            options.staleness > 0 or options.policy != "transformers",
            "--policy vllm or --staleness",
        ),
        (("vllm_memory",), options.policy == "vllm", "--policy vllm"),
        (("vllm_url",), options.policy == "vllm-server", "--policy vllm-server"),
        (("lora_rank",), options.steps > 0, "RL; the SFT stage trains all weights"),
        (("replay",), options.replay.keep > 0, "--replay.keep"),
        (("curriculum",), options.curriculum.on, "--curriculum.mix"),
        (
            ("warm_start",),
            not (traced and options.warm_start),
            "traces of its own, and --traces or --warm-start-from take their place",
        ),
        (
            ("heldout", "allow_overlap", "warm_start"),
            options.text_env is None,
            "problems, and an environment of your own (--text-env) has seeds",
        ),
    ):
        given = [name for name in names if getattr(options, name) != getattr(usual, name)]
        if given and not works:
            raise CommandError(f"--{given[0].replace('_', '-')} says something with {partner}")
    if options.text_env is not None:
        _check_own_env(options)


def _check_own_env(options: TrainOptions) -> None:
    """Whether nothing is said of our environment where it is not used."""
    usual, used = default_env(), {"system"}
    if not options.env.tool_budget:
        # So `cot` says it, and so it is in each environment of one's own.
        used |= {"tool_budget", "max_turns"}
    staged = [one.name for one in training_of(options).schedule if one.name in schedule.OF_ENV]
    names = [item.name for item in fields(options.env) if item.name not in used]
    given = [*staged, *(n for n in names if getattr(options.env, n) != getattr(usual, n))]
    if given:
        raise CommandError(
            f"--{given[0].replace('_', '-')} is of our environment, and --text-env puts another in "
            "its place: leave one of them out"
        )


def _check_trackers(names: Sequence[str]) -> None:
    """Whether transformers finds these trackers."""
    if not names:
        return
    from transformers.integrations import get_available_reporting_integrations

    here = get_available_reporting_integrations()
    for name in names:
        if name not in here:
            raise CommandError(
                f"--report-to {name}: transformers finds {', '.join(here) or 'no tracker'} here; "
                f"install it (pip install {name}) or leave it out, the run's files hold the same "
                "numbers"
            )


def check_vllm(options: TrainOptions) -> None:
    """Whether vLLM is there and runs as it is asked to.

    Raises:
        CommandError: The server does not answer.
        ValueError: VLLM is missing.
    """
    vllm = vllm_of(options)
    if vllm is None:
        return
    from agents.core.policies.openai_client import ServerError
    from agents.core.trainer.vllm_generation import check

    try:
        check(vllm)
    except ServerError as error:
        raise CommandError(f"--vllm-url: {error}") from error


def check_prompts(options: TrainOptions, problems: Sequence[Problem]) -> None:
    """Whether the model can be asked these problems: template, end token, window.

    Raises:
        CommandError: Its tokenizer has no token to end an answer with, or a prompt leaves no room
            for its response.
        ValueError: The prompt style needs a chat template that is not there.
    """
    from transformers import AutoTokenizer

    from agents.core.models import loading
    from agents.core.rollout.prompts import make_prompt

    # Asks a hub that cannot be reached once; the tokenizer's loader would ask for a minute.
    loading.check(options.model)
    source = loading.resolve(options.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    if tokenizer.eos_token_id is None:
        raise CommandError(
            f"the tokenizer of {options.model} has no end-of-sequence token, so no answer could "
            "ever end: set eos_token in its tokenizer_config.json"
        )
    prompt = make_prompt(options.prompt, tokenizer, options.env)
    longest, size = longest_prompt(prompt, options.env, problems)
    _check_window(options, longest, size)


def check_model_window(options: TrainOptions) -> None:
    """Whether an ordinary prompt leaves room for a response; needs no tokenizer and no problems.

    Raises:
        CommandError: It does not.
    """
    _check_window(options, "(any)", PROMPT_TOKENS)


def _check_window(options: TrainOptions, problem_id: str, size: int) -> None:
    from agents.core.models import loading

    window = getattr(loading.config_of(options.model), "max_position_embeddings", None)
    try:
        check_window(size, options.max_tokens, window, problem_id)
    except TrainingError as error:
        raise CommandError(str(error)) from error


def longest_prompt(
    prompt: "Prompt", env: EnvConfig, problems: Sequence[Problem]
) -> tuple[str, int]:
    """Id of the problem with the longest prompt, and how many ids that has."""
    observe = env.components.prompt
    asked = {p.id: p for p in problems} or {"": Problem("", "1 + 1?", "2")}
    # Characters tell which can be the longest; only those are tokenised.
    ordered = sorted(asked.values(), key=lambda p: len(p.question), reverse=True)
    sizes = {p.id: len(prompt.question_ids(observe(p.question))) for p in ordered[:256]}
    longest = max(sizes, key=lambda name: sizes[name])
    return longest, sizes[longest]


def check_disk(out: Path, needed: float) -> None:
    """Whether checkpoints and transcripts find a folder, and room in it.

    Args:
        out: Where they are written.
        needed: GB.

    Raises:
        CommandError: They do not.
    """
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise CommandError(f"--out {out}: expected a folder, but {place} is a file: choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise CommandError(f"--out {out}: {place} may not be written: choose another --out")
    free = shutil.disk_usage(place).free / 1e9
    if free < needed:
        raise CommandError(
            f"{free:.1f} GB free at {place}, but the run needs {needed:.1f} GB for checkpoints and "
            "transcripts: free some space or choose another --out"
        )
