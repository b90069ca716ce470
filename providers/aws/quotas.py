"""The account's vCPU quotas, as Service Quotas tells them: what an offer must fit into before anybody tries to rent it.

AWS counts vCPUs of families together, apart for on-demand and spot, per region. Which families a quota counts is read from its name,
which is what AWS documents: `Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances`, `All P5 Spot Instance Requests`.
What is not told, or in another form, is not limited: unknown is not zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from ...compiler.ir import Market, Quota
from ..refresh import Failure, failure_of
from ..retry import SourceFailure
from .client import Account
from .facts import PROVIDER

_ON_DEMAND = re.compile(r"Running On-Demand (?P<families>.+) instances")
_SPOT = re.compile(r"All (?P<families>.+) Spot Instance Requests")
_FAMILY = re.compile(r"[A-Z][A-Za-z]{0,2}[0-9]?")


def read_quotas(account: Account, regions: Iterable[str]) -> tuple[tuple[Quota, ...], tuple[Failure, ...]]:
    """The quotas of these regions, sorted, and where they could not be read."""
    found: list[Quota] = []
    failures: list[Failure] = []
    for region in sorted(regions):
        try:
            rows = list(account.pages("service-quotas", region, "list_service_quotas", "Quotas", ServiceCode="ec2"))
        except SourceFailure as failure:
            failures.append(failure_of(f"quotas in {region}", failure))
            continue
        found += sorted((quota for row in rows if (quota := _quota(row, region)) is not None), key=_order)
    return tuple(found), tuple(failures)


def _order(quota: Quota) -> tuple[str, tuple[str, ...]]:
    return quota.market.value, quota.families


def _quota(row: dict[str, Any], region: str) -> Quota | None:
    name, value = str(row.get("QuotaName", "")), row.get("Value")
    for pattern, market in ((_ON_DEMAND, Market.ON_DEMAND), (_SPOT, Market.SPOT)):
        match = pattern.fullmatch(name)
        if match is not None and isinstance(value, int | float):
            families = _families(match["families"])
            if families:
                limit = Decimal(str(value))
                return Quota(provider=PROVIDER, region=region, market=market, accelerator=None, families=families, limit=limit)
    return None


def _families(text: str) -> tuple[str, ...]:
    """`Standard (A, C, M)` → a, c, m; `G and VT` → g, vt; `P4, P3 and P2` → p2, p3, p4. Nothing for another form."""
    inner = re.fullmatch(r"Standard \((.+)\)", text)
    words = re.split(r", | and ", inner[1] if inner else text)
    return tuple(sorted(word.lower() for word in words)) if all(_FAMILY.fullmatch(word) for word in words) else ()
