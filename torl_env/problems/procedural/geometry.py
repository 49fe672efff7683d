"""Geometry with exact answers: lattice points, triangle centres, integer triangles, areas."""

import math
from fractions import Fraction
from itertools import pairwise
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import fraction_sum


@family("geometry", "integer points in an ellipse")
def lattice_ellipse(rng: Random, level: int) -> Drawn:
    """Half-axes from 2 to 6,000."""
    low, high = ((2, 10), (8, 25), (20, 60), (100, 400), (2000, 6000))[level - 1]
    a, b = rng.randrange(low, high), rng.randrange(low, high)

    def answer() -> int:
        columns = (math.isqrt(b * b * (a * a - x * x) // (a * a)) for x in range(-a, a + 1))
        return sum(2 * half + 1 for half in columns)

    return Drawn(
        answer,
        (
            "How many points with integer coordinates lie inside or on the ellipse with centre "
            f"at the origin, half-axis {a} along the $x$-axis and half-axis {b} along the "
            "$y$-axis?",
            f"An ellipse is centred at the origin, its half-axes {a} and {b} lie along the $x$- "
            "and $y$-axis. Count the lattice points in it, boundary included.",
            "Find the number of integer points $(x, y)$ for which the sum of the squares of $x "
            f"/ {a}$ and $y / {b}$ does not exceed one.",
            "Lamps stand on all points with integer coordinates. How many lamps are within the "
            f"closed region where the squares of $x / {a}$ and $y / {b}$ sum to at most one?",
        ),
        {"a": a, "b": b},
    )


_CENTRES = {
    "G": "centroid",
    "O": "circumcentre",
    "H": "orthocentre",
    "N": "centre of the nine-point circle",
}


@family("geometry", "squared distance between two centres of a triangle, as p+q")
def triangle_centres(rng: Random, level: int) -> Drawn:
    """Coordinates up to 8, 12, 20, 40 or 90."""
    size = (8, 12, 20, 40, 90)[level - 1]
    while True:
        a, b, c = ((rng.randint(-size, size), rng.randint(-size, size)) for _ in range(3))
        if (b[0] - a[0]) * (c[1] - a[1]) != (c[0] - a[0]) * (b[1] - a[1]):
            break
    centres = "GO" if level == 1 else rng.choice(("GO", "GH", "OH", "GN", "HN"))
    first, second = (_CENTRES[letter] for letter in centres)
    end = "is $p/q$ in lowest terms. Find $p + q$."

    def answer() -> int:
        # All four centres are on Euler's line, at fixed ratios from O to H.
        (ax, ay), (bx, by), (cx, cy) = a, b, c
        double = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
        a2, b2, c2 = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
        ox = Fraction(a2 * (by - cy) + b2 * (cy - ay) + c2 * (ay - by), double)
        oy = Fraction(a2 * (cx - bx) + b2 * (ax - cx) + c2 * (bx - ax), double)
        line = (ax + bx + cx - 3 * ox) ** 2 + (ay + by + cy - 3 * oy) ** 2
        place = {"O": Fraction(0), "G": Fraction(1, 3), "N": Fraction(1, 2), "H": Fraction(1)}
        return fraction_sum(line * (place[centres[0]] - place[centres[1]]) ** 2)

    return Drawn(
        answer,
        (
            f"Triangle $ABC$ has $A = {a}$, $B = {b}$, $C = {c}$. The square of the distance "
            f"between its {first} and its {second} {end}",
            f"The points $A = {a}$, $B = {b}$ and $C = {c}$ form the triangle $ABC$. The squared "
            f"distance from its {first} to its {second} {end}",
            f"In the plane let $A = {a}$, $B = {b}$, $C = {c}$. The square of the length of the "
            f"segment that joins the {first} and the {second} of triangle $ABC$ {end}",
            f"Three buoys float at $A = {a}$, $B = {b}$ and $C = {c}$. A boat sails straight "
            f"from the {first} of $ABC$ to the {second}. The square of the length of its way "
            f"{end}",
        ),
        {"corners": (a, b, c), "centres": centres},
    )


@family("geometry", "acute or obtuse triangles with integer sides and given perimeter")
def integer_triangles(rng: Random, level: int) -> Drawn:
    """Perimeters from 12 to 5,000."""
    low, high = ((15, 40), (40, 120), (200, 500), (800, 1500), (3000, 5000))[level - 1]
    n, kind = rng.randrange(low, high), rng.choice(("acute", "obtuse", "scalene obtuse"))
    article = "a" if kind.startswith("s") else "an"

    def answer() -> int:
        # For each shortest side the kind changes once in the middle one.
        total = 0
        for a in range(1, n // 3 + 1):
            first, last = max(a, n // 2 - a + 1), (n - a) // 2
            low, high = first, last + 1
            while low < high:
                b = (low + high) // 2
                if a * a + b * b > (n - a - b) ** 2:
                    high = b
                else:
                    low = b + 1
            if kind == "acute":
                total += max(0, last + 1 - low)
                continue
            right = low > first and a * a + (low - 1) ** 2 == (n - a - low + 1) ** 2
            obtuse = max(0, low - first - right)
            total += obtuse
            if kind == "scalene obtuse" and obtuse and first == a:
                total -= 1
        return total

    return Drawn(
        answer,
        (
            f"How many non-congruent {kind} triangles have integer side lengths and perimeter "
            f"${n}$?",
            f"Count the {kind} triangles with integer sides whose perimeter is {n}; congruent "
            "triangles count once.",
            f"A wire of length {n} is bent into {article} {kind} triangle whose sides are whole "
            "numbers. How many different triangles are possible, up to congruence?",
            f"Find the number of multisets of three positive integers with sum {n} that are the "
            f"side lengths of {article} {kind} triangle.",
        ),
        {"total": n, "kind": kind},
        degenerate=lambda answer: answer <= 2,
    )


@family("geometry", "area of a union of rectangles", Group.TRANSFER)
def rectangle_union(rng: Random, level: int) -> Drawn:
    """2 to 18 rectangles, coordinates up to 10^5."""
    count, size = ((2, 10), (3, 20), (5, 50), (9, 200), (18, 10**5))[level - 1]
    boxes = []
    for _ in range(count):
        left, right = sorted(rng.sample(range(size + 1), 2))
        bottom, top = sorted(rng.sample(range(size + 1), 2))
        boxes.append((left, bottom, right, top))
    corners = "; ".join(f"$({a}, {b})$ and $({c}, {d})$" for a, b, c, d in boxes)

    def answer() -> int:
        # On the grid of all edges.
        xs = sorted({x for box in boxes for x in (box[0], box[2])})
        ys = sorted({y for box in boxes for y in (box[1], box[3])})
        area = 0
        for left, right in pairwise(xs):
            across = [box for box in boxes if box[0] <= left and right <= box[2]]
            for bottom, top in pairwise(ys):
                if any(box[1] <= bottom and top <= box[3] for box in across):
                    area += (right - left) * (top - bottom)
        return area

    return Drawn(
        answer,
        (
            "Find the area of the union of the axis-parallel rectangles with opposite corners "
            f"{corners}.",
            f"Axis-parallel rectangles are given by two opposite corners each: {corners}. What "
            "area do they cover together?",
            "Rectangular sheets of paper with sides parallel to the axes lie on a table; their "
            f"opposite corners are {corners}. How large is the part of the table that is covered?",
            "How many unit squares of the integer grid lie in at least one of the axis-parallel "
            f"rectangles with opposite corners {corners}?",
        ),
        {"boxes": boxes},
    )
