"""ToRL's claim by itself: does a model learn tool use from reward alone, and is it worth anything?

    python runs/no_sft.py OUT --model MODEL [--on gsm8k] [--seeds 0 1 2] [--budgets 1 0]

No trace is imitated. For each seed GRPO trains MODEL with the tool (C = 1) and without (C = 0,
asked as a model without tools is), with the same problems, updates, samples and room for an answer.
The start is evaluated once for each budget, the end once for each run, on the same held-out
problems. What is complete is not made again, and a training that was cut off goes on.

MODEL is a hub id or a folder; the runs on record are of Qwen2.5-Coder-0.5B-Instruct (Apache-2.0).
`--on` names the problems: `easy` (procedural), `gsm8k`, or `math` (MATH levels 1 to 3, MATH500
problems of those levels). Real problems come from the hub, or from `--train` and `--heldout` files
of the same sets. Writes OUT/ON.md (table, first cases of each behaviour), ON.json and ON.png.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.core.run import transcripts
from agents.core.run.storage import finite, write_text
from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.cases import MEANING, Case, cases
from benchmarks.heldout.statistics import Estimate, mean
from benchmarks.heldout.summary import summarise
from benchmarks.report.plots import COLOURS, DASHES, errors, percent, picture, plain
from benchmarks.report.runs import open_run
from benchmarks.report.tables import Table
from benchmarks.report.tables import percent as shown
from torl_env.problems import Problem, load

BEHAVIOUR = (Case.TOOL, Case.FIXED_ERROR, Case.CONFIRMED, Case.CHANGED_MIND, Case.INVENTED_OUTPUT)
"""Whose first case in training is quoted: ToRL's section 4."""


SHARES = ("accuracy", "code_ratio", "truncated", "ended")


@dataclass(frozen=True, slots=True)
class Problems:
    """What a study trains and evaluates on."""

    train: str
    heldout: str
    levels: tuple[str, ...] = ()
    """Only problems of these levels; empty: all."""
    max_tokens: int = 320
    """Of an answer, with the tool or without: most of both come to their own end."""


SETS = {
    "easy": Problems("procedural:easy:L1-2", "procedural:easy:L1-2"),
    "gsm8k": Problems("gsm8k_train", "gsm8k"),
    "math": Problems("math_train", "math500", ("1", "2", "3"), 400),
}


def main() -> int:
    """Make what is missing, then write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--on", choices=SETS, default="gsm8k")
    parser.add_argument("--train", help="a file in place of the hub's set")
    parser.add_argument("--heldout", help="a file in place of the hub's set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=int, nargs="+", default=[1, 0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--count", type=int, default=200, help="held-out problems")
    parser.add_argument("--k", type=int, default=4, help="answers to each of them")
    parser.add_argument("--dry-run", action="store_true", help="check everything, make nothing")
    Study(parser.parse_args()).make()
    return 0


class Study:
    """The runs of one set of problems."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.set = asked, SETS[asked.on]
        self.out: Path = asked.out / asked.on

    def make(self) -> None:
        """Every run and evaluation that is missing."""
        self.out.mkdir(parents=True, exist_ok=True)
        for seed in self.asked.seeds:
            for budget in self.asked.budgets:
                self._evaluate(self.asked.model, self._start(budget), budget)
                self._train(budget, seed)
                if not self.asked.dry_run:
                    self._evaluate(str(self._run(budget, seed)), self._end(budget, seed), budget)
                    self._write()

    def _problems(self, given: str | None, name: str, split: str) -> str:
        """The name of a source, or a file with the problems of the levels that are wanted."""
        if not self.set.levels:
            return given or name
        file = self.out / f"{split}.jsonl"
        if not file.is_file():
            kept = (p for p in load(given or name) if p.level in self.set.levels)
            write_text(file, "".join(map(_line, kept)))
        return str(file)

    def _options(self, budget: int) -> list[str]:
        train = self._problems(self.asked.train, self.set.train, "train")
        options = ["--tool-budget", str(budget), "--max-tokens", str(self.set.max_tokens)]
        return [*options, "--prompt", "chat" if budget else "chat-text", "--problems", train]

    def _train(self, budget: int, seed: int) -> None:
        run, asked = self._run(budget, seed), self.asked
        sizes = {"steps": asked.steps, "prompts": asked.prompts, "group": asked.group}
        fixed = {"micro-batch": 8, "learning-rate": 1e-5, "warm-start": 0, "eval-problems": 0}
        options = [*self._options(budget), "--model", asked.model, "--seed", str(seed)]
        options += [w for name, value in (sizes | fixed).items() for w in (f"--{name}", str(value))]
        heldout = self._problems(asked.heldout, self.set.heldout, "heldout")
        options += ["--heldout", heldout, "--transcripts", "256"]
        if (run / "config.json").is_file():
            options = ["--resume"]
        _torl("train", "--out", str(run), *options, *(["--dry-run"] if asked.dry_run else []))

    def _evaluate(self, model: str, file: Path, budget: int) -> None:
        if self.asked.dry_run or file.with_suffix(".summary.json").is_file():
            return
        heldout = self._problems(self.asked.heldout, self.set.heldout, "heldout")
        options = ["--model", model, *self._options(budget)[:-1], heldout, "--out", str(file)]
        if heldout.startswith("procedural"):
            options += ["--env.split", "heldout"]
        _torl("eval", *options, "--count", str(self.asked.count), "--k", str(self.asked.k))

    def _run(self, budget: int, seed: int) -> Path:
        return self.out / f"C{budget}-{seed}"

    def _start(self, budget: int) -> Path:
        return self.out / f"start-C{budget}.jsonl"

    def _end(self, budget: int, seed: int) -> Path:
        return self.out / f"end-C{budget}-{seed}.jsonl"

    def _made(self) -> Iterator[tuple[int, int]]:
        """Budget and seed of what is complete."""
        for budget in self.asked.budgets:
            for seed in self.asked.seeds:
                if self._end(budget, seed).with_suffix(".summary.json").is_file():
                    yield budget, seed

    def _write(self) -> None:
        rows, stored = [], []
        for budget, seed in self._made():
            start, end = (records.read(f) for f in (self._start(budget), self._end(budget, seed)))
            steps = open_run(self._run(budget, seed)).learning
            sampled = sum(row["count"] * row["tokens"] for row in steps)
            measured = [_measures(found) for found in (start, end)]
            columns = [shown(found[name]) for name in SHARES for found in measured]
            tokens = [f"{found['tokens'].value:.0f}" for found in measured]
            rows.append((str(budget), str(seed), *columns, *tokens, f"{sampled / 1000:.0f}k"))
            stored.append(
                {"budget": budget, "seed": seed, "sampled": sampled, "header": end.header.to_json()}
                | {n: [asdict(found[n]) for found in measured] for n in measured[0]}
                | {"steps": [dict(row) for row in steps]}
            )
        names = ("accuracy", "code ratio", "cut off", "accuracy of those not cut off", "tokens")
        head = ("C", "seed", *(f"{n} {when}" for n in names for when in ("before", "after")))
        text = [Table("", (*head, "sampled in RL"), tuple(rows)).markdown(), *self._behaviour()]
        name = self.asked.on
        write_text(self.asked.out / f"{name}.md", "\n".join(text))
        write_text(self.asked.out / f"{name}.json", json.dumps(finite(stored), indent=1))
        self._draw(self.asked.out / f"{name}.png")

    def _behaviour(self) -> Iterator[str]:
        """The first answer of training that shows each behaviour, right ones before others."""
        for budget, seed in self._made():
            if not budget:
                continue
            found: dict[Case, tuple[int, Trajectory]] = {}
            for step, file in transcripts.files(self._run(budget, seed) / "transcripts"):
                for row in transcripts.read_rows(file):
                    answer = Trajectory.from_json(row)
                    for case in cases(answer).intersection(BEHAVIOUR):
                        if answer.correct or case is Case.INVENTED_OUTPUT:
                            found.setdefault(case, (step, answer))
            for case in BEHAVIOUR:
                if case in found:
                    step, answer = found[case]
                    yield f"\nC = {budget}, seed {seed}, `{case}`: {MEANING[case]} First in step"
                    yield f"{step}, problem `{answer.problem_id}`, {answer.verdict}:\n"
                    yield f"````text\n{answer.response.strip()}\n````"
            return

    def _draw(self, png: Path) -> None:
        """Figure 5 of ToRL for both budgets: code ratio and accuracy over steps, and the ends."""
        with picture(png, 11, 3.8) as figure:
            panels = figure.subplots(1, 3)
            for axes, metric, title in zip(
                panels,
                ("code_ratio", "accuracy"),
                ("Code ratio", "Accuracy, sampled"),
                strict=False,
            ):
                plain(axes, title)
                for budget, seed in self._made():
                    steps = open_run(self._run(budget, seed)).learning
                    axes.plot(
                        [row["step"] for row in steps], [row[metric] for row in steps],
                        color=COLOURS[1 - min(budget, 1)], linestyle=DASHES[seed % len(DASHES)],
                        label=f"C = {budget}, seed {seed}",
                    )  # fmt: skip
                axes.set_xlabel("step")
                axes.set_ylim(-0.03, 1.03)
                percent(axes.yaxis)
            panels[0].legend(frameon=False, fontsize=8)
            plain(panels[2], "Accuracy, held out")
            for place, (budget, seed) in enumerate(self._made()):
                ends = [
                    _measures(records.read(file))["accuracy"]
                    for file in (self._start(budget), self._end(budget, seed))
                ]
                for at, one in zip((place - 0.15, place + 0.15), ends, strict=True):
                    panels[2].errorbar(
                        [at], [one.value], yerr=errors([one]), marker="D", capsize=3,
                        color=COLOURS[1 - min(budget, 1)],
                        markerfacecolor="white" if at < place else None,
                    )  # fmt: skip
            panels[2].set_xticks(
                range(len(list(self._made()))), [f"C={b}\nseed {s}" for b, s in self._made()]
            )
            panels[2].set_ylim(-0.03, 1.03)
            percent(panels[2].yaxis)


def _measures(found: records.Records) -> dict[str, Estimate]:
    """Accuracy, code ratio, share that was cut off, and accuracy without those."""
    summary = summarise(found)
    ended = [t for t in found.trajectories if t.scorable and not t.truncated]
    return {
        "accuracy": summary.accuracy,
        "code_ratio": summary.code_ratio,
        "truncated": summary.truncated,
        "ended": mean([float(t.correct) for t in ended], [t.problem_id for t in ended]),
        "tokens": summary.tokens,
    }


def _line(problem: Problem) -> str:
    row = {name: getattr(problem, name) for name in ("id", "answer", "level", "subject", "source")}
    return json.dumps(row | {"problem": problem.question}) + "\n"


def _torl(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "torl", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
