"""What IBM takes as tags: texts of 128 letters A to Z, digits, spaces and `_-.:` without case, where a colon makes a name and a value of it
(ibm.com/cloud/blog/characteristics-of-user-and-access-tags-on-ibm-cloud, "Tagging rules")."""

from __future__ import annotations

import re

from ..rented.labels import Form, Rules
from .facts import PROVIDER

_ONE = re.compile(r"[A-Za-z0-9 _.:\-]")
_MOST = 128


def _takes(character: str) -> bool:
    return _ONE.fullmatch(character) is not None


LABELS = Rules(
    target=PROVIDER,
    cloud="IBM",
    says=f"IBM takes letters A to Z, digits, spaces and `_-.:` in a tag, at most {_MOST} with its name, the colon and its value",
    name=Form(takes=_takes, most=_MOST),
    value=Form(takes=_takes, most=_MOST),
    one_text=_MOST,
)
