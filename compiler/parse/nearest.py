""" "Did you mean": the one known word closest to what was written, or none when nothing is close."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 64
"""Longer words are not compared: they are no typing mistake, and the distance costs the product of the lengths."""


def distance(a: str, b: str) -> int:
    """Fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`."""
    before: list[int] = []
    previous = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        current = [i]
        for j, right in enumerate(b, start=1):
            cost = min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        before, previous = previous, current
    return previous[-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The closest of `known` (ties: alphabetical), if at most a third of its letters differ; case does not count."""
    if not word or len(word) > LONGEST:
        return None
    folded = word.casefold().replace("-", "_")
    best: tuple[int, str] | None = None
    for candidate in sorted(known):
        other = candidate.casefold().replace("-", "_")
        allowed = max(1, max(len(folded), len(other)) // 3)
        if abs(len(folded) - len(other)) > allowed:
            continue
        found = distance(folded, other)
        # A two-letter word is one slip away from every other one: only a difference in case is a hint there.
        if found <= allowed and (found == 0 or min(len(folded), len(other)) > 2) and (best is None or found < best[0]):
            best = (found, candidate)
    return best[1] if best else None
