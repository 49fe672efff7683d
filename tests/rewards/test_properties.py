"""What must hold for any text whatever."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import GradingOptions, Verdict, extract, grade, grade_answer

OURS_ALONE = GradingOptions(sympy_fallback=False)
_SPELLED = (
    r"1 2 0 12 0.5 x y n a A f e i \pi \frac \dfrac { } ( ) [ ] \{ \} + - * / ^ _ = < > \le \cup "
    r"\in \mathbb{R} \pm , ; : | ! ' % \% ^\circ \text{ and or \sqrt \sin \log _{2} \int_0^1 "
    r"\sum_{k=1}^{3} dx \begin{pmatrix} \end{pmatrix} & \\ \infty oo Matrix([[ Interval( Eq( cm m "
    r"\$ \ldots where yes \boxed{ \left \right 1e3 \binom \lfloor \rfloor gcd( ** \approx \bmod U "
    r"to \vec $ (A) B. 1,000"
)
PIECES = _SPELLED.split()
anything = st.text(max_size=60)
soup = st.lists(st.sampled_from([*PIECES, " "]), min_size=1, max_size=14).map("".join)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Well-formed LaTeX of small numbers and symbols."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["1", "2", "3", "7", "10", "x", "y", "n", r"\pi", "0.5"]))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    shape = draw(
        st.sampled_from(
            [
                r"%s + %s",
                r"%s - %s",
                r"\left(%s\right)\left(%s\right)",
                r"\frac{%s}{%s}",
                r"\left(%s\right)^{2} + %s",
                r"\sqrt{%s} + %s",
                r"\sin{%s} + %s",
            ]
        )
    )
    return shape % (left, right)


structures = st.one_of(
    expressions(),
    st.lists(expressions(1), min_size=2, max_size=3).map(", ".join),
    st.lists(expressions(1), min_size=2, max_size=3).map(lambda items: f"({', '.join(items)})"),
    st.lists(expressions(1), min_size=1, max_size=3).map(lambda i: r"\{" + ", ".join(i) + r"\}"),
    expressions(1).map(lambda item: f"x = {item}"),
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(anything, soup), st.one_of(anything, soup, structures))
def test_grading_never_raises(answer: str, reference: str) -> None:
    """And names the rule that decided."""
    assert grade_answer(answer, reference, OURS_ALONE).rule
    assert grade(answer, reference, OURS_ALONE).rule


@settings(max_examples=150, deadline=None)
@given(st.one_of(anything, soup, structures))
def test_every_readable_text_answers_itself(text: str) -> None:
    grade_of_itself = grade_answer(text + " ", text, OURS_ALONE)
    if grade_of_itself.rule != "reference_unreadable":
        assert grade_of_itself.verdict is Verdict.CORRECT, grade_of_itself


@settings(max_examples=60, deadline=None)
@given(structures, structures)
def test_equality_without_decimals_is_symmetric(first: str, second: str) -> None:
    first, second = first.replace("0.5", "5"), second.replace("0.5", "5")
    there = grade_answer(second, first, OURS_ALONE).verdict
    back = grade_answer(first, second, OURS_ALONE).verdict
    assert there is back


@settings(max_examples=60, deadline=None)
@given(structures)
def test_spelling_does_not_matter(text: str) -> None:
    for spelled in (
        f"${text}$",
        f"  {text}  ",
        f"\\[{text}\\]",
        text.replace("\\frac", "\\dfrac"),
        text.replace("\\left", "").replace("\\right", ""),
        text.replace(" ", "\\, "),
        text.replace("\\pi", "π"),
        text.replace("-", "−"),
        f"\\displaystyle {text}.",
    ):
        found = grade_answer(spelled, text, OURS_ALONE)
        assert found.verdict is Verdict.CORRECT, (spelled, found)


@settings(max_examples=60, deadline=None)
@given(expressions(), st.integers(min_value=1, max_value=9))
def test_another_value_is_another_answer(text: str, gap: int) -> None:
    found = grade_answer(f"{text} + {gap}", text, OURS_ALONE)
    assert found.verdict is not Verdict.CORRECT or found.rule == "undefined", found


@settings(max_examples=60, deadline=None)
@given(expressions(), expressions())
def test_sums_and_products_commute(first: str, second: str) -> None:
    for ours, theirs in (
        (f"({first}) + ({second})", f"({second}) + ({first})"),
        (f"({first}) \\cdot ({second})", f"({second})({first})"),
    ):
        found = grade_answer(theirs, ours, OURS_ALONE)
        # What divides by zero equals nothing, not even itself.
        undefined = "undefined" in (found.rule, found.detail.partition(":")[0])
        assert undefined or found.verdict is not Verdict.WRONG, (ours, theirs)


@settings(max_examples=150, deadline=None)
@given(st.integers(), st.integers())
def test_integers_are_equal_when_they_are(first: int, second: int) -> None:
    found = grade_answer(str(second), str(first))
    assert (found.verdict is Verdict.CORRECT) == (first == second)


@settings(max_examples=60, deadline=None)
@given(st.fractions(max_denominator=10**6))
def test_rationals_in_three_spellings(value: object) -> None:
    top, bottom = value.numerator, value.denominator  # type: ignore[attr-defined]
    for spelled in (f"{top}/{bottom}", f"\\frac{{{2 * top}}}{{{2 * bottom}}}", f"({top})/{bottom}"):
        found = grade_answer(spelled, f"\\frac{{{top}}}{{{bottom}}}")
        assert found.verdict is Verdict.CORRECT, found


@settings(max_examples=150, deadline=None)
@given(st.one_of(anything, soup), st.one_of(anything, soup))
def test_extraction_finds_the_box_that_was_put(before: str, answer: str) -> None:
    depth = 0
    for index, char in enumerate(answer):
        escaped = index > 0 and answer[index - 1] == "\\"
        depth += 0 if escaped else (char == "{") - (char == "}")
        if depth < 0:
            return
    if depth or "\\" in answer or "`" in before + answer or "~" in before + answer:
        return
    if extract(f"\\boxed{{{answer}}}").answer is None:
        return  # a template such as \\boxed{}: the answer is an earlier box, if there is one
    found = extract(f"{before}\n\n\\boxed{{{answer}}}")
    if found.problem not in ("unclosed_box", "empty_box"):
        assert found.answer == answer.strip()


PLAIN = st.tuples(st.sampled_from(["", "-"]), st.integers(0, 40), st.integers(1, 12))
SPELLINGS = st.sampled_from(["{0}{1}/{2}", r"{0}\frac{{{1}}}{{{2}}}", r"{0}\dfrac{{{1}}}{{{2}}}"])


@settings(max_examples=300, deadline=None)
@given(PLAIN, PLAIN, SPELLINGS, st.one_of(SPELLINGS, st.just("{0}{1}")))
def test_plain_fractions_are_judged_as_the_grammar_judges_them(
    first: object, second: object, spelled: str, other: str
) -> None:
    """Spaces keep the quick reading away, and change no value."""
    reference, answer = spelled.format(*first), other.format(*second)  # type: ignore[misc]
    quick = grade_answer(answer, reference)
    assert quick.rule in ("rational", "integer", "identical")
    assert quick.verdict is grade_answer(f" {answer} ", reference).verdict
