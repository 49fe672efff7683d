"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

import dataclasses
import time
from pathlib import Path

from agents.core.run.folder import Run, RunError
from agents.core.trainer import distributed
from benchmarks.report.plots import figure5, write_csv
from benchmarks.report.runs import open_run
from benchmarks.report.tables import results
from torl.console import CommandError, clock, print_table, say
from torl.training.checks import check_disk, check_prompts, check_settings, check_vllm
from torl.training.datasets import Material, gather
from torl.training.options import TrainOptions, algorithm_of, resolved, training_of
from torl.training.stages import Job

__all__ = ["TrainOptions", "main", "stored_options", "use_threads"]


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    if options.dry_run:
        return _dry_run(options)
    distributed.join()
    options, found = distributed.run_on_main(lambda: _opened(options))
    started = time.perf_counter()
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    use_threads(options.threads)
    run = Run(options.out)
    from torl_env.sandbox import open_sandbox

    with open_sandbox("local") as sandbox:
        job = Job(options, run, sandbox)
        start = job.warm_start(found.warm_start)
        job.evaluate("before", start, found.heldout)
        stopped = not job.reinforce(start, found.schedule)
        if not stopped:
            job.evaluate("after", str(run.checkpoint() or start), found.heldout)
    distributed.leave()
    if not distributed.is_main():
        return 130 if stopped else 0
    if stopped:
        say(f"stopped; `torl train --out {options.out} --resume` goes on from here")
        return 130
    run.add_timing(options.steps, "run", {"total": time.perf_counter() - started})
    _finish(run, time.perf_counter() - started)
    return 0


def _dry_run(options: TrainOptions) -> int:
    from torl.training.plan import Plan, parameters

    algorithm = algorithm_of(options)
    count = distributed.world_size()
    plan = Plan(
        *(parameters(options.model), options.warm_start, training_of(options, count)),
        *(count, distributed.sharded(), options.policy),
    )
    what = f"algorithm    {type(algorithm).__name__}, {algorithm.loss}"
    print("\n".join([what, *plan.lines()]))
    return 0


def _opened(options: TrainOptions) -> tuple[TrainOptions, Material]:
    """Check everything; read the options of the run to resume, or write those of a new one."""
    from agents.core.models import loading

    if options.resume:
        options = stored_options(options.out)
        return options, gather(options)
    if options.out.exists() and any(options.out.iterdir()):
        raise CommandError(
            f"{options.out} is not empty: choose a new --out, or add --resume to go on with the "
            "run in it"
        )
    options = resolved(options)
    check_settings(options)
    loading.check(options.model)
    check_vllm(options)
    found = gather(options)
    check_prompts(options, found.schedule)
    check_disk(options.out)
    told = dataclasses.asdict(options)
    told = {name: str(v) if isinstance(v, Path) else v for name, v in told.items()}
    Run(options.out).write_config({"options": told})
    return options, found


def stored_options(out: Path) -> TrainOptions:
    """The options that a run was started with.

    Raises:
        CommandError: There is no run in the folder.
    """
    try:
        stored = Run(out).read_config()["options"]
    except RunError as error:
        raise CommandError(f"--resume: {error}") from error
    stored["out"], stored["resume"] = out, True
    for name in ("warm_start_from", "traces"):
        stored[name] = Path(stored[name]) if stored.get(name) else None
    for name in ("set", "report_to"):
        stored[name] = tuple(stored.get(name, ()))
    return TrainOptions(**stored)


def use_threads(threads: int) -> None:
    """Hold torch to so many threads; 0 leaves the choice to it."""
    import torch

    if threads:
        torch.set_num_threads(threads)


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
