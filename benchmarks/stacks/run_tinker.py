"""Tinker: its data set, group rollout, data assembly and trainer settings, with no service behind.

A completer over a transformers policy takes the place of Tinker's sampling client.
"""

import asyncio
import json
import pickle
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agents.core.policies.base import RowStart
from agents.core.policies.transformers import TransformersPolicy
from agents.core.types import Sampling
from benchmarks.stacks.apprentice import MAX_TOKENS, PROBLEMS, SYSTEM, TOOL_BUDGET, apprentice
from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report
from torl_env import SandboxError
from torl_env.adapters import tinker as adapter

GROUP = 2


def completer(policy: TransformersPolicy) -> Any:
    """Tinker's interface of whatever samples; greedy, so that our own rollouts are the same."""
    from tinker_cookbook.completers import TokenCompleter, TokensWithLogprobs

    one_at_a_time = asyncio.Lock()

    class Completer(TokenCompleter):  # type: ignore[misc]
        async def __call__(self, model_input: Any, stop: Any, *, max_tokens: Any = None) -> Any:
            assert stop == ["```", policy.tokenizer.eos_token]
            async with one_at_a_time:
                policy.open([RowStart(model_input.to_ints())], Sampling(0.0, 1.0, max_tokens))
                ended: list[Any] = []
                while not ended:
                    ended = policy.advance()
                policy.release(0)
            (one,) = ended
            reason = "length" if len(one.ids) == max_tokens else "stop"
            return TokensWithLogprobs(list(one.ids), list(one.logprobs), reason)

    return Completer()


def settings(folder: Path, **more: Any) -> Any:
    """Our data set in Tinker's form."""
    file = folder / "problems.jsonl"
    lines = [{"id": p.id, "question": p.question, "answer": p.answer} for p in PROBLEMS]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options: dict[str, Any] = {
        "model_name": str(folder / "model"),
        "problems": str(file),
        "batch_size": len(PROBLEMS),
        "group_size": GROUP,
        "max_tokens": MAX_TOKENS,
        "system": SYSTEM,
        "env": {"tool_budget": TOOL_BUDGET},
    }
    return adapter.ToRLDatasetBuilder(**(options | more))


async def groups(builder: Any, policy: Any) -> list[Any]:
    """One batch of the data set through Tinker's rollouts, the builders sent through a pickle."""
    from tinker_cookbook.rl.rollouts import do_group_rollout

    dataset, _ = await builder()
    batch = pickle.loads(pickle.dumps(list(dataset.get_batch(0))))
    return [await do_group_rollout(one, policy) for one in batch]


def same_as_ours(played: list[Any], ours: list[Any]) -> bool:
    """Whether Tinker's data hold the ids, masks, log-probabilities and rewards of our rollouts."""
    from tinker_cookbook.rl.data_processing import trajectory_to_data

    equal = True
    for group, one in zip(played, ours, strict=True):
        equal &= group.get_total_rewards() == [one.reward] * GROUP
        for trajectory in group.trajectories_G:
            (datum,) = trajectory_to_data(trajectory, 1.0)
            whole = [*one.prompt_ids, *one.ids]
            fields = datum.loss_fn_inputs
            before = [0.0] * (len(one.prompt_ids) - 1)
            gap = [
                abs(a - b)
                for a, b in zip(fields["logprobs"].data, [*before, *one.logprobs], strict=True)
            ]
            equal &= datum.model_input.to_ints() == whole[:-1]
            equal &= list(fields["target_tokens"].data) == whole[1:]
            equal &= list(fields["mask"].data) == [*before, *map(float, one.loss_mask)]
            equal &= max(gap) < 1e-3
    return equal


async def played_again(folder: Path, policy: Any) -> list[Any]:
    """Groups whose first problem's machine dies, under Tinker's strategy for failed rollouts.

    Returns:
        For each problem what Tinker makes of its group, `None` where it skips it.
    """
    from tinker_cookbook.rl.rollout_strategy import RetryOnFailure
    from tinker_cookbook.rl.rollouts import do_group_rollout

    dataset, _ = await settings(folder, env={"sandbox": DYING, "tool_budget": TOOL_BUDGET})()
    found = []
    for one in list(dataset.get_batch(0))[:2]:
        try:
            found.append(await do_group_rollout(one, policy, strategy=RetryOnFailure(1)))
        except SandboxError:
            found.append(None)
    return found


async def cut(builder: Any, policy: Any) -> list[Any]:
    """Rollouts whose limit leaves no room for an answer."""
    return [one for group in await groups(builder, policy) for one in group.trajectories_G]


def main() -> None:
    """Play, compare, and give Tinker's trainer its settings."""
    from tinker_cookbook.rl import train
    from tinker_cookbook.rl.data_processing import compute_advantages

    pupil = apprentice()
    policy = TransformersPolicy(pupil.model, pupil.tokenizer)
    ours = pupil.rollout(policy)
    samples = completer(policy)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pupil.model.save_pretrained(folder / "model")
        pupil.tokenizer.save_pretrained(folder / "model")
        played = asyncio.run(groups(settings(folder), samples))
        assert same_as_ours(played, ours), "ids, masks or rewards differ from our own rollouts"
        assert all(not one.any() for one in compute_advantages(played)), "siblings are equal"
        first, second = asyncio.run(played_again(folder, samples))
        assert first is None, "a rollout whose machine died was trained on"
        assert second.get_total_rewards() == [1.0] * GROUP
        for one in asyncio.run(cut(settings(folder, max_tokens=8), samples)):
            # Tinker's own end at the last id would be a reward of 0 that was not earned.
            assert one.stop_reason == "max_tokens"
            assert sum(step.reward for step in one.transitions) == -1.0
        train.Config(
            model_name=str(folder / "model"),
            dataset_builder=settings(folder),
            max_tokens=MAX_TOKENS,
            log_path=str(folder),
            learning_rate=1e-5,
            recipe_name="torl",
        )
    rollouts = [one for group in played for one in group.trajectories_G]
    report(
        Result(
            version=f"{version('tinker')}, cookbook {version('tinker-cookbook')}",
            ran="data set builder, do_group_rollout, trajectory_to_data; its train.Config takes it",
            episodes=len(rollouts),
            tokens=sum(len(step.ac.tokens) for one in rollouts for step in one.transitions),
            ids_equal=True,
            fault="raises; RetryOnFailure plays the rollout again, in the end its group is skipped",
            not_run="sampling and training: its service, which wants a key and the network",
        )
    )


if __name__ == "__main__":
    main()
