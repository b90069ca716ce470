"""The growth chart: the same bytes for the same data, everything inside its frame, and readable by programs."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tests.bench.curves import HEIGHT, WIDTH, Chart, Line, draw

CHARTS = (
    Chart(
        title="More offers",
        across="times <the> catalog",
        up="seconds",
        lines=(
            Line(name="one & only", kind=0, points=((1, 0.4), (10, 0.5))),
            Line(name="chain", kind=1, points=((1, 0.5), (3, 0.75), (10, 30.0))),
        ),
    ),
    Chart(title="More tasks", across="times", up="seconds", lines=(Line(name="flat", kind=3, points=((1, 1.0), (2, 1.5))),)),
)


def test_equal_data_gives_equal_bytes() -> None:
    assert draw(CHARTS) == draw(CHARTS)


def test_it_is_xml_with_its_texts_escaped() -> None:
    tree = ElementTree.fromstring(draw(CHARTS))
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert {"times <the> catalog", "one & only", "seconds", "×3"} <= set(texts)


def test_everything_is_inside() -> None:
    drawn = draw(CHARTS)
    for points in re.findall(r'points="([^"]+)"', drawn):
        for x, y in (map(float, pair.split(",")) for pair in points.split()):
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_dark_pages_are_thought_of() -> None:
    assert "prefers-color-scheme:dark" in draw(CHARTS)
