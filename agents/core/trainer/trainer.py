"""The trainer: TRL's `GRPOTrainer` with our rollouts, our credit and our micro-batches.

TRL keeps what it is good at (optimiser, schedule, accelerate, checkpoints, the clipped loss, KL);
four of its private methods are replaced, all in this file (`trl_releases` says why, and which
releases are tested):

- rollouts come from `Rollout.collect` through TRL's `rollout_func`;
- advantages come from the `Algorithm`, one number a token, in place of TRL's;
- rows that cannot move the policy are left out of the forward pass and the rest is sorted by
  length, which changes no gradient;
- on a CPU prompts are read once a group, and only responses go through the language-model head;
- terms that the algorithm adds join the loss.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

# `rollout_func` is experimental in TRL, which would say so at every start.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from transformers import PrinterCallback
from trl import GRPOTrainer

from agents.core.algorithm import Algorithm
from agents.core.filters import filtered_share, learned_mask, row_scale
from agents.core.models.lora import trunk
from agents.core.run.folder import Run
from agents.core.run.heartbeat import beat
from agents.core.run.progress import Progress, Silent
from agents.core.schedule import at, of_loss
from agents.core.trainer import distributed, scoring
from agents.core.trainer.auxiliary_module import AuxiliaryModule
from agents.core.trainer.batch import PREPARED, Batch, joined, learned, nll_weights, split, view
from agents.core.trainer.branches import append_branches, sample_branches
from agents.core.trainer.callbacks import AuxiliarySteps, Checkpoints, Steps
from agents.core.trainer.collector import Collector
from agents.core.trainer.logprobs import with_positions
from agents.core.trainer.memory import memory_errors_say
from agents.core.trainer.options import Training, TrainingError, check, check_finite
from agents.core.trainer.own_state import OwnState
from agents.core.trainer.pass_metrics import pass_metrics
from agents.core.trainer.passes import by_tokens, loss_in_passes
from agents.core.trainer.recorder import Recorder
from agents.core.trainer.reference import ReferenceReset
from agents.core.trainer.stages import set_sampler, set_stage
from agents.core.trainer.token_weights import correct_off_policy, keep_high_entropy
from agents.core.trainer.trl_config import env_reward, trl_config
from agents.core.trainer.trl_releases import warn_if_untested
from agents.core.trainer.vllm_generation import VLLMSampler
from agents.core.trainer.weight_sync import BranchingSampler, Sampler
from torl_env.problems.types import Problem


class RLTrainer(GRPOTrainer):  # type: ignore[misc]
    """Trains a policy with any `Algorithm`.

    Args:
        model: The model to train, float32.
        tokenizer: Its tokenizer.
        algorithm: Credit and loss.
        training: Batch sizes, learning rate, length.
        problems: At least `steps * prompts_per_step` problems, used in order.
        sampler: Samples the trajectories of a step.
        run: Where metrics, transcripts and checkpoints go.
        progress: Called at every step.
    """

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any,
        algorithm: Algorithm,
        training: Training,
        problems: Sequence[Problem],
        sampler: Sampler,
        run: Run,
        progress: Progress | None = None,
    ) -> None:
        from datasets import Dataset

        warn_if_untested()
        check(algorithm, training)
        self._algorithm = algorithm
        self._training = training
        self._loss = algorithm.loss
        """As it is in this step, see `Training.schedule`."""
        self._sampler = sampler
        self._extra: dict[str, float] = {}
        """Metrics of the batch beside TRL's, the same in all processes."""
        self._means: dict[str, float] = {}
        """Losses of this process's passes, which are averaged over processes when logged."""
        self._collector = Collector(algorithm, training, problems, sampler, self._add)
        self._recorder = Recorder(run, training)
        self._seconds: dict[str, float] = {}
        self._parts: list[dict[str, Any]] = []
        self._hidden: torch.Tensor | None = None
        rows = [{"prompt": p.question, "index": i} for i, p in enumerate(problems)]
        super().__init__(
            model=model,
            args=trl_config(algorithm, training, run.path),
            train_dataset=Dataset.from_list(rows),
            reward_funcs=env_reward,
            processing_class=tokenizer,
            rollout_func=self._rollout,
            callbacks=[
                Steps(progress or Silent(), training.optimizer_steps),
                AuxiliarySteps(self),
            ],
        )
        self.remove_callback(PrinterCallback)
        self.auxiliary = self._make_auxiliary()
        reset: ReferenceReset | None = None
        if every := algorithm.loss.kl_reset:
            reset = ReferenceReset(self, every, training.optimizer_steps)
            self.add_callback(reset)
        self._own_state = OwnState(algorithm, self._collector, self.auxiliary, reset)
        self.add_callback(Checkpoints(self._own_state.save))
        for scored in (self.accelerator.unwrap_model(self.model), self.ref_model):
            if scored is not None:
                scored.register_forward_pre_hook(with_positions, with_kwargs=True)
        if isinstance(sampler, VLLMSampler):
            self.vllm_generation = sampler.attach(self.model, self.accelerator, tokenizer)
            self.use_vllm, self._last_loaded_step = True, -1

    def _make_auxiliary(self) -> AuxiliaryModule | None:
        model = self.accelerator.unwrap_model(self.model)
        module = AuxiliaryModule.of(self._algorithm, model, self._training.max_grad_norm)
        if module is not None:
            module.module.to(self.accelerator.device)
            trunk(model).register_forward_hook(self._keep_hidden)
        return module

    def _keep_hidden(self, module: Any, args: Any, output: Any) -> None:
        self._hidden = output.last_hidden_state

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with memory_errors_say(
            f"out of memory while step {self._batch_number()} was sampled, {len(inputs)} rows in "
            "each process: lower --prompts, --group or --max-tokens"
        ):
            return self._sampled(inputs)

    def _sampled(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch: sampled, credited, with branches and whatever the algorithm prepares."""
        self._stage()
        self._rows = [row["index"] for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        output["advantages"] = self._collector.advantages(output["completion_ids"])
        rows, drop, oldest = self._collector.all, self._loss.drop, self._collector.oldest
        self._add(self._algorithm.report(self._collector.groups(rows)))
        self._add({**self._collector.shaping_metrics(), **filtered_share(rows, drop)})
        self._row_scale, old = row_scale(rows, drop, oldest), self._collector.replayed
        self._add(correct_off_policy(output, self._training, old, self._score))
        if self._algorithm.branches:
            output = self._branch(output)
        self._sampler.rest()
        paid = self._view(output, trajectories=self._collector.paid())
        with torch.no_grad(), self.accelerator.autocast():
            prepared = self._algorithm.prepare(paid)
        for name, value in prepared.items():
            output["advantages" if name == "advantages" else PREPARED + name] = value
        if self._loss.nll:
            gather, weight = self.accelerator.gather, self._algorithm.branch_weight
            output["nll_weights"] = nll_weights(output, gather, weight)
        if self._loss.entropy_top < 1:
            score = partial(self._score, entropies=True)
            self._add(keep_high_entropy(output, score, self._loss.entropy_top))
        self._hidden = None
        return output

    def sync_sampler(self) -> None:
        """Give the sampler the weights as they are after training, for an evaluation."""
        if self.use_vllm:
            self.vllm_generation.sync_weights()
        self._sampler.sync(self.accelerator.unwrap_model(self.model))

    def _stage(self) -> None:
        """Begin a batch: no metrics yet, and the settings that its step has in a schedule."""
        self._extra, self._means = {}, {}
        values = at(self._training.schedule, self._batch_number())
        if not values:
            return
        self._loss = of_loss(self._algorithm.loss, values)
        temperature = values.get("temperature", self._training.temperature)
        self._training = replace(self._training, temperature=temperature)
        set_stage(self, self._loss, temperature)
        set_sampler(self._sampler, values)
        self._add({f"scheduled_{name}": value for name, value in values.items()})

    def _rollout(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """TRL's hook: `prompts` come repeated, group by group."""
        start = time.perf_counter()
        step = self._batch_number()
        self._collector.hand_over(self.accelerator.unwrap_model(self.model), step)
        rows = self._collector.collect(self._rows, self._seed(), step)
        drop, oldest = self._loss.drop, self._collector.oldest
        self._seconds = {"rollout": time.perf_counter() - start}
        return {
            "prompt_ids": [list(t.prompt_ids) for t in rows],
            "completion_ids": [list(t.ids) for t in rows],
            "logprobs": [list(t.logprobs) for t in rows],
            "env_mask": [learned_mask(t, drop, oldest) for t in rows],
            "env_reward": [t.reward if t.scorable else None for t in rows],
        }

    def _seed(self) -> int:
        return self._training.seed * 1_000_003 + int(self.state.global_step)

    def _batch_number(self) -> int:
        """Number of the batch that is being sampled or was last used, from 1."""
        return int(self.state.global_step) // self._training.optimizer_steps + 1

    def _add(self, numbers: Mapping[str, float]) -> None:
        self._extra |= numbers

    def _branch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the rows of the algorithm's branches, weighted to a mean over their own tokens."""
        sampler = cast(BranchingSampler, self._sampler)
        branches = sample_branches(self._algorithm, self._collector, sampler, self._seed())
        self._add(branches.metrics)
        batch["branch"] = torch.zeros_like(batch["advantages"])
        if not branches.rows:
            return batch
        pad = self.processing_class.pad_token_id
        return append_branches(batch, branches, self._score, self._training, pad)

    @torch.no_grad()
    def _score(self, ids: Any, attention: Any, width: int, *, entropies: bool = False) -> Any:
        """Of the policy before this batch's updates: log-probabilities or entropies, (B, width)."""
        ids, attention = (t.to(self.accelerator.device) for t in (ids, attention))
        options = {"batch_size": self._training.micro_batch, "compute_entropy": entropies}
        scored = self._get_per_token_logps_and_entropies(
            self.model, ids, attention, width, **options
        )
        return scored[entropies]

    def _view(self, batch: dict[str, Any], **more: Any) -> Batch:
        return view(
            batch,
            tokens=self._share() * float(batch["num_items_in_batch"].clamp(min=1)),
            auxiliary=self.auxiliary.module if self.auxiliary else None,
            model=self.accelerator.unwrap_model(self.model),
            micro_batch=self._training.rows_at_once(joined(batch)[0].shape[1]),
            temperature=self._training.temperature,
            **more,
        )

    def _share(self) -> float:
        """Of a batch, what one update of one process works on."""
        processes: int = self.accelerator.num_processes
        return 1 / (self._training.updates * processes)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of a pass; of an update where passes are cut by tokens, see `passes`."""
        parts = [inputs]
        if most := self._training.micro_batch_tokens:
            shared = self.shares_prompts()
            parts = by_tokens(inputs, most, shared=shared, agree=distributed.maxima)
        loss_of = partial(self._loss_of_pass, model)
        return loss_in_passes(parts, loss_of, self.accelerator, model)

    def _loss_of_pass(self, model: Any, inputs: dict[str, Any], share: float) -> torch.Tensor:
        beat(f"learning from step {self._batch_number()}")
        # A mean over responses is by TRL one over those of the pass.
        weight = 1.0 if self._loss.mean == "token" else self._row_scale * share
        loss: torch.Tensor = super()._compute_loss(model, inputs) * weight
        for name, value in self._terms(inputs).items():
            loss = loss + value
            self._add_mean(f"loss_{name}", value)
        for name, part in pass_metrics(self.pass_logprobs, inputs, self._loss).items():
            self._add_mean(name, part / self._share())
        self._hidden = None
        check_finite(loss.item(), self._batch_number())
        return loss

    def _terms(self, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        """What is added to the clipped loss."""
        terms = {}
        loss = self._loss
        if loss.entropy:
            tokens = self._share() * float(inputs["num_items_in_batch"].clamp(min=1))
            bonus = (self._entropies * learned(inputs)).sum() / tokens
            terms["entropy"] = -loss.entropy * bonus
        if "nll_weights" in inputs:
            likelihood = -(self.pass_logprobs * inputs["nll_weights"]).sum() / self._share()
            terms["nll"] = loss.nll * likelihood
        if _overrides(self._algorithm, "extra_loss"):
            length = inputs["completion_ids"].shape[1]
            hidden = None if self._hidden is None else self._hidden[:, -length - 1 : -1]
            view = self._view(inputs, logprobs=self.pass_logprobs, hidden=hidden)
            terms |= self._algorithm.extra_loss(view)
        return terms

    def _add_mean(self, name: str, value: torch.Tensor) -> None:
        # No exchange between processes here: a term that one of them alone has would hang it.
        mean = float(value.detach()) / self._training.optimizer_steps
        self._means[name] = self._means.get(name, 0.0) + mean

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Any,
        attention_mask: Any,
        logits_to_keep: int,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        if batch_size and self._training.micro_batch_tokens:
            # As many passes in every process: where weights are sharded each gathers them.
            longest = distributed.maximum(input_ids.shape[1])
            batch_size = self._training.rows_at_once(longest)
        if scoring.own_logprobs(self, self._loss):
            rows = batch_size or len(input_ids)
            asked = (self, model, input_ids, attention_mask, logits_to_keep, rows)
            scored = scoring.score_responses(*asked, shared=self.shares_prompts())
        else:
            scored = super()._get_per_token_logps_and_entropies(
                # trl 1.13 hands the size over by position, later releases by name.
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                **options,
            )
        self.pass_logprobs, self._entropies = scored[0], scored[1]
        return scored

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        count = self.args.steps_per_generation
        if self._step % (count * self.num_iterations) == 0 or not self._parts:
            batch = self._generate_and_score_completions(generation_batch)
            updates = self._training.updates
            random = torch.Generator().manual_seed(self._seed())
            self._parts = split(
                batch,
                updates=updates,
                passes=count // updates,
                keep_all=self._keeps_all(),
                order=torch.randperm(len(batch["advantages"]), generator=random),
                agree=distributed.maximum,
                groups=self.shares_prompts(),
            )
        return self._parts[self._step % count]

    def shares_prompts(self) -> bool:
        """Whether the rows of a group are read with one prompt."""
        return scoring.shares_prompts(self, self._loss, self._training)

    def _keeps_all(self) -> bool:
        everywhere = self.beta != 0.0 or self._loss.entropy > 0 or self._loss.mean != "token"
        return everywhere or _overrides(self._algorithm, "extra_loss")

    def training_step(self, *args: Any, **options: Any) -> Any:
        """One forward and backward pass.

        Raises:
            TrainingError: There is not enough memory for it.
        """
        with memory_errors_say(
            f"out of memory in step {self._batch_number()} with {self._training.pass_size} a pass: "
            "lower that, which changes no gradient"
        ):
            return super().training_step(*args, **options)

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        """Train to the last step.

        Args:
            resume_from_checkpoint: Folder of a whole checkpoint to go on from.
            **options: Of TRL's `train`.
        """
        if resume_from_checkpoint is not None:
            self._own_state.load(Path(resume_from_checkpoint))
        with self._collector.sampling():
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **options)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: TRL's says of every algorithm that it was GRPO."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write one line of metrics for each batch: TRL's numbers and ToRL's behaviour metrics.

        Raises:
            TrainingError: The gradient was no number, or an alarm stops the run; the checkpoint of
                this step is not written.
        """
        ended = (self.state.global_step - 1) // self._training.optimizer_steps + 1
        check_finite(logs.get("grad_norm", 0.0), ended, "gradient's norm")
        batch = "loss" in logs and bool(self._collector.all)
        if batch:
            self._extra |= distributed.mean_of_each(self._means)
        if batch and self._training.report_to:
            told = self._recorder.for_trackers(self.state, self._collector, self._extra)
            logs = {**told, **logs}
        super().log(logs, start_time)
        if batch:
            alarm = self._recorder.record(self.state, self._collector, self._extra, self._seconds)
            if distributed.maximum(int(bool(alarm))):
                raise TrainingError(
                    f"step {ended}, {alarm or 'an alarm, see the first process'}. Begin a new run "
                    "from the last checkpoint with other settings (--model OUT --warm-start 0)"
                )


def _overrides(algorithm: Algorithm, method: str) -> bool:
    return getattr(type(algorithm), method) is not getattr(Algorithm, method)
