"""Other graders on our inputs: what they accept, and the CPU seconds they take for it."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.performance.grading_inputs import Pair

Peer = Callable[[Sequence[Pair]], tuple[list[bool], float]]
"""From pairs of reference and answer to verdicts and CPU seconds; what raises is not accepted."""

_DRIVER: Final = Path(__file__).parent / "peers" / "grading_peer.py"


def peers(gem: str | None = None) -> dict[str, Peer]:
    """Graders by name: math-verify in three manners, TRL's reward, and GEM's where it is installed.

    Their own time-outs are off where they allow it, as they must be outside of the main thread.

    Args:
        gem: An interpreter that has gem-llm installed.
    """
    from math_verify import parse, verify

    def boxed(reference: str, answer: str) -> bool:
        gold = parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
        found = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
        return bool(verify(gold, found, timeout_seconds=None))

    def reversed_bare(reference: str, answer: str) -> bool:
        if reference.strip().lower() == answer.strip().lower():
            return True
        gold = parse(reference, parsing_timeout=None)
        found = parse(answer, parsing_timeout=None)
        return bool(verify(found, gold, timeout_seconds=None))

    found: dict[str, Peer] = {
        "math-verify": one_by_one(boxed),
        "math-verify as ToRL calls it (undelimited, reversed)": one_by_one(reversed_bare),
        "TRL accuracy_reward": one_by_one(_trl_reward),
    }
    if gem is not None:
        found["GEM math_grader"] = lambda pairs: _in_interpreter(gem, pairs)
    return found


def one_by_one(accepts: Callable[[str, str], bool]) -> Peer:
    """A grader of this interpreter."""

    def judge(pairs: Sequence[Pair]) -> tuple[list[bool], float]:
        _quietly(accepts, "1/2", "0.5")
        started = time.process_time()
        verdicts = [_quietly(accepts, *pair) for pair in pairs]
        return verdicts, time.process_time() - started

    return judge


def _quietly(accepts: Callable[[str, str], bool], reference: str, answer: str) -> bool:
    try:
        return accepts(reference, answer)
    except Exception:  # noqa: BLE001 - a peer may raise what it likes; that is part of its score
        return False


def _trl_reward(reference: str, answer: str) -> bool:
    from trl.rewards import accuracy_reward

    (reward,) = accuracy_reward([[{"content": f"\\boxed{{{answer}}}"}]], [reference])
    return bool(reward == 1.0)


def _in_interpreter(python: str, pairs: Sequence[Pair]) -> tuple[list[bool], float]:
    done = subprocess.run(
        [python, str(_DRIVER)],
        input=json.dumps(list(pairs)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{python} cannot run GEM's grader: {done.stderr.strip()[-500:]}")
    verdicts, spent = json.loads(done.stdout)
    return verdicts, spent
