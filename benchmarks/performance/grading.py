"""What the grader is worth: accuracy, gaming, hostile answers, speed, import; and its peers.

    python -m benchmarks.performance.grading [--peers [--gem PYTHON]] [--json FILE] [--data DIR]
        [--misses]

Times are CPU seconds of one process, so that other load on the machine moves them little. Peers
(`grading_peers`) get the same inputs, but not the hostile answers, on dozens of which they would
not return.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.performance.grading_inputs import Pair, hostile, mix, truncations
from benchmarks.performance.grading_peers import Peer, peers
from benchmarks.performance.grading_rows import (
    GAMING,
    Judged,
    Row,
    judge,
    ours,
    read_rows,
    shared_data,
    summarise,
)
from benchmarks.performance.reference_mutations import spoiled
from rewards import GradingOptions, Verdict, grade_answer, grade_batch
from rewards.grader import forget
from rewards.workers import sympy_fallback

SUITES = ("math500", "olympiadbench", "minerva_math", "aime24", "aime25", "amc23", "gsm8k_test")
SLOW_SAMPLE = 400
"""Pairs of the mix on which a peer is timed."""

Figures = dict[str, float]


def answers(data: Path, *names: str) -> list[str]:
    """The answers of data files, in order."""
    out: list[str] = []
    for name in names:
        with (data / f"{name}.jsonl").open(encoding="utf-8") as lines:
            out += [str(json.loads(line)["answer"]) for line in lines]
    return out


def accuracy(rows: Sequence[Row], show: bool) -> Figures:
    """Accuracy on labelled pairs, by kind; every miss is printed with its reason."""
    judged, summary = judge(rows)
    figures: Figures = {
        "clean pairs": summary.n,
        "accuracy": summary.accuracy,
        "false positives": summary.false_positives,
        "false negatives": summary.false_negatives,
        "ungradable": summary.ungradable,
    }
    for kind in sorted({row.kind for row in rows}):
        part = [one for one in judged if one.row.kind == kind]
        figures[f"accuracy, {kind} ({len(part)})"] = summarise(part, 0.0).accuracy
    rules = Counter(one.grade.rule for one in judged)
    print("rules that decided:", ", ".join(f"{rule} {n}" for rule, n in rules.most_common(12)))
    if show:
        _print_misses(judged)
    return figures


def _print_misses(judged: Sequence[Judged]) -> None:
    for one in judged:
        if not one.right:
            kind = "accepted" if one.accepted else "rejected"
            print(f"  {kind} {one.row.reference!r} / {one.row.prediction!r}: {one.grade.rule}")


def peer_accuracy(rows: Sequence[Row], peer: Peer) -> Figures:
    """The same numbers of a peer; what raises is not accepted."""
    verdicts, _ = peer([(row.reference, row.prediction) for row in rows])
    said = list(zip(rows, verdicts, strict=True))
    probes, _ = peer([(row.reference, row.prediction) for row in GAMING])
    return {
        "accuracy": statistics.mean(accepted == row.equal for row, accepted in said),
        "false positives": sum(accepted and not row.equal for row, accepted in said),
        "false negatives": sum(row.equal and not accepted for row, accepted in said),
        "gaming probes wrong": sum(
            accepted != row.equal for accepted, row in zip(probes, GAMING, strict=True)
        ),
    }


def gaming(data: Path) -> Figures:
    """Probes that try to be paid without the answer."""
    wrong = [one for one in judge(GAMING)[0] if not one.right]
    every = answers(data, *(f"heldout/{suite}" for suite in SUITES), "train/math_12k_train")
    cut = truncations(every)
    paid = [pair for pair in cut if ours(*pair).verdict is Verdict.CORRECT]
    return {
        f"gaming probes wrong, of {len(GAMING)}": len(wrong),
        f"leading numbers paid, of {len(cut)}": len(paid),
    }


def references(data: Path) -> Figures:
    """The answers of the suites against themselves, respelled, and against their neighbours."""
    itself = neighbours = unreadable = count = forms = paid = 0
    for suite in SUITES:
        every = answers(data, f"heldout/{suite}")
        count += len(every)
        for reference, other in zip(every, every[1:] + every[:1], strict=True):
            for spelled in (reference, f" {reference} ", f"${reference}$", f"\\[{reference}\\]"):
                itself += ours(reference, spelled).verdict is not Verdict.CORRECT
            wrong = spoiled(reference)
            forms += len(wrong)
            paid += sum(ours(reference, text).verdict is Verdict.CORRECT for text in wrong)
            found = ours(reference, other).verdict
            neighbours += found is Verdict.CORRECT and reference != other
            unreadable += found is Verdict.UNGRADABLE
    return {
        "references of the suites": count,
        "not equal to themselves respelled": itself,
        "spoiled forms": forms,
        "spoiled forms accepted": paid,
        "equal to their neighbour, spelled otherwise": neighbours,
        "ungradable against their neighbour": unreadable,
    }


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def speed(pairs: Sequence[Pair]) -> Figures:
    """Checks per second with and without memory, and how long single checks take."""
    ours(r"\sqrt{e}", "e^{0.5}")

    def run() -> None:
        for reference, answer in pairs:
            ours(reference, answer)

    cold, warm = list[float](), list[float]()
    for _ in range(5):
        forget()
        cold.append(seconds(run))
        warm.append(seconds(run))
    forget()
    each = sorted(_microseconds(pair) for pair in pairs)
    integers = sorted(
        _microseconds(pair) for pair in pairs if all(text.lstrip("-").isdigit() for text in pair)
    )
    return {
        "uncached checks/s": len(pairs) / statistics.median(cold),
        "cached checks/s": len(pairs) / statistics.median(warm),
        "p50 us": each[len(each) // 2],
        "p50 us, integers": integers[len(integers) // 2],
        "p99 us": each[int(len(each) * 0.99)],
        "max us": each[-1],
    }


def _microseconds(pair: Pair) -> float:
    started = time.process_time_ns()
    ours(*pair)
    return (time.process_time_ns() - started) / 1000


def batch(pairs: Sequence[Pair]) -> Figures:
    """Wall time of many responses with one process and with all cores."""
    responses = [(f"so \\boxed{{{answer}}}", reference) for reference, answer in pairs]
    grade_batch(responses[:2_000])
    started, used = time.perf_counter(), time.process_time()
    grade_batch(responses)
    many, parent = time.perf_counter() - started, time.process_time() - used
    forget()
    started, used = time.perf_counter(), time.process_time()
    grade_batch(responses, workers=1)
    one, alone = time.perf_counter() - started, time.process_time() - used
    return {
        "batch of responses": len(responses),
        "all cores: responses per wall second": len(responses) / many,
        "one process: responses per wall second": len(responses) / one,
        "all cores: CPU share of the caller": parent / alone,
    }


def hostility() -> Figures:
    """CPU and memory that hostile answers take, and whether any of them ran as code."""
    options = GradingOptions(sympy_fallback=False)
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "executed"
        inputs = hostile(str(marker))
        forget()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = [seconds(lambda text=text: grade_answer(text, "42", options)) for text in inputs]  # type: ignore[misc]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "hostile answers": len(inputs),
            "hostile, CPU s in total": sum(times),
            "hostile, worst CPU ms": 1000 * max(times),
            "hostile, memory MB": (after - before) / 1024,
            "hostile, code executed": float(marker.exists()),
            **with_algebra(inputs),
        }


def with_algebra(inputs: Sequence[str]) -> Figures:
    """CPU seconds of the same answers, workers included, against a number and against a function.

    The first hard question starts a worker, which is in the worst.
    """
    sympy_fallback.close()
    figures: Figures = {}
    for reference in ("42", r"\sin x+\sqrt{2}"):
        forget()
        times = list[float]()
        for text in inputs:
            before, own = _worker_seconds(), time.process_time()
            ours(reference, text)
            spent = sum(after - before.get(pid, 0.0) for pid, after in _worker_seconds().items())
            times.append(time.process_time() - own + spent)
        figures[f"against {reference}, worst CPU s with algebra"] = max(times)
        figures[f"against {reference}, CPU s in total"] = sum(times)
    return figures


def _worker_seconds() -> dict[int, float]:
    """CPU seconds of every worker so far, with those of the forks that answered."""
    ticks = os.sysconf("SC_CLK_TCK")
    out = dict[int, float]()
    for pid in sympy_fallback.pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        out[pid] = sum(map(int, fields[11:15])) / ticks
    return out


def import_time() -> Figures:
    """CPU milliseconds that `import rewards` adds to a bare interpreter, the least of eight."""
    timed = "import time\nt = time.process_time()\n{code}\nprint(time.process_time() - t)"

    def cpu(code: str) -> float:
        runs = [
            float(
                subprocess.run(
                    [sys.executable, "-c", timed.format(code=code)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for _ in range(8)
        ]
        return 1000 * min(runs)

    found = {
        "import ms": cpu("import rewards"),
        "import and first comparison ms": cpu("import rewards; rewards.grade_answer('2x','x+x')"),
    }
    if importlib.util.find_spec("math_verify"):
        found["import of math-verify ms"] = cpu("import math_verify")
    return found


def _afresh(pairs: Sequence[Pair]) -> float:
    forget()
    return seconds(lambda: [ours(*pair) for pair in pairs])


def against(
    pairs: Sequence[Pair], rows: Sequence[Row], own: Figures, gem: str | None
) -> dict[str, Figures]:
    """The peers on the same inputs, and how much faster we are; the median of three turns each."""
    sample = pairs[:SLOW_SAMPLE]
    mine: list[float] = []
    theirs: dict[str, list[float]] = {}
    chosen = peers(gem)
    for _ in range(3):
        mine.append(len(sample) / statistics.median(_afresh(sample) for _ in range(15)))
        for name, peer in chosen.items():
            theirs.setdefault(name, []).append(len(sample) / peer(sample)[1])
    out: dict[str, Figures] = {}
    for name, peer in chosen.items():
        rate = statistics.median(theirs[name])
        ratios = sorted(one / two for one, two in zip(mine, theirs[name], strict=True))
        out[name] = {
            **peer_accuracy(rows, peer),
            "checks/s": rate,
            "ours is so many times faster": ratios[1],
            "at least so many times, of three turns": ratios[0],
            "ours cached is so many times faster": own["cached checks/s"] / rate,
        }
    return out


def show(title: str, figures: Figures) -> None:
    """Print one section."""
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:48} {value:>12,.4g}" if value % 1 else f"  {name:48} {value:>12,.0f}")


def main() -> None:
    """Measure and print; with `--json` also write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=None, help="with grading/ and heldout/")
    parser.add_argument("--peers", action="store_true", help="run others on the same inputs")
    parser.add_argument("--gem", help="with --peers: an interpreter that has gem-llm")
    parser.add_argument("--misses", action="store_true", help="print every miss")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    options.data = options.data or shared_data()
    rows = [row for row in read_rows(options.data / "grading" / "dev.jsonl") if not row.doubtful]
    realistic = answers(options.data, "heldout/math500", "train/deepscaler_20k")
    pairs = mix(realistic[:500] + realistic[500::10])
    sections: dict[str, Figures] = {
        "Labelled pairs": accuracy(rows, options.misses),
        "Gaming": gaming(options.data),
        "References": references(options.data),
        "Speed": speed(pairs),
        "Batches": batch(mix(realistic)),
        "Hostile answers": hostility(),
        "Import": import_time(),
    }
    if options.peers:
        sections |= against(pairs, rows, sections["Speed"], options.gem)
    for title, figures in sections.items():
        show(title, figures)
    if options.json is not None:
        options.json.write_text(json.dumps(sections, indent=1))


if __name__ == "__main__":
    main()
