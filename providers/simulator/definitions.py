"""Definitions for the plugin server, by name: `skyc.providers.simulator.definitions:aws`."""

from __future__ import annotations

from ..schemas.load import load_schema
from ..tfplugin.resource import ProviderDefinition
from .clouds import CLOUDS
from .resource import SimulatedResource


def aws() -> ProviderDefinition:
    return simulated("aws")


def azurerm() -> ProviderDefinition:
    return simulated("azurerm")


def google() -> ProviderDefinition:
    return simulated("google")


def ibm() -> ProviderDefinition:
    return simulated("ibm")


def simulated(name: str) -> ProviderDefinition:
    """The provider of a shipped schema, simulated."""
    schema = load_schema(name)
    return ProviderDefinition(
        resources=tuple(SimulatedResource(type_, CLOUDS[name]) for type_ in schema.types.values()),
        source=schema.source,
        version=schema.version,
        schema=schema.provider,
        # All four are made with the older SDK, which plans blocks it fills in itself as unknown.
        legacy_type_system=True,
    )
