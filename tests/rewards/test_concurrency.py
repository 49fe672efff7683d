"""Threads, asyncio, forks and child interpreters."""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewards import GradingOptions, Reference, Verdict, batch, grade, grade_answer, grade_batch
from rewards.grader import forget
from rewards.workers import sympy_fallback
from rewards.workers.process import Worker, WorkerError

INTEGRAL = r"\int_0^1 x\,dx"
PAIRS = [
    (rf"\boxed{{\sqrt{{{4 * n}}}}}", rf"2\sqrt{{{n}}}" if n % 3 else rf"3\sqrt{{{n + 1}}}")
    for n in range(2, 300)
]


def test_any_thread_may_grade() -> None:
    expected = [grade(*pair) for pair in PAIRS]
    forget()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda pair: grade(*pair), PAIRS)) == expected


def test_asyncio_may_grade() -> None:
    async def many() -> list[Verdict]:
        jobs = [asyncio.to_thread(grade, *pair) for pair in PAIRS[:50]]
        return [found.verdict for found in await asyncio.gather(*jobs)]

    assert asyncio.run(many()) == [grade(*pair).verdict for pair in PAIRS[:50]]


def test_batches_on_all_cores_say_the_same_in_order() -> None:
    pairs = [
        *PAIRS,
        ("no box", "5"),
        (r"\boxed{52}", Reference.compile("52_8", GradingOptions(bases="optional"))),
    ]  # type: ignore[arg-type]
    many = pairs * (2 * batch.CHUNK // len(pairs) + 2)
    expected = [grade(response, reference) for response, reference in many]
    assert grade_batch(many, workers=2) == expected
    assert grade_batch(many, workers=1) == expected
    batch.close()


def test_the_residue_is_decided_by_computer_algebra() -> None:
    forget()
    assert grade_answer(r"\frac12", INTEGRAL).rule == "sympy_fallback"
    assert grade_answer(r"\frac13", INTEGRAL).verdict is Verdict.WRONG
    assert grade_answer(r"\frac{\pi^2}{6}", r"\sum_{n=1}^{\infty} \frac{1}{n^2}").verdict is (
        Verdict.CORRECT
    )


def test_a_killed_worker_is_replaced() -> None:
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT
    assert sympy_fallback._desk.worker is not None
    sympy_fallback._desk.worker._process.kill()
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.UNGRADABLE
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT
    sympy_fallback._desk.strikes.clear()


def test_a_worker_beyond_its_time_is_dead() -> None:
    worker = Worker("grade")
    with pytest.raises(WorkerError, match="in time"):
        worker.ask({"options_list": [], "rows": []}, wall_seconds=0.0)
    assert worker._process.poll() is not None


@pytest.mark.slow
def test_a_question_beyond_its_cpu_limit_is_ungradable() -> None:
    endless = r"\int_0^{10} \frac{x^{100}\sin(x)^{50}}{\ln(1+x+x^7)}\,dx"
    forget()
    assert grade_answer("43", endless).verdict is Verdict.UNGRADABLE
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT


def test_a_forked_process_has_a_worker_of_its_own() -> None:
    forget()
    grade_answer("1/2", INTEGRAL)
    assert sympy_fallback._desk.worker is not None
    parents = sympy_fallback._desk.worker._process.pid
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        forget()
        verdict = grade_answer("1/2", INTEGRAL).verdict
        own = sympy_fallback._desk.worker
        fine = verdict is Verdict.CORRECT and own is not None and own._process.pid != parents
        sympy_fallback.close()
        os.write(writer, b"yes" if fine else b"no")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 3) == b"yes"
    os.close(reader)
    os.close(writer)
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT


def test_a_fork_while_a_thread_asks_does_not_hang() -> None:
    busy = threading.Thread(target=lambda: sympy_fallback._desk.lock.acquire(timeout=1))
    busy.start()
    busy.join()
    child = os.fork()
    if child == 0:
        forget()
        os._exit(0 if grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT else 1)
    sympy_fallback._desk.lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_neither_import_nor_grading_loads_the_computer_algebra() -> None:
    code = (
        "import sys, rewards; light = set(sys.modules)\n"
        r"assert rewards.grade_answer('2\\sqrt{3}', r'\\sqrt{12}').verdict.value == 'correct'"
        "\n"
        "heavy = {'sympy', 'math_verify', 'torch', 'gymnasium', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'rewards.equality' not in light and 'mpmath' not in light\n"
    )
    run(code)


def test_import_is_cheap() -> None:
    """CPU seconds of an interpreter, as a ratio to one that imports a little of the library."""

    def seconds(names: str) -> float:
        code = f"import time, {names}; print(time.process_time())"
        return min(float(run(code)) for _ in range(5))

    assert seconds("rewards") < 2 * seconds("dataclasses, enum, fractions, json, logging, re")


def test_verdicts_are_the_same_in_every_process() -> None:
    code = (
        "import rewards\n"
        "pairs = [('x^2-1', '(x-1)(x+1)'), ('|x|', '|y|'), ('sin(2x)', '2sin(x)cos(x)')]\n"
        "print([rewards.grade_answer(b, a).rule for a, b in pairs])"
    )
    assert len({run(code) for _ in range(3)}) == 1
