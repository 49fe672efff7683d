"""`python -m benchmarks.acceptance`: what has to hold on a machine with an accelerator, in blocks.

    python -m benchmarks.acceptance --device cuda --minutes 8 --out acceptance.json [--block N ...]

Every block runs in a process of its own, is killed at its limit, and leaves its figures, each with
its bound, in one JSON record. A run that was interrupted goes on with the blocks that have not
passed. No block needs a network; `python -m benchmarks.acceptance.pack` makes what a bare machine
lacks.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from agents.core.run.provenance import commit, versions
from benchmarks.acceptance import numbers, runs
from benchmarks.acceptance.numbers import Where
from benchmarks.acceptance.record import BlockResult, Figure, Record, SkipBlockError

BLOCKS: Mapping[int, tuple[str, Callable[[Where], list[Figure]]]] = {
    1: ("sampler against teacher forcing", numbers.sampler),
    2: ("gradients against a reference", numbers.gradients),
    3: ("the laptop run", runs.laptop),
    4: ("twice the same; killed and resumed", runs.repeatable),
    5: ("vLLM in the training process", runs.vllm),
    6: ("two steps of every algorithm", runs.algorithms),
    7: ("FSDP and ZeRO-3 with one process", runs.sharded),
    8: ("256 rows of 2,048 tokens at 1.5B", runs.scale),
    9: ("throughput beside TRL's own loop", runs.throughput),
}


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="; ".join(f"{number}: {title}" for number, (title, _) in BLOCKS.items()),
    )
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: cuda)")
    parser.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    parser.add_argument("--minutes", type=float, default=8.0, help="most that a block may take")
    parser.add_argument("--block", type=int, nargs="+", choices=list(BLOCKS), default=list(BLOCKS))
    parser.add_argument("--tokens", type=int, default=96, help="of a response, blocks 1 and 2")
    parser.add_argument("--out", type=Path, default=Path("out/acceptance.json"))
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run the blocks that have not passed; 1 where one failed."""
    options = options_of(words)
    if options.inside:
        return _inside(options)
    header = {
        "device": options.device,
        "accelerator": _accelerator(options.device),
        "model": options.model,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "commit": commit(),
    }
    record = Record(options.out, header)
    failed = False
    for number in options.block:
        title, _ = BLOCKS[number]
        if record.done(number):
            print(f"block {number}, {title}: passed before", flush=True)
            continue
        print(f"block {number}, {title}", flush=True)
        result = _apart(number, options)
        record.add(result)
        failed |= result.state in ("failed", "error")
        for figure in result.figures:
            print(f"  {figure}", flush=True)
        tail = f": {result.message}" if result.message else ""
        took = f"{result.seconds:.0f} s, {result.cpu_seconds:.0f} CPU seconds"
        print(f"  {result.state} in {took}{tail}", flush=True)
    print(f"record {options.out}")
    return int(failed)


def _accelerator(device: str) -> str:
    if not device.startswith("cuda"):
        return ""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "none"


def _apart(number: int, options: argparse.Namespace) -> BlockResult:
    """A block in a process group of its own, so that its limit ends all that it started."""
    title, _ = BLOCKS[number]
    start, before = time.perf_counter(), _cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="torl-acceptance-") as folder:
        result = Path(folder) / "result.json"
        words = ["--device", options.device, "--model", options.model, "--block", str(number)]
        words += ["--minutes", str(options.minutes), "--tokens", str(options.tokens)]
        log = Path(folder) / "log.txt"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.acceptance", *words, "--inside", str(result)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A thread that spins at a barrier takes the core that the slower one needs: on a
                # machine with other work a block took several times its CPU seconds.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            )
            try:
                process.wait(timeout=60 * options.minutes)
                message = ""
            except subprocess.TimeoutExpired:
                message = f"ran past its {options.minutes:g} minutes and was killed"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        seconds, cpu = time.perf_counter() - start, _cpu_seconds() - before
        if not result.exists():
            end = message or log.read_text(errors="replace")[-2000:]
            return BlockResult(number, title, "error", seconds, (), end, cpu)
        found = json.loads(result.read_text())
        if "skipped" in found:
            return BlockResult(number, title, "skipped", seconds, (), found["skipped"], cpu)
        figures = [Figure(**figure) for figure in found["figures"]]
        return BlockResult.of(number, title, figures, seconds, cpu)


def _cpu_seconds() -> float:
    """Of the blocks that have ended, and of what they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _inside(options: argparse.Namespace) -> int:
    """The block itself, in the process that was started for it."""
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    where = Where(
        options.device, options.model, options.minutes, options.tokens, options.inside.parent
    )
    try:
        figures = BLOCKS[options.block[0]][1](where)
    except SkipBlockError as error:
        options.inside.write_text(json.dumps({"skipped": str(error)}))
        return 0
    options.inside.write_text(json.dumps({"figures": [asdict(figure) for figure in figures]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
