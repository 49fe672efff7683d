"""Threads, asyncio, forks and child interpreters."""

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewards import (
    Grade,
    GradingOptions,
    Reference,
    Verdict,
    batch,
    grade,
    grade_answer,
    grade_async,
    grade_batch,
)
from rewards.errors import WorkerError
from rewards.grader import forget
from rewards.workers import sympy_fallback
from rewards.workers.child import in_a_fork
from rewards.workers.process import Worker

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


HARD = r"\int_0^{10} \frac{x^{100}\sin(x)^{50}}{\ln(1+x+x^7)}\,dx"


@pytest.fixture
def little_work(monkeypatch):
    """Hard questions are given up sooner, to save the time of tests."""
    sympy_fallback.close()
    monkeypatch.setattr(sympy_fallback, "WORK", 500_000)
    yield
    sympy_fallback.close()


def test_asyncio_may_grade() -> None:
    async def many() -> list[Verdict]:
        jobs = [asyncio.to_thread(grade, *pair) for pair in PAIRS[:50]]
        return [found.verdict for found in await asyncio.gather(*jobs)]

    assert asyncio.run(many()) == [grade(*pair).verdict for pair in PAIRS[:50]]


@pytest.mark.long
def test_hard_answers_keep_no_easy_one_and_no_event_loop_waiting(little_work) -> None:
    """Six answers that need all of their work, and then an easy one, which is done first."""

    async def order() -> tuple[list[str], int]:
        done, turns = list[str](), 0

        async def one(name: str, response: str, reference: str) -> None:
            await grade_async(response, reference)
            done.append(name)

        async def beat() -> None:
            nonlocal turns
            while len(done) < 7:
                turns += 1
                await asyncio.sleep(0.005)

        hard = [one("hard", rf"\boxed{{{n}}}", HARD) for n in range(50, 56)]
        await asyncio.gather(*hard, one("easy", r"\boxed{\sqrt{8}}", r"2\sqrt{2}"), beat())
        return done, turns

    forget()
    done, turns = asyncio.run(order())
    assert done[0] == "easy"
    assert turns > 10, "the loop ran on while answers were graded"


def test_grading_for_asyncio_says_the_same() -> None:
    pairs = [*PAIRS[:20], (rf"\boxed{{{INTEGRAL}}}", "1/2"), (r"\boxed{1} \boxed{2}", "1,2")]

    async def many() -> list[Grade]:
        return list(await asyncio.gather(*(grade_async(*pair) for pair in pairs)))

    assert asyncio.run(many()) == [grade(*pair) for pair in pairs]


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


def test_a_killed_worker_is_the_machines_fault_and_is_replaced() -> None:
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT
    for pid in sympy_fallback.pids():
        os.kill(pid, signal.SIGKILL)
    forget()
    verdicts = []
    for _ in range(3):
        forget()
        verdicts.append(grade_answer("1/2", INTEGRAL).verdict)
    assert verdicts[-1] is Verdict.CORRECT
    assert set(verdicts) <= {Verdict.UNGRADABLE, Verdict.CORRECT}


def test_a_worker_beyond_its_time_is_dead() -> None:
    worker = Worker("grade")
    with pytest.raises(WorkerError, match="in time"):
        worker.ask({"options_list": [], "rows": []}, wall_seconds=0.0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_worker_that_the_machine_holds_up_is_no_verdict(monkeypatch) -> None:
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT
    monkeypatch.setattr(sympy_fallback, "WALL_SECONDS", 0.2)
    for pid in sympy_fallback.pids():
        os.kill(pid, signal.SIGSTOP)
    forget()
    found = grade_answer("1/2", INTEGRAL)
    sympy_fallback.close()  # the others stand still too
    assert (found.verdict, found.rule) == (Verdict.UNGRADABLE, "worker_killed")


def test_what_the_machine_did_once_is_not_remembered(monkeypatch) -> None:
    forget()
    sympy_fallback.close()
    monkeypatch.setattr(sympy_fallback, "WALL_SECONDS", 0.0)
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.UNGRADABLE
    monkeypatch.undo()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT


def work(question):
    if question == "broken":
        os.kill(os.getpid(), signal.SIGKILL)
    for _ in range(question):
        abs(1)
    return question % 2 == 0


def test_a_question_is_ended_by_its_work_and_not_by_time() -> None:
    found = [in_a_fork(work, calls, 1_000) for calls in (400, 401, 402, 600)]
    assert found == [True, False, True, None]
    with pytest.raises(OSError, match="ended with -9"):
        in_a_fork(work, "broken", 1_000)


@pytest.mark.slow
def test_a_question_that_hangs_in_c_code_ends() -> None:
    assert in_a_fork(lambda n: pow(3, n) == pow(3, n + 1), 10**9, 1_000) is None


@pytest.mark.long
def test_the_same_work_gives_the_same_verdict(monkeypatch) -> None:
    """A fifth of a second of CPU time, or three tenths: a limit in seconds would flip a coin."""
    pairs = [(r"\sum_{n=2}^\infty\frac{1}{n!}", "e-2"), (r"\sum_{n=1}^\infty\frac{n^2}{2^n}", "6")]
    for work, expected in ((1_000_000, Verdict.WRONG), (2_000_000, Verdict.CORRECT)):
        monkeypatch.setattr(sympy_fallback, "WORK", work)
        sympy_fallback.close()
        forget()
        assert [grade_answer(*pair).verdict for pair in pairs] == [expected] * 2
    sympy_fallback.close()


def test_what_the_bounded_work_leaves_open_is_wrong(little_work) -> None:
    forget()
    for answer in ("43", "44", "45"):
        found = grade_answer(answer, HARD)
        assert (found.verdict, found.rule) == (Verdict.WRONG, "undecided")
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT, "a verdict has no memory"


@pytest.mark.long
def test_a_forked_process_has_workers_of_its_own() -> None:
    forget()
    grade_answer("1/2", INTEGRAL)
    parents = sympy_fallback.pids()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        forget()
        verdict = grade_answer("1/2", INTEGRAL).verdict
        fine = verdict is Verdict.CORRECT and not set(sympy_fallback.pids()) & set(parents)
        sympy_fallback.close()
        os.write(writer, b"yes" if fine else b"no")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 3) == b"yes"
    os.close(reader)
    os.close(writer)
    forget()
    assert grade_answer("1/2", INTEGRAL).verdict is Verdict.CORRECT


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
