"""written: the field of a file that stands for one nobody wrote, so that a message about it has a line.

Contract: pure. A request is made of several fields in several layers: `use_spot` says a market, `accelerators` that an image with a driver
is needed, an alternative under `any_of` keeps what `resources` says beside it. Whoever reports looks at the request and names one field.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from .addresses import SpecPath

_DEVICES = ("accelerators", "gpus")
_MACHINE = ("instance_type",)
_PLACE = ("infra", "zone", "region", "cloud")
_BROUGHT_BY: dict[str, tuple[tuple[str, ...], ...]] = {
    "infra": (_PLACE,),
    "region": (("region", "infra", "zone", "cloud"),),
    "zone": (("zone", "infra", "region", "cloud"),),
    "market": (("market", "use_spot"),),
    "use_spot": (("use_spot", "market"),),
    "accelerators": (_DEVICES, _MACHINE),
    "instance_type": (_MACHINE, _DEVICES, ("cpus",), ("memory",), _PLACE),
    "image_id": (("image_id",), _DEVICES, _MACHINE, _PLACE),
    "disk_size": (("disk_size",), _MACHINE, _DEVICES, _PLACE),
    "disk_tier": (("disk_tier",), _MACHINE, _DEVICES, _PLACE),
}
"""Field of a request → what may have brought it, the likeliest first. Fields of one row say the same thing: of these the inner layer
counts."""


def written(path: SpecPath, known: Container[SpecPath]) -> SpecPath | None:
    """The path itself, or the one that stands for it, among those that a file has; None when it has neither."""
    if path in known or not path.steps:
        return path if path in known else None
    field = path.steps[-1]
    rows = _BROUGHT_BY.get(field, ((field,),)) if isinstance(field, str) else ()
    layers = tuple(_layers(path.parent))
    found = (layer.child(name) for row in rows for layer in layers for name in row)
    return next((other for other in found if other in known), None)


def _layers(origin: SpecPath) -> Iterator[SpecPath]:
    """Where a request's fields stand, the inner layer first: an alternative, its `resources`, and those of the whole task."""
    yield origin
    steps = origin.steps
    if "resources" not in steps:
        return
    if steps[-2:-1] in (("any_of",), ("ordered",)):
        yield SpecPath(steps := steps[:-2])
    if "groups" in steps:
        yield SpecPath((*steps[: steps.index("groups")], "resources"))
