"""docs/diagnostics.md has every slug the source can say, once, and no other."""

import re
from collections import Counter

from tests.docs.slugs import ROOT, in_source

PAGE = ROOT / "docs" / "diagnostics.md"


def documented() -> Counter[str]:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return Counter(slug for row in rows for slug in re.findall(r"`([a-z0-9-]+)`", row))


def test_every_slug_is_documented_and_none_is_stale() -> None:
    known, listed = in_source(), documented()
    assert {slug: place for slug, place in known.items() if slug not in listed} == {}
    assert sorted(set(listed) - set(known)) == []
    assert [slug for slug, times in listed.items() if times > 1] == []


def test_slugs_of_every_way_to_write_one_are_seen() -> None:
    known = in_source()
    ways = {"nothing-fits", "missing-workdir", "bad-path", "plan-stale", "stray-colon", "bad-usage", "mount-over-files"}
    assert ways - set(known) == set()
