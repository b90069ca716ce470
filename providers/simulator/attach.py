"""Attaching simulated providers to Terraform runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..base import Attachment
from ..schemas.load import load_schema
from ..tfplugin.attach import attach


@contextmanager
def simulate(names: Iterable[str], *, home: Path) -> Iterator[tuple[Attachment, ...]]:
    """Serve the named clouds (`aws`, `azurerm`, `google`, `ibm`) until the context ends, with their world below `home`.

    Give the attachments to a Terraform run as any others. Raises SkycError when one does not start.
    """
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(attach(f"{__package__}.definitions:{name}", home=home, source=load_schema(name).source))
            for name in names
        )
