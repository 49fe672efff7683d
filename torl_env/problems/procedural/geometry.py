"""Geometry with exact answers: lattice points, triangle centres, integer triangles, areas."""

import math
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import fraction_sum


class _Geometry(Family[P]):
    subject = "geometry"


class Axes(NamedTuple):
    """Half-axes of an ellipse."""

    a: int
    b: int


class LatticeEllipse(_Geometry[Axes]):
    """Lattice points in an ellipse."""

    name = "lattice_ellipse"
    summary = "integer points in an ellipse"

    def draw(self, rng: Random, level: int) -> Axes:
        """Half-axes from 2 to 6,000."""
        low, high = ((2, 10), (8, 25), (20, 60), (100, 400), (2000, 6000))[level - 1]
        return Axes(rng.randrange(low, high), rng.randrange(low, high))

    def answer(self, drawn: Axes) -> int:
        """The exact answer."""
        a, b = drawn
        columns = (math.isqrt(b * b * (a * a - x * x) // (a * a)) for x in range(-a, a + 1))
        return sum(2 * half + 1 for half in columns)

    def phrase(self, drawn: Axes) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b = drawn
        return (
            f"How many points with integer coordinates lie inside or on the ellipse with centre at "
            f"the origin, half-axis {a} along the $x$-axis and half-axis {b} along the $y$-axis?",
            f"An ellipse is centred at the origin, its half-axes {a} and {b} lie along the $x$- "
            f"and $y$-axis. Count the lattice points in it, boundary included.",
            f"Find the number of integer points $(x, y)$ for which the sum of the squares of "
            f"$x / {a}$ and $y / {b}$ does not exceed one.",
            f"Lamps stand on all points with integer coordinates. How many lamps are within the "
            f"closed region where the squares of $x / {a}$ and $y / {b}$ sum to at most one?",
        )


Point = tuple[int, int]
_CENTRES = {
    "G": "centroid",
    "O": "circumcentre",
    "H": "orthocentre",
    "N": "centre of the nine-point circle",
}


class Triangle(NamedTuple):
    """Three corners and the letters of two centres."""

    corners: tuple[Point, Point, Point]
    centres: str


class TriangleCentres(_Geometry[Triangle]):
    """Distances between triangle centres."""

    name = "triangle_centres"
    summary = "squared distance between two centres of a triangle, as p+q"

    def draw(self, rng: Random, level: int) -> Triangle:
        """Coordinates up to 8, 12, 20, 40 or 90."""
        size = (8, 12, 20, 40, 90)[level - 1]
        while True:
            a, b, c = ((rng.randint(-size, size), rng.randint(-size, size)) for _ in range(3))
            if (b[0] - a[0]) * (c[1] - a[1]) != (c[0] - a[0]) * (b[1] - a[1]):
                break
        centres = "GO" if level == 1 else rng.choice(("GO", "GH", "OH", "GN", "HN"))
        return Triangle((a, b, c), centres)

    def answer(self, drawn: Triangle) -> int:
        """The exact answer: all four centres are on Euler's line, at fixed ratios from O to H."""
        (ax, ay), (bx, by), (cx, cy) = drawn.corners
        double = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
        a2, b2, c2 = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
        ox = Fraction(a2 * (by - cy) + b2 * (cy - ay) + c2 * (ay - by), double)
        oy = Fraction(a2 * (cx - bx) + b2 * (ax - cx) + c2 * (bx - ax), double)
        line = (ax + bx + cx - 3 * ox) ** 2 + (ay + by + cy - 3 * oy) ** 2
        place = {"O": Fraction(0), "G": Fraction(1, 3), "N": Fraction(1, 2), "H": Fraction(1)}
        first, second = (place[letter] for letter in drawn.centres)
        return fraction_sum(line * (first - second) ** 2)

    def phrase(self, drawn: Triangle) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b, c = drawn.corners
        first, second = (_CENTRES[letter] for letter in drawn.centres)
        end = "is $p/q$ in lowest terms. Find $p + q$."
        return (
            f"Triangle $ABC$ has $A = {a}$, $B = {b}$, $C = {c}$. The square of the distance "
            f"between its {first} and its {second} {end}",
            f"The points $A = {a}$, $B = {b}$ and $C = {c}$ form the triangle $ABC$. The squared "
            f"distance from its {first} to its {second} {end}",
            f"In the plane let $A = {a}$, $B = {b}$, $C = {c}$. The square of the length of the "
            f"segment that joins the {first} and the {second} of triangle $ABC$ {end}",
            f"Three buoys float at $A = {a}$, $B = {b}$ and $C = {c}$. A boat sails straight from "
            f"the {first} of $ABC$ to the {second}. The square of the length of its way {end}",
        )


class Perimeter(NamedTuple):
    """Integer triangles with a perimeter, of a kind."""

    total: int
    kind: str
    """`acute`, `obtuse` or `scalene obtuse`."""


class IntegerTriangles(_Geometry[Perimeter]):
    """Integer triangles of a given perimeter."""

    name = "integer_triangles"
    summary = "acute or obtuse triangles with integer sides and given perimeter"

    def draw(self, rng: Random, level: int) -> Perimeter:
        """Perimeters from 12 to 5,000."""
        low, high = ((15, 40), (40, 120), (200, 500), (800, 1500), (3000, 5000))[level - 1]
        return Perimeter(
            rng.randrange(low, high), rng.choice(("acute", "obtuse", "scalene obtuse"))
        )

    def answer(self, drawn: Perimeter) -> int:
        """The exact answer: for each shortest side the kind changes once in the middle one."""
        n, total = drawn.total, 0
        for a in range(1, n // 3 + 1):
            first, last = max(a, n // 2 - a + 1), (n - a) // 2
            low, high = first, last + 1
            while low < high:
                b = (low + high) // 2
                if a * a + b * b > (n - a - b) ** 2:
                    high = b
                else:
                    low = b + 1
            if drawn.kind == "acute":
                total += max(0, last + 1 - low)
                continue
            right = low > first and a * a + (low - 1) ** 2 == (n - a - low + 1) ** 2
            obtuse = max(0, low - first - right)
            total += obtuse
            if drawn.kind == "scalene obtuse" and obtuse and first == a:
                total -= 1
        return total

    def degenerate(self, drawn: Perimeter, answer: int) -> bool:
        """None, one or two."""
        return answer <= 2

    def phrase(self, drawn: Perimeter) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, kind = drawn
        article = "a" if kind.startswith("s") else "an"
        return (
            f"How many non-congruent {kind} triangles have integer side lengths and perimeter "
            f"${n}$?",
            f"Count the {kind} triangles with integer sides whose perimeter is {n}; congruent "
            f"triangles count once.",
            f"A wire of length {n} is bent into {article} {kind} triangle whose sides are whole "
            f"numbers. How many different triangles are possible, up to congruence?",
            f"Find the number of multisets of three positive integers with sum {n} that are the "
            f"side lengths of {article} {kind} triangle.",
        )


class Rectangles(NamedTuple):
    """Rectangles as `(left, bottom, right, top)`."""

    boxes: tuple[tuple[int, int, int, int], ...]


class RectangleUnion(_Geometry[Rectangles]):
    """The area of a union of rectangles."""

    name = "rectangle_union"
    summary = "area of a union of rectangles"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Rectangles:
        """2 to 18 rectangles, coordinates up to 10^5."""
        count, size = ((2, 10), (3, 20), (5, 50), (9, 200), (18, 10**5))[level - 1]
        boxes = []
        for _ in range(count):
            left, right = sorted(rng.sample(range(size + 1), 2))
            bottom, top = sorted(rng.sample(range(size + 1), 2))
            boxes.append((left, bottom, right, top))
        return Rectangles(tuple(boxes))

    def answer(self, drawn: Rectangles) -> int:
        """The exact answer, on the grid of all edges."""
        xs = sorted({x for box in drawn.boxes for x in (box[0], box[2])})
        ys = sorted({y for box in drawn.boxes for y in (box[1], box[3])})
        area = 0
        for left, right in pairwise(xs):
            across = [box for box in drawn.boxes if box[0] <= left and right <= box[2]]
            for bottom, top in pairwise(ys):
                if any(box[1] <= bottom and top <= box[3] for box in across):
                    area += (right - left) * (top - bottom)
        return area

    def phrase(self, drawn: Rectangles) -> tuple[str, ...]:
        """The question in all its wordings."""
        boxes = "; ".join(f"$({a}, {b})$ and $({c}, {d})$" for a, b, c, d in drawn.boxes)
        return (
            f"Find the area of the union of the axis-parallel rectangles with opposite corners "
            f"{boxes}.",
            f"Axis-parallel rectangles are given by two opposite corners each: {boxes}. What area "
            f"do they cover together?",
            f"Rectangular sheets of paper with sides parallel to the axes lie on a table; their "
            f"opposite corners are {boxes}. How large is the part of the table that is covered?",
            f"How many unit squares of the integer grid lie in at least one of the axis-parallel "
            f"rectangles with opposite corners {boxes}?",
        )


FAMILIES = (LatticeEllipse(), TriangleCentres(), IntegerTriangles(), RectangleUnion())
