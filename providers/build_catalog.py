"""`python -m skyc.providers.build_catalog SOURCE_DIR`: the shipped catalog, from the collected facts.

Contract: a function of the tables and of the code in `providers/`. The same tables give the same bytes, so the files are kept in
the repository and a test compares them with a fresh build. Each cloud's folder has a `facts` module with `part(facts)`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..compiler.ir.catalog import CatalogPart
from .facts import Facts, tables
from .snapshot import encode
from .stored import CATALOG_FILE

FOLDERS: tuple[tuple[str, str], ...] = (
    ("aws", "aws"),
    ("azure", "azure"),
    ("gcp", "gcp"),
    ("ibm", "ibm"),
    ("jarvislabs", "jarvislabs"),
    ("lambda", "lambdalabs"),
    ("runpod", "runpod"),
)
"""(provider, its folder). `lambda` is a word of Python's own and cannot name a package."""


def build(facts: Facts, folder: str) -> CatalogPart:
    """One provider's part. Raises ValueError for facts that contradict each other."""
    part: CatalogPart = import_module(f".{folder}.facts", __package__).part(facts)
    return part


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m skyc.providers.build_catalog", description=__doc__)
    parser.add_argument("source", type=Path, help="directory with offers.csv.gz and the other tables")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="directory of the provider folders")
    given = parser.parse_args(argv)
    of = tables(given.source)
    for provider, folder in FOLDERS:
        part = build(of(provider), folder)
        content = encode(part)
        target = given.output / folder / CATALOG_FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        offers = part.offers
        sys.stdout.write(
            f"{provider:<11}{len(offers.types.names):>6} types {len(offers.type):>7} offers"
            f" {len(content) / 1e6:>6.2f} MB  {part.digest[:12]}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
