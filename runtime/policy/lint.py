"""Patterns of a policy that match nothing there is. A misspelt exclusion would forbid nothing, and nobody would notice."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence

from ...compiler.diagnostics import Diagnostic, warning
from ...compiler.ir.catalog import CatalogPart
from ...compiler.ir.restriction import Patterns
from ...compiler.parse.nearest import nearest
from ...compiler.policy.rules import Allow, PolicySet, Rule


def matches_nothing(policies: PolicySet, parts: Sequence[CatalogPart]) -> tuple[Diagnostic, ...]:
    """A warning for each pattern of an `allow` that no name in the catalog matches."""
    known = _names(parts)
    return tuple(found for rule in policies.rules if isinstance(rule.check, Allow) for found in _about(rule, rule.check, known))


def _names(parts: Sequence[CatalogPart]) -> Mapping[str, frozenset[str]]:
    places = [place for part in parts for place in part.offers.places]
    zones = {zone for part in parts for here in part.zones.values() for zone in here}
    return {
        "clouds": frozenset(part.provider for part in parts),
        "regions": frozenset(place.region for place in places),
        "zones": frozenset(place.zone for place in places if place.zone is not None) | zones,
        "machines": frozenset(name for part in parts for name in part.offers.types.names),
        "accelerators": frozenset(name for part in parts for name in part.offers.types.accelerators),
    }


def _about(rule: Rule, allow: Allow, known: Mapping[str, frozenset[str]]) -> Iterator[Diagnostic]:
    lists: Mapping[str, Patterns | None] = {
        "clouds": allow.clouds,
        "regions": allow.regions,
        "zones": allow.zones,
        "machines": allow.machines,
        "accelerators": allow.accelerators,
    }
    for field, patterns in lists.items():
        for pattern in patterns or ():
            name = pattern.removeprefix("!")
            if fnmatch.filter(known[field], name):
                continue
            guess = nearest(name, sorted(known[field]))
            effect = "takes nothing away" if name != pattern else "allows nothing"
            yield warning(
                "matches-nothing",
                "A pattern matches nothing",
                f"Rule `{rule.name}`: nothing among the {field} of the catalog is called `{name}`, so it {effect}.",
                span=rule.span,
                hint=f"did you mean `{guess}`?" if guess else None,
            )
