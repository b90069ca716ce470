"""Finding a provider's definition by its reference, `module:name`: how a server started in a fresh process learns what to serve."""

from __future__ import annotations

from importlib import import_module

from .resource import ProviderDefinition

SOCKET_NAME = "s"
"""Name of a server's socket in the directory made for it, which holds nothing else."""


def load_definition(reference: str) -> ProviderDefinition:
    """The ProviderDefinition at `module:name`, or what the function there returns.

    Raises ValueError when the reference leads to neither; ImportError when there is no such module.
    """
    module, separator, name = reference.partition(":")
    found = getattr(import_module(module), name, None) if separator and name else None
    definition = found() if callable(found) else found
    if not isinstance(definition, ProviderDefinition):
        raise ValueError(f"{reference!r} does not lead to a provider definition; give it as module:name")
    return definition
