"""Real references against themselves and their spoiled forms, and a fuzz over our tokens."""

import random
from pathlib import Path

import pytest

from benchmarks.performance.reference_mutations import faults, references, spoiled
from rewards import GradingOptions, grade_answer

OURS_ALONE = GradingOptions(sympy_fallback=False)
_SPELLED = (
    r"1 2 12 0.5 x n f e i E I \pi \frac { } ( ) [ ] \{ \} + - * / // ^ _ = < \le \cup \in \mid "
    r"\mathbb{R} \pm , ; : | ! ' '' \% ^\circ \text{ and or \sqrt \sin \int_0^1 \sum_{i=1}^ & \\ "
    r"oo "
    r"\begin{pmatrix} \end{pmatrix} \begin{cases} Matrix([[ Or( Piecewise(( Poly( C( cm not \$ "
    r"\pmod \bmod \equiv (A) 1,000 pm \mapsto \over C_1 0x1F \ldots \angle \partial lambda x: ^T "
    r"\mathbb{Z} where for all the answer is half three XIV noon ] [ No, Yes ① ½ €"
)
TOKENS = _SPELLED.split()
SAMPLES = (
    r"\frac{1}{576}",
    r"2\sqrt{3}",
    "(1,2)",
    r"x \in [-2,7]",
    r"2 \pmod 7",
    "10:30",
    "n=6",
    r"3:45\text{ p.m.}",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    r"\{1,2,3\}",
    r"\frac{x^3}{3}+C",
    r"\frac{\pi}{4}+k\pi, k\in\mathbb{Z}",
    r"12\text{ cm}^2",
    r"\text{(B)}",
    r"\text{No}",
    "f(x)=2x+1",
    "1:2:3",
    r"28\%",
    r"\$5.50",
    "n - k",
)


@pytest.mark.parametrize("reference", SAMPLES)
def test_a_reference_is_itself_and_nothing_spoiled(reference: str) -> None:
    assert len(spoiled(reference)) >= 20
    assert faults(reference) == []


@pytest.mark.slow
def test_no_real_reference_accepts_a_spoiled_form(shared_data: Path) -> None:
    every = references(shared_data)
    assert len(every) > 10_000
    found = {reference: wrong for reference in every if (wrong := faults(reference))}
    assert found == {}


@pytest.mark.slow
def test_nothing_escapes_two_hundred_thousand_grades() -> None:
    rng = random.Random(0)
    for _ in range(200_000):
        answer, reference = (
            "".join(rng.choice(TOKENS) + rng.choice(("", " ")) for _ in range(rng.randint(1, 10)))
            for _ in range(2)
        )
        grade_answer(answer, reference, OURS_ALONE)
