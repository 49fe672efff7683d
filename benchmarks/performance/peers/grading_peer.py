"""GEM's grader behind one line of JSON: pairs in, verdicts and CPU seconds out."""

# mypy: disable-error-code="import-not-found"
import contextlib
import json
import os
import sys
import time

from gem.utils.math_grader import grade


def accepted(reference: str, answer: str) -> bool:
    """What its reward function asks when it is asked to take its time."""
    try:
        return bool(grade(answer, reference, fast=False))
    except Exception:  # noqa: BLE001 - what raises is not accepted
        return False


def main() -> None:
    """Judge every pair of standard input."""
    pairs = json.load(sys.stdin)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        accepted("1/2", "0.5")
        started = time.process_time()
        verdicts = [accepted(*pair) for pair in pairs]
        spent = time.process_time() - started
    print(json.dumps([verdicts, spent]))


main()
