"""Every mistake of `<home>/config.yaml`, said in one run.

Each reader knows its own key and stops at what it cannot use, some of them long after the others. So when one has stopped, all are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, SkycError
from ..providers.base import Provider
from .access import bucket_keys, read_config, ssh_ranges, storage_accounts
from .backend.settings import configured
from .images import read_images
from .networks import read_networks
from .quotas import read_quotas
from .regions import declared_regions


@contextmanager
def all_mistakes(home: Path, providers: Mapping[str, Provider]) -> Iterator[None]:
    """Where something inside stops at a mistake of the file, it stops with all of them. Nothing is read for it otherwise."""
    try:
        yield
    except SkycError as failure:
        known = _mistakes(home, providers)
        if known.keys().isdisjoint(failure.diagnostics):
            raise
        raise SkycError(*dict.fromkeys((*failure.diagnostics, *known)), exit_code=failure.exit_code) from None


def _mistakes(home: Path, providers: Mapping[str, Provider]) -> dict[Diagnostic, None]:
    readers: list[Callable[[], object]] = [
        partial(read_quotas, home),
        partial(read_networks, home, providers),
        partial(declared_regions, home, providers),
        partial(read_images, home),
        partial(ssh_ranges, home),
        partial(storage_accounts, home),
        partial(bucket_keys, home),
        partial(configured, home),
        *(partial(providers[name].catalog, home=home) for name in sorted(providers)),
    ]
    try:
        read_config(home)
    except SkycError:
        # A file that cannot be read at all is said once, by whoever met it.
        return {}
    said: dict[Diagnostic, None] = {}
    for reader in readers:
        try:
            reader()
        except SkycError as failure:
            said |= dict.fromkeys(failure.diagnostics)
    return said
