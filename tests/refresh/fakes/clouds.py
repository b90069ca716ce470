"""Fakes of the clouds' price lists: the documented shapes, with a handful of rows that hold every trap known of them.

Sources of the shapes: the links in each `providers/<cloud>` module. All names and prices here are made up.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from .server import Asked, FakeServer, Reply, Route


def _always(value: Any) -> Route:
    return lambda _: value


# AWS

AWS_COLUMNS = (
    "SKU",
    "TermType",
    "Unit",
    "PricePerUnit",
    "Currency",
    "Location Type",
    "Instance Type",
    "Tenancy",
    "Operating System",
    "CapacityStatus",
    "Pre Installed S/W",
    "MarketOption",
)
AWS_ROW = {
    "SKU": "S",
    "TermType": "OnDemand",
    "Unit": "Hrs",
    "Currency": "USD",
    "Location Type": "AWS Region",
    "Tenancy": "Shared",
    "Operating System": "Linux",
    "CapacityStatus": "Used",
    "Pre Installed S/W": "NA",
    "MarketOption": "OnDemand",
}
AWS_TRAPS: tuple[Mapping[str, str], ...] = (
    {"Operating System": "Windows", "PricePerUnit": "9.0"},
    {"Tenancy": "Dedicated", "PricePerUnit": "9.0"},
    {"CapacityStatus": "UnusedCapacityReservation", "PricePerUnit": "9.0"},
    {"TermType": "Reserved", "PricePerUnit": "0.01"},
    {"Pre Installed S/W": "SQL Web", "PricePerUnit": "9.0"},
    {"Location Type": "AWS Local Zone", "PricePerUnit": "9.0"},
    {"MarketOption": "CapacityBlock", "PricePerUnit": "0.02"},
    {"PricePerUnit": "0.0000000000"},
    {"PricePerUnit": ""},
    {"Unit": "Quantity", "PricePerUnit": "9.0"},
)


def aws_csv(prices: Mapping[str, str | Sequence[str]]) -> bytes:
    """A price list with the five lines before the header, and for every type each row that must not be taken for its price."""
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for line in (
        ["FormatVersion", "v1.0"],
        ["Disclaimer", "…"],
        ["Publication Date", "…"],
        ["Version", "1"],
        ["OfferCode", "E"],
    ):
        rows.writerow(line)
    rows.writerow(AWS_COLUMNS)
    for kind, given in prices.items():
        for price in [given] if isinstance(given, str) else given:
            good = {**AWS_ROW, "Instance Type": kind, "PricePerUnit": price}
            for row in (good, *({**good, **trap} for trap in AWS_TRAPS)):
                rows.writerow([row[name] for name in AWS_COLUMNS])
    return text.getvalue().encode()


def aws_prices(server: FakeServer, regions: Mapping[str, Mapping[str, str | Sequence[str]]]) -> None:
    for region, prices in regions.items():
        body = aws_csv(prices)
        server.get(f"/offers/v1.0/aws/AmazonEC2/current/{region}/index.csv", _always(Reply(body=body)))


# Google

GCP_PATH = "/v1/services/6F81-5844-456A/skus"


def gcp_sku(
    description: str, price: str, *, usage: str = "OnDemand", unit: str = "h", regions: Sequence[str] = ("us-central1",)
) -> dict[str, Any]:
    whole, _, part = price.partition(".")
    return {
        "skuId": description,
        "description": description,
        "category": {"resourceFamily": "Compute", "resourceGroup": "X", "usageType": usage},
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "pricingExpression": {
                    "usageUnit": unit,
                    "tieredRates": [
                        {
                            "startUsageAmount": 0,
                            "unitPrice": {"currencyCode": "USD", "units": whole, "nanos": int(part.ljust(9, "0"))},
                        }
                    ],
                }
            }
        ],
    }


GCP_SKUS = (
    gcp_sku("N2 Instance Core running in Iowa", "0.03"),
    gcp_sku("N2 Instance Ram running in Iowa", "0.004", unit="GiBy.h"),
    gcp_sku("Spot Preemptible N2 Instance Core running in Iowa", "0.01", usage="Preemptible"),
    gcp_sku("Spot Preemptible N2 Instance Ram running in Iowa", "0.001", usage="Preemptible", unit="GiBy.h"),
    gcp_sku("A2 Instance Core running in Iowa", "0.03"),
    gcp_sku("A2 Instance Ram running in Iowa", "0.004", unit="GiBy.h"),
    gcp_sku("Nvidia Tesla A100 80GB GPU running in Iowa", "4.0"),
    gcp_sku("SSD backed Local Storage", "0.073", unit="GiBy.mo"),
    gcp_sku("Spot Preemptible A2 Instance Core running in Iowa", "0.01", usage="Preemptible"),
    gcp_sku("Spot Preemptible A2 Instance Ram running in Iowa", "0.001", usage="Preemptible", unit="GiBy.h"),
    gcp_sku("Nvidia Tesla A100 80GB GPU attached to Spot Preemptible VMs running in Iowa", "1.5", usage="Preemptible"),
    gcp_sku("SSD backed Local Storage attached to Spot Preemptible VMs in Iowa", "0.0365", unit="GiBy.mo"),
    # Traps: other terms, other shapes, and a spot price with the usage type of on-demand.
    gcp_sku("Commitment v1: N2 Cpu in Iowa for 1 Year", "0.0001", usage="Commit1Yr"),
    gcp_sku("N2 Custom Instance Core running in Iowa", "0.0001"),
    gcp_sku("N2 Instance Core running in Iowa (DWS Calendar Mode)", "0.0001"),
    gcp_sku("Nvidia Tesla A100 80GB GPU attached to DWS Defined Duration VMs running in Iowa", "0.0001"),
    gcp_sku("Spot Preemptible N2 Instance Core running in Iowa", "0.0001", usage="OnDemand"),
    gcp_sku("N2 Instance Core running in Iowa", "0", usage="OnDemand"),
    {"description": None, "category": 5},
    # C3 has a spot price above on-demand.
    gcp_sku("C3 Instance Core running in Iowa", "0.001"),
    gcp_sku("C3 Instance Ram running in Iowa", "0.001", unit="GiBy.h"),
    gcp_sku("Spot Preemptible C3 Instance Core running in Iowa", "0.01", usage="Preemptible"),
    gcp_sku("Spot Preemptible C3 Instance Ram running in Iowa", "0.01", usage="Preemptible", unit="GiBy.h"),
)


def gcp_billing(server: FakeServer, skus: Sequence[Any] = GCP_SKUS, *, page: int = 4) -> None:
    def route(asked: Asked) -> dict[str, Any]:
        start = int(asked.query.get("pageToken", "0"))
        more = str(start + page) if start + page < len(skus) else ""
        return {"skus": list(skus[start : start + page]), "nextPageToken": more}

    server.get(GCP_PATH, route)


# Azure


def azure_meter(kind: str, price: float, *, region: str = "eastus", **other: Any) -> dict[str, Any]:
    return {
        "armSkuName": kind,
        "skuName": kind.removeprefix("Standard_"),
        "productName": "Virtual Machines Dsv5 Series",
        "armRegionName": region,
        "retailPrice": price,
        "unitPrice": price,
        "currencyCode": "USD",
        "type": "Consumption",
        "unitOfMeasure": "1 Hour",
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "isPrimaryMeterRegion": True,
        **other,
    }


def azure_meters(kind: str, price: float, *, region: str = "eastus") -> list[dict[str, Any]]:
    """A type's meters, with those that must not be taken for its price."""
    windows = "Virtual Machines Dsv5 Series Windows"
    return [
        azure_meter(kind, 0.0, region=region, effectiveStartDate="2026-02-01T00:00:00Z"),
        azure_meter(kind, 9.0, region=region, productName=windows),
        azure_meter(kind, price, region=region),
        azure_meter(kind, price * 2, region=region, effectiveStartDate="2020-01-01T00:00:00Z"),
        azure_meter(kind, price * 3, region=region, effectiveStartDate="2999-01-01T00:00:00Z"),
        azure_meter(kind, price / 4, region=region, skuName=f"{kind} Spot", meterName=f"{kind} Spot"),
        azure_meter(kind, price / 9, region=region, skuName=f"{kind} Low Priority"),
        azure_meter(kind, price / 8, region=region, type="Reservation"),
        azure_meter(kind, 9.0, region=region, productName="Ds Series Cloud Services"),
        azure_meter("DSv5_Type1", 9.0, region=region),
    ]


def azure_retail(server: FakeServer, regions: Mapping[str, Sequence[Mapping[str, Any]]], *, page: int = 3) -> None:
    def route(asked: Asked) -> dict[str, Any]:
        region = asked.query.get("region") or asked.query["$filter"].split("armRegionName eq '")[1].rstrip("'")
        start = int(asked.query.get("$skip", "0"))
        meters = regions[region]
        more = f"{server.url}/api/retail/prices?region={region}&$skip={start + page}" if start + page < len(meters) else None
        return {"Items": list(meters[start : start + page]), "NextPageLink": more, "Count": page}

    server.get("/api/retail/prices", route)


def azure_skus(server: FakeServer, skus: Sequence[Mapping[str, Any]]) -> None:
    server.post("/tenant-1/oauth2/v2.0/token", lambda _: {"access_token": "token-of-azure", "expires_in": 3599})
    path = "/subscriptions/sub-1/providers/Microsoft.Compute/skus"

    def route(asked: Asked) -> Any:
        if asked.headers.get("Authorization") != "Bearer token-of-azure":
            return Reply(status=401)
        if "page" in asked.query:
            return {"value": list(skus[1:])}
        return {"value": list(skus[:1]), "nextLink": f"{server.url}{path}?page=2"}

    server.get(path, route)


def azure_sku(name: str, **capabilities: str) -> dict[str, Any]:
    rows = [{"name": key, "value": value} for key, value in capabilities.items()]
    return {"resourceType": "virtualMachines", "name": name, "capabilities": rows}


# IBM


def ibm_pricing(per_hour: Mapping[str, float]) -> dict[str, Any]:
    """A pricing document: one metric for each charge unit."""
    return {
        "deployment_region": "x",
        "metrics": [
            {
                "metric_id": unit,
                "charge_unit_name": unit,
                "charge_unit_quantity": 1,
                "amounts": [
                    {"country": "DEU", "currency": "EUR", "prices": [{"quantity_tier": 1, "price": 99.0}]},
                    {"country": "USA", "currency": "USD", "prices": [{"quantity_tier": 1, "price": price}]},
                ],
            }
            for unit, price in per_hour.items()
        ],
    }


def ibm_catalog(server: FakeServer, prices: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """`prices`: profile → region → charge unit → US dollars."""
    entries = [{"name": name, "id": f"id-{name}", "kind": "instance.profile"} for name in prices]

    def listing(asked: Asked) -> dict[str, Any]:
        start, most = int(asked.query["_offset"]), int(asked.query["_limit"])
        return {"resources": entries[start : start + most], "count": len(entries)}

    server.get("/api/v1", listing)
    for name, regions in prices.items():
        server.get(f"/api/v1/id-{name}/plan", _always({"resources": [{"id": f"plan-{name}", "kind": "plan"}]}))
        server.get(f"/api/v1/plan-{name}/pricing", _ibm_region(regions))


def _ibm_region(regions: Mapping[str, Mapping[str, float]]) -> Route:
    return lambda asked: ibm_pricing(regions.get(asked.query["deployment_region"], {}))


def ibm_vpc(server: FakeServer, region: str, profiles: Sequence[Mapping[str, Any]]) -> None:
    server.post("/identity/token", lambda _: {"access_token": "token-of-ibm"})
    server.get("/v1/instance/profiles", lambda _: {"profiles": list(profiles)})
    server.get("/v1/images", ibm_images)
    server.get(f"/v1/regions/{region}/zones", lambda _: {"zones": [{"name": f"{region}-1"}, {"name": f"{region}-2"}]})


def ibm_images(asked: Asked) -> dict[str, Any]:
    """Two pages; the newest Ubuntu is on the first, and newer images of another system and processor are on the second."""
    assert (asked.query["visibility"], asked.query["status"]) == ("public", "available")

    def image(number: int, system: str, made: str) -> dict[str, Any]:
        name = {"name": system, "family": "…"}
        return {"id": f"r006-image-{number}", "name": f"ibm-{number}", "operating_system": name, "created_at": made}

    if asked.query.get("start") == "second":
        later = [image(3, "debian-12-amd64", "2026-03-01T00:00:00Z"), image(4, "ubuntu-24-04-s390x", "2026-03-01T00:00:00Z")]
        return {"images": [*later, image(5, "ubuntu-24-04-amd64", "2025-01-01T00:00:00Z")]}
    ours = [image(1, "ubuntu-24-04-amd64", "2025-06-01T00:00:00Z"), image(2, "ubuntu-24-04-amd64", "2026-02-01T00:00:00Z")]
    return {"images": ours, "next": {"href": "https://us-south.iaas.cloud.ibm.com/v1/images?limit=100&start=second"}}


# Lambda, RunPod, JarvisLabs


def lambda_types(server: FakeServer, key: str, data: Mapping[str, Any]) -> None:
    def route(asked: Asked) -> Any:
        return {"data": dict(data)} if asked.headers.get("Authorization") == f"Bearer {key}" else Reply(status=401)

    server.get("/instance-types", route)


def lambda_type(cents: object, regions: Sequence[str] = (), **specs: int) -> dict[str, Any]:
    return {
        "instance_type": {"price_cents_per_hour": cents, "specs": specs},
        "regions_with_capacity_available": [{"name": region, "description": "…"} for region in regions],
    }


def runpod_gpus(server: FakeServer, gpus: Sequence[Mapping[str, Any]]) -> None:
    server.post("/graphql", lambda _: {"data": {"gpuTypes": list(gpus)}})


def jarvislabs_servers(
    server: FakeServer, key: str, rows: Sequence[Mapping[str, Any]], cpus: Sequence[Mapping[str, Any]] = ()
) -> None:
    def route(asked: Asked) -> Any:
        if asked.headers.get("Authorization") != f"Bearer {key}":
            return Reply(status=401)
        return {"server_meta": list(rows), "cpu_meta": {"combinations": list(cpus)}}

    server.get("/misc/server_meta", route)
