"""Every hostile program against every set of layers that this kernel can build.

What a layer must stop is stated with each program (tests/security/programs). After each of them
the next calls are right, and no process, file or shared memory is left.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from torl_env.sandbox import Execution, Limits, LocalSandbox
from torl_env.sandbox.forkserver.config import Layer
from torl_env.sandbox.forkserver.runs import BURST
from torl_env.sandbox.forkserver.seccomp import NUMBERS
from torl_env.testing import children

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning"),
]

ROOT = Path(__file__).parents[2]
CATEGORIES = sorted(path.stem for path in (Path(__file__).parent / "programs").glob("*.txt"))
LIMITS = Limits(cpu_seconds=0.4, wall_seconds=1.2, memory_mb=256, output_bytes=4096, processes=64)
RECVMSG = NUMBERS["recvmsg"]


@dataclass
class Arena:
    """A sandbox under attack."""

    sandbox: LocalSandbox
    held: frozenset[str]
    spaces: list[str]
    port: int
    idle: int = 2 + BURST - 1

    def prepare(self, code: str) -> str:
        for key, value in {
            "@ROOT@": str(ROOT),
            "@PORT@": str(self.port),
            "@HOST@": socket.gethostname(),
            "@NEST@": "(" * 100_000,
            "@NUL@": "\0",
        }.items():
            code = code.replace(key, value)
        return code

    def next_calls_are_right(self, count: int) -> None:
        futures = [self.sandbox.submit(f"print({n} * 3, __name__)") for n in range(count)]
        assert [f.result(60).stdout for f in futures] == [
            f"{n * 3} __main__\n" for n in range(count)
        ]
        maths = "import sympy, numpy, json, math\nx = sympy.Symbol('x')\n"
        maths += "print(sympy.solve(x**2 - 4), numpy.sum([1, 2]), json.loads('[1]'), math.sqrt(9))"
        result = self.sandbox.run(maths, Limits(cpu_seconds=5))
        assert result.stdout == "[-2, 2] 3 [1] 3.0\n", result
        late = (
            "import colorsys, wave, zipfile, encodings.idna, mpmath.calculus.odes; print('found')"
        )
        assert self.sandbox.run(late).stdout == "found\n"

    def nothing_is_left(self) -> None:
        deadline = time.monotonic() + 10
        while self.sandbox.running or self._strangers():
            assert time.monotonic() < deadline, f"left over: {self._strangers()}"
            time.sleep(0.05)
        places = [
            Path(p) for p in ("/tmp", "/dev/shm", "/var/tmp", str(Path.home()), ".", "/sandbox")
        ]
        left = [str(found) for place in places for found in place.glob("*torl-attack*")]
        assert left == []
        shared = Path("/proc/sysvipc/shm")
        assert not shared.exists() or " 460577 " not in shared.read_text()

    def _strangers(self) -> list[str]:
        """Processes below the servers that do not wait for a job, or are too many to do so."""
        strangers = []
        for server in self.sandbox.server_pids():
            pid = inner_pid(server, "namespaces" in self.held)
            below = list(map(str, children(pid)))
            strangers += [child for child in below if not waits(child)]
            strangers += below[self.idle :]
        return strangers


def waits(pid: str) -> bool:
    """Whether a process is in recvmsg, as those that were forked ahead are."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().startswith(f"{RECVMSG} ")
    except OSError:
        # It has ended, or belongs to a user whose processes we may not look into.
        return Path(f"/proc/{pid}").exists() and os.geteuid() != 0


def inner_pid(outer: int, nested: bool) -> int:
    if not nested:
        return outer
    (inner,) = children(outer)
    return inner


@pytest.fixture(scope="module")
def arena(layers_off: tuple[str, ...]) -> Iterator[Arena]:
    os.environ["TORL_ATTACK_SECRET"] = "hunter2"
    listener = socket.create_server(("127.0.0.1", 0))
    with LocalSandbox(LIMITS, off=layers_off, idle=2) as sandbox:
        sandbox.warm()
        sandbox.run("marker = 'torl-residue-marker'")
        layers = sandbox.reports()[0].layers
        held = frozenset(str(layer) for layer, state in layers.items() if state.holds)
        yield Arena(sandbox, held, [], listener.getsockname()[1])
    listener.close()
    del os.environ["TORL_ATTACK_SECRET"]


def check(attack: Any, result: Execution, arena: Arena) -> None:
    label = f"{attack.name} ({attack.outcome}): {result}"
    if attack.by and not attack.by & arena.held:
        return
    assert "ESCAPED" not in result.stdout + result.stderr, label
    assert str(result.status) in attack.statuses, label
    assert attack.prints is None or result.stdout == attack.prints, label
    assert len(result.stdout) + len(result.stderr) <= 2 * LIMITS.output_bytes, label


@pytest.mark.parametrize("category", CATEGORIES)
def test_attacks_together(category: str, arena: Arena, categories: dict[str, list[Any]]) -> None:
    attacks = [one for one in categories[category] if one.spares_the_server(arena.held)]
    futures = [arena.sandbox.submit(arena.prepare(attack.code)) for attack in attacks]
    results = [future.result(120) for future in futures]
    for attack, result in zip(attacks, results, strict=True):
        check(attack, result, arena)
    arena.next_calls_are_right(20)
    arena.nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_attacks_one_by_one(category: str, arena: Arena, categories: dict[str, list[Any]]) -> None:
    for attack in categories[category]:
        if not attack.spares_the_server(arena.held):
            continue
        began = time.monotonic()
        check(attack, arena.sandbox.run(arena.prepare(attack.code)), arena)
        assert time.monotonic() - began < 20, attack.name
        arena.next_calls_are_right(20)
        arena.nothing_is_left()


def test_there_are_enough(categories: dict[str, list[Any]]) -> None:
    names = [attack.name for attacks in categories.values() for attack in attacks]
    assert len(names) == len(set(names))
    assert len(names) >= 100


def test_layers_are_what_the_set_says(arena: Arena, layers_off: tuple[str, ...]) -> None:
    report = arena.sandbox.reports()[0]
    for name in layers_off:
        if name in set(Layer):
            assert not report.layers[Layer(name)].holds
