"""The stages of `torl train`: imitation, reinforcement, evaluation."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.core.policies.openai_client import ServerError
from agents.core.run.folder import Run
from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError
from agents.core.types import Sampling
from benchmarks.heldout import summary_path
from torl.console import CommandError, progress
from torl.curves import view
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import measure
from torl.training.datasets import heldout_of, source_name
from torl.training.interrupt import Bar, stopping
from torl.training.options import TrainOptions, algorithm_of, sampling_of, training_of, vllm_of
from torl.wiring import BatchEnvs, make_rollout, rollout_over, text_env_of
from torl_env import EnvConfig
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

if TYPE_CHECKING:
    from agents.core.rollout.prompts import Prompt
    from agents.sft import Trace


class Job:
    """The stages of one run."""

    def __init__(self, options: TrainOptions, run: Run) -> None:
        self.options, self.run = options, run
        self.envs = BatchEnvs(options.env, text_env_of(options.text_env))

    def warm_start(self, problems: Sequence[Problem]) -> str:
        """The SFT stage; returns where the weights are that RL starts from."""
        options = self.options
        if options.warm_start_from is not None:
            return str(options.warm_start_from)
        if not problems and options.traces is None:
            return options.model
        if not self.run.warm_start.is_dir():
            distributed.run_on_main(lambda: self._imitate(problems))
        return str(self.run.warm_start)

    def _imitate(self, problems: Sequence[Problem]) -> None:
        """Among several processes the first does it in a process apart, as one would alone."""
        if distributed.world_size() > 1:
            command = [sys.executable, "-m", "torl.training.warm_start", str(self.run.path)]
            if subprocess.run(
                command, env=distributed.without_launcher(os.environ), check=False
            ).returncode:
                raise CommandError("the warm start failed; its own message stands above")
            return
        from agents.core.models import loading
        from agents.core.rollout.prompts import make_prompt
        from agents.sft import SFT, save, train_sft

        options = self.options
        model, tokenizer = loading.load(options.model)
        model.train()
        prompt = make_prompt(options.prompt, tokenizer, options.env)
        traces = self._traces(problems, prompt, tokenizer)
        sft = SFT(seed=options.seed)
        self.run.rewind("sft", -1)
        with progress("warm start: SFT", sft.steps(len(traces)), unit="step") as move:
            train_sft(model, tokenizer, traces, sft, self.run, Bar(move))
        save(model, tokenizer, self.run.warm_start)

    def _traces(
        self, problems: Sequence[Problem], prompt: "Prompt", tokenizer: Any
    ) -> "list[Trace]":
        """What to imitate: from a file, or played with real executions."""
        from agents.sft import TraceError, TraceWriter, read_traces, warm_start_traces
        from torl_env import ToRLMathEnv

        options = self.options
        if options.traces is not None:
            try:
                return read_traces(options.traces, prompt, tokenizer)
            except TraceError as error:
                raise CommandError(f"--traces: {error}") from error
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

    def reinforce(self, start: str, problems: Sequence[Problem]) -> bool:
        """The RL stage; False when the user stopped it."""
        options = self.options
        from agents.core.trainer.trainer import RLTrainer

        checkpoint = self.run.checkpoint()
        training, algorithm = training_of(options), algorithm_of(options)
        per_step = training.optimizer_steps
        done = int(checkpoint.name.rsplit("-", 1)[1]) // per_step if checkpoint else 0
        distributed.run_on_main(lambda: self.run.rewind("rl", done))
        if done >= options.steps:
            return True
        model, tokenizer, sampler = self._model_and_sampler(start, algorithm.branches)
        name = type(algorithm).__name__
        curves = partial(view, self.run.path)
        with (
            _shown(name, options.steps, done, unit="step", below=curves) as move,
            stopping() as stop,
        ):
            try:
                trainer = RLTrainer(
                    model=model,
                    tokenizer=tokenizer,
                    algorithm=algorithm,
                    training=training,
                    problems=problems,
                    sampler=sampler,
                    run=self.run,
                    progress=Bar(move, stop),
                )
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            except (TrainingError, ServerError) as error:
                raise CommandError(str(error)) from error
        return int(trainer.state.global_step) >= options.steps * per_step

    def _model_and_sampler(self, start: str, branches: bool) -> tuple[Any, Any, Any]:
        """The model in training, its tokenizer, and what samples with its weights."""
        from agents.core.models import loading
        from agents.core.models.lora import Lora, with_lora
        from agents.core.trainer.weight_sync import CopySampler

        options = self.options
        if options.lora_rank:
            folder, name = self.run.path / "start", start
            start = distributed.run_on_main(lambda: loading.merged_start(name, folder))
        model, tokenizer = loading.load(start)
        sampling, vllm = sampling_of(options), vllm_of(options)
        if vllm is not None:
            from agents.core.trainer.vllm_generation import VLLMSampler

            sampler: Any = VLLMSampler(
                vllm,
                lambda policy: rollout_over(policy, *self._where(sampling), keep_states=branches),
            )
        else:
            copy, _ = loading.load(start, dtype=options.dtype)
            rollout = make_rollout(copy, tokenizer, *self._where(sampling), keep_states=branches)
            sampler = CopySampler(rollout, copy)
        if options.lora_rank:
            model = with_lora(model, Lora(options.lora_rank))
        return model, tokenizer, sampler

    def evaluate(self, name: str, model: str, problems: Sequence[Problem]) -> None:
        """Evaluate once, in the first process; the records go to the run's `eval` folder."""
        if problems:
            distributed.run_on_main(lambda: self._evaluate(name, model, problems))

    def _evaluate(self, name: str, model: str, problems: Sequence[Problem]) -> None:
        options = self.options
        heldout = heldout_of(options)
        out = self.run.path / "eval" / f"{name}.jsonl"
        if summary_path(out).is_file():
            return
        told = EvalOptions(
            model=model,
            env=EnvConfig.of(options.env, problems=heldout, split=None),
            text_env=options.text_env,
            temperature=options.eval_temperature,
            max_tokens=options.max_tokens,
            prompt=options.prompt,
            rows=options.prompts * options.group,
        )
        own = self.envs.text_env
        name_of = source_name(heldout if own is None else own.problems)
        measure(told, problems, out, name_of)

    def _where(self, sampling: Sampling) -> tuple[BatchEnvs, Sampling, str]:
        """What every rollout engine of a run is made with."""
        return self.envs, sampling, self.options.prompt


@contextmanager
def _shown(*what: Any, **how: Any) -> Iterator[Callable[[int], None]]:
    """A progress bar, of the first process alone."""
    if not distributed.is_main():
        yield lambda count: None
        return
    with progress(*what, **how) as move:
        yield move
