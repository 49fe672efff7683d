"""Probability with exact rational answers, asked for as p + q."""

import math
from collections import Counter
from fractions import Fraction
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import PRIME, fraction_sum, solve
from torl_env.problems.procedural.wording import listing

_LOWEST = "is $p/q$ in lowest terms. Find $p + q$."


@family("probability", "probability that a sum of mixed dice has a given residue, as p+q")
def dice_sum(rng: Random, level: int) -> Drawn:
    """2 to 14 dice, none of which makes the residues equally likely."""
    count = (2, 3, 5, 8, 14)[level - 1]
    while True:
        m = rng.randrange(3, 8 + 2 * level)
        sizes = [s for s in (4, 6, 8, 9, 10, 12, 14, 20) if math.gcd(s, m) == 1]
        if len(sizes) >= 2:
            break
    dice = [rng.choice(sizes) for _ in range(count)]
    faces, r = listing(dice), rng.randrange(m)

    def answer() -> int:
        ways: Counter[int] = Counter({0: 1})
        for sides in dice:
            following: Counter[int] = Counter()
            for rest, count in ways.items():
                for face in range(1, sides + 1):
                    following[(rest + face) % m] += count
            ways = following
        return fraction_sum(Fraction(ways[r], math.prod(dice)))

    return Drawn(
        answer,
        (
            f"Fair dice with {faces} faces, numbered from one up, are rolled. The probability "
            f"that the total is congruent to {r} modulo {m} {_LOWEST}",
            f"You roll one fair die each with {faces} faces (numbered starting at one). The "
            f"probability that the sum leaves remainder {r} when divided by {m} {_LOWEST}",
            f"For each of the numbers {faces} an integer is chosen uniformly from one up to it. "
            f"The probability that the sum of the chosen integers is {r} modulo {m} {_LOWEST}",
            "A token stands on zero of a circle of places labelled with the residues modulo "
            f"{m}. It moves ahead by the total of fair dice with {faces} faces, numbered from "
            f"one. The probability that it stops on {r} {_LOWEST}",
        ),
        {"faces": dice, "modulus": m, "rest": r},
    )


@family(
    "probability", "expected tosses of a biased coin until a block appears, as p+q", Group.TRANSFER
)
def pattern_wait(rng: Random, level: int) -> Drawn:
    """Blocks of 2 to 9 tosses."""
    length = (2, 3, 4, 6, 9)[level - 1]
    block = "".join(rng.choice("HT") for _ in range(length))
    while True:
        whole = rng.randrange(3, 10 + 2 * level)
        heads = rng.randrange(1, whole)
        if math.gcd(heads, whole) == 1:
            break
    chance = f"${heads}/{whole}$"

    def answer() -> int:
        # Conway's sum over the block's self-overlaps.
        odds = {"H": Fraction(heads, whole), "T": 1 - Fraction(heads, whole)}
        expected, prefix = Fraction(0), Fraction(1)
        for k, toss in enumerate(block, start=1):
            prefix *= odds[toss]
            if block[:k] == block[-k:]:
                expected += 1 / prefix
        return fraction_sum(expected)

    return Drawn(
        answer,
        (
            f"A coin shows heads with probability {chance}. It is tossed until the block {block} "
            f"appears in consecutive tosses. The expected number of tosses {_LOWEST}",
            f"Each toss of a coin is H with probability {chance} and T otherwise. On average, "
            f"the number of tosses until {block} has just appeared {_LOWEST}",
            f"A typist hits the key H with probability {chance} and else the key T, "
            f"independently. The expected number of keystrokes until the text ends in {block} "
            f"{_LOWEST}",
            f"Independent letters, H with probability {chance} and T otherwise, are written in a "
            f"row until {block} stands at the end. The expected length of the row {_LOWEST}",
        ),
        {"block": block, "heads": heads, "whole": whole},
    )


@family("probability", "probability that a lazy or jumping walk ends at the top, as p+q")
def absorbing_walk(rng: Random, level: int) -> Drawn:
    """4 to 25 places; steps up by two from level 4."""
    end = (4, 6, 9, 14, 24)[level - 1] + rng.randrange(3)
    start, up, down = rng.randrange(1, end), rng.randrange(1, 6), rng.randrange(1, 6)
    stay = rng.randrange(3) if level > 1 else 0
    jump = 2 if level >= 4 else 1
    whole = up + down + stay
    far = f"one (but never beyond ${end}$)"
    if jump == 2:
        far = f"two (by one where two would lead beyond the upper end, ${end}$)"
    rule = f"up by {far} with probability ${up}/{whole}$, down by one "
    rule += f"with probability ${down}/{whole}$"
    if stay:
        rule += f", and not at all with probability ${stay}/{whole}$"

    def answer() -> int:
        # Staying does not change where the walk ends.
        moving = up + down
        rows = [[Fraction(int(i == j)) for j in range(end + 1)] for i in range(end + 1)]
        for i in range(1, end):
            rows[i][min(end, i + jump)] -= Fraction(up, moving)
            rows[i][i - 1] -= Fraction(down, moving)
        right = [Fraction(0)] * end + [Fraction(1)]
        return fraction_sum(solve(rows, right)[start])

    return Drawn(
        answer,
        (
            f"A token starts at ${start}$ on a line of integers. At each step it moves {rule}. "
            "It stops on reaching zero or the upper end. The probability that it stops at the "
            f"upper end {_LOWEST}",
            f"A gambler has ${start}$ coins. In each round the fortune moves {rule}. The game "
            "ends at zero or at the upper end. The probability that it ends at the upper end "
            f"{_LOWEST}",
            f"A random walk begins at ${start}$ and moves, independently at each step, {rule}. "
            "It is absorbed at zero and at the upper end. The probability of absorption at the "
            f"upper end {_LOWEST}",
            f"A lift stands at floor ${start}$. Every minute it moves {rule}. It breaks down at "
            "floor zero and at the top floor. The probability that it breaks down at the top "
            f"{_LOWEST}",
        ),
        {"end": end, "start": start, "up": up, "down": down, "stay": stay, "jump": jump},
    )


@family("probability", "probability of a place after k steps on a circle, p+q modulo a prime")
def cycle_walk(rng: Random, level: int) -> Drawn:
    """3 to 24 places, 4 to 320 steps; all places can be reached."""
    n = (3, 5, 7, 12, 20)[level - 1] + rng.randrange(4)
    k = (4, 8, 20, 60, 300)[level - 1] + rng.randrange(6 * level)
    first, second = sorted(rng.sample(range(1, n), 2))
    t = rng.randrange(n)
    end = f"is $p/q$ in lowest terms. Find $p + q$ modulo ${PRIME}$."

    def answer() -> int:
        ways = [1] + [0] * (n - 1)
        for _ in range(k):
            ways = [ways[i - first] + ways[i - second] for i in range(n)]
        return fraction_sum(Fraction(ways[t], 2**k)) % PRIME

    return Drawn(
        answer,
        (
            f"A token moves around a circle of ${n}$ places, labelled in order from zero. It "
            f"starts at place zero; each step goes ahead by ${first}$ or ${second}$ places, "
            f"equally likely. The probability that it is at place ${t}$ after ${k}$ steps {end}",
            f"Modulo ${n}$, start with zero and add ${first}$ or ${second}$, chosen by a fair "
            f"coin, ${k}$ times. The probability that the result is ${t}$ {end}",
            f"The hand of a dial with ${n}$ marks points at mark zero. A fair coin decides ${k}$ "
            f"times whether it turns by ${first}$ or ${second}$ marks. The probability that it "
            f"then points at mark ${t}$, counting from zero in the sense of rotation, {end}",
            f"Let $X$ be the sum of ${k}$ independent numbers, each ${first}$ or ${second}$ with "
            f"equal probability. The probability that $X$ is congruent to ${t}$ modulo ${n}$ "
            f"{end}",
        ),
        {"places": n, "steps": (first, second), "turns": k, "target": t},
        # Places repeat where the steps differ by a divisor of the circle.
        degenerate=lambda answer: answer <= 1 or math.gcd(second - first, n) > 1,
    )
