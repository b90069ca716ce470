"""The HTML page needs nothing but itself, and says what the other formats say."""

from __future__ import annotations

import re

from tests.report.plans import report

from skyc.compiler.report import compose, render_html

PAGE = render_html(compose(report()))


def test_a_page_asks_nobody_for_anything() -> None:
    style = PAGE.partition("<style>")[2].partition("</style>")[0]
    assert "{" in style, "the style is in the page"
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(r"<(?:script|link|img|iframe|object|form|a)\b", PAGE)
    assert "default-src 'none'" in PAGE


def test_a_page_suits_a_phone_a_dark_room_and_paper() -> None:
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in PAGE
    for rule in ("prefers-color-scheme: dark", "max-width: 40rem", "@media print", "overflow-wrap: anywhere"):
        assert rule in PAGE


def test_colours_are_told_apart_on_their_ground() -> None:
    """WCAG 2 AA: text against what is behind it, at least 4.5 to 1, in the light and in the dark."""
    for block in re.findall(r":root \{(.*?)\}", PAGE, re.DOTALL)[:2]:
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for ground in ("back", "box", "add", "take", "alter"):
            assert contrast(colours["text"], colours[ground]) >= 4.5, ground
        for ground in ("back", "box"):
            assert contrast(colours["soft"], colours[ground]) >= 4.5, ground
        for tone in ("calm", "caution", "failed"):
            assert contrast(colours[tone], colours["back"]) >= 3, tone


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
