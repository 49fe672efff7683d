"""The stages of `torl train`: imitation, reinforcement, evaluation."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.algorithm import Algorithm
from agents.core.policies.openai_client import ServerError
from agents.core.run.folder import Run
from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError
from agents.core.types import Sampling
from benchmarks.heldout import summary_path
from benchmarks.heldout.evaluate import Collect
from rewards import grade_training
from torl.console import CommandError, progress
from torl.curves import view
from torl.evaluation.models import answering
from torl.evaluation.options import EvalOptions
from torl.evaluation.options import sampling_of as sampling_for
from torl.evaluation.run import measure
from torl.training.checks import longest_prompt
from torl.training.datasets import Datasets, heldout_of, source_name
from torl.training.interrupt import Bar, stopping
from torl.training.options import (
    TrainOptions,
    algorithm_of,
    must_work_out,
    sampling_of,
    training_of,
    vllm_of,
)
from torl.training.plan import device_gb, engine_share, plan_of
from torl.training.shared_collect import SharedCollect
from torl.wiring import BatchEnvs, Collecting, rollout_over, text_env_of
from torl_env import EnvConfig
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

if TYPE_CHECKING:
    from agents.core.rollout.prompts import Prompt
    from agents.core.rollout.stream import Stream
    from agents.sft import Trace


CHUNK = 64
"""Ids of one request to vLLM where its weights change in mid-episode: it takes them over when the
requests that are out have ended."""


class Job:
    """The stages of one run."""

    def __init__(self, options: TrainOptions, run: Run) -> None:
        self.options, self.run = options, run
        self.envs = BatchEnvs(options.env, text_env_of(options.text_env))
        """In which the model is evaluated."""
        # Asked for a number, the sum that the question names earns nothing while it learns.
        paid = {"grader": grade_training} if must_work_out(options) else {}
        self.training_envs = self.envs.changed(**paid) if paid else self.envs

    def warm_start(self, problems: Sequence[Problem]) -> str:
        """The SFT stage; returns where the weights are that RL starts from."""
        options = self.options
        if options.warm_start_from is not None:
            return str(options.warm_start_from)
        if not problems and options.traces is None:
            return options.model
        if distributed.run_on_main(self.run.warm_start.is_dir):
            return str(self.run.warm_start)
        distributed.run_on_main(lambda: self.run.rewind("sft", -1))
        if distributed.world_size() == 1:
            self.imitate(problems)
            return str(self.run.warm_start)
        # A run that goes on may have its sandbox elsewhere.
        place = [options.env.sandbox] if isinstance(options.env.sandbox, str) else []
        stage = [sys.executable, "-m", "torl.training.warm_start", str(self.run.path), *place]
        if not distributed.run_apart(stage):
            raise CommandError("the warm start failed; its own message stands above")
        return str(self.run.warm_start)

    def imitate(self, problems: Sequence[Problem]) -> None:
        """The SFT stage itself, in every process."""
        from agents.core.models import loading
        from agents.core.rollout.prompts import make_prompt
        from agents.sft import save, train_sft

        options = self.options
        model, tokenizer = loading.load(options.model)
        model.train()
        traces = self._traces(
            problems, make_prompt(options.prompt, tokenizer, options.env), tokenizer
        )
        steps = options.sft.steps(len(traces))
        with _shown("warm start: SFT", steps, unit="step") as move:
            trainer = train_sft(
                *(model, tokenizer, traces, options.sft, self.run, Bar(move)),
                seed=options.seed,
                dtype=options.dtype,
            )
        save(trainer, self.run.warm_start)

    def _traces(
        self, problems: Sequence[Problem], prompt: "Prompt", tokenizer: Any
    ) -> "list[Trace]":
        """What to imitate: from a file, or played with real executions."""
        from agents.sft import TraceError, read_traces

        options = self.options
        if options.traces is not None:
            try:
                show = options.env.components.prompt
                return read_traces(options.traces, prompt, tokenizer, show=show)
            except TraceError as error:
                raise CommandError(f"--traces: {error}") from error
        return distributed.run_on_main(lambda: self._played(problems, prompt, tokenizer))

    def _played(
        self, problems: Sequence[Problem], prompt: "Prompt", tokenizer: Any
    ) -> "list[Trace]":
        """Traces of worked problems, in one process."""
        from agents.sft import TraceWriter, warm_start_traces
        from torl_env import ToRLMathEnv

        options = self.options
        # The programs of these traces run whatever the budget of the run is (`cot` shows none).
        env = ToRLMathEnv(problems=Listed("warm start", problems), sandbox=options.env.sandbox)
        writer = TraceWriter(env, prompt, tokenizer)
        with progress("warm start: traces", len(problems)) as move:
            return warm_start_traces(
                writer,
                problems,
                code_share=options.warm_start_code,
                seed=options.seed,
                on_trace=lambda: move(1),
            )

    def reinforce(self, start: str, found: Datasets) -> bool:
        """Evaluate, learn, evaluate again; False when the user stopped it.

        Both evaluations are sampled by what samples in training.
        """
        from agents.core.models import loading
        from agents.core.trainer.trainer import RLTrainer

        options, checkpoint = self.options, self.run.checkpoint()
        training, algorithm = training_of(options), algorithm_of(options)
        per_step = training.optimizer_steps
        done = int(checkpoint.name.rsplit("-", 1)[1]) // per_step if checkpoint else 0
        distributed.run_on_main(lambda: self.run.rewind("rl", done))
        if not options.steps:
            for name in ("before", "after"):
                self._evaluate(name, start, found.heldout, answering)
            return True
        over = done >= options.steps
        if over:
            if not self._is_left("after", found.heldout):
                return True
            merged = partial(loading.merged_start, str(checkpoint), self.run.path / "merged")
            start = distributed.run_on_main(merged)
        model, tokenizer, sampler = self.model_and_sampler(start, found, algorithm)
        name = type(algorithm).__name__
        curves = partial(view, self.run.path)
        bar = Bar()
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=algorithm,
            training=training,
            problems=found.schedule,
            sampler=sampler,
            run=self.run,
            progress=bar,
        )

        def collect(evaluation: EvalOptions, sampling: Sampling) -> Collecting:
            return Collecting(sampler.evaluating(sampling), evaluation.rows)

        try:
            if not over:
                self._evaluate("before", start, found.heldout, collect)
                shown = _shown(name, options.steps, done, unit="step", below=curves)
                with shown as bar.move, stopping() as bar.stop:
                    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                if int(trainer.state.global_step) < options.steps * per_step:
                    return False
                trainer.sync_sampler()
            self._evaluate("after", str(self.run.checkpoint()), found.heldout, collect)
        except (TrainingError, ServerError) as error:
            raise CommandError(str(error)) from error
        return True

    def _is_left(self, name: str, problems: Sequence[Problem]) -> bool:
        """Whether there is this evaluation to be made."""
        missing = distributed.run_on_main(lambda: not summary_path(self._records(name)).is_file())
        return missing and bool(problems)

    def _records(self, name: str) -> Path:
        return self.run.path / "eval" / f"{name}.jsonl"

    def _evaluate(
        self,
        name: str,
        model: str,
        problems: Sequence[Problem],
        make: Callable[[EvalOptions, Sampling], Collect],
    ) -> None:
        """Evaluate once, in all processes; the records go to the run's `eval` folder.

        Args:
            name: Of the records.
            model: The weights, for the record.
            problems: The problems.
            make: Makes what answers in this process, at most `rows` episodes at a time.
        """
        if not self._is_left(name, problems):
            return
        options, processes = self.options, distributed.world_size()
        evaluation = EvalOptions(
            model=model,
            env=EnvConfig.of(options.env, problems=heldout_of(options), split=None),
            text_env=options.text_env,
            temperature=options.eval_temperature,
            max_tokens=options.max_tokens,
            prompt=options.prompt,
            # What fits while a step is sampled fits here.
            rows=options.prompts * options.group // processes,
            policy="transformers" if options.policy == "transformers" else "vllm",
        )
        own = self.envs.text_env
        name_of = source_name(heldout_of(options) if own is None else own.problems)
        collect = make(evaluation, sampling_for(evaluation))
        if processes == 1:
            measure(evaluation, problems, self._records(name), name_of, collect)
            return
        shared = SharedCollect(collect)
        if not distributed.is_main():
            shared.follow()
            return
        with shared:
            whole = dataclasses.replace(evaluation, rows=evaluation.rows * processes)
            measure(*(whole, problems, self._records(name), name_of, shared))

    def model_and_sampler(
        self, start: str, found: Datasets, algorithm: Algorithm
    ) -> tuple[Any, Any, Any]:
        """The model in training, its tokenizer, and what samples with its weights."""
        from agents.core.models import loading
        from agents.core.models.dtype import default_device
        from agents.core.models.lora import Lora, with_lora
        from agents.core.policies.transformers import TransformersPolicy
        from agents.core.trainer.weight_sync import CopySampler

        options = self.options
        folder, name = self.run.path / "start", start
        # New adapters, the reference of a KL term and vLLM go by the name of what is loaded.
        start = distributed.run_on_main(lambda: loading.merged_start(name, folder))
        model, tokenizer = loading.load(start)
        how: dict[str, Any] = {"keep_states": algorithm.needs_states, "overlap": options.overlap}
        where = (self.envs, sampling_of(options), options.prompt)

        def over(policy: Any) -> Any:
            rollout = rollout_over(policy, *where, **how)
            rollout.make_envs = self.training_envs
            return rollout

        # Where sampling is ahead of learning, an engine is in the sampler's process.
        vllm = None if options.staleness else vllm_of(options, distributed.world_size())
        if vllm is not None:
            from agents.core.rollout.prompts import make_prompt
            from agents.core.trainer.vllm_generation import VLLMSampler

            asked = (*found.schedule, *found.heldout)
            prompt = make_prompt(options.prompt, tokenizer, options.env)
            _, size = longest_prompt(prompt, options.env, asked)
            vllm = dataclasses.replace(vllm, window=size + options.max_tokens)
            shares_gpu = options.policy == "vllm" and default_device() == "cuda"
            if shares_gpu and options.vllm_memory is None:
                plan = plan_of(options, memory=True).memory
                assert plan is not None
                share = engine_share(plan, 1e9 * device_gb(options))
                vllm = dataclasses.replace(vllm, memory=share)
            sampler: Any = VLLMSampler(vllm, over)
        else:
            with distributed.whole_weights():
                copy, _ = loading.load(start, dtype=options.dtype)
            sampler = CopySampler(over(TransformersPolicy(copy, tokenizer)), copy)
            if options.staleness:
                sampler = _apart(options, start, sampler, copy)
        sampler.evaluated_envs = self.envs
        if options.lora_rank:
            model = with_lora(model, Lora(options.lora_rank))
        return model, tokenizer, sampler


def _apart(options: TrainOptions, start: str, own: Any, copy: Any) -> Any:
    """A sampler in a process of its own; `own` evaluates in this one."""
    from agents.core.trainer.async_sampler import AsyncSampler, layout_of

    return AsyncSampler(
        own,
        partial(stream_of, options, start),
        layout_of(copy),
        threads=options.sampler_threads,
        patience=60 * options.hang_minutes,
    )


def stream_of(options: TrainOptions, start: str) -> "Stream":
    """What samples in a process of its own.

    Args:
        options: Of the run.
        start: Weights of the right shapes; those to sample with come from the learner.
    """
    from agents.core.models import loading
    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.prompts import make_prompt
    from agents.core.rollout.stream import Stream
    from torl.wiring import vllm_policy

    job, policy = Job(options, Run(options.out)), None
    if options.policy == "vllm":
        rows = min(options.prompts * options.group * (1 + options.staleness), 256)
        memory = options.vllm_memory or 0.3
        policy = vllm_policy(start, rows, chunk=CHUNK, gpu_memory_utilization=memory)
    else:
        policy = TransformersPolicy(*loading.load(start, dtype=options.dtype))
    prompt = make_prompt(options.prompt, policy.tokenizer, job.envs.config)
    return Stream(policy, prompt, job.training_envs, sampling_of(options))


@contextmanager
def _shown(*what: Any, **how: Any) -> Iterator[Callable[[int], None]]:
    """A progress bar, of the first process alone."""
    if not distributed.is_main():
        yield lambda count: None
        return
    with progress(*what, **how) as move:
        yield move
