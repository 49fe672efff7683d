"""Where the final answer stands in a response."""

from collections.abc import Callable
from functools import partial

import pytest

from rewards import Style, extract


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"So \boxed{5}.", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed {5}", "5"),
        (r"\boxed{ 5 }", "5"),
        (r"\boxed{\frac{1}{\sqrt{2^{x_{1}}}}}", r"\frac{1}{\sqrt{2^{x_{1}}}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a} then" + "\n\n" + r"\boxed{b}", "b"),
        (r"\boxed{\boxed{7}}", r"\boxed{7}"),
        (r"\boxed 57 apples", "57"),
        (r"\boxed x", "x"),
        ("```python\nprint('\\boxed{4}')\n```\nso \\boxed{5}", "5"),
        ("\\boxed{5}\n```python\nprint('\\boxed{4}')\n```", "5"),
        ("\\boxed{5}\n```output\n\\boxed{4}\n```\n", "5"),
        ("\\boxed{5}\n```output\n\\boxed{4}", "5"),
        ("\\boxed{5}\n```python\nprint('\\boxed{4}')", "5"),
        ("```python\n1\n```output\n\\boxed{4}\n```\n\\boxed{5}", "5"),
        ("\\boxed{5}\r\n```python\r\n\\boxed{4}\r\n```\r\n", "5"),
        ("So:\n```\n\\boxed{5}\n```", "5"),
        ("```python\nprint(5)\n```So the answer is \\boxed{5}.", "5"),
        ("a ```\\boxed{5}``` on one line", "5"),
        (r"The radius is \boxed{3}, so the area is \boxed{9\pi}.", r"9\pi"),
        ("<think>\\boxed{6}</think>\nThe answer is \\boxed{5}", "5"),
        (r"Write it in \boxed{}. It is \boxed{7}", "7"),
        (r"\boxed{7}, as \boxed{answer}", "7"),
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed\pi", r"\pi"),
        ("~~~c\n\\boxed{4}\n~~~\n\\boxed{5}", "5"),
        ("```latex\n\\boxed{5}\n```", "5"),
        ("I run ```python\nprint('\\boxed{4}')\n```\n\\boxed{5}", "5"),
        ("the inline `\\boxed{5}`", "5"),
    ],
)
def test_the_last_box_outside_code(response: str, answer: str) -> None:
    found = extract(response)
    assert found.answer == answer
    assert found.boxed
    assert found.problem == ""
    assert response[found.start : found.end].strip() == answer


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        ("", "no_box"),
        ("the answer is 5", "no_box"),
        ("```python\n\\boxed{5}\n```", "no_box"),
        ("```output\n\\boxed{5}", "no_box"),
        (r"\boxed{5", "unclosed_box"),
        (r"\boxed{4} and \boxed{5", "unclosed_box"),
        (r"\boxed{{5}", "unclosed_box"),
        (r"\boxed{}", "empty_box"),
        (r"\boxed{ } and \boxed{...}", "empty_box"),
        (r"\boxedfoo{5}", "no_box"),
    ],
)
def test_no_answer_says_why_and_never_falls_back(response: str, problem: str) -> None:
    found = extract(response)
    assert found.answer is None
    assert found.problem == problem
    assert not found.boxed


def test_boxes_of_one_paragraph_are_reported() -> None:
    found = extract("\\boxed{1}\n\nso $\\boxed{2}$\nor $\\boxed{3}$ or \\boxed{4}")
    assert found.answer == "4"
    assert found.others == ("2", "3")


@pytest.mark.parametrize(
    ("response", "style", "answer"),
    [
        ("bla\n#### 72", Style.HASHES, "72"),
        ("#### 70\n#### 72\n", Style.HASHES, "72"),
        ("<answer> 5 </answer>", Style.TAG, "5"),
        ("<answer>4</answer> <answer>5</answer>", Style.TAG, "5"),
        ("The answer is 5.", Style.PHRASE, "5"),
        ("The final answer is: $5.5$. Done.", Style.PHRASE, "$5.5$"),
        ("Answer: 5", Style.PHRASE, "5"),
    ],
)
def test_other_styles_are_options(response: str, style: Style, answer: str) -> None:
    assert extract(response).answer is None
    found = extract(response, styles=(Style.BOX, style))
    assert (found.answer, found.kind, found.boxed) == (answer, style, False)


def test_the_first_style_that_marks_anything_decides() -> None:
    found = extract("#### 4\n\\boxed{5", styles=("box", "hashes"))
    assert found.problem == "unclosed_box"
    assert extract("<answer>5", styles=("tag",)).problem == "unclosed_tag"


@pytest.mark.parametrize("hostile", ["\\boxed{", "{{{{", "```\n", "\n \n"])
def test_the_work_is_linear_in_the_text(hostile: str, assert_linear: Callable[..., None]) -> None:
    assert_linear(lambda n: partial(extract, hostile * n + "\\boxed{1}"), 50_000)


@pytest.mark.parametrize("inner", ["\\text{%sx}", "\\text%sx", "%sx", "answer%sx"])
def test_white_space_in_a_box_is_read_once(inner: str, assert_linear: Callable[..., None]) -> None:
    assert_linear(lambda n: partial(extract, "\\boxed{" + inner % (" " * n) + "}"), 10_000)
