"""Secrets are taken out of text by value: Terraform's `sensitive` marks get lost on the way (`terraform_data.output` drops them).

Contract: in `Scrubber(secrets).scrub(text)` no secret occurs: not as it is, not as JSON writes it, not as Terraform's templates
escape it, and no line of a secret that has several. What is too short to be told from ordinary text (under `SUBSTRING_LENGTH`
characters) is only taken out where it stands as a word of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

MASK = "‹secret›"
SUBSTRING_LENGTH = 6


class Scrubber:
    """Replaces known secret values by `MASK`. Its repr shows none of them."""

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # Longest first: a secret that contains another must not leave its other half standing.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(_expression, ordered))) if ordered else None

    def __repr__(self) -> str:
        return "Scrubber(…)"

    def scrub(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def crossed(self, text: str) -> str:
        """`scrub` that keeps lines and columns: every character of a secret is a cross."""
        return self._pattern.sub(lambda found: re.sub(r"\S", "x", found[0]), text) if self._pattern else text

    def finds(self, text: str) -> bool:
        """Whether `text` holds a secret."""
        return self._pattern is not None and self._pattern.search(text) is not None


def _forms(secret: str) -> set[str]:
    whole = secret.strip()
    lines = [line.strip() for line in whole.splitlines()]
    parts = {secret, whole, *(line for line in lines if len(line) >= SUBSTRING_LENGTH)}
    parts |= {part.replace("${", "$${").replace("%{", "%%{") for part in parts}
    # Terraform's own JSON escapes &, < and > as well, and keeps other characters; Python's default escapes those others.
    plain = {json.dumps(part, ensure_ascii=False)[1:-1] for part in parts}
    html = {form.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e") for form in plain}
    ascii_only = {json.dumps(part)[1:-1] for part in parts}
    return {form for form in parts | plain | html | ascii_only if form}


def _expression(form: str) -> str:
    if len(form) >= SUBSTRING_LENGTH:
        return re.escape(form)
    return rf"(?<!\w){re.escape(form)}(?!\w)"
