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
of the same sets. Writes OUT/ON.md (table, first cases of each behaviour), ON.json and ON.png;
with `--record`, the ON.json of another machine, its runs stand there too.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
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


Entry = Mapping[str, Any]
"""A run in the record: both evaluations, its steps, first cases; or a start that has no run."""


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
    parser.add_argument("--record", type=Path, help="an ON.json made elsewhere, to go on from")
    parser.add_argument("--dry-run", action="store_true", help="check everything, make nothing")
    parser.add_argument("--no-make", action="store_true", help="only write what is complete")
    asked = parser.parse_args()
    study = Study(asked)
    study.agree()
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

    def agree(self) -> None:
        """Keep the settings of all runs of OUT, which are made in more than one call.

        Raises:
            SystemExit: There are runs with others; it names them.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        file, here = self.out / "settings.json", self._settings()
        there = json.loads(file.read_text()) if file.is_file() else here
        if there != here:
            raise SystemExit(f"{self.out} has runs with other settings: {_differ(there, here)}")
        write_text(file, json.dumps(here, indent=1))

    def _settings(self) -> dict[str, Any]:
        names = ("steps", "prompts", "group", "learning_rate", "max_tokens", "count", "k")
        given = {name: getattr(self.asked, name) for name in ("train", "heldout")}
        files = {name: Path(file).name if file else "" for name, file in given.items()}
        # A folder has another name elsewhere; its weights are the same.
        weights = records.weights_hash(Path(self.asked.model))
        fixed = {"model": weights or self.asked.model, **files}
        return fixed | {name: getattr(self.asked, name) for name in names}

    def make(self) -> None:
        """Every run and evaluation that is missing."""
        for seed in self.asked.seeds:
            for budget in self.asked.budgets:
                # What a training would refuse, a full disk say, before minutes of evaluation.
                self._train(budget, seed, dry_run=True)
                if not self.asked.dry_run:
                    self._evaluate(self.asked.model, self._start(budget), budget)
                    self._train(budget, seed)
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

    def _train(self, budget: int, seed: int, *, dry_run: bool = False) -> None:
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
        _torl("train", "--out", str(run), *options, *(["--dry-run"] if dry_run else []))

    def _evaluate(self, model: str, file: Path, budget: int) -> None:
        if file.with_suffix(".summary.json").is_file():
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

    def _entries(self) -> list[Entry]:
        """What is complete here and in the record that was given; of both, what is here."""
        entries: list[Entry] = []
        for budget in self.asked.budgets:
            for seed in self.asked.seeds:
                start, end = self._start(budget), self._end(budget, seed)
                if end.with_suffix(".summary.json").is_file():
                    run, both = (
                        open_run(self._run(budget, seed)),
                        [records.read(start), records.read(end)],
                    )
                    named = {"budget": budget, "seed": seed, "sampled": run.sampled}
                    named |= {"asked": self._settings()}
                    entries.append(_entry(named, both, run.path.name) | _learned(run, budget))
        here = {(one["budget"], one["seed"]) for one in entries}
        entries += [
            one
            for one in _earlier(self.asked.record, entries)
            if (one["budget"], one["seed"]) not in here
        ]
        trained = {one["budget"] for one in entries if one["seed"] is not None}
        entries = [
            one for one in entries if one["seed"] is not None or one["budget"] not in trained
        ]
        for budget in {*self.asked.budgets} - {one["budget"] for one in entries}:
            if self._start(budget).with_suffix(".summary.json").is_file():
                named = {"budget": budget, "seed": None}
                entries.append(_entry(named, [records.read(self._start(budget))], "the start"))
        return sorted(entries, key=lambda one: (-one["budget"], one["seed"] or 0))

    def write(self) -> None:
        """Table, plot and record of the runs that are complete, and of starts without a run."""
        entries = self._entries()
        names = ("accuracy", "code ratio", "cut off", "accuracy of those not cut off", "tokens")
        head = ("C", "seed", *(f"{n} {when}" for n in names for when in ("before", "after")))
        rows = tuple(_row(one) for one in entries)
        text = [Table("", (*head, "sampled in RL"), rows).markdown(), *_behaviour(entries)]
        name = self.asked.on
        write_text(self.asked.out / f"{name}.md", "\n".join(text))
        write_text(self.asked.out / f"{name}.json", json.dumps(finite(entries), indent=1))
        _draw([one for one in entries if one["seed"] is not None], self.asked.out / f"{name}.png")


def _entry(named: Entry, measured: Sequence[records.Records], model: str) -> dict[str, Any]:
    """The measures of one evaluation or two, and the settings of the last."""
    measures = [_measures(found) for found in measured]
    header = _placeless(measured[-1].header.to_json(), model)
    shares = {name: [asdict(found[name]) for found in measures] for name in measures[0]}
    return {**named, "header": header, **shares}


def _learned(run: Run, budget: int) -> dict[str, Any]:
    """The steps of a training, and of one with a tool the first cases."""
    steps = {"steps": [dict(row) for row in run.learning]}
    return steps | ({"cases": _first_cases(run)} if budget else {})


def _earlier(file: Path | None, entries: Sequence[Entry]) -> list[Entry]:
    """The entries of a record that was made with the same problems and settings.

    Raises:
        SystemExit: With others; it names them.
    """
    found: list[Entry] = json.loads(file.read_text()) if file else []
    for earlier in found:
        for one in entries:
            if said := _differ(_common(earlier, one), _common(one, earlier)):
                raise SystemExit(f"{file} was made with other settings: {said}")
    return found


def _common(one: Entry, other: Entry) -> dict[str, Any]:
    """What two entries of one table must have in common; how they are asked is the budget's."""
    found = {name: one["header"][name] for name in ("fingerprint", "count", "k")}
    found |= one.get("asked", {})
    if one["budget"] == other["budget"]:
        settings = {n: v for n, v in one["header"]["settings"].items() if n != "weights"}
        found |= {"settings": settings, "environment": one["header"]["environment"]}
    return found


def _differ(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The settings that differ, of those that both sides state."""
    both = there.keys() & here.keys()
    mine, theirs = ({n: v for n, v in one.items() if n in both} for one in (there, here))
    return "; ".join(records.different(mine, theirs))


def _estimate(found: Mapping[str, Any]) -> Estimate:
    """What is no number stands as null in a record."""
    return Estimate(**{name: nan if value is None else value for name, value in found.items()})


def _row(one: Entry) -> tuple[str, ...]:
    """A line of the table; a start without a run has nothing after it."""

    def cells(name: str, text: Callable[[Estimate], str]) -> list[str]:
        said = [text(_estimate(found)) for found in one[name]]
        return [*said, ""][:2]

    seed = "no whole run" if one["seed"] is None else str(one["seed"])
    columns = [cell for name in SHARES for cell in cells(name, shown)]
    tokens = cells("tokens", lambda found: f"{found.value:.0f}")
    sampled = f"{one['sampled'] / 1000:.0f}k" if "sampled" in one else ""
    return (str(one["budget"]), seed, *columns, *tokens, sampled)


def _placeless(header: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A header without the folders of one machine."""
    return {**header, "model": model, "problems": Path(header["problems"]).name}


def _first_cases(run: Run) -> list[dict[str, Any]]:
    """The first right answer of training that shows each behaviour, in the order of `BEHAVIOUR`.

    Outputs that the model made up are kept of wrong answers too.
    """
    found: dict[Case, tuple[int, Trajectory]] = {}
    for step, answer in run.transcripts():
        for case in cases(answer).intersection(BEHAVIOUR):
            if answer.correct or case is Case.INVENTED_OUTPUT:
                found.setdefault(case, (step, answer))
    return [
        {
            "case": str(case),
            "step": step,
            "problem": answer.problem_id,
            "verdict": str(answer.verdict),
            "text": answer.response.strip(),
        }
        for case, (step, answer) in sorted(found.items(), key=lambda item: BEHAVIOUR.index(item[0]))
    ]


def _behaviour(entries: Sequence[Entry]) -> Iterator[str]:
    """The cases of the first run that has any."""
    one = next((one for one in entries if one.get("cases")), None)
    for case in one["cases"] if one else ():
        said = f"`{case['case']}`: {MEANING[Case(case['case'])]} First in step"
        yield f"\nC = {one['budget']}, seed {one['seed']}, {said}"
        yield f"{case['step']}, problem `{case['problem']}`, {case['verdict']}:\n"
        yield f"````text\n{case['text']}\n````"


def _draw(made: Sequence[Entry], png: Path) -> None:
    """Figure 5 of ToRL for both budgets: code ratio and accuracy over steps, and the ends."""
    with picture(png, 11, 3.8) as figure:
        code, accuracy, ends = figure.subplots(1, 3)
        named = [f"C = {one['budget']}, seed {one['seed']}" for one in made]
        colours = [COLOURS[1 - min(one["budget"], 1)] for one in made]
        for axes, metric in ((code, "code_ratio"), (accuracy, "accuracy")):
            for one, label, colour in zip(made, named, colours, strict=True):
                axes.plot(
                    series(one["steps"], "step"), series(one["steps"], metric), color=colour,
                    linestyle=DASHES[one["seed"] % len(DASHES)], label=label,
                )  # fmt: skip
            axes.set_xlabel("step")
        for place, (one, colour) in enumerate(zip(made, colours, strict=True)):
            for at, found, face in zip(
                (place - 0.15, place + 0.15), one["accuracy"], ("white", colour), strict=True
            ):
                value = _estimate(found)
                ends.errorbar(
                    [at], [value.value], yerr=errors([value]), marker="D", capsize=3,
                    color=colour, markerfacecolor=face,
                )  # fmt: skip
        ends.set_xticks(range(len(made)), [label.replace(", ", "\n") for label in named])
        for axes, title in (
            (code, "Code ratio"), (accuracy, "Accuracy, sampled"), (ends, "Accuracy, held out"),
        ):  # fmt: skip
            plain(axes, title)
            axes.set_ylim(-0.03, 1.03)
            percent(axes.yaxis)
        code.legend(frameon=False, fontsize=8)


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
