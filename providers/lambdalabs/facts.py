"""Lambda: its catalog part from the collected facts.

Lambda has no zones and no spot market. Its price list distinguishes the H100's form, so the names do too.
"""

from __future__ import annotations

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import ANY_REGION, CatalogPart, Rates, TransferRule
from ..facts import Facts, Reading, Row, flat, machine_types, offers, span
from ..snapshot import build_part

PROVIDER = "lambda"
_CONTINENTS = FrozenMap(
    {"asia": "asia", "australia": "oceania", "europe": "europe", "me": "middle-east", "us": "north-america"}
)

NOTES = (
    "What Lambda charges for persistent storage and for traffic is not known.",
    "Which regions have machines free changes by the minute; the catalog lists every region a machine was seen in.",
)


def _device(row: Row) -> str:
    """`gpu_1x_h100_pcie` and `gpu_1x_h100_sxm5` cost differently; the accelerator column calls both H100."""
    if row["accelerator"] == "H100":
        return "H100-PCIE" if row["instance_type"].endswith("_pcie") else "H100-SXM"
    return row["accelerator"]


_READING = Reading(device=_device)


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    rates = Rates(
        continents=FrozenMap({row.region: _CONTINENTS[row.region.partition("-")[0]] for row in rows}),
        transfers=tuple(
            TransferRule(source=ANY_REGION, destination=destination, steps=flat(None), price_source="no price known", as_of="")
            for destination in ("other-region", "internet")
        ),
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=False, as_of=span(rows), notes=NOTES)
