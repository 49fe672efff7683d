"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.algorithm import Algorithm
from agents.core.runs import Run
from agents.core.training import Training, TrainingError
from agents.core.types import Sampling
from agents.cot import COT
from benchmarks.heldout import summary_path
from benchmarks.report.plots import figure5, write_csv
from benchmarks.report.runs import open_run
from benchmarks.report.tables import results
from torl.algorithms import make_algorithm
from torl.console import CommandError, clock, print_table, progress, say
from torl.material import Material, gather
from torl.stopping import Bar, stopping
from torl.wiring import collector, env_options, make_rollout
from torl_env.problems.types import Problem

if TYPE_CHECKING:
    from agents.core.prompts import Prompt
    from agents.sft import Trace


@dataclass(frozen=True)
class TrainOptions:
    """Train a language model to think with Python.

    The defaults are the laptop run: SmolLM2-135M-Instruct on easy procedural problems, on CPU in
    about twelve minutes on two cores. ToRL's own settings are the defaults of `agents.grpo.GRPO`.
    """

    out: Path = Path("out/demo")
    """Run folder; must be new or empty, unless --resume is given."""
    resume: bool = False
    """Go on with the run in --out from its last checkpoint, with the options of that run."""
    dry_run: bool = False
    """Print what the run would do and need, and stop before it does."""
    algorithm: str = "grpo"
    """grpo, cot (GRPO without a tool), ppo, thor, or module:Class for one of your own."""
    set: tuple[str, ...] = ()
    """Settings of the algorithm or its loss: --set clip_high=0.28 nll=0.01 scale_by_std=false."""
    model: str = "smollm2"
    """`smollm2` (embedded default), a folder, or a hub id."""
    problems: str = "procedural:easy:L2-3"
    """Training problems: see `torl data list`."""
    heldout: str = ""
    """Problems to evaluate on; empty: the held-out split of --problems."""
    allow_overlap: str = ""
    """Train although problems of this held-out source are among the training problems."""
    prompt: str = "chat"
    """Prompt style: chat, chat-text, or torl (base models)."""
    reward: str = "torl"
    """Reward preset: torl, torl_penalty, thor, limr."""
    tool_budget: int = 1
    """C: tool calls per episode; 0 trains on text alone."""
    warm_start: int = 96
    """Traces of the SFT stage before RL; 0 leaves the stage out."""
    warm_start_code: float = 0.4
    """Share of these traces that call the tool."""
    traces: Path | None = None
    """Traces to imitate (.jsonl) in place of generated ones: written ones, or transcripts and
    records, of which right answers are taken. With --steps 0 this is all there is to train."""
    warm_start_from: Path | None = None
    """Weights of an earlier SFT stage to start RL from, in place of a stage of its own."""
    steps: int = 12
    """RL steps: batches that are sampled and learned from."""
    prompts: int = 8
    """Problems per step."""
    group: int = 8
    """Samples per problem."""
    micro_batch: int = 16
    """Rows per forward and backward pass; less needs less memory."""
    updates: int = 1
    """Optimiser steps that a batch is divided among."""
    epochs: int = 1
    """Passes over each batch."""
    learning_rate: float = 1e-5
    lora_rank: int = 0
    """Rank of LoRA adapters to train in place of all weights (needs PEFT); 0 trains all."""
    max_tokens: int = 110
    """Tokens of one response, tool output included."""
    temperature: float = 1.0
    """Of sampling during training."""
    eval_problems: int = 128
    """Held-out problems evaluated before and after; 0 leaves evaluation out."""
    eval_temperature: float = 0.6
    save_every: int = 4
    """Steps between checkpoints."""
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 is torch's choice."""


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    if options.dry_run:
        return _dry_run(options)
    options, found = _opened(options)
    started = time.perf_counter()
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    _use_threads(options.threads)
    run = Run(options.out)
    from torl_env.sandbox import make_sandbox

    with make_sandbox("local") as sandbox:
        job = _Job(options, run, sandbox)
        start = job.warm_start(found.warm_start)
        job.evaluate("before", start, found.heldout)
        if not job.reinforce(start, found.schedule):
            say(f"stopped; `torl train --out {options.out} --resume` goes on from here")
            return 130
        job.evaluate("after", str(run.checkpoint() or start), found.heldout)
        run.add_timing(options.steps, "run", {"total": time.perf_counter() - started})
    _finish(run, time.perf_counter() - started)
    return 0


def _dry_run(options: TrainOptions) -> int:
    from torl.plan import Plan, parameters

    algorithm = _algorithm(options)
    plan = Plan(parameters(options.model), options.warm_start, _training(options))
    what = f"algorithm    {type(algorithm).__name__}, {algorithm.loss}"
    print("\n".join([what, *plan.lines()]))
    return 0


def _resolved(options: TrainOptions) -> TrainOptions:
    """The options with what the algorithm implies: without a tool none is paid for or shown."""
    if options.algorithm != "cot":
        return options
    prompt = COT.prompt if options.prompt == "chat" else options.prompt
    return dataclasses.replace(
        options, tool_budget=COT.tool_budget, warm_start_code=0.0, prompt=prompt
    )


def _opened(options: TrainOptions) -> tuple[TrainOptions, Material]:
    """Check everything; read the options of the run to resume, or write those of a new one."""
    from agents.core import models
    from agents.core.prompts import PROMPTS
    from rewards import reward

    if options.resume:
        stored = Run(options.out).read_config()["options"]
        stored["out"], stored["resume"] = options.out, True
        for name in ("warm_start_from", "traces"):
            stored[name] = Path(stored[name]) if stored.get(name) else None
        stored["set"] = tuple(stored.get("set", ()))
        options = TrainOptions(**stored)
        return options, gather(options)
    if options.out.exists() and any(options.out.iterdir()):
        raise CommandError(
            f"{options.out} is not empty: choose a new --out, or add --resume to go on with the "
            "run in it"
        )
    options = _resolved(options)
    reward(options.reward)
    _algorithm(options), _training(options), _sampling(options)
    if options.prompt not in PROMPTS:
        raise CommandError(
            f"unknown --prompt {options.prompt!r}: choose one of {', '.join(PROMPTS)}"
        )
    models.check(options.model)
    found = gather(options)
    _check_disk(options.out)
    told = dataclasses.asdict(options)
    told = {name: str(v) if isinstance(v, Path) else v for name, v in told.items()}
    Run(options.out).write_config({"options": told})
    return options, found


_DISK_GB = 5
"""A checkpoint of the default model is 1.6 GB with its optimiser; at most three exist at a time."""


def _check_disk(out: Path) -> None:
    place = out.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free < _DISK_GB:
        raise CommandError(
            f"{free:.1f} GB free at {place}, but a run needs about {_DISK_GB} GB for checkpoints: "
            "free some space or choose another --out"
        )


def _use_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def _algorithm(options: TrainOptions) -> Algorithm:
    if options.group < 2:
        raise CommandError(
            f"--group {options.group}: a group of one has no baseline; expected at least 2"
        )
    sizes = {"group_size": options.group, "prompts_per_step": options.prompts}
    return make_algorithm(options.algorithm, options.set, sizes)


def _training(options: TrainOptions) -> Training:
    return Training(
        steps=options.steps,
        prompts_per_step=options.prompts,
        group_size=options.group,
        learning_rate=options.learning_rate,
        micro_batch=min(options.micro_batch, options.prompts * options.group),
        updates=options.updates,
        epochs=options.epochs,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        save_every=options.save_every,
        seed=options.seed,
    )


def _sampling(options: TrainOptions) -> Sampling:
    return Sampling(options.temperature, max_tokens=options.max_tokens)


class _Job:
    """The stages of one run."""

    def __init__(self, options: TrainOptions, run: Run, sandbox: Any) -> None:
        self.options, self.run, self.sandbox = options, run, sandbox
        self.env_options = env_options(options.tool_budget, options.reward)

    def warm_start(self, problems: Sequence[Problem]) -> str:
        """The SFT stage; returns where the weights are that RL starts from."""
        options = self.options
        if options.warm_start_from is not None:
            return str(options.warm_start_from)
        if not problems and options.traces is None:
            return options.model
        target = self.run.warm_start
        if target.is_dir():
            return str(target)
        from agents.core import models
        from agents.core.prompts import make_prompt
        from agents.sft import SFT, save, train_sft

        model, tokenizer = models.load(options.model)
        model.train()
        prompt = make_prompt(options.prompt, tokenizer)
        traces = self._traces(problems, prompt, tokenizer)
        sft = SFT(seed=options.seed)
        self.run.rewind("sft", -1)
        with progress("warm start: SFT", sft.steps(len(traces)), unit="step") as move:
            train_sft(model, tokenizer, traces, sft, self.run, Bar(move))
        save(model, tokenizer, target)
        return str(target)

    def _traces(
        self, problems: Sequence[Problem], prompt: "Prompt", tokenizer: Any
    ) -> "list[Trace]":
        """What to imitate: from a file, or played with real executions."""
        from agents.sft import TraceError, TraceWriter, read_traces, warm_start_traces
        from torl_env import ToRLMathEnv
        from torl_env.problems.source import Listed

        options = self.options
        if options.traces is not None:
            try:
                return read_traces(options.traces, prompt, tokenizer)
            except TraceError as error:
                raise CommandError(f"--traces: {error}") from error
        env = ToRLMathEnv(problems=Listed("warm start", problems), sandbox=self.sandbox)
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
        from agents.core import models
        from agents.core.acting import CopyActor
        from agents.core.lora import Lora, with_lora
        from agents.core.trainer import RLTrainer

        checkpoint = self.run.checkpoint()
        training, algorithm = _training(options), _algorithm(options)
        per_step = training.optimizer_steps
        done = int(checkpoint.name.rsplit("-", 1)[1]) // per_step if checkpoint else 0
        self.run.rewind("rl", done)
        if done >= options.steps:
            return True
        model, tokenizer = models.load(start)
        copy, _ = models.load(start, dtype="bfloat16")
        if options.lora_rank:
            model = with_lora(model, Lora(options.lora_rank))
        rollout = self._rollout(copy, tokenizer, _sampling(options), algorithm.branches)
        name = type(algorithm).__name__
        with progress(name, options.steps, done, unit="step") as move, stopping() as stop:
            trainer = RLTrainer(
                model=model,
                tokenizer=tokenizer,
                algorithm=algorithm,
                training=training,
                problems=problems,
                actor=CopyActor(rollout, copy),
                run=self.run,
                progress=Bar(move, stop),
            )
            try:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            except TrainingError as error:
                raise CommandError(str(error)) from error
        return int(trainer.state.global_step) >= options.steps * per_step

    def evaluate(self, name: str, model: str, problems: Sequence[Problem]) -> None:
        """Evaluate once; the records go to the run's `eval` folder."""
        if not problems:
            return
        from agents.core import models
        from torl.eval import EvalOptions, measure

        options = self.options
        told = EvalOptions(
            model=model,
            problems=options.heldout or options.problems,
            temperature=options.eval_temperature,
            max_tokens=options.max_tokens,
            tool_budget=options.tool_budget,
            prompt=options.prompt,
            rows=options.prompts * options.group,
        )
        out = self.run.path / "eval" / f"{name}.jsonl"
        if summary_path(out).is_file():
            return
        loaded, tokenizer = models.load(model, dtype="bfloat16")
        sampling = Sampling(told.temperature or 0.0, max_tokens=told.max_tokens)
        rollout = self._rollout(loaded, tokenizer, sampling)
        measure(told, problems, out, collector(rollout, told.rows))

    def _rollout(
        self, model: Any, tokenizer: Any, sampling: Sampling, keep_states: bool = False
    ) -> Any:
        prompt = self.options.prompt
        return make_rollout(
            *(model, tokenizer, self.sandbox, self.env_options, sampling, prompt),
            keep_states=keep_states,
        )


def _finish(run: Run, seconds: float) -> None:
    """Print before and after, draw the plot, say where everything is."""
    story = open_run(run.path)
    if story.evaluations:
        print_table(results(story.evaluations))
    if story.stage("rl"):
        figure5(story, run.path / "figure5.png")
        write_csv(story, run.path / "figure5.csv")
        print(f"plot        {run.path / 'figure5.png'}")
    say(f"done in {clock(seconds)}; everything is in {run.path}")
    print(
        f"metrics     {run.path / 'metrics.jsonl'}\n"
        f"transcripts {run.path / 'transcripts'}\n"
        f"checkpoint  {run.checkpoint() or run.warm_start}\n"
        f"next        torl report {run.path}, torl eval --model {run.path} ..."
    )
