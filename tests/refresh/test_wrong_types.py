"""Answers in which one value is of another type than documented: never a bug of ours, never a free machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.refresh import Settings, completed
from skyc.providers.registry import refresher
from skyc.providers.retry import SourceFailure
from skyc.providers.snapshot import offer_rows

from .conftest import kind, offer, part
from .fakes import clouds
from .fakes.server import FakeServer, Route

OTHERS: tuple[Any, ...] = (None, 7, "text", [], {}, [None], {"a": []}, True, -1, "0")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One cloud's answer, and what was known before it."""

    before: CatalogPart
    path: str
    answer: Any
    method: str = "GET"


H100 = kind("gpu_1x_h100_pcie", "26", "200", ("H100-PCIE", "1"))
N2 = kind("n2-standard-4", "4", "16")
D2 = kind("Standard_D2s_v5")
BX = kind("bx2-2x8")
L40S = kind("1x_L40S_SECURE", "16", "62", ("L40S", "1"))
L4 = kind("1x_L4_28V_124G", "28", "124", ("L4", "1"))
SHAPES = {
    "lambda": Shape(
        before=part("lambda", [H100], [offer(H100, "r", None, "7")], sells_spot=False),
        path="/instance-types",
        answer={
            "data": {
                "gpu_1x_h100_pcie": clouds.lambda_type(300, ["r"], vcpus=26, gpus=1),
                "gpu_2x_new": clouds.lambda_type(1, ["r"], vcpus=26, gpus=2),
            }
        },
    ),
    "runpod": Shape(
        before=part("runpod", [L40S], [offer(L40S, "US", "US-TX-1", "7")]),
        method="POST",
        path="/graphql",
        answer={"data": {"gpuTypes": [{"id": "NVIDIA L40S", "securePrice": 0.8, "secureSpotPrice": 0.4}]}},
    ),
    "jarvislabs": Shape(
        before=part("jarvislabs", [L4], [offer(L4, "IN2", None, "7")], sells_spot=False),
        path="/misc/server_meta",
        answer={
            "server_meta": [
                {
                    "region": "india-noida-01",
                    "gpu_type": gpu,
                    "price_per_hour": 0.44,
                    "cpus_per_gpu": 28,
                    "ram_per_gpu": 124,
                    "vram": "24",
                    "num_gpus": 8,
                }
                for gpu in ("L4", "H200")
            ],
            "cpu_meta": {"combinations": [{"vcpus": 4, "ram_gb": 16, "price": 1, "regions": {"india-01": 1}}]},
        },
    ),
    "gcp": Shape(
        before=part("gcp", [N2], [offer(N2, "us-central1", None, "7")]),
        path=clouds.GCP_PATH,
        answer={"skus": list(clouds.GCP_SKUS[:3]), "nextPageToken": ""},
    ),
    "azure": Shape(
        before=part("azure", [D2], [offer(D2, "eastus", None, "7")]),
        path="/api/retail/prices",
        answer={"Items": [clouds.azure_meter("Standard_D2s_v5", 0.1)], "NextPageLink": None},
    ),
    "ibm": Shape(
        before=part("ibm", [BX], [offer(BX, "us-south", None, "7")]),
        path="/api/v1/plan-bx2-2x8/pricing",
        answer=clouds.ibm_pricing({"VCPU_HOURS": 0.1, "MEMORY_HOURS": 0.1}),
    ),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part_of_it in inner:
        found += places(part_of_it, (*path, step))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def always(answer: Any) -> Route:
    return lambda _: answer


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_no_wrong_type_is_a_bug_or_a_price(name: str, server: FakeServer, settings: Callable[..., Settings]) -> None:
    shape = SHAPES[name]
    clouds.ibm_catalog(server, {"bx2-2x8": {}})
    urls = ("LAMBDA", "RUNPOD", "JARVISLABS", "GCP_BILLING", "AZURE_PRICES", "IBM_CATALOG")
    with_all = settings(
        LAMBDA_API_KEY="k", JL_API_KEY="k", GOOGLE_API_KEY="k", **{f"SKYC_{each}_URL": server.url for each in urls}
    )
    refused = 0
    for place in places(shape.answer):
        for new in OTHERS:
            server.routes[shape.method, shape.path] = always(replaced(shape.answer, place, new))
            try:
                made = completed(name, refresher(name)(with_all, shape.before), shape.before)
            except SourceFailure:
                refused += 1
                continue
            for row in offer_rows(made.part):
                assert row.on_demand is None or row.on_demand > 0, (place, new)
                assert row.spot is None or row.spot > 0, (place, new)
    # Otherwise nothing was mangled, or nobody looks. A failed region or profile is no SourceFailure of the whole.
    assert refused > 0 or name in ("azure", "ibm")
