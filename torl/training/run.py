"""One training from beginning to end; for `torl train` and `torl.train`."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from agents.core.run.folder import Run, RunError
from agents.core.trainer import distributed
from agents.core.trainer.memory import keep_freed_memory
from benchmarks.report.plots import figure5, write_csv
from benchmarks.report.runs import open_run
from benchmarks.report.tables import results
from torl.console import CommandError, clock, explain, is_out_of_reach, print_table, say
from torl.environment import FIELDS, made, stored
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import Evaluation
from torl.evaluation.run import evaluate as evaluate_model
from torl.training.checks import (
    check_disk,
    check_model_window,
    check_prompts,
    check_settings,
    check_vllm,
)
from torl.training.datasets import Datasets, heldout_of, open_datasets
from torl.training.options import (
    TrainOptions,
    algorithm_of,
    from_json,
    must_work_out,
    resolved,
    to_json,
    training_of,
)
from torl.training.plan import check_memory, device_gb, plan_of, with_checkpointing
from torl.training.resuming import check_same
from torl.training.stages import Job
from torl_env import EnvConfig


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run: its folder, and how it was made."""

    path: Path
    options: TrainOptions
    finished: bool
    """False where Ctrl-C stopped it; `torl.train(out=..., resume=True)` goes on."""

    @property
    def env(self) -> EnvConfig:
        """The environment, with the very objects that it was made of."""
        return self.options.env

    def eval_defaults(self) -> EvalOptions:
        """What counts in an evaluation where nothing else is said."""
        env = EnvConfig.of(self.env, problems=heldout_of(self.options), split=None)
        options = self.options
        return EvalOptions(
            model=str(self.path),
            env=env,
            text_env=options.text_env,
            prompt=options.prompt,
            max_tokens=options.max_tokens,
        )

    def evaluate(self, problems: Any = None, **options: Any) -> Evaluation:
        """Evaluate the newest checkpoint in the environment of the run.

        Args:
            problems: As for `torl.evaluate`; by default those that the run held out.
            **options: As for `torl.evaluate`, in place of the settings of the run.
        """
        return evaluate_model(self, problems, **options)

    def __fspath__(self) -> str:
        return str(self.path)


def train(model: str | None = None, **options: Any) -> TrainedRun:
    """Train a language model with RL: the same as `torl train`.

    Args:
        model: A folder, a hub id, or `smollm2`, the embedded default.
        **options: Fields of `TrainOptions` (`torl train --help`): `algorithm`, `steps`, `out`,
            `heldout`, ...; and of the environment, one by one (`problems=`, `tool_budget=`, ...) or
            together, `env=dict(tools=[sql], parser="hermes")`. Where the command line takes
            `module:object`, the object itself may stand.

    Returns:
        The run; its folder holds metrics, transcripts, checkpoints and evaluations.

    Raises:
        CommandError: No such option, or options contradict each other; nothing is written then.
        ConfigError: An option of the environment is out of range.

    Example:
        ```python
        run = torl.train(problems="emp.csv", env=dict(tools=[sql], grader=right), steps=200)
        run.evaluate("test.parquet", k=4).table()
        ```
    """
    given = dict(options) | ({} if model is None else {"model": model})
    if isinstance(given.get("heldout"), os.PathLike):
        given["heldout"] = os.fspath(given["heldout"])
    if given.get("resume"):
        env, out = given.get("env"), Path(given["out"])
        objects = dict(env) if isinstance(env, Mapping) else {}
        objects |= {name: value for name, value in given.items() if name in FIELDS}
        known = {**given, "env": objects}
        check_same(made(TrainOptions, given, stored_options(out, known)), out)
        return run(TrainOptions(out=out, resume=True), known)
    return run(made(TrainOptions, given))


def run(options: TrainOptions, given: Mapping[str, Any] | None = None) -> TrainedRun:
    """Run all stages; with `resume`, those that are left.

    Args:
        options: Of the run; of one to resume only its folder matters.
        given: Objects for a run to resume, and another place for its sandbox, see `from_json`.
    """
    if options.dry_run:
        show_plan(options)
        return TrainedRun(options.out, options, finished=False)
    distributed.join()
    options, found = distributed.run_on_main(lambda: _opened(options, given or {}))
    started = time.perf_counter()
    quiet_libraries()
    use_threads(options.threads)
    keep_freed_memory()
    passes = training_of(options).pass_rows(distributed.world_size())
    if passes < options.micro_batch and not options.micro_batch_tokens and distributed.is_main():
        say(
            f"passes are of {passes} rows: --micro-batch {options.micro_batch} does not divide them"
        )
    job = Job(options, Run(options.out))
    start = job.warm_start(found.warm_start)
    with distributed.watched(options.hang_minutes):
        finished = job.reinforce(start, found)
    distributed.leave()
    if distributed.is_main():
        if finished:
            job.run.add_timing(options.steps, "run", {"total": time.perf_counter() - started})
            _finish(job.run, time.perf_counter() - started)
        else:
            say(f"stopped; `torl train --out {options.out} --resume` goes on from here")
    return TrainedRun(options.out, options, finished)


def _opened(options: TrainOptions, given: Mapping[str, Any]) -> tuple[TrainOptions, Datasets]:
    """Check everything; read the options of the run to resume, or write those of a new one."""
    if options.resume:
        options = stored_options(options.out, given)
        return options, open_datasets(options)
    options = resolved(options)
    found = _checked(options)
    options, _ = with_checkpointing(options)
    Run(options.out).write_config({"options": to_json(options), "grader": grading_of(options)})
    return options, found


def _checked(options: TrainOptions, *, planning: bool = False) -> Datasets:
    """All that a run can refuse before it writes or loads anything large.

    Args:
        options: Resolved.
        planning: Tell of what only another machine can check, and go on.
    """
    from agents.core.models import loading

    found = Datasets((), (), ())

    def open_all() -> None:
        nonlocal found
        found = open_datasets(options)

    if not options.resume and options.out.is_dir() and any(options.out.iterdir()):
        raise CommandError(
            f"{options.out} is not empty: choose a new --out, or add --resume to go on with the "
            "run in it"
        )
    check_settings(options)
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_model_window(options),
        lambda: loading.check(options.model),
        lambda: check_vllm(options),
        open_all,
        lambda: check_prompts(options, found.schedule),
        lambda: check_disk(options.out, plan_of(options).disk_gb),
    )
    if planning and options.device_gb:
        # The plan is for another machine and says what it needs of its disk.
        checks = checks[:-1]
    reported: list[str] = []
    for check in checks:
        try:
            check()
        except Exception as error:
            if not (planning and is_out_of_reach(error)):
                raise
            if (said := f"not checked  {explain(error)}") not in reported:
                print(said)
                reported.append(said)
    return found


def show_plan(options: TrainOptions) -> None:
    """Make every check of the run, and print what it would do and need."""
    options = resolved(options)
    algorithm = algorithm_of(options)
    _checked(options, planning=True)
    options, decided = with_checkpointing(options)
    plan, room = decided or plan_of(options, memory=True), device_gb(options)
    print(f"algorithm    {_told(algorithm)}")
    for given in (*options.schedule, *map(_told, (options.curriculum, options.replay))):
        if given not in ("Curriculum()", "Replay()"):
            print(f"methods      {given}")
    print(f"grader       {grading_of(options)}")
    print("\n".join(plan.lines()))
    print(f"device       {distributed.devices()} here; planned for {room:.0f} GB a process")
    check_memory(plan, room)


def grading_of(options: TrainOptions) -> str:
    """Who judges the answers of a run, for its header."""
    if options.text_env is not None:
        return "the environment's own"
    if must_work_out(options):
        return (
            "rewards; in training a plain number must be worked out, in evaluation any form counts"
        )
    return str(stored(options.env)["grader"])


def _told(described: Any) -> str:
    """A dataclass with those of its fields that are not the defaults."""
    if not is_dataclass(described):
        return type(described).__name__
    values = [
        f"{one.name}={_told(value) if is_dataclass(value) else repr(value)}"
        for one in fields(described)
        if (value := getattr(described, one.name)) != _default(one)
    ]
    return f"{type(described).__name__}({', '.join(values)})"


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def stored_options(out: Path, given: Mapping[str, Any] | None = None) -> TrainOptions:
    """The options that a run was started with.

    Args:
        out: Its folder.
        given: Objects that a file cannot hold, see `from_json`.

    Raises:
        CommandError: There is no run in the folder.
    """
    try:
        kept = Run(out).read_config()["options"]
    except RunError as error:
        raise CommandError(f"--resume: {error}") from error
    return replace(from_json(kept, given or {}), out=out, resume=True)


def quiet_libraries() -> None:
    """Leave out progress and warnings that no user who trains can act on."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # TRL asks transformers by an old name, which no user who trains can change.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)


def use_threads(threads: int) -> None:
    """Hold torch to so many threads; 0 leaves the choice to it."""
    import torch

    if threads:
        torch.set_num_threads(threads)


def _finish(run: Run, seconds: float) -> None:
    """Print before and after, draw the plot, say where everything is."""
    record = open_run(run.path)
    if record.evaluations:
        print_table(results(record.evaluations))
    if record.stage("rl"):
        figure5(record, run.path / "figure5.png")
        write_csv(record, run.path / "figure5.csv")
        print(f"plot        {run.path / 'figure5.png'}")
    say(f"done in {clock(seconds)}; everything is in {run.path}")
    print(f"metrics     {run.path / 'metrics.jsonl'}")
    if (run.path / "transcripts").is_dir():
        print(f"transcripts {run.path / 'transcripts'}")
    print(
        f"checkpoint  {run.checkpoint() or run.warm_start}\n"
        f"next        torl report {run.path}, torl eval --model {run.path} ..."
    )
