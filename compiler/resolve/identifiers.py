"""From what people call things to ids that clouds take."""

from __future__ import annotations

import hashlib
import re

ID_LIMIT = 39
"""Letters of a task's or deployment's id. Clouds cut resource names near 60; the rest is left for what is appended."""


def identifier(text: str) -> str:
    """`text` as an id: `[a-z][a-z0-9-]{0,38}`. One that has to be cut ends in a digest, so that two never become one."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "task"
    if not plain[0].isalpha():
        plain = f"t-{plain}"
    if len(plain) > ID_LIMIT:
        plain = f"{plain[: ID_LIMIT - 9].rstrip('-')}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return plain
