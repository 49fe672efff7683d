"""Inputs of the grading benchmark: a realistic mix, cut references, hostile answers."""

import random
import re
from collections.abc import Callable, Sequence

Pair = tuple[str, str]
"""Reference and answer."""

_DIGIT = re.compile(r"\d")


def respelled(answer: str, rng: random.Random) -> str:
    """The same answer as another writer would put it."""
    spell = rng.choice(_SPELLINGS)
    return spell(answer)


def perturbed(answer: str, rng: random.Random) -> str:
    """A wrong answer near the right one: one digit is changed."""
    digits = list(_DIGIT.finditer(answer))
    if not digits:
        return answer + "+1"
    match = rng.choice(digits)
    digit = str((int(match[0]) + rng.randrange(1, 10)) % 10)
    return answer[: match.start()] + digit + answer[match.end() :]


def _unspaced(answer: str) -> str:
    return answer if "\\" in answer or " " not in answer else answer.replace(" ", "")


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda answer: answer,
    lambda answer: f"${answer}$",
    lambda answer: answer.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", ""),
    _unspaced,
)


def mix(answers: Sequence[str], seed: int = 0) -> list[Pair]:
    """Half right in another spelling, half wrong by one digit, in random order."""
    rng = random.Random(seed)
    pairs = [
        (answer, respelled(answer, rng) if index % 2 else perturbed(answer, rng))
        for index, answer in enumerate(answers)
    ]
    rng.shuffle(pairs)
    return pairs


def truncations(references: Sequence[str]) -> list[Pair]:
    """The leading integer of every reference that is not that integer: all wrong.

    References whose unit, percent or degree sign or base ten alone follows the integer are left
    out, and so are ratios, which are numbers, and sums of thousands.
    """
    out: list[Pair] = []
    for reference in references:
        match = re.match(r"-?\d+(?![\d.,:])", reference)
        if match is None or match[0] == reference:
            continue
        rest = re.sub(r"^(?:\\[,;:! ]|[\s~])+", "", reference[match.end() :])
        marks = (
            "%",
            "\\%",
            "^\\circ",
            "^{\\circ}",
            "_{10}",
            "\\text",
            "\\mbox",
            "\\mathrm",
            "\\,",
            "\\!",
            ":",
        )
        if rest and not rest.startswith(marks) and not re.fullmatch(r"[a-z ]{2,}", rest):
            out.append((reference, match[0]))
    return out


def _code_payloads(marker: str) -> list[str]:
    calls = (
        f"__import__('pathlib').Path('{marker}').touch()",
        f"open('{marker}','w')",
        f"exec(\"open('{marker}','w')\")",
        f"eval(\"open('{marker}','w')\")",
        f"(lambda: open('{marker}','w'))()",
        f"[open('{marker}','w') for _ in range(1)]",
        f"().__class__.__base__.__subclasses__()[0] or open('{marker}','w')",
        f"sympify(\"__import__('os').mknod('{marker}')\")",
        f"parse_expr(\"open('{marker}','w')\")",
        f"Function('f')(open('{marker}','w'))",
        f"lambdify(x, open('{marker}','w'))",
    )
    payloads = list(calls)
    payloads += [
        f"\\begin{{pmatrix}}{calls[1]}\\end{{pmatrix}}",
        f"\\pi*{calls[1]}",
        f"42 or {calls[1]}",
    ]
    payloads += [f"\\text{{{calls[0]}}}", f"S({calls[1]!r})", f"Matrix([[{calls[1]}]])"]
    return payloads


def hostile(marker: str) -> list[str]:
    """Answers made to hang, exhaust, confuse or hijack a grader.

    Args:
        marker: Path of a file that payloads try to create; it must not exist afterwards.
    """
    big = 10_000
    return [
        *_code_payloads(marker),
        "9^{9^{9^{9^9}}}",
        "9**9**9**9",
        "7^{1000000000}",
        "7^{1000000001}",
        "10^{10^{10^{10}}}",
        "(10^8)!",
        "((((9!)!)!)!)!",
        "99999!" + "!" * 50,
        r"\binom{1000000000}{500000000}",
        r"\sum_{k=1}^{1000000000000} k",
        r"\sum_{k=1}^{300}\sum_{j=1}^{300}\sum_{i=1}^{300} ijk",
        r"\prod_{k=1}^{399} (k^{399})!",
        r"\prod_{k=1}^{100000000} k",
        "(a+b+c+d+e)^{300}",
        "(x+1)^{100000}",
        "(x+y+z)^{12}(x-y-z)^{12}(x+2y)^{12}",
        "+".join(f"x^{{{k}}}" for k in range(300)),
        "+".join(f"\\sin^{{{k}}}(x)" for k in range(2, 60)),
        "+".join(f"\\frac{{1}}{{x+{k}}}" for k in range(1, 60)),
        "+".join(f"\\frac{{{k}}}{{{k + 1}}}" for k in range(1, 300)),
        "+".join(f"\\frac{{1}}{{{2900 - k}!}}" for k in range(100)),
        "*".join(f"(x-{k})" for k in range(200)),
        "*".join(f"(x_{{{k}}}+y_{{{k}}})" for k in range(40)),
        "x" * 4000,
        "1" * 4000,
        "1" * 1_000_000,
        "." * 4000,
        "-" * 4000,
        "+-" * 2000 + "1",
        "!" * 4000,
        "5" + "!" * 900,
        "'" * 4000,
        "x" + "'" * 3000,
        "%" * 4000,
        "42" + "%" * 3000,
        "42" + "^" * 2000,
        "2^" * 1000 + "2",
        "x_" * 1500 + "x",
        "|" * 4000,
        "|x" * 1000,
        "|" * 30 + "x" + "|" * 30,
        "{" * big + "}" * big,
        "{" * big,
        "}" * big,
        "(" * big + "1" + ")" * big,
        "(" * 1000 + "1" + ")" * 1000,
        "[" * 1500 + "]" * 1500,
        "\\{" * 900 + "\\}" * 900,
        "(" * 39 + "1" + ")" * 39,
        "\\frac{" * 500 + "1" + "}{2}" * 500,
        "\\frac12" * 500,
        "\\sqrt" * 800 + "2",
        "\\sqrt{" * 600 + "2" + "}" * 600,
        "\\text{" * 600 + "a" + "}" * 600,
        "\\boxed{" * 500 + "42" + "}" * 500,
        "\\left" * 900,
        "\\" * 4000,
        "\\\\" * 1500 + "frac",
        "$" * 4000,
        "a" * 1_000_000,
        " " * 1_000_000,
        " " * 1_000_000 + "41",
        "word " * 800,
        ",".join(str(k) for k in range(1000)),
        ",".join(str(k) for k in range(199)),
        ",".join(f"\\sqrt{{{k}}}" for k in range(2, 190)),
        "(" + ",".join(f"\\pm {k}" for k in range(100)) + ")",
        "\\pm " * 500 + "1",
        "\\pm\\sqrt{\\pm\\sqrt{\\pm\\sqrt{\\pm\\sqrt{\\pm 2}}}}",
        "=".join(["x"] * 900),
        "=".join(["1+1"] * 400),
        "<".join(str(k) for k in range(400)),
        "\\cup".join(f"({k},{k + 1})" for k in range(150)),
        "\\cap".join("(0,1)" for _ in range(150)),
        "\\begin{pmatrix}" + "&".join("1" for _ in range(600)) + "\\end{pmatrix}",
        "\\begin{vmatrix}" + "\\\\".join("&".join("x" * 9) for _ in range(9)) + "\\end{vmatrix}",
        "\\begin{pmatrix}" * 300,
        "\\begin{" * 500,
        "0." + "0" * 900 + "1",
        "0." + "3" * 3000,
        "1e999999999",
        "1e-999999999",
        "1e999",
        "\\tan(10^{100000})",
        "\\sin(10^{10^5})",
        "e^{e^{e^{e^{e}}}}",
        "\\ln(\\ln(\\ln(\\ln(10^{1000}))))",
        "\\Gamma(10^{10})",
        "\\int_0^1 \\int_0^1 \\int_0^1 e^{x^2y^2z^2} dx dy dz",
        "\\lim_{x\\to 0} \\frac{\\sin(\\tan x)-\\tan(\\sin x)}{x^7}",
        "x \\bmod " * 400 + "7",
        "\\gcd(" * 300 + "1" + ")" * 300,
        "\\lfloor " * 300 + "1" + "\\rfloor" * 300,
        "4\x002",
        "42\x00",
        "4\ud8002",
        "\ud800" * 1000,
        "\u200b" * 3000 + "41",
        "4\u202e2",
        "٤٢",
        "४२",
        "\U0001d7d2\U0001d7cf",
        "\ufdfa" * 1000,
        "a\u0301" * 1500,
        "\\x41",
        "%s%n%p",
        "../../etc/passwd",
        "'; DROP TABLE answers; --",
        "<script>alert(42)</script>",
        "${jndi:ldap://x}",
        "\\input{/etc/passwd}",
        "\\write18{touch x}",
        "\\def\\x{\\x}\\x",
        "\\newcommand{\\a}{\\a\\a}\\a",
    ]
