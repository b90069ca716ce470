"""Schemas written by hand, for a provider that has no wheel: `<name>.schema.yaml`, read by `build` only.

Every type is a mapping of its members. A text is an attribute, a mapping a nested block:

    ibm_is_subnet:
      name: string required                    # type, then required, optional, computed
      tags: set(string) optional computed
      resource: {nesting: list, max: 1, body: {…}}
"""

from __future__ import annotations

import re
from typing import Any

FLAGS = frozenset({"required", "optional", "computed"})
TYPE = re.compile(r"(list|set|map)\((.+)\)|string|number|bool")


def read_handwritten(text: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The provider's own body and each type's, in Terraform's notation. Raises ValueError."""
    import yaml

    document = yaml.safe_load(text)
    provider = _body("provider", document.pop("provider"))
    return provider, {name: _body(name, members) for name, members in sorted(document.items())}


def _body(name: str, members: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for member, text in sorted(members.items()):
        path = f"{name}.{member}"
        if isinstance(text, str):
            type_, *flags = text.split()
            if not flags or not FLAGS.issuperset(flags):
                raise ValueError(f"{path}: {text} does not say whether it is required, optional or computed")
            attributes[member] = {"type": _type(path, type_), **dict.fromkeys(flags, True)}
        else:
            block = {"nesting_mode": text["nesting"], "block": _body(path, text["body"])}
            block |= {f"{word}_items": text[word] for word in ("min", "max") if word in text}
            blocks[member] = block
    body: dict[str, Any] = {"attributes": attributes, "block_types": blocks}
    return {key: value for key, value in body.items() if value}


def _type(path: str, text: str) -> Any:
    match = TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"{path}: {text} is no type")
    return [match[1], _type(path, match[2])] if match[1] else text
