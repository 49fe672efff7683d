"""Make one run of a study: train, evaluate, and leave a record that says it is finished.

    python runs/study_run.py NAME SEED OUT

A run without its record was cut off and is made anew.
"""

import dataclasses
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from study_plan import EXTRA_STEPS, SCALES, SPECS, Spec

from agents.core.models import loading
from agents.core.rollout.prompts import make_prompt
from agents.core.run.folder import Run
from agents.core.run.provenance import commit, versions
from agents.core.run.storage import dump_line, write_json
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling, Trajectory
from agents.sft import SFT, TraceWriter, save, train_sft, warm_start_traces
from agents.thor.correction import Correction, SelfCorrecting
from benchmarks.heldout.evaluate import evaluate
from benchmarks.heldout.records import Header, fingerprint, grader_name
from torl.algorithms import make_algorithm
from torl.wiring import BatchEnvs, Collecting, Collector, envs_over, make_rollout
from torl_env import ToRLMathEnv
from torl_env.problems import Listed, Problem, load
from torl_env.sandbox import open_sandbox

RECORD = "finished.json"
ROWS = 64
"""Episodes at a time in evaluation."""
SUFFIX_TOKENS, TRIES = 10, 4


def folder(out: Path, name: str, seed: int) -> Path:
    """Where a run lies."""
    return out / "runs" / f"{name}-{seed}"


def finished(out: Path, name: str, seed: int) -> dict[str, Any] | None:
    """The record of a run, `None` while there is none."""
    file = folder(out, name, seed) / RECORD
    found: dict[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def settings(spec: Spec) -> dict[str, Any]:
    """All that distinguishes a run but its seed, as JSON has it."""
    scale = dataclasses.asdict(SCALES[spec.scale])
    whole = {"spec": dataclasses.asdict(spec), "scale": scale}
    found: dict[str, Any] = json.loads(json.dumps(whole))
    return found


def make(spec: Spec, seed: int, out: Path) -> None:
    """Make the run, whatever is left of an earlier attempt."""
    began, cpu = time.perf_counter(), _cpu()
    place = folder(out, spec.name, seed)
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with open_sandbox("local") as sandbox:
        work = _Work(spec, seed, out, sandbox)
        found = work.fine_tune() if spec.algorithm == "sft" else work.reinforce()
    for checkpoint in place.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    record = {
        **settings(spec),
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
        "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": _cpu() - cpu,
        **found,
    }
    write_json(place / RECORD, record)


def _cpu() -> float:
    """CPU seconds of this process and of the programs it has waited for."""
    own, other = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + other.ru_utime + other.ru_stime


class _Counting(CopySampler):
    """Counts the tokens that were sampled for training."""

    tokens = 0

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        rows = super().collect(problems, group_size, seed)
        self.tokens += sum(sum(row.loss_mask) for row in rows)
        return rows

    def branch(
        self, points: Any, samples: int, seed: int, *, to_end: bool = False
    ) -> list[Trajectory]:
        """Continuations: what stands before a point was counted with its episode."""
        rows = super().branch(points, samples, seed, to_end=to_end)
        kept = sum(sum(p.trajectory.loss_mask[: p.keep]) for p in points) * samples
        self.tokens += sum(sum(row.loss_mask) for row in rows) - kept
        return rows


class _Meter:
    """Notes what each step has cost, and ends a run that has sampled enough tokens."""

    def __init__(self, file: Path, sampler: _Counting, enough: float) -> None:
        self._file, self._sampler, self._enough = file, sampler, enough
        self._step = 0
        self._last = (time.perf_counter(), time.process_time(), 0)

    @property
    def interrupted(self) -> bool:
        """Whether the run has sampled enough."""
        return self._sampler.tokens >= self._enough

    def advance(self, count: int = 1, **numbers: float) -> None:
        """A step is over."""
        now = (time.perf_counter(), time.process_time(), self._sampler.tokens)
        wall, cpu, tokens = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        self._step += count
        row = {"step": self._step, "wall_seconds": wall, "cpu_seconds": cpu, "tokens": tokens}
        with self._file.open("a") as file:
            file.write(dump_line(row))


class _Work:
    """One run."""

    def __init__(self, spec: Spec, seed: int, out: Path, sandbox: Any) -> None:
        self.spec, self.scale, self.seed, self.out = spec, SCALES[spec.scale], seed, out
        self.sandbox = sandbox
        self.run = Run(folder(out, spec.name, seed))
        self.run.write_config({"options": settings(spec)["spec"], "seed": seed})
        scale = self.scale
        start = spec.start and folder(out, spec.start, seed) / "weights"
        self.start = str(start or scale.model)
        self.train = load(scale.problems)
        self.heldout = list(load(scale.problems, split="heldout").shuffle(0).head(scale.heldout))

    def fine_tune(self) -> dict[str, Any]:
        """SFT on traces whose every output is a real execution."""
        model, tokenizer = loading.load(self.start)
        model.train()
        # Not the problems that an earlier SFT stage has seen.
        order = self.seed + (7 if not self.spec.start else 1007)
        problems = self._imitated(order)
        env = ToRLMathEnv(problems=Listed("traces", problems), sandbox=self.sandbox)
        traces = warm_start_traces(
            TraceWriter(env, make_prompt(self.spec.prompt, tokenizer), tokenizer),
            problems,
            code_share=self.spec.code_share,
            seed=self.seed,
        )
        trainer = train_sft(model, tokenizer, traces, SFT(), self.run, seed=self.seed)
        save(trainer, self.run.path / "weights")
        copy, _ = loading.load(str(self.run.path / "weights"), dtype="auto")
        return {"traces": len(traces), **self._evaluate(copy, tokenizer)}

    def _imitated(self, order: int) -> list[Problem]:
        """Problems of the families to imitate, family by family in turn."""
        names = self.scale.imitated
        share = self.scale.traces // len(names)
        sources = (load(f"procedural:{name}:{self.scale.levels}") for name in names)
        columns = [list(source.shuffle(order).head(share)) for source in sources]
        return [problem for row in zip(*columns, strict=True) for problem in row]

    def reinforce(self) -> dict[str, Any]:
        """RL for the given steps, or until another run's tokens are reached."""
        from agents.core.trainer.trainer import RLTrainer

        spec, scale = self.spec, self.scale
        training = dataclasses.replace(scale.training, max_tokens=spec.max_tokens)
        enough = float("inf")
        if spec.tokens_of:
            other = finished(self.out, spec.tokens_of, self.seed)
            if other is None:
                raise FileNotFoundError(f"{spec.name} needs the run {spec.tokens_of} first")
            enough = other["tokens"]
            training = dataclasses.replace(training, steps=training.steps + EXTRA_STEPS)
        per_step = training.prompts_per_step
        sizes = {"group_size": training.group_size, "prompts_per_step": per_step}
        algorithm = make_algorithm(spec.algorithm, spec.settings, sizes)
        model, tokenizer = loading.load(self.start)
        copy, _ = loading.load(self.start, dtype="auto")
        rollout = make_rollout(
            *(copy, tokenizer, self._envs(spec.tool_budget, spec.reward)),
            *(Sampling(1.0, max_tokens=spec.max_tokens), spec.prompt),
            keep_states=algorithm.needs_states,
        )
        sampler = _Counting(rollout, copy)
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=algorithm,
            training=dataclasses.replace(training, save_every=2 * training.steps, seed=self.seed),
            problems=list(self.train.shuffle(self.seed + 11).head(training.steps * per_step)),
            sampler=sampler,
            run=self.run,
            progress=_Meter(self.run.path / "cost.jsonl", sampler, enough),
        )
        trainer.train()
        sampler.sync(model)
        return {"tokens": sampler.tokens, **self._evaluate(copy, tokenizer)}

    def _envs(self, tool_budget: int, reward: str = "torl") -> BatchEnvs:
        return envs_over(tool_budget=tool_budget, reward=reward, sandbox=self.sandbox)

    def _evaluate(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        """All evaluations of the run; what self-correction has taken back, where it is one."""
        found: dict[str, Any] = {}
        for name in ("after", *self.spec.also):
            budget = 0 if name == "text" else self.spec.tool_budget
            wide = name == "candidates"
            problems = self.heldout[: self.scale.candidate_problems] if wide else self.heldout
            k = self.scale.candidates if wide else 1
            sampling = Sampling(self.scale.temperature, max_tokens=self.spec.max_tokens)
            rollout = make_rollout(
                *(model, tokenizer, self._envs(budget)),
                *(sampling, self.spec.prompt),
                keep_states=name == "correction",
            )
            if name == "correction":
                collect, account = _correcting(rollout)
                found["correction"] = account
            else:
                collect = Collecting(rollout, ROWS)
            header = self._header(name, budget, k, problems)
            evaluate(collect, problems, header, self.run.path / "eval" / f"{name}.jsonl")
        return found

    def _header(self, name: str, budget: int, k: int, problems: Sequence[Problem]) -> Header:
        return Header(
            model=self.spec.name,
            problems=self.scale.problems,
            fingerprint=fingerprint(problems),
            count=len(problems),
            k=k,
            seed=self.seed,
            grader=grader_name(),
            settings={
                "temperature": self.scale.temperature,
                "max_tokens": self.spec.max_tokens,
                "tool_budget": budget,
                "prompt": self.spec.prompt,
                "rows": ROWS,
                "correction": TRIES if name == "correction" else 0,
            },
            versions=versions(),
            commit=commit(),
        )


def _correcting(rollout: Any) -> tuple[Collector, dict[str, int]]:
    """A collector with self-correction, and an account that adds up what it takes back."""
    corrected = SelfCorrecting(rollout, Correction(suffix_tokens=SUFFIX_TOKENS, tries=TRIES))
    account = {"tries": 0, "discarded_tokens": 0, "discarded_calls": 0}

    def collect(problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        for start in range(0, len(problems), ROWS // k):
            rows = corrected.collect(problems[start : start + ROWS // k], k, seed)
            for one in corrected.accounts:
                for name in account:
                    account[name] += getattr(one, name)
            yield from rows

    return collect, account


def main() -> int:
    """Make the run that the words name."""
    name, seed, out = sys.argv[1:4]
    spec = next(spec for spec in SPECS if spec.name == name)
    make(spec, int(seed), Path(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
