"""What keeps a resource from being deleted: clouds refuse to remove what something else still uses.

Terraform deletes in the right order what is in its state; what an orphan uses, it cannot. So a leftover shows at destroy, as it
does with a real cloud, instead of vanishing silently with its network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .making import Cloud
from .world import Contents, WorldResource


def holder(cloud: Cloud, contents: Contents, held: WorldResource) -> WorldResource | None:
    """A resource that uses this one, the first by type and id, or None."""
    names = {name for name in (held.id, held.attributes.get("self_link")) if name}
    for _, other in sorted(contents.resources.items()):
        if other.type in cloud.holders.get(held.type, ()) and other.key != held.key:
            # A name below an Azure id is part of what the id names.
            below = f"{held.id}/"
            if any(text in names or text.startswith(below) for text in _texts(other.attributes)):
                return other
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
