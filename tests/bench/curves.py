"""Growth curves as an SVG of our own few lines: the same data gives the same bytes, and it can be read on light and on dark pages.

Both axes are logarithmic, since what is compared is how fast things grow: a straight line that rises by one decade per decade is growth
in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 36, 96
COLORS = (("#0072b2", "#56b4e9"), ("#d55e00", "#e69f00"), ("#00785a", "#2ec4a0"), ("#8a4b80", "#e29bc8"))
"""Of one line on light and on dark: the colours of Okabe and Ito, which people with colour blindness tell apart."""
MARKS = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`points`: (how many times as much, seconds), both above zero, ascending. `kind`: its colour and mark, the same in every chart."""

    name: str
    kind: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    title: str
    across: str
    up: str
    lines: tuple[Line, ...]


def draw(charts: Sequence[Chart]) -> str:
    """The charts side by side."""
    width = WIDTH * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img">',
        f"<title>{escape('; '.join(chart.title for chart in charts))}</title>",
        _style(),
        f'<rect class="page" width="{width}" height="{HEIGHT}"/>',
    ]
    for number, chart in enumerate(charts):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_chart(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _style() -> str:
    light = "".join(f".l{i}{{stroke:{color}}}.m{i}{{fill:{color}}}" for i, (color, _) in enumerate(COLORS))
    dark = "".join(f".l{i}{{stroke:{color}}}.m{i}{{fill:{color}}}" for i, (_, color) in enumerate(COLORS))
    return (
        "<style>text{font:12px sans-serif;fill:#1f2328}.title{font-size:14px;font-weight:600}.page{fill:#ffffff}"
        ".grid{stroke:#d0d7de;stroke-width:1}.line{fill:none;stroke-width:2}"
        f"{light}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.page{{fill:#0d1117}}.grid{{stroke:#3d444d}}{dark}}}</style>"
    )


def _chart(chart: Chart) -> list[str]:
    points = [point for line in chart.lines for point in line.points]
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y = 10 ** math.floor(math.log10(min(y for _, y in points)))
    high_y = 10 ** math.ceil(math.log10(max(y for _, y in points)))

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / low_x) / math.log(high_x / low_x)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / low_y) / math.log(high_y / low_y)

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}</text>']
    for y in _ticks(low_y, high_y):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in sorted({x for x, _ in points}):
        parts.append(f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">×{x:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - BOTTOM + 36}" text-anchor="middle">{escape(chart.across)}</text>'
    )
    parts.append(f'<text transform="translate(16 {middle:g}) rotate(-90)" text-anchor="middle">{escape(chart.up)}</text>')
    for number, line in enumerate(chart.lines):
        kind = line.kind % len(COLORS)
        places = [(across(x), up(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line l{kind}" points="{path}"/>')
        parts += [_mark(kind, x, y) for x, y in places]
        # Two names per row below the axis.
        x, y = LEFT + number % 2 * 180, HEIGHT - 36 + number // 2 * 20
        parts += [_mark(kind, x, y), f'<text x="{x + 10}" y="{y + 4}">{escape(line.name)}</text>']
    return parts


def _ticks(low: float, high: float) -> list[float]:
    decades = round(math.log10(high / low))
    return [low * 10**power * step for power in range(decades) for step in (1, 2, 5)] + [high]


def _mark(kind: int, x: float, y: float) -> str:
    """A mark of its own per line, for those who see no colours."""
    match MARKS[kind]:
        case "circle":
            return f'<circle class="m{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case "square":
            corners = ((-4, -4), (4, -4), (4, 4), (-4, 4))
        case "triangle":
            corners = ((0, -5), (5, 4), (-5, 4), (0, -5))
        case _:
            corners = ((0, -5), (5, 0), (0, 5), (-5, 0))
    return f'<polygon class="m{kind}" points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)}"/>'
