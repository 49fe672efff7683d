"""A crowd, slow clients and answers that nobody reads: a server process serves the others."""

import asyncio
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from torl_env.sandbox import Execution, Limits, Status
from torl_env.sandbox.backends.fusion_client import FusionSandbox
from torl_env.sandbox.backends.fusion_wire import response_body

pytestmark = pytest.mark.slow

CONNECTIONS, SLOW, ASKED, UNREAD = 2000, 500, 40, 50
BIG = json.dumps(
    {
        "code": "print('\\x01' * 4_000_000)",
        "language": "python",
        "torl": {"output_bytes": 4_194_304},
    }
).encode()
PROGRAM = json.dumps({"code": "print(6 * 7)", "language": "python"}).encode()
HEAD = b"POST /run_code HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
START = """
import sys
from torl.commands.sandbox import ServeCommand, serve_forever
raise SystemExit(serve_forever(ServeCommand(port=0, queue=4096)))
"""


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 8192:
        pytest.skip("needs 8192 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8192), hard))
    with subprocess.Popen(
        [sys.executable, "-u", "-c", START], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().split()[2].rpartition(":")[2])
        finally:
            process.terminate()


def resident_mb(process: "subprocess.Popen[str]") -> float:
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


async def asked(port: int, times: int) -> list[float]:
    """Seconds of each program of a client that behaves well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        await _run_one(reader, writer)
        seconds.append(time.monotonic() - began)
    writer.close()
    return sorted(seconds)


async def _run_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % len(PROGRAM) + PROGRAM)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    size = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert json.loads(await reader.readexactly(size))["run_result"]["stdout"] == "42\n"


async def beside_unread_answers(port: int) -> tuple[list[float], list[float]]:
    """Latencies of the good client alone and while others do not read their 24 MB of JSON each."""
    await asked(port, 10)
    alone = await asked(port, ASKED)
    deaf = [await asyncio.open_connection("127.0.0.1", port, limit=1) for _ in range(UNREAD)]
    for _, writer in deaf:
        writer.write(HEAD % len(BIG) + BIG)
    among = await asked(port, ASKED)
    for _, writer in deaf:
        writer.close()
    return alone, among


def test_unread_answers_stall_nobody(
    server: tuple["subprocess.Popen[str]", int], record_property: Callable[[str, object], None]
) -> None:
    alone, among = asyncio.run(beside_unread_answers(server[1]))
    middle = ASKED // 2
    record_property("p50 and most alone, s", (alone[middle], alone[-1]))
    record_property("p50 and most beside them, s", (among[middle], among[-1]))
    # Making 50 answers takes processors for a while; before, the loop wrote each of them itself.
    assert among[middle] < 10 * alone[middle] + 0.05
    assert sum(among) < 20 * sum(alone) + 2


def longest_pause(work: Callable[[], object]) -> float:
    """Of another thread while `work` runs, as a part of its time."""
    pauses, done = [0.0], threading.Event()

    def tick() -> None:
        last = time.monotonic()
        while not done.is_set():
            time.sleep(0.0002)
            pauses[0], last = max(pauses[0], time.monotonic() - last), time.monotonic()

    other = threading.Thread(target=tick)
    other.start()
    began = time.monotonic()
    work()
    took = time.monotonic() - began
    done.set()
    other.join()
    return pauses[0] / took


def test_others_have_a_turn_while_a_large_answer_is_written() -> None:
    limits = Limits(output_bytes=4_194_304)
    result = Execution(Status.OK, stdout="\x01" * 4_000_000)
    # The best of some: a crowded machine has pauses of its own.
    parts = [longest_pause(lambda: response_body(result, limits, extended=True)) for _ in range(8)]
    assert min(parts) < 0.4, parts


async def crowd(port: int) -> tuple[list[float], list[float]]:
    """Latencies of the good client alone and among all the others."""
    await asked(port, 10)
    alone = await asked(port, ASKED)
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW)]
    for number, (_, writer) in enumerate(slow):
        # A head, or a body, that does not end.
        writer.write(b"POST /run" if number % 2 else HEAD % 1000 + b"{")
    many = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(_run_one(*pair) for pair in many))
    among = await asked(port, ASKED)
    await asyncio.gather(*(_run_one(*pair) for pair in many))
    for _, writer in (*many, *slow):
        writer.close()
    return alone, among


def test_the_service_is_unharmed(
    server: tuple["subprocess.Popen[str]", int], record_property: Callable[[str, object], None]
) -> None:
    process, port = server
    before = resident_mb(process)
    alone, among = asyncio.run(crowd(port))
    after = resident_mb(process)
    middle = ASKED // 2
    record_property("p50 alone, s", alone[middle])
    record_property("p50 among all, s", among[middle])
    record_property("server before and after, MB", (before, after))
    assert among[middle] < 5 * alone[middle] + 0.05
    assert after < before + 300
    with FusionSandbox(f"http://127.0.0.1:{port}") as client:
        session = client.session()
        assert session.run("x = 1").ok
        assert session.branch().run("print(x)").stdout == "1\n"
