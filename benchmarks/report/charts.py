"""Line charts as inline SVG: no script, no network, colours from the page's style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 42, 10, 10, 36


@dataclass(frozen=True, slots=True)
class Curve:
    """One line with an optional band."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    """`nan` breaks the line."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    """Index of the style sheet's colours `--c0` to `--c5`."""
    dash: str = ""


def line_chart(title: str, curves: Sequence[Curve], share: bool) -> str:
    """One chart as a `<figure>`.

    Args:
        title: Caption and accessible name.
        curves: At least one point among them.
        share: The axis shows 0 to 100 %.
    """
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True)]
    points = [(x, y) for x, y in points if isfinite(y)]
    if not points:
        return f"<figure><figcaption>{escape(title)}</figcaption><p>not measured</p></figure>"
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    low, high = (0.0, 1.0) if share else _nice(min(ys), max(ys))
    scale = _Scale(min(xs), max(xs), low, high)
    body = [_grid(scale, share), *(_curve(scale, curve) for curve in curves)]
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg>{_legend(curves)}</figure>"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to positions in the picture."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        span = self.x1 - self.x0
        part = (value - self.x0) / span if span else 0.5
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        part = (min(max(value, self.y0), self.y1) - self.y0) / ((self.y1 - self.y0) or 1)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that span an interval.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0, 15)
    [0.0, 5.0, 10.0, 15.0]
    """
    step = _step(high - low, count)
    first = ceil(low / step - 1e-9)
    last = floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _step(span: float, count: int) -> float:
    if span <= 0:
        return 1.0
    power = 10.0 ** floor(log10(span / count))
    return next(power * unit for unit in (1, 2, 5, 10) if power * unit * count >= span * 0.999)


def _nice(low: float, high: float) -> tuple[float, float]:
    if low == high:
        return low - 0.5, high + 0.5
    step = _step(high - low, 5)
    return floor(low / step) * step, ceil(high / step) * step


def _grid(scale: _Scale, share: bool) -> str:
    parts = []
    for value in ticks(scale.y0, scale.y1):
        y = scale.y(value)
        text = f"{value:.0%}" if share else f"{value:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
    for value in ticks(scale.x0, scale.x1):
        if value == int(value):
            parts.append(
                f'<text x="{scale.x(value)}" y="{HEIGHT - BOTTOM + 16}" '
                f'text-anchor="middle">{value:g}</text>'
            )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">step</text>')
    return "".join(parts)


def _curve(scale: _Scale, curve: Curve) -> str:
    parts = [_band(scale, curve)] if len(curve.low) else []
    style = f'class="curve" style="stroke:var(--c{curve.colour})"'
    dash = f' stroke-dasharray="{curve.dash}"' if curve.dash else ""
    for piece in _pieces(curve.x, curve.y):
        line = " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in piece)
        parts.append(f'<polyline {style}{dash} points="{line}"/>')
    for index, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        if isfinite(y):
            parts.append(
                f'<circle style="fill:var(--c{curve.colour})" cx="{scale.x(x)}" '
                f'cy="{scale.y(y)}" r="2.4"><title>{escape(_tip(curve, index))}</title></circle>'
            )
    return "".join(parts)


def _tip(curve: Curve, index: int) -> str:
    text = f"{curve.label}, step {curve.x[index]:g}: {curve.y[index]:.3f}"
    if len(curve.low) and isfinite(curve.low[index]):
        text += f" [{curve.low[index]:.3f}, {curve.high[index]:.3f}]"
    return text


def _band(scale: _Scale, curve: Curve) -> str:
    rows = [
        (x, low, high)
        for x, low, high in zip(curve.x, curve.low, curve.high, strict=True)
        if isfinite(low) and isfinite(high)
    ]
    if not rows:
        return ""
    upper = [f"{scale.x(x)},{scale.y(high)}" for x, _, high in rows]
    lower = [f"{scale.x(x)},{scale.y(low)}" for x, low, _ in reversed(rows)]
    points = " ".join(upper + lower)
    return f'<polygon class="band" style="fill:var(--c{curve.colour})" points="{points}"/>'


def _pieces(x: Sequence[float], y: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Runs of finite points."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in zip(x, y, strict=True):
        if isfinite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if len(piece) > 1]


def _legend(curves: Sequence[Curve]) -> str:
    if len(curves) < 2:
        return ""
    entries = "".join(
        f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><line class="curve" '
        f'style="stroke:var(--c{curve.colour})"'
        + (f' stroke-dasharray="{curve.dash}"' if curve.dash else "")
        + f' x1="0" x2="24" y1="4" y2="4"/></svg>{escape(curve.label)}</li>'
        for curve in curves
    )
    return f'<ul class="legend">{entries}</ul>'
