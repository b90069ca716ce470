"""What Azure's machine types are: Microsoft.Compute's ResourceSkus, for those who have a subscription.

Protocol: https://learn.microsoft.com/rest/api/compute/resource-skus/list. Permission: `Microsoft.Compute/skus/read`, part of
Reader. Zone numbers are left out: they mean other places in every subscription.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ...compiler.ir import Accelerator
from ..http import Http, Request, endpoint, same_origin
from ..refresh import MOST_PAGES, accelerator, money, objects, part_of
from ..retry import BadAnswer
from ..snapshot import TypeRow
from .credentials import MANAGEMENT_URL, token

API_VERSION = "2021-07-01"
_GPU = re.compile(r"_(A100|H100|H200|A10|T4|V100|MI300X)_v")
"""The accelerator as a type's own name says it. ResourceSkus tells how many there are and not which."""
SOLD_AS = {"A100": "A100-80GB", "H100": "H100-NVL"}
"""Which form a name means at Azure. Every type with `_A100_` in its name has the larger chip, and with `_H100_` the NVL form;
the smaller A100 is in ND96asr, whose name does not say it."""


def machine_types(http: Http, environ: Mapping[str, str]) -> tuple[tuple[TypeRow, ...], frozenset[str]] | None:
    """(types, names of those with accelerators of an unknown kind); None without credentials. Raises SourceFailure."""
    subscription = environ.get("AZURE_SUBSCRIPTION_ID") or environ.get("ARM_SUBSCRIPTION_ID")
    access = token(http, environ)
    if not subscription or access is None:
        return None
    base = endpoint(environ, "SKYC_AZURE_MANAGEMENT_URL", MANAGEMENT_URL)
    auth = {"Authorization": ("Bearer ", access)}
    request = Request(
        url=f"{base}/subscriptions/{subscription}/providers/Microsoft.Compute/skus",
        params=(("api-version", API_VERSION),),
        secret_headers=auth,
    )
    types: dict[str, TypeRow] = {}
    nameless: set[str] = set()
    for _ in range(MOST_PAGES):
        answer = http.json(request)
        for sku in objects(answer, "value"):
            if sku.get("resourceType") == "virtualMachines":
                row = described(sku)
                if row is None:
                    nameless.add(str(sku.get("name")))
                else:
                    types[row.name] = row
        following = answer.get("nextLink")
        if not following:
            return tuple(types[name] for name in sorted(types)), frozenset(nameless)
        if not isinstance(following, str) or not same_origin(following, base):
            break
        request = Request(url=following, secret_headers=auth)
    raise BadAnswer("the next page of Azure's machine types is not one of its own")


def described(sku: dict[str, Any]) -> TypeRow | None:
    """A machine type; None for one with accelerators whose name is not known."""
    name = part_of(sku, "name", str)
    says = {str(row.get("name")): str(row.get("value")) for row in objects(sku, "capabilities")}
    gpus = money(says.get("GPUs", "0")) or Decimal(0)
    accelerators: tuple[Accelerator, ...] = ()
    if gpus > 0:
        match = _GPU.search(name)
        if match is None:
            return None
        accelerators = (accelerator(SOLD_AS.get(match[1], match[1]), gpus, None),)
    disk = money(says.get("MaxResourceVolumeMB", "0")) or Decimal(0)
    return TypeRow(
        name=name,
        cpus=money(says.get("vCPUs")),
        memory_gb=money(says.get("MemoryGB")),
        accelerators=accelerators,
        arch="arm64" if says.get("CpuArchitectureType") == "Arm64" else "x86_64",
        # Called MB and counted in MiB.
        local_disk_gb=Decimal(int(disk / 1024)),
    )
