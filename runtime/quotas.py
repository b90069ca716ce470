"""Quotas of the user's cloud accounts, from `quotas:` in `<home>/config.yaml`.

    quotas:
      - infra: aws/us-east-1
        accelerator: H100
        market: spot
        limit: 16
      - infra: gcp
        limit: 96

What a catalog refresh was told by a cloud's account is in `<home>/catalog/<cloud>.quotas.json`, and limits too.

Without `accelerator` a limit is on CPUs; without `market` on both markets together; without a region on each region. What no quota
names is not limited.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ..compiler.diagnostics import SkycError, SourceMap, error
from ..compiler.ir import Market, Quota, SpecPath, plain
from ..compiler.parse import amounts
from ..compiler.parse.kinds import Choice, Field, ListOf, Number, Record, Text
from ..compiler.parse.reader import Reader
from .config_entry import config_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """One entry as it is written; absent stays None."""

    origin: SpecPath
    infra: str | None = None
    accelerator: str | None = None
    market: str | None = None
    limit: Decimal | None = None


QUOTA = Record(
    "quota",
    (
        Field("infra", Text(amounts.INFRA), "Where it holds: `cloud` or `cloud/region`."),
        Field("accelerator", Text(), "What is counted, as `H100`; default: CPUs."),
        Field("market", Choice(("spot", "on-demand")), "Which machines are counted; default: all."),
        Field("limit", Number(example="96"), "The most the account may have at once."),
    ),
    _Written,
)
_MEANT = {
    "cloud": "infra",
    "region": "infra",
    "gpu": "accelerator",
    "accelerators": "accelerator",
    "max": "limit",
    "most": "limit",
}


FORMAT = 1


def told_quotas(home: Path, provider: str) -> Path:
    """Where a refresh keeps what a cloud told."""
    return home / "catalog" / f"{provider}{_TOLD}"


_TOLD = ".quotas.json"


def encode_quotas(quotas: tuple[Quota, ...]) -> bytes:
    return json.dumps({"format": FORMAT, "quotas": plain(quotas)}, indent=1).encode() + b"\n"


def _told(home: Path) -> Iterator[Quota]:
    """Quotas of the last refreshes. A file that cannot be read limits nothing: the next refresh writes it anew."""
    for path in sorted((home / "catalog").glob(f"*{_TOLD}")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = content["quotas"] if content["format"] == FORMAT else ()
            yield from [
                Quota(
                    provider=row["provider"],
                    region=row["region"],
                    market=Market(row["market"]),
                    accelerator=row["accelerator"],
                    limit=Decimal(row["limit"]),
                    families=tuple(row["families"]),
                )
                for row in rows
            ]
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            continue


def read_quotas(home: Path) -> tuple[Quota, ...]:
    """The declared quotas, in file order, then those the clouds told. Raises SkycError with every mistake in what is declared."""
    return (*declared_quotas(home), *_told(home))


def declared_quotas(home: Path) -> tuple[Quota, ...]:
    """Those in config.yaml, in file order; none without a file or without the key. Raises SkycError with every mistake."""
    found = config_entry(home, "quotas")
    if found is None:
        return ()
    reader = Reader(meant=_MEANT, homes={}, diagnostics=list(found.complaints))
    read: tuple[_Written, ...] = reader.read(ListOf(QUOTA), found.value, SpecPath(("quotas",)), found.key) or ()
    sources = SourceMap(found.source, reader.spans)
    for entry in read:
        for name in ("infra", "limit"):
            if getattr(entry, name) is None:
                reader.diagnostics.append(
                    error(
                        "missing-field",
                        "A field that is needed is missing",
                        f"A quota needs `{name}`.",
                        span=sources.find(entry.origin),
                        hint=f"add `{name}: …`",
                    )
                )
    if reader.diagnostics:
        raise SkycError(*reader.diagnostics)
    return tuple(_quota(entry) for entry in read)


def _quota(entry: _Written) -> Quota:
    place = amounts.read_infra(entry.infra or "")
    return Quota(
        provider=place.provider or "",
        region=place.region,
        market=Market(entry.market) if entry.market is not None else Market.AUTO,
        accelerator=entry.accelerator,
        limit=entry.limit or Decimal(0),
    )
