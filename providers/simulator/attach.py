"""Attaching simulated providers to Terraform runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..base import Attachment
from ..schemas.emitted import ORIGINS
from ..schemas.load import load_schema
from ..tfplugin.attach import attach

REGISTRY = "registry.terraform.io"
SIMULATED = frozenset(origin.name for origin in ORIGINS)
"""Local names of the Terraform providers that can be simulated."""


@contextmanager
def simulate(names: Iterable[str], *, home: Path, registry: str = REGISTRY) -> Iterator[tuple[Attachment, ...]]:
    """Serve the named clouds (`aws`, `azurerm`, `google`, `ibm`) until the context ends, with their world below `home`.

    Give the attachments to a Terraform run as any others. `registry` is the engine's own (`Engine.registry`), which a source
    such as `hashicorp/aws` is completed with. Raises SkycError when one does not start.
    """
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(
                attach(
                    f"{__package__}.definitions:{name}", home=home, source=load_schema(name).source.replace(REGISTRY, registry)
                )
            )
            for name in names
        )
