"""`resources:` to requests: base and alternatives merged, places and amounts read. Knows no provider by name."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

from ..ir import Bound, FrozenMap, ImageByPlace, Infra, Market, ResourceRequest, ResourcesSpec, SpecPath
from ..parse import amounts
from .variables import Scope

_PLACE = ("infra", "cloud", "region", "zone")
_MARKET = ("use_spot", "market")
_ALTERNATIVES = ("any_of", "ordered")
_OTHER = tuple(
    row.name
    for row in fields(ResourcesSpec)
    if row.name not in (*_PLACE, *_MARKET, *_ALTERNATIVES, "origin", "cleared", "later", "labels")
)


def requests(
    scope: Scope, base: ResourcesSpec | None, group: ResourcesSpec | None, origin: SpecPath
) -> tuple[tuple[ResourceRequest, ...], bool]:
    """The acceptable machines of a group, and whether their order is a preference.

    base: the task's `resources`; group: the group's own, which adds to and overrides it; origin: where to point without either.
    """
    layers = [layer for layer in (base, group) if layer is not None]
    alternatives: tuple[ResourcesSpec, ...] = ()
    ordered = False
    for layer in layers:
        if layer.any_of and layer.ordered:
            detail = "`any_of` takes the cheapest alternative, `ordered` the first one; only one of them can hold."
            path = layer.origin.child("ordered")
            scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint="keep one of them")
        if layer.any_of or layer.ordered:
            alternatives = layer.any_of or layer.ordered or ()
            ordered = not layer.any_of
    place = layers[-1].origin if layers else origin
    if not alternatives:
        return (_request(scope, layers, place),), False
    return tuple(_request(scope, [*layers, item], item.origin) for item in alternatives), ordered


def _request(scope: Scope, layers: list[ResourcesSpec], origin: SpecPath) -> ResourceRequest:
    """One request: each layer overrides those before it."""
    infra = Infra()
    market = Market.ON_DEMAND
    merged = ResourcesSpec(origin=origin)
    labels: dict[str, str] = {}
    for layer in layers:
        infra = _place(scope, layer, infra)
        market = _market(scope, layer, market)
        labels.update(layer.labels or {})
        given = {name: getattr(layer, name) for name in _OTHER}
        changes = {name: value for name, value in given.items() if value is not None or name in layer.cleared}
        merged = replace(merged, **changes)
    memory, per_cpu = amounts.read_memory(merged.memory) if merged.memory is not None else (None, None)
    accelerators = merged.accelerators
    return ResourceRequest(
        origin=origin,
        infra=infra,
        cpus=_bound(merged.cpus),
        memory_gb=memory,
        memory_per_cpu=per_cpu,
        accelerators=tuple(map(amounts.read_accelerator, accelerators.items)) if accelerators is not None else None,
        accelerators_ordered=accelerators is not None and accelerators.ordered and len(accelerators.items) > 1,
        instance_type=merged.instance_type,
        market=market,
        disk_gb=_size(merged.disk_size),
        disk_tier=None if merged.disk_tier == "none" else merged.disk_tier,
        local_disk=merged.local_disk,
        network_tier=merged.network_tier,
        image_id=_image(scope, merged.image_id, origin),
        ports=tuple(dict.fromkeys(map(amounts.read_port, merged.ports or ()))),
        labels=FrozenMap(labels),
        arch=merged.arch,
        max_hourly_cost=merged.max_hourly_cost,
        interruption_rate=merged.interruption_rate,
    )


def _place(scope: Scope, layer: ResourcesSpec, before: Infra) -> Infra:
    if layer.infra is not None:
        for name in ("cloud", "region", "zone"):
            if getattr(layer, name) is not None:
                detail = f"`infra` already says the whole place, and `{name}` says a part of it again."
                path = layer.origin.child(name)
                scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint=f"remove `{name}`")
        return amounts.read_infra(layer.infra)
    # A smaller part alone keeps the larger ones; a larger part alone drops the smaller ones it does not hold any more.
    if layer.cloud is not None or "cloud" in layer.cleared or "infra" in layer.cleared:
        before = Infra(provider=_part(layer.cloud, lower=True))
    if layer.region is not None or "region" in layer.cleared:
        before = Infra(provider=before.provider, region=_part(layer.region))
    if layer.zone is not None or "zone" in layer.cleared:
        before = replace(before, zone=_part(layer.zone))
    return before


def _part(text: str | None, *, lower: bool = False) -> str | None:
    name = amounts.read_place(text) if text is not None else None
    return name.lower() if name is not None and lower else name


def _market(scope: Scope, layer: ResourcesSpec, before: Market) -> Market:
    if layer.market is not None:
        market = Market(layer.market)
        if layer.use_spot is not None and market is not (Market.SPOT if layer.use_spot else Market.ON_DEMAND):
            detail = f"`market: {layer.market}` and `use_spot: {str(layer.use_spot).lower()}` say different things."
            path = layer.origin.child("use_spot")
            scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint="remove `use_spot`")
        return market
    if layer.use_spot is not None:
        return Market.SPOT if layer.use_spot else Market.ON_DEMAND
    return Market.ON_DEMAND if {"market", "use_spot"} & set(layer.cleared) else before


def _image(scope: Scope, image: str | FrozenMap[str] | None, origin: SpecPath) -> str | ImageByPlace | None:
    field = origin.child("image_id")
    if isinstance(image, FrozenMap):
        expanded = ((place, scope.expand(text, field.child(place))) for place, text in image.items())
        return ImageByPlace(images=FrozenMap((place, text) for place, text in expanded if text is not None))
    return scope.expand(image, field) if image is not None else None


def _bound(text: str | None) -> Bound | None:
    return amounts.read_bound(text) if text is not None else None


def _size(text: str | None) -> Decimal | None:
    return amounts.read_size(text) if text is not None else None
