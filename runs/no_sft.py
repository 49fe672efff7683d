"""ToRL's claim by itself: does a model learn tool use from reward alone, and is it worth anything?

    python runs/no_sft.py OUT --model MODEL [--on gsm8k] [--seeds 0 1 2] [--budgets 1 0]

No trace is imitated. For each seed GRPO trains MODEL with the tool (C = 1) and without (C = 0,
asked as a model without tools is), with the same problems, updates, samples and room for an answer.
The start is evaluated once for each budget, the end once for each run, on the same held-out
problems. What is complete is not made again, and a training that was cut off goes on.

MODEL is a hub id or a folder; the runs on record are of Qwen2.5-Coder-0.5B-Instruct (Apache-2.0).
`--on` names the problems: `easy` (procedural, levels 4 and 5), `easiest` (level 1, where text
alone has right answers too), `gsm8k`, or `math` (MATH levels 1 to 3, MATH500
problems of those levels). Real problems come from the hub, or from `--train` and `--heldout` files
of the same sets. Writes OUT/ON.md (table, first cases of each behaviour), ON.json and ON.png.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.core.run.storage import dump_line, finite, write_text
from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.cases import MEANING, Case, cases
from benchmarks.heldout.statistics import Estimate, mean
from benchmarks.heldout.summary import summarise
from benchmarks.report.plots import COLOURS, DASHES, errors, percent, picture, plain
from benchmarks.report.runs import Run, open_run, series
from benchmarks.report.tables import Table
from benchmarks.report.tables import percent as shown
from torl_env.problems import load

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


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation, read once."""

    header: Mapping[str, Any]
    measures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Made:
    """A complete run with both of its evaluations."""

    budget: int
    seed: int
    run: Run
    start: Evaluated
    end: Evaluated

    @property
    def label(self) -> str:
        """In a legend."""
        return f"C = {self.budget}, seed {self.seed}"

    @property
    def colour(self) -> str:
        """By the budget."""
        return COLOURS[1 - min(self.budget, 1)]


SETS = {
    "easy": Problems("procedural:easy:L4-5", "procedural:easy:L4-5"),
    "easiest": Problems("procedural:easy:L1", "procedural:easy:L1"),
    "gsm8k": Problems("gsm8k_train", "gsm8k"),
    "math": Problems("math_train", "math500", ("1", "2", "3")),
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
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--max-tokens", type=int, default=512, help="of an answer, any budget")
    parser.add_argument("--count", type=int, default=200, help="held-out problems")
    parser.add_argument("--k", type=int, default=4, help="answers to each of them")
    parser.add_argument("--dry-run", action="store_true", help="check everything, make nothing")
    parser.add_argument("--no-make", action="store_true", help="only write what is complete")
    asked = parser.parse_args()
    study = Study(asked)
    if asked.no_make:
        study.write()
    else:
        study.make()
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
                    self.write()

    def _problems(self, given: str | None, name: str, split: str) -> str:
        """The name of a source, or a file with the problems of the levels that are wanted."""
        if not self.set.levels:
            return given or name
        file = self.out / f"{split}.jsonl"
        if not file.is_file():
            kept = (p for p in load(given or name) if p.level in self.set.levels)
            write_text(file, "".join(dump_line(asdict(problem)) for problem in kept))
        return str(file)

    def _asking(self, budget: int) -> list[str]:
        """How a model is asked, the same in training and evaluation."""
        options = ["--tool-budget", str(budget), "--max-tokens", str(self.asked.max_tokens)]
        return [*options, "--prompt", "chat" if budget else "chat-text"]

    def _train(self, budget: int, seed: int) -> None:
        run, asked = self._run(budget, seed), self.asked
        if self._end(budget, seed).with_suffix(".summary.json").is_file():
            return
        sizes = {"steps": asked.steps, "prompts": asked.prompts, "group": asked.group}
        # Two rows a pass: with eight the 0.5B model's peak is 22 GB, which fits no laptop.
        fixed = {"micro-batch": 2, "warm-start": 0, "eval-problems": 0}
        named = {"model": asked.model, "seed": seed, **sizes, **fixed}
        named |= {
            "learning-rate": asked.learning_rate,
            "problems": self._problems(asked.train, self.set.train, "train"),
            "heldout": self._problems(asked.heldout, self.set.heldout, "heldout"),
        }
        options = [
            *self._asking(budget),
            *(w for k, v in named.items() for w in (f"--{k}", str(v))),
        ]
        if (run / "config.json").is_file():
            options = ["--resume"]
        _torl("train", "--out", str(run), *options, *(["--dry-run"] if asked.dry_run else []))

    def _evaluate(self, model: str, file: Path, budget: int) -> None:
        if self.asked.dry_run or file.with_suffix(".summary.json").is_file():
            return
        heldout = self._problems(self.asked.heldout, self.set.heldout, "heldout")
        options = ["--model", model, *self._asking(budget), "--problems", heldout]
        if heldout.startswith("procedural"):
            options += ["--env.split", "heldout"]
        sizes = ("--count", str(self.asked.count), "--k", str(self.asked.k))
        _torl("eval", *options, *sizes, "--out", str(file))

    def _run(self, budget: int, seed: int) -> Path:
        return self.out / f"C{budget}-{seed}"

    def _start(self, budget: int) -> Path:
        return self.out / f"start-C{budget}.jsonl"

    def _end(self, budget: int, seed: int) -> Path:
        return self.out / f"end-C{budget}-{seed}.jsonl"

    def _made(self) -> list[Made]:
        """What is complete."""
        made = []
        for budget in self.asked.budgets:
            for seed in self.asked.seeds:
                start, end = self._start(budget), self._end(budget, seed)
                if end.with_suffix(".summary.json").is_file():
                    run = open_run(self._run(budget, seed))
                    made.append(Made(budget, seed, run, _evaluated(start), _evaluated(end)))
        return made

    def write(self) -> None:
        """Table, plot and record of the runs that are complete, and of starts without a run."""
        made, rows, stored = self._made(), [], []
        for one in made:
            measured = (one.start.measures, one.end.measures)
            columns = [shown(found[name]) for name in SHARES for found in measured]
            tokens = [f"{found['tokens'].value:.0f}" for found in measured]
            sampled = f"{one.run.sampled / 1000:.0f}k"
            rows.append((str(one.budget), str(one.seed), *columns, *tokens, sampled))
            stored.append(
                {"budget": one.budget, "seed": one.seed, "sampled": one.run.sampled}
                | {"header": _placeless(one.end.header, one.run.path.name)}
                | {n: [asdict(found[n]) for found in measured] for n in measured[0]}
                | {"steps": [dict(row) for row in one.run.learning]}
            )
        for budget in sorted({*self.asked.budgets} - {one.budget for one in made}, reverse=True):
            if self._start(budget).with_suffix(".summary.json").is_file():
                start = _evaluated(self._start(budget))
                columns = [w for name in SHARES for w in (shown(start.measures[name]), "")]
                tokens = [f"{start.measures['tokens'].value:.0f}", ""]
                rows.append((str(budget), "no whole run", *columns, *tokens, ""))
                header = _placeless(start.header, "the start")
                measures = {name: [asdict(found)] for name, found in start.measures.items()}
                stored.append({"budget": budget, "seed": None, "header": header} | measures)
        names = ("accuracy", "code ratio", "cut off", "accuracy of those not cut off", "tokens")
        head = ("C", "seed", *(f"{n} {when}" for n in names for when in ("before", "after")))
        text = [Table("", (*head, "sampled in RL"), tuple(rows)).markdown(), *_behaviour(made)]
        name = self.asked.on
        write_text(self.asked.out / f"{name}.md", "\n".join(text))
        write_text(self.asked.out / f"{name}.json", json.dumps(finite(stored), indent=1))
        _draw(made, self.asked.out / f"{name}.png")


def _placeless(header: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A header without the folders of one machine."""
    return {**header, "model": model, "problems": Path(header["problems"]).name}


def _behaviour(made: Sequence[Made]) -> Iterator[str]:
    """The first right answer of training that shows each behaviour, of the first run with a tool.

    Outputs that the model made up are shown in right and wrong ones.
    """
    one = next((one for one in made if one.budget), None)
    if one is None:
        return
    found: dict[Case, tuple[int, Trajectory]] = {}
    for step, answer in one.run.transcripts():
        for case in cases(answer).intersection(BEHAVIOUR):
            if answer.correct or case is Case.INVENTED_OUTPUT:
                found.setdefault(case, (step, answer))
    for case in BEHAVIOUR:
        if case in found:
            step, answer = found[case]
            yield f"\nC = {one.budget}, seed {one.seed}, `{case}`: {MEANING[case]} First in step"
            yield f"{step}, problem `{answer.problem_id}`, {answer.verdict}:\n"
            yield f"````text\n{answer.response.strip()}\n````"


def _draw(made: Sequence[Made], png: Path) -> None:
    """Figure 5 of ToRL for both budgets: code ratio and accuracy over steps, and the ends."""
    with picture(png, 11, 3.8) as figure:
        code, accuracy, ends = figure.subplots(1, 3)
        for axes, metric in ((code, "code_ratio"), (accuracy, "accuracy")):
            for one in made:
                steps = one.run.learning
                axes.plot(
                    series(steps, "step"), series(steps, metric), color=one.colour,
                    linestyle=DASHES[one.seed % len(DASHES)], label=one.label,
                )  # fmt: skip
            axes.set_xlabel("step")
        for place, one in enumerate(made):
            for at, found, face in (
                (place - 0.15, one.start, "white"), (place + 0.15, one.end, one.colour),
            ):  # fmt: skip
                value = found.measures["accuracy"]
                ends.errorbar(
                    [at], [value.value], yerr=errors([value]), marker="D", capsize=3,
                    color=one.colour, markerfacecolor=face,
                )  # fmt: skip
        ends.set_xticks(range(len(made)), [one.label.replace(", ", "\n") for one in made])
        for axes, title in (
            (code, "Code ratio"), (accuracy, "Accuracy, sampled"), (ends, "Accuracy, held out"),
        ):  # fmt: skip
            plain(axes, title)
            axes.set_ylim(-0.03, 1.03)
            percent(axes.yaxis)
        code.legend(frameon=False, fontsize=8)


def _evaluated(file: Path) -> Evaluated:
    found = records.read(file)
    return Evaluated(found.header.to_json(), _measures(found))


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


def _torl(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "torl", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
