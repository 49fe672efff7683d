"""`python -m benchmarks.cluster [NAME ...]`: the forms of runs/cluster on two hosts of one machine.

| rehearsal | what runs |
| --- | --- |
| ray | a Ray cluster over both, live sessions on each, one host killed |
| training | runs/cluster/node.sh on each: Ray, and `torl train` for two steps on a tiny model |
| slurm | the same as runs/cluster/slurm.sh, by a real Slurm (packages slurm-wlm and munge) |
| kubernetes | the manifest by Kubernetes' schemas, and its container's command on each host |

What a training writes must be, number by number, what one host with two processes writes.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cluster.hosts import HEAD, OTHER, Host, two_hosts
from benchmarks.report.tables import Table

ROOT = Path(__file__).parents[2]
FORMS = ROOT / "runs" / "cluster"
RECORD = ROOT / "runs" / "records" / "cluster.json"
PAGE = ROOT / "docs" / "scale.md"
OUT = ROOT / "out"
"""Not the system's /tmp, which each host has for itself."""
LIMIT = 900.0
OPTIONS = [
    *("--problems", "procedural:easy:L1", "--steps", "2", "--prompts", "2", "--group", "4"),
    *("--max-tokens", "48", "--warm-start", "0", "--eval-problems", "0", "--threads", "1"),
]
TIMES = re.compile(r"seconds|time|tokens_per")


@dataclass(frozen=True)
class Rehearsal:
    """One row."""

    form: str
    ran: str
    result: str
    not_run: str


def variables() -> dict[str, str]:
    """What both hosts' processes are given."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # Else gloo asks the name service which of a host's addresses is the one.
        "GLOO_SOCKET_IFNAME": "cable",
        "RAY_object_store_memory": "100000000",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "rehearsal" * 8,
        "RAY_USAGE_STATS_ENABLED": "0",
        # The hosts reach each other only, whatever proxy the machine has.
        **dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), f"localhost,{HEAD},{OTHER}"),
    }


def rehearse_ray(folder: Path) -> Rehearsal:
    """Sessions on both hosts, one of which is killed."""
    killed = folder / "killed"
    with two_hosts() as (head, other):
        at, log = f"{head.address}:6379", folder / "driver.log"
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
        first = ["--head", "--port", "6379", "--include-dashboard", "false"]
        for host, more in ((head, first), (other, ["--address", at])):
            words = [*start, *more, "--node-ip-address", host.address]
            node = host.start(words, variables(), folder / f"{host.name}.log", ROOT)
            _until("Ray runtime started", folder / f"{host.name}.log", node)
        words = [sys.executable, "-m", "benchmarks.cluster.sessions", at, str(killed)]
        driver = head.start(words, variables(), log, ROOT)
        _until("ready", log, driver)
        other.kill()
        killed.touch()
        _ended(driver, log)
        report = json.loads(log.read_text().splitlines()[-1])
    assert report["kept"] == report["lost"] == 2, report
    assert report["wrong"] == 0, report
    assert report["programs"] == 8, report
    assert report["fresh"], report
    return Rehearsal(
        "Ray",
        "`ray start` on both; 4 live sessions and 8 programs under way, one host killed",
        f"2 sessions kept, 2 ended with `SandboxError`, 8 programs right, all known after "
        f"{report['seconds']} s",
        "more hosts; a network that loses some packets",
    )


def tiny(folder: Path) -> Path:
    """A random model of some ten thousand weights, with its tokenizer."""
    import torch

    from agents.core.testing.tiny import byte_tokenizer, tiny_model

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    tiny_model(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's metrics, without what a clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not TIMES.search(k)} for line in lines]


def alone(folder: Path, model: Path) -> list[dict[str, Any]]:
    """The same training by two processes of one host, programs on its own sandbox."""
    command = [
        *("accelerate", "launch", "--config_file", str(ROOT / "runs/configs/cpu.yaml")),
        *("-m", "torl", "train", "--model", str(model), "--out", str(folder / "alone"), *OPTIONS),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables(), "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    return metrics(folder / "alone")


def same(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> bool:
    """Equal to rounding: sums over processes come in another order."""
    if len(one) != len(two):
        return False
    return all(
        a.keys() == b.keys() and all(_close(a[name], b[name]) for name in a)
        for a, b in zip(one, two, strict=True)
    )


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-5 * max(1.0, abs(a)) or (a != a and b != b)
    return bool(a == b)


def rehearse_training(folder: Path) -> Rehearsal:
    """node.sh on both hosts by hand."""
    model = tiny(folder)
    wanted = alone(folder, model)
    command = ["bash", str(FORMS / "node.sh"), "--model", str(model), "--out", str(folder / "run")]
    with two_hosts() as pair:
        at = pair[0].address
        given = lambda rank: {"NODE_RANK": str(rank), "HEAD": at}  # noqa: E731
        _together(pair, [*command, *OPTIONS], given, folder)
    assert same(metrics(folder / "run"), wanted), "other numbers than on one host"
    return Rehearsal(
        "by hand",
        "runs/cluster/node.sh on two hosts: one Ray cluster for programs, accelerate over gloo, "
        "torl train for 2 steps",
        "metrics as of two processes on one host",
        "NCCL, GPUs",
    )


def _together(
    pair: tuple[Host, Host],
    command: list[str],
    given: Callable[[int], dict[str, str]],
    folder: Path,
) -> None:
    """A command on both hosts, to its end."""
    started = []
    for rank, host in enumerate(pair):
        environment = variables() | _small(host) | {"NODES": "2"} | given(rank)
        started.append(host.start(command, environment, folder / f"node{rank}.log", ROOT))
    for rank, process in enumerate(started):
        _ended(process, folder / f"node{rank}.log")


def _small(host: Host) -> dict[str, str]:
    config = {"PROCESSES": "1", "CONFIG": str(ROOT / "runs/configs/cpu.yaml")}
    return config | {"NODE_IP": host.address}


def rehearse_kubernetes(folder: Path) -> Rehearsal:
    """The manifest's schema, and the job's command on both hosts."""
    import yaml

    text = (FORMS / "kubernetes.yaml").read_text()
    objects = list(yaml.safe_load_all(text))
    version = _validated(objects)
    (job,) = [one for one in objects if one["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    model = tiny(folder)
    wanted = alone(folder, model)
    options = ["node", "--model", str(model), "--out", str(folder / "run"), *OPTIONS]
    command = [*container["command"], container["args"][0], *options]
    with two_hosts("torl-0.torl") as pair:
        _together(pair, command, lambda rank: {"JOB_COMPLETION_INDEX": str(rank)}, folder)
    assert same(metrics(folder / "run"), wanted), "other numbers than on one host"
    return Rehearsal(
        "Kubernetes",
        f"manifest by the schemas of Kubernetes {version}; its container's command on two hosts",
        "valid; metrics as of two processes on one host",
        "a cluster: none here",
    )


def _validated(objects: list[Any]) -> str:
    import kubernetes_validate

    newest = str(kubernetes_validate.latest_version())
    for one in objects:
        kubernetes_validate.validate(one, newest, strict=True)
    return newest


def rehearse_slurm(folder: Path) -> Rehearsal:
    """slurm.sh by a Slurm of two nodes."""
    model = tiny(folder)
    wanted = alone(folder, model)
    job = ["sbatch", "--wait", f"--output={folder}/job.log", str(FORMS / "slurm.sh")]
    with two_hosts() as pair, slurm(pair, folder) as environment:
        words = [*job, "--model", str(model), "--out", str(folder / "run"), *OPTIONS]
        small = {k: v for k, v in _small(pair[0]).items() if k != "NODE_IP"}
        submit = pair[0].start(words, environment | small, folder / "sbatch.log", ROOT)
        _ended(submit, folder / "job.log")
    assert same(metrics(folder / "run"), wanted), "other numbers than on one host"
    version = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True)
    return Rehearsal(
        "Slurm",
        f"`sbatch runs/cluster/slurm.sh` by {version.stdout.strip()} with a node on each host",
        "metrics as of two processes on one host",
        "GPUs (gres), its accounting",
    )


SLURM = """\
ClusterName=torl
SlurmctldHost={first}({address})
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
NodeName={first} NodeAddr={address} CPUs=1 State=UNKNOWN
NodeName={second} NodeAddr={peer} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(pair: tuple[Host, Host], folder: Path) -> Iterator[dict[str, str]]:
    """Its daemons; what a command needs to talk to them."""
    head, other = pair
    file = folder / "slurm.conf"
    file.write_text(
        SLURM.format(
            first=head.name,
            address=head.address,
            second=other.name,
            peer=other.address,
            folder=folder,
        )
    )
    for name in ("state", f"spool-{head.name}", f"spool-{other.name}"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    environment = variables() | {"SLURM_CONF": str(file)}
    # One of munge's daemons for both: its socket is a file, and files are shared.
    munge = ["munged", "--force", "--foreground", f"--key-file={folder}/munge.key"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    head.start([*munge, f"--socket={folder}/munge.socket"], environment, folder / "munge.out", ROOT)
    head.start(["slurmctld", "-D"], environment, folder / "slurmctld.log", ROOT)
    for host in pair:
        host.start(["slurmd", "-D"], environment, folder / f"slurmd-{host.name}.log", ROOT)
    deadline = time.monotonic() + LIMIT / 10
    while True:
        log = folder / "sinfo.log"
        head.start(
            ["sinfo", "--noheader", "--states=idle", "-o", "%D"], environment, log, ROOT
        ).wait()
        if log.read_text().strip() == "2":
            break
        if time.monotonic() > deadline:
            said = "".join(one.read_text()[-600:] for one in folder.glob("slurm*.log"))
            raise RuntimeError(f"Slurm's nodes are not idle:\n{said}")
        time.sleep(0.5)
    yield environment


def _until(word: str, log: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    while word not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no {word!r} in {log}:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _ended(process: subprocess.Popen[str], log: Path) -> None:
    if process.wait(LIMIT):
        raise RuntimeError(f"ended with {process.returncode}:\n{log.read_text()[-4000:]}")


REHEARSALS: dict[str, Callable[[Path], Rehearsal]] = {
    "ray": rehearse_ray,
    "training": rehearse_training,
    "slurm": rehearse_slurm,
    "kubernetes": rehearse_kubernetes,
}


def table(rows: list[Rehearsal]) -> Table:
    """One row a form."""
    header = ("form", "what ran", "result", "what did not, and why")
    return Table("", header, tuple((r.form, r.ran, r.result, r.not_run) for r in rows))


def write(rows: list[Rehearsal], record: Path) -> None:
    """Add to the record what ran now, and lay the table on the page."""
    known = json.loads(record.read_text()) if record.exists() else []
    kept = {row["form"]: Rehearsal(**row) for row in known} | {one.form: one for one in rows}
    record.write_text(json.dumps([asdict(one) for one in kept.values()], indent=1) + "\n")
    shown = table(list(kept.values())).markdown()
    if record == RECORD:
        before, _, rest = PAGE.read_text().partition("| form | what ran |")
        _, _, after = rest.partition("\n\n")
        PAGE.write_text(f"{before}{shown}\n{after}")


def main() -> int:
    """Rehearse what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*REHEARSALS, []])
    parser.add_argument("--record", type=Path, default=RECORD)
    given = parser.parse_args()
    # Else a terminated rehearsal leaves its hosts behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OUT.mkdir(exist_ok=True)
    failed = 0
    for name in given.names or REHEARSALS:
        with tempfile.TemporaryDirectory(dir=OUT, prefix="rehearsal-") as folder:
            try:
                row = REHEARSALS[name](Path(folder))
                print(f"{name}: {row.result}", flush=True)
                # At once: a later one may be interrupted.
                write([row], given.record)
            except (RuntimeError, AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"{name} FAILED: {error}", file=sys.stderr, flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
