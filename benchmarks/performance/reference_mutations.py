r"""Ways to spoil a reference answer and to respell it, and all of our references through them.

    python -m benchmarks.performance.reference_mutations [--data DIR] [--processes N]

Every spoiled text says something else than the reference, whatever that is: it denies it, adds to
it, scales it, or changes a number, a sign, a modulus, half of a day in it.
"""

import argparse
import json
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.performance.grading_rows import shared_data
from rewards import GradingOptions, Reference, ReferenceError, Verdict, grade_answer

_OURS_ALONE = GradingOptions(sympy_fallback=False)
_PROGRAMS = ("humaneval", "mbpp")
"""Data sets whose answers are programs."""

RESPELLED = (
    "{}",
    " {} ",
    "${}$",
    r"\[{}\]",
    r"\boxed{{{}}}",
    r"\displaystyle {}",
    "{}.",
    r"\({}\)",
    r"\text{{The answer is }} {}",
)
DENIED = (
    r"{}\text{{ is wrong}}",
    r"{}\text{{ is false}}",
    r"{}\text{{ is incorrect}}",
    r"{} is not the answer",
    r"\text{{not }}{}",
    r"\text{{never }}{}",
    r"\text{{it is false that }}{}",
    r"\text{{anything but }}{}",
    r"\text{{not equal to }}{}",
    r"\text{{isn't }}{}",
)
ENLARGED = (
    r"{}\text{{ or }}987654",
    "{}, 987654",
    "{}; 987654",
    r"{}\text{{ plus }}3",
    r"{}\text{{ times }}3",
    r"{}\text{{ choose }}2",
    r"{}\text{{ and maybe }}987654",
    "{} = 987654",
    r"\text{{half of }}{}",
    r"\text{{twice }}{}",
    r"\text{{less than }}{}",
    r"\text{{at least }}{}",
    "987654",
)
_NUMBER = re.compile(r"(?<![\d.])(?<!C_)(?<!C_\{)\d+(?![\d.])")
_HALF = re.compile(r"\b([ap])(?=\.?\s?m\b)", re.IGNORECASE)
_MODULUS = re.compile(r"(?<=mod)(\s*\{?\s*)(\d+)")


def another_number(reference: str) -> str | None:
    r"""The last whole number, one larger: `\frac{1}{2}` becomes `\frac{1}{3}`."""
    if "binom" in reference:
        return None  # the next binomial may be the same one
    found = [*_NUMBER.finditer(reference)]
    if not found:
        return None
    last = found[-1]
    return f"{reference[: last.start()]}{int(last[0]) + 1}{reference[last.end() :]}"


def another_half(reference: str) -> str | None:
    """`a.m.` for `p.m.`."""
    flipped = _HALF.sub(lambda m: {"a": "p", "p": "a"}[m[1].lower()], reference)
    return flipped if flipped != reference else None


def another_modulus(reference: str) -> str | None:
    r"""`\pmod{8}` for `\pmod{7}`."""
    changed = _MODULUS.sub(lambda m: f"{m[1]}{int(m[2]) + 1}", reference)
    return changed if changed != reference else None


CHANGED: tuple[Callable[[str], str | None], ...] = (another_number, another_half, another_modulus)


def spoiled(reference: str) -> list[str]:
    """The spoiled forms of a reference: more than twenty for any."""
    forms = [form.format(reference) for form in (*DENIED, *ENLARGED)]
    if re.search(r"(?<![A-Za-z])[CK](?![A-Za-z])", reference) is None:  # C + 7 is C
        forms.append(f"{reference} + 987654")
    return forms + [text for change in CHANGED if (text := change(reference)) is not None]


def faults(reference: str) -> list[tuple[str, str]]:
    """Respelled forms that are refused and spoiled ones that are accepted.

    None of a reference that cannot be read: nothing is graded against it.
    """
    try:
        if not Reference.compile(reference).readable:
            return []
    except ReferenceError:
        return []
    right, wrong = [form.format(reference) for form in RESPELLED], spoiled(reference)
    refused = [("refused", text) for text in right if not _is_accepted(text, reference)]
    return refused + [("accepted", text) for text in wrong if _is_accepted(text, reference)]


def _is_accepted(answer: str, reference: str) -> bool:
    return grade_answer(answer, reference, _OURS_ALONE).verdict is Verdict.CORRECT


def references(data: Path) -> list[str]:
    """Every answer of the suites and training sets, once."""
    out = set[str]()
    for path in [*(data / "heldout").glob("*.jsonl"), *(data / "train").glob("*.jsonl")]:
        if not path.name.startswith(_PROGRAMS):
            with path.open(encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            out |= {str(row["answer"]) for row in rows if row.get("answer")}
    return sorted(out)


def main() -> None:
    """Try every reference, and print what was refused or accepted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=None, help="with heldout/ and train/")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    every = references(options.data or shared_data())
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        found = pool.map(faults, every, chunksize=50)
    for reference, wrong in zip(every, found, strict=True):
        for kind, text in wrong:
            print(f"{kind}: {reference!r} by {text!r}")
    print(f"references          {len(every):>9,}")
    print(f"respelled forms     {len(every) * len(RESPELLED):>9,}")
    print(f"spoiled forms       {sum(len(spoiled(one)) for one in every):>9,}")
    print(f"references at fault {sum(map(bool, found)):>9,}")
    print(f"seconds             {time.perf_counter() - started:>9.0f}")


if __name__ == "__main__":
    main()
