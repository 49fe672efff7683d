"""verl: its worker, data set, advantage and loss on our agent loop, a transformers model behind it.

Run by `python -m benchmarks.stacks verl` in a virtual environment that has verl.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.core.policies.base import RowStart
from agents.core.policies.transformers import TransformersPolicy
from agents.core.types import Sampling
from benchmarks.stacks.apprentice import MAX_TOKENS, PROBLEMS, SYSTEM, TOOL_BUDGET, apprentice
from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report
from torl_env.adapters import verl as adapter
from torl_env.adapters.rows import write_rows
from torl_env.adapters.token_episode import make_env
from torl_env.problems import Problem

GROUP = 2
RECIPE = Path(__file__).resolve().parents[2] / "runs" / "configs" / "verl"


class Server:
    """verl's server interface over a transformers policy, one request at a time."""

    def __init__(self, policy: TransformersPolicy) -> None:
        self.policy = policy
        self.requests = 0

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> Any:
        """Sample one turn."""
        from verl.workers.rollout.replica import TokenOutput

        self.requests += 1
        assert sampling_params["stop"] == ["```"]
        assert sampling_params["include_stop_str_in_output"]
        how = Sampling(float(sampling_params["temperature"]), 1.0, sampling_params["max_tokens"])
        self.policy.open([RowStart(prompt_ids, self.requests)], how)
        ended: list[Any] = []
        while not ended:
            ended = self.policy.advance()
        self.policy.release(0)
        return TokenOutput(
            token_ids=list(ended[0].ids),
            log_probs=list(ended[0].logprobs),
            stop_reason="completed",
            extra_fields={"min_global_steps": self.requests, "max_global_steps": self.requests},
        )


def config(folder: Path, sandbox: str = "local") -> Any:
    """The configuration of verl, composed and checked by hydra."""
    from hydra import compose, initialize_config_module

    loops = folder / "loops.yaml"
    loops.write_text(
        "- name: torl\n"
        "  _target_: torl_env.adapters.verl.ToRLAgentLoop\n"
        f"  env: {{tool_budget: {TOOL_BUDGET}, sandbox: '{sandbox}'}}\n"
    )
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={folder / 'model'}",
                "actor_rollout_ref.rollout.name=vllm",
                f"actor_rollout_ref.rollout.n={GROUP}",
                "actor_rollout_ref.rollout.calculate_log_probs=true",
                "actor_rollout_ref.rollout.prompt_length=96",
                f"actor_rollout_ref.rollout.response_length={MAX_TOKENS}",
                "actor_rollout_ref.rollout.temperature=0",
                f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops}",
                f"data.train_files={folder / 'train.parquet'}",
                "data.max_prompt_length=96",
                "algorithm.adv_estimator=grpo",
            ],
        )


def check_recipe() -> None:
    """The whole configuration of ToRL 1.5B, by verl's loader and its own checks."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    with initialize_config_dir(str(RECIPE), version_base=None):
        whole = compose("torl_1_5b")
    validate_config(whole, use_reference_policy=False, use_critic=False)
    rollout = omega_conf_to_dataclass(whole.actor_rollout_ref.rollout)
    assert (rollout.n, rollout.response_length) == (16, 3072)
    assert rollout.agent.default_agent_loop == "torl"
    (loop,) = OmegaConf.load(RECIPE / "loops.yaml")
    make_env(Problem("p", "?", "1"), OmegaConf.to_container(loop.env)).close()


def batch_of(settings: Any, tokenizer: Any) -> Any:
    """The exported problems through verl's data set and collator, each in `GROUP` copies."""
    from verl import DataProto
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    data = RLHFDataset(str(settings.data.train_files), tokenizer, settings.data)
    rows = [data[i] for i in range(len(data))]
    batch = DataProto.from_single_dict(collate_fn(rows))
    batch.meta_info = {"global_steps": 1, "validate": False}
    return batch.repeat(GROUP, interleave=True)


def same_as_ours(output: Any, ours: list[Any]) -> bool:
    """Whether verl's tensors hold the ids, masks and rewards of our own rollouts."""
    equal = True
    for i, one in enumerate(ours):
        for row in range(GROUP * i, GROUP * (i + 1)):
            size, prompt = len(one.ids), len(one.prompt_ids)
            tensors = output.batch[row]
            equal &= tensors["responses"][:size].tolist() == list(one.ids)
            equal &= tensors["response_mask"].tolist()[:size] == list(one.loss_mask)
            equal &= int(tensors["response_mask"][size:].sum()) == 0
            equal &= tensors["prompts"][-prompt:].tolist() == list(one.prompt_ids)
            equal &= float(tensors["rm_scores"].sum()) == one.reward
            gap = tensors["rollout_log_probs"][:size] - torch.tensor(one.logprobs)
            equal &= bool(gap.abs().max() < 1e-3)
    return equal


def step(model: Any, output: Any) -> float:
    """One step of GRPO with verl's advantage and verl's loss; the size of the gradient."""
    from verl.trainer.ppo.core_algos import agg_loss, compute_grpo_outcome_advantage

    batch = output.batch
    groups = np.array([f"g{i // GROUP}" for i in range(len(batch))])
    # Greedy siblings are equal: a reward of one of each pair is turned, or no advantage is left.
    rewards = batch["rm_scores"].clone()
    rewards[::GROUP] *= -1
    advantages, _ = compute_grpo_outcome_advantage(rewards, batch["response_mask"].float(), groups)
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
    ).logits
    length = batch["responses"].shape[1]
    logprobs = torch.gather(
        logits[:, -length - 1 : -1].log_softmax(-1), 2, batch["responses"][:, :, None]
    )[:, :, 0]
    mask = batch["response_mask"].float()
    drift = ((logprobs.detach() - batch["rollout_log_probs"]).abs() * mask).max()
    assert drift < 1e-3, f"verl's batch does not reproduce the sampler's log-probabilities: {drift}"
    ratio = torch.exp(logprobs - batch["rollout_log_probs"])
    loss = agg_loss(-advantages * ratio, mask, loss_agg_mode="token-mean")
    loss.backward()
    return float(sum(p.grad.norm() ** 2 for p in model.parameters() if p.grad is not None) ** 0.5)


def failed_groups(settings: Any, server: Server, batch: Any) -> dict[str, str]:
    """Groups through verl's asynchronous worker and its real queue, in which one's machine dies.

    Returns:
        What the queue holds in the end: each group's status, each rollout's.
    """
    import ray
    import transfer_queue as tq
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

    # The queue's own actors ask for more processors than a small machine has, and wait for them.
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    tq.init()
    worker = AgentLoopWorkerTQ.__ray_metadata__.modified_class(settings, server)

    async def all_groups() -> None:
        # Of each group's copies the first stands for it, as in a batch of verl's trainer.
        for i in range(0, len(batch), GROUP):
            row = {name: values[i] for name, values in batch.non_tensor_batch.items()}
            where = {"step": 1, "sample_index": i, "rollout_n": GROUP, "validate": False}
            await worker._run_prompt(
                {**row, "uid": f"g{i // GROUP}", "global_steps": 1},
                {"temperature": 0, "top_p": 1.0, "top_k": -1, "logprobs": True},
                where,
            )

    asyncio.run(all_groups())
    found = tq.kv_list(partition_id="train")["train"]
    tq.close()
    ray.shutdown()
    return {key: tag["status"] for key, tag in found.items()}


def check_reward(settings: Any, tokenizer: Any, output: Any) -> None:
    """`rewards.adapters` as verl's custom reward function, by its loader and reward manager."""
    from omegaconf import open_dict
    from verl.trainer.ppo.reward import load_reward_manager

    from rewards.adapters import UngradableError

    with open_dict(settings):
        settings.reward.custom_reward_function = {
            "path": "pkg://rewards.adapters",
            "name": "verl_reward",
        }

    async def score(manager: Any, row: int, answer: str) -> float:
        one = output[row : row + 1]
        one.non_tensor_batch["data_source"] = np.array(["torl"], dtype=object)
        one.non_tensor_batch["extra_info"] = np.array([{}], dtype=object)
        truth = {"ground_truth": answer}
        one.non_tensor_batch["reward_model"] = np.array([truth], dtype=object)
        return float((await manager.run_single(one))["reward_score"])

    async def all_of_them() -> list[Any]:
        answers = "42", "41", "\\frac{"
        # It keeps the event loop that it is made in.
        manager = load_reward_manager(settings, tokenizer)
        scores = (score(manager, 0, one) for one in answers)
        return await asyncio.gather(*scores, return_exceptions=True)

    right, wrong, undecided = asyncio.run(all_of_them())
    assert (right, wrong) == (1.0, -1.0), (right, wrong)
    assert isinstance(undecided, UngradableError), undecided


def main() -> None:
    """Play, compare, take a step."""
    import verl
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker

    check_recipe()
    pupil = apprentice()
    policy = TransformersPolicy(pupil.model, pupil.tokenizer)
    ours = pupil.rollout(policy)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pupil.model.save_pretrained(folder / "model")
        pupil.tokenizer.save_pretrained(folder / "model")
        write_rows(adapter.rows(PROBLEMS, SYSTEM), folder / "train.parquet")
        settings = config(folder)
        server = Server(policy)
        worker = AgentLoopWorker(settings, server)
        batch = batch_of(settings, pupil.tokenizer)
        output = asyncio.run(worker.generate_sequences(batch))
        equal = same_as_ours(output, ours)
        check_reward(settings, pupil.tokenizer, output)
        # Of the first problem only: its program is the deadly one.
        queued = failed_groups(config(folder, DYING), server, batch[: 2 * GROUP])
        gradient = step(pupil.model, output)
    assert equal, "ids, masks or rewards differ from our own rollouts"
    of_second = {f"g1_{session}_0": "success" for session in range(GROUP)}
    assert queued == {"g0": "failure", "g1": "finished", **of_second}, queued
    assert gradient > 0
    mask = output.batch["response_mask"]
    report(
        Result(
            version=verl.__version__,
            ran="AgentLoopWorker, RLHFDataset, GRPO advantage and loss, its reward manager on "
            "rewards.adapters; the recipe by its loader",
            episodes=len(output),
            tokens=int(mask.sum()),
            steps=1,
            ids_equal=equal,
            fault="raises: its asynchronous worker marks the group failed and puts no such rollout "
            "into the queue, whole groups beside it are",
            not_run="main_ppo with vLLM or SGLang and FSDP: they need a GPU",
        )
    )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
