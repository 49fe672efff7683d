"""Probability with exact rational answers, asked for as p + q."""

import math
from collections import Counter
from fractions import Fraction
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import PRIME, fraction_sum, solve
from torl_env.problems.procedural.wording import listing

_LOWEST = "is $p/q$ in lowest terms. Find $p + q$."


class _Probability(Family[P]):
    subject = "probability"


class Dice(NamedTuple):
    """Dice and a residue of their total."""

    faces: tuple[int, ...]
    modulus: int
    rest: int


class DiceSum(_Probability[Dice]):
    """The total of mixed dice modulo m."""

    name = "dice_sum"
    summary = "probability that a sum of mixed dice has a given residue, as p+q"

    def draw(self, rng: Random, level: int) -> Dice:
        """2 to 14 dice, none of which makes the residues equally likely."""
        count = (2, 3, 5, 8, 14)[level - 1]
        while True:
            modulus = rng.randrange(3, 8 + 2 * level)
            sizes = [s for s in (4, 6, 8, 9, 10, 12, 14, 20) if math.gcd(s, modulus) == 1]
            if len(sizes) >= 2:
                break
        faces = tuple(rng.choice(sizes) for _ in range(count))
        return Dice(faces, modulus, rng.randrange(modulus))

    def answer(self, drawn: Dice) -> int:
        """The exact answer."""
        m = drawn.modulus
        ways: Counter[int] = Counter({0: 1})
        for sides in drawn.faces:
            following: Counter[int] = Counter()
            for rest, count in ways.items():
                for face in range(1, sides + 1):
                    following[(rest + face) % m] += count
            ways = following
        return fraction_sum(Fraction(ways[drawn.rest], math.prod(drawn.faces)))

    def phrase(self, drawn: Dice) -> tuple[str, ...]:
        """The question in all its wordings."""
        faces, m, r = listing(drawn.faces), drawn.modulus, drawn.rest
        return (
            f"Fair dice with {faces} faces, numbered from one up, are rolled. The probability that "
            f"the total is congruent to {r} modulo {m} {_LOWEST}",
            f"You roll one fair die each with {faces} faces (numbered starting at one). The "
            f"probability that the sum leaves remainder {r} when divided by {m} {_LOWEST}",
            f"For each of the numbers {faces} an integer is chosen uniformly from one up to it. "
            f"The probability that the sum of the chosen integers is {r} modulo {m} {_LOWEST}",
            f"A token stands on zero of a circle of places labelled with the residues modulo {m}. "
            f"It moves ahead by the total of fair dice with {faces} faces, numbered from one. The "
            f"probability that it stops on {r} {_LOWEST}",
        )


class Coin(NamedTuple):
    """A biased coin and a block of tosses."""

    block: str
    heads: int
    whole: int


class PatternWait(_Probability[Coin]):
    """Expected waiting time for a block of tosses."""

    name = "pattern_wait"
    summary = "expected tosses of a biased coin until a block appears, as p+q"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Coin:
        """Blocks of 2 to 9 tosses."""
        length = (2, 3, 4, 6, 9)[level - 1]
        block = "".join(rng.choice("HT") for _ in range(length))
        while True:
            whole = rng.randrange(3, 10 + 2 * level)
            heads = rng.randrange(1, whole)
            if math.gcd(heads, whole) == 1:
                return Coin(block, heads, whole)

    def answer(self, drawn: Coin) -> int:
        """The exact answer: Conway's sum over the block's self-overlaps."""
        heads = Fraction(drawn.heads, drawn.whole)
        expected, chance = Fraction(0), Fraction(1)
        for k, toss in enumerate(drawn.block, start=1):
            chance *= heads if toss == "H" else 1 - heads
            if drawn.block[:k] == drawn.block[-k:]:
                expected += 1 / chance
        return fraction_sum(expected)

    def phrase(self, drawn: Coin) -> tuple[str, ...]:
        """The question in all its wordings."""
        block, chance = drawn.block, f"${drawn.heads}/{drawn.whole}$"
        return (
            f"A coin shows heads with probability {chance}. It is tossed until the block {block} "
            f"appears in consecutive tosses. The expected number of tosses {_LOWEST}",
            f"Each toss of a coin is H with probability {chance} and T otherwise. On average, the "
            f"number of tosses until {block} has just appeared {_LOWEST}",
            f"A typist hits the key H with probability {chance} and else the key T, independently. "
            f"The expected number of keystrokes until the text ends in {block} {_LOWEST}",
            f"Independent letters, H with probability {chance} and T otherwise, are written in a "
            f"row until {block} stands at the end. The expected length of the row {_LOWEST}",
        )


class Walk(NamedTuple):
    """A walk on `0..end` that stops at both ends."""

    end: int
    start: int
    up: int
    down: int
    stay: int
    jump: int
    """How far a step up goes, at most to the end."""


class AbsorbingWalk(_Probability[Walk]):
    """Absorption probability of a walk."""

    name = "absorbing_walk"
    summary = "probability that a lazy or jumping walk ends at the top, as p+q"

    def draw(self, rng: Random, level: int) -> Walk:
        """4 to 25 places; steps up by two from level 4."""
        end = (4, 6, 9, 14, 24)[level - 1] + rng.randrange(3)
        return Walk(
            end,
            rng.randrange(1, end),
            rng.randrange(1, 6),
            rng.randrange(1, 6),
            rng.randrange(3) if level > 1 else 0,
            2 if level >= 4 else 1,
        )

    def answer(self, drawn: Walk) -> int:
        """The exact answer; staying does not change where the walk ends."""
        end, moving = drawn.end, drawn.up + drawn.down
        rows = [[Fraction(int(i == j)) for j in range(end + 1)] for i in range(end + 1)]
        for i in range(1, end):
            rows[i][min(end, i + drawn.jump)] -= Fraction(drawn.up, moving)
            rows[i][i - 1] -= Fraction(drawn.down, moving)
        right = [Fraction(0)] * end + [Fraction(1)]
        return fraction_sum(solve(rows, right)[drawn.start])

    def phrase(self, drawn: Walk) -> tuple[str, ...]:
        """The question in all its wordings."""
        end, start, up, down, stay, jump = drawn
        whole = up + down + stay
        far = "two" if jump == 2 else "one"
        rule = (
            f"up by {far} (but never beyond ${end}$) with probability ${up}/{whole}$, down by one "
        )
        rule += f"with probability ${down}/{whole}$"
        if stay:
            rule += f", and not at all with probability ${stay}/{whole}$"
        return (
            f"A token starts at ${start}$ on a line of integers. At each step it moves {rule}. It "
            f"stops on reaching zero or the upper end. The probability that it stops at the upper "
            f"end {_LOWEST}",
            f"A gambler has ${start}$ coins. In each round the fortune moves {rule}. The game ends "
            f"at zero or at the upper end. The probability that it ends at the upper end {_LOWEST}",
            f"A random walk begins at ${start}$ and moves, independently at each step, {rule}. It "
            f"is absorbed at zero and at the upper end. The probability of absorption at the upper "
            f"end {_LOWEST}",
            f"A lift stands at floor ${start}$. Every minute it moves {rule}. It breaks down at "
            f"floor zero and at the top floor. The probability that it breaks down at the top "
            f"{_LOWEST}",
        )


class Circle(NamedTuple):
    """A walk on a circle."""

    places: int
    steps: tuple[int, int]
    turns: int
    target: int


class CycleWalk(_Probability[Circle]):
    """Where a walk on a circle is after k steps."""

    name = "cycle_walk"
    summary = "probability of a place after k steps on a circle, p+q modulo a prime"

    def draw(self, rng: Random, level: int) -> Circle:
        """3 to 24 places, 4 to 320 steps; all places can be reached."""
        places = (3, 5, 7, 12, 20)[level - 1] + rng.randrange(4)
        count = (4, 8, 20, 60, 300)[level - 1] + rng.randrange(6 * level)
        first, second = sorted(rng.sample(range(1, places), 2))
        return Circle(places, (first, second), count, rng.randrange(places))

    def answer(self, drawn: Circle) -> int:
        """The exact answer."""
        ways = [1] + [0] * (drawn.places - 1)
        for _ in range(drawn.turns):
            ways = [sum(ways[i - s] for s in drawn.steps) for i in range(drawn.places)]
        return fraction_sum(Fraction(ways[drawn.target], 2**drawn.turns)) % PRIME

    def degenerate(self, drawn: Circle, answer: int) -> bool:
        """Also when the steps differ by a divisor of the circle, so that places repeat."""
        first, second = drawn.steps
        return answer <= 1 or math.gcd(second - first, drawn.places) > 1

    def phrase(self, drawn: Circle) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, (first, second), k, t = drawn
        end = f"is $p/q$ in lowest terms. Find $p + q$ modulo ${PRIME}$."
        return (
            f"A token moves around a circle of ${n}$ places, labelled in order from zero. It "
            f"starts at place zero; each step goes ahead by ${first}$ or ${second}$ places, "
            f"equally likely. The probability that it is at place ${t}$ after ${k}$ steps {end}",
            f"Modulo ${n}$, start with zero and add ${first}$ or ${second}$, chosen by a fair "
            f"coin, ${k}$ times. The probability that the result is ${t}$ {end}",
            f"The hand of a dial with ${n}$ marks points at mark zero. A fair coin decides ${k}$ "
            f"times whether it turns by ${first}$ or ${second}$ marks. The probability that it "
            f"then points at mark ${t}$, counting from zero in the sense of rotation, {end}",
            f"Let $X$ be the sum of ${k}$ independent numbers, each ${first}$ or ${second}$ with "
            f"equal probability. The probability that $X$ is congruent to ${t}$ modulo ${n}$ {end}",
        )


FAMILIES = (DiceSum(), PatternWait(), AbsorbingWalk(), CycleWalk())
