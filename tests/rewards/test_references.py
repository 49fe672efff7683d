"""Real references against themselves and their denials, and a fuzz over our tokens."""

import json
import random
from pathlib import Path

import pytest

from rewards import GradingOptions, Verdict, grade_answer

OURS_ALONE = GradingOptions(sympy_fallback=False)
_SPELLED = (
    r"1 2 12 0.5 x n f e i E I \pi \frac { } ( ) [ ] \{ \} + - * / ^ _ = < \le \cup \in "
    r"\mathbb{R} \pm , ; : | ! ' \% ^\circ \text{ and or \sqrt \sin \int_0^1 & \\ oo "
    r"\begin{pmatrix} \end{pmatrix} Matrix([[ Or( Piecewise(( Poly( C( cm not \$ \pmod \bmod "
    r"(A) 1,000 pm \mapsto \over C_1 0x1F"
)
TOKENS = _SPELLED.split()
RIGHT = ("{}", " {} ", "${}$", r"\[{}\]", r"\boxed{{{}}}", r"\displaystyle {}", "{}.", r"\({}\)")
WRONG = (r"{}\text{{ is wrong}}", r"\text{{not }}{}", r"\text{{never }}{}", r"{}\text{{ is false}}")
SAMPLES = (r"\frac{1}{576}", r"2\sqrt{3}", "(1,2)", r"x \in [-2,7]", r"2 \pmod 7", "10:30", "n=6")


@pytest.mark.parametrize("reference", SAMPLES)
def test_a_reference_is_itself_and_not_its_denial(reference: str) -> None:
    for form in RIGHT:
        assert grade_answer(form.format(reference), reference).verdict is Verdict.CORRECT, form
    for form in WRONG:
        assert grade_answer(form.format(reference), reference).verdict is not Verdict.CORRECT, form


@pytest.mark.slow
def test_no_real_reference_accepts_its_denial(shared_data: Path) -> None:
    paths = [*(shared_data / "heldout").glob("*.jsonl"), *(shared_data / "train").glob("*.jsonl")]
    rows = [json.loads(line) for path in paths for line in path.open(encoding="utf-8")]
    paid = list[tuple[str, str]]()
    for reference in {str(row["answer"]) for row in rows if row.get("answer")}:
        for form in WRONG:
            found = grade_answer(form.format(reference), reference, OURS_ALONE)
            if found.verdict is Verdict.CORRECT:
                paid.append((reference, form))
    assert len(paid) <= 3, paid


@pytest.mark.slow
def test_nothing_escapes_two_hundred_thousand_grades() -> None:
    rng = random.Random(0)
    for _ in range(200_000):
        answer, reference = (
            "".join(rng.choice(TOKENS) + rng.choice(("", " ")) for _ in range(rng.randint(1, 10)))
            for _ in range(2)
        )
        grade_answer(answer, reference, OURS_ALONE)
