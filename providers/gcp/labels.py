"""Google's labels: which of the user's can be written, and how.

Contract: pure. Keys and values are lower case, at most 63 characters of letters, digits, `_` and `-`, and a key begins with a letter
(cloud.google.com/compute/docs/labeling-resources). What is not of this form is rewritten, the same way every time and with a word to
the user; what would be lost by that is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

MOST = 63
MOST_LABELS = 60
"""On one resource; Google takes 64, and skyc's own are among them."""
_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RESERVED = "goog"
_HASH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """written: as Google takes them. changed: those of the user's that are written otherwise, as `Team: A → team: a`. refused: why some
    cannot be written at all, in sentences."""

    written: dict[str, str]
    changed: tuple[str, ...]
    refused: tuple[str, ...]


def labels_of(wanted: Mapping[str, str]) -> Labels:
    written: dict[str, str] = {}
    changed: list[str] = []
    refused: list[str] = []
    for name, value in sorted(wanted.items()):
        key, text = _rewritten(name), _rewritten(value)
        if not _KEY.fullmatch(key):
            refused.append(f"{name!r} does not begin with a letter that Google takes.")
        elif value and not text:
            refused.append(f"{name!r} has a value of which nothing could be kept, {value!r}.")
        elif key.startswith(_RESERVED):
            refused.append(f"{name!r} begins with `{_RESERVED}`, which Google keeps to itself.")
        elif key in written:
            refused.append(f"{name!r} and another label would both be written `{key}`.")
        else:
            written[key] = text
            if (key, text) != (name, value):
                changed.append(f"`{name}: {value}` → `{key}: {text}`")
    if len(written) > MOST_LABELS:
        refused.append(f"{sorted(written)[MOST_LABELS]!r} is one too many: there may be {MOST_LABELS}.")
    return Labels(written=written, changed=tuple(changed), refused=tuple(refused))


def _rewritten(text: str) -> str:
    """Lower case, with `-` for each run of what is not allowed; a long one is cut and ends with a hash of all of it."""
    lowered = text.lower()
    plain = re.sub(r"[^a-z0-9_-]+", "-", lowered)
    if plain != lowered:
        plain = plain.strip("-")
    if len(plain) <= MOST:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH]
    return f"{plain[: MOST - _HASH - 1].rstrip('-')}-{digest}"
