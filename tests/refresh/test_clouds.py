"""Each cloud's refresh against a fake of its price list: what is read, what is not taken for a price, what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from skyc.compiler.ir import Accelerator, FrozenMap
from skyc.providers.azure.refresh import refresh as azure
from skyc.providers.gcp.refresh import refresh as gcp
from skyc.providers.ibm.refresh import refresh as ibm
from skyc.providers.jarvislabs.refresh import refresh as jarvislabs
from skyc.providers.lambdalabs.refresh import refresh as lambdalabs
from skyc.providers.refresh import MissingCredentials, NoSuchRegion, Settings
from skyc.providers.retry import BadAnswer, Refused, SourceFailure
from skyc.providers.runpod.refresh import refresh as runpod

from .conftest import TODAY, found, kind, offer, part
from .fakes import clouds
from .fakes.server import FakeServer, Reply

Make = Callable[..., Settings]

# Google

N2, C3, TPU = kind("n2-standard-4", "4", "16"), kind("c3-standard-4", "4", "16"), kind("tpu-v4-8", "0", "0", ("tpu-v4", "4"))
A2 = kind("a2-ultragpu-1g", "12", "170", ("A100-80GB", "1"), disk="375")
BARE = kind("a2-ultragpu-2g", "24", "340", ("A100-80GB", "2"))
GOOGLE = part(
    "gcp",
    [N2, C3, TPU, A2, BARE],
    [
        offer(row, region, zone, "7", "6", estimated=True)
        for row in (N2, C3, TPU, A2, BARE)
        for region, zone in (("us-central1", "us-central1-a"), ("europe-west4", None))
    ],
)


def google(server: FakeServer, settings: Make, **other: Any) -> Settings:
    return settings(SKYC_GCP_BILLING_URL=server.url, GOOGLE_API_KEY="key-of-google", **other)


def test_google_machines_cost_the_sum_of_their_parts(server: FakeServer, settings: Make) -> None:
    clouds.gcp_billing(server)
    made = gcp(google(server, settings), GOOGLE)
    n2 = found(made.offers, "n2-standard-4", "us-central1", "us-central1-a")
    assert (n2.on_demand, n2.spot, n2.as_of, n2.estimated) == (
        4 * Decimal("0.03") + 16 * Decimal("0.004"),
        4 * Decimal("0.01") + 16 * Decimal("0.001"),
        TODAY,
        False,
    )
    a2 = found(made.offers, "a2-ultragpu-1g", "us-central1", "us-central1-a")
    assert a2.on_demand is not None
    # 12 CPUs, 170 GiB, one GPU, and 375 GiB of disk at a month's price.
    assert round(a2.on_demand, 9) == round(12 * Decimal("0.03") + 170 * Decimal("0.004") + 4 + 375 * Decimal("0.0001"), 9)
    assert len(server.asked) == -(-len(clouds.GCP_SKUS) // 4)
    assert all(asked.headers["X-Goog-Api-Key"] == "key-of-google" for asked in server.asked)
    assert all("key" not in asked.query for asked in server.asked)


@pytest.mark.parametrize("name", ["c3-standard-4", "tpu-v4-8", "a2-ultragpu-2g"])
def test_google_machines_that_cannot_be_priced_keep_price_and_date(server: FakeServer, settings: Make, name: str) -> None:
    """Spot above on-demand, a TPU, a machine whose disks have no known size; and any machine where no SKU is."""
    clouds.gcp_billing(server)
    made = gcp(google(server, settings), GOOGLE)
    for row in (
        found(made.offers, name, "us-central1", "us-central1-a"),
        found(made.offers, "n2-standard-4", "europe-west4"),
    ):
        assert (row.on_demand, row.spot, row.as_of, row.estimated) == (Decimal(7), Decimal(6), "2021-02", True)
    assert "tpu" in made.gaps[0]


def test_google_zones_that_there_are_not_are_left_out(server: FakeServer, settings: Make) -> None:
    """An older skyc knew one of them, and a refresh keeps what the part before has."""
    clouds.gcp_billing(server)
    places = (("us-central1", "us-central1-a"), ("us-central1", "us-central1-d"))
    made = gcp(google(server, settings), part("gcp", [N2], [offer(N2, region, zone, "7") for region, zone in places]))
    assert [row.zone for row in made.offers] == ["us-central1-a"]
    assert made.zones["us-east1"] == ("us-east1-b", "us-east1-c", "us-east1-d") and made.zone_needed


def test_google_pages_without_end_are_noticed(server: FakeServer, settings: Make) -> None:
    server.get(clouds.GCP_PATH, lambda _: {"skus": [], "nextPageToken": "again"})
    with pytest.raises(BadAnswer, match="no end"):
        gcp(google(server, settings), GOOGLE)


def test_google_without_credentials_says_what_to_do(settings: Make, tmp_path: Any) -> None:
    with pytest.raises(MissingCredentials) as missing:
        gcp(settings(HOME=str(tmp_path)), GOOGLE)
    assert "gcloud auth application-default login" in missing.value.remedy


@pytest.mark.parametrize("form", ["authorized_user", "service_account"])
def test_google_logins_are_exchanged_for_a_token(server: FakeServer, settings: Make, tmp_path: Any, form: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = {
        "type": form,
        "client_id": "c",
        "client_secret": "SECRET-ONE",
        "refresh_token": "SECRET-TWO",
        "client_email": "a@b.iam",
        "quota_project_id": "project-1",
        "private_key": key.decode(),
    }
    (tmp_path / "login.json").write_text(json.dumps(file))
    clouds.gcp_billing(server)
    server.post("/token", lambda _: {"access_token": "token-of-google"})
    made = gcp(
        settings(
            SKYC_GCP_BILLING_URL=server.url,
            SKYC_GCP_TOKEN_URL=server.url,
            GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "login.json"),
        ),
        GOOGLE,
    )
    assert made.offers
    exchange, *lists = server.asked
    assert ("SECRET-TWO" if form == "authorized_user" else "assertion=eyJ") in exchange.text
    assert {asked.headers["Authorization"] for asked in lists} == {"Bearer token-of-google"}
    assert {asked.headers["X-Goog-User-Project"] for asked in lists} == {"project-1"}


# Azure

D2, E2, GONE = kind("Standard_D2s_v5"), kind("Standard_E2s_v5", "2", "16"), kind("Standard_A1")
AZURE = part(
    "azure",
    [D2, E2, GONE],
    [offer(row, region, None, "7") for row in (D2, E2, GONE) for region in ("eastus", "westus", "northeurope")],
)


def azure_lists(**regions: Sequence[Any]) -> dict[str, Any]:
    usual = {
        region: [
            *clouds.azure_meters("Standard_D2s_v5", 0.1, region=region),
            *clouds.azure_meters("Standard_New_v9", 1.0, region=region),
        ]
        for region in ("eastus", "westus", "northeurope")
    }
    return {**usual, **regions}


def test_azure_reads_the_plain_meter_and_its_spot_meter(server: FakeServer, settings: Make) -> None:
    clouds.azure_retail(server, azure_lists())
    made = azure(settings(SKYC_AZURE_PRICES_URL=server.url), AZURE)
    row = found(made.offers, "Standard_D2s_v5", "westus")
    assert (row.on_demand, row.spot, row.as_of) == (Decimal("0.1"), Decimal("0.025"), TODAY)
    assert {row.type[0] for row in made.offers} == {"Standard_D2s_v5"}, "what the list does not name is not sold"
    assert made.failures == ()
    assert "1 machine types of the price list are left out" in made.gaps[1]


def test_a_region_that_fails_keeps_its_rows_and_is_named(server: FakeServer, settings: Make) -> None:
    clouds.azure_retail(server, azure_lists(westus=[], northeurope=[{"armSkuName": 5}, 7]))
    made = azure(settings(SKYC_AZURE_PRICES_URL=server.url), AZURE)
    kept = [row for row in made.offers if row.region != "eastus"]
    assert len(kept) == 6
    assert {row.as_of for row in kept} == {"2021-02"}
    assert [(failure.where, failure.reason) for failure in made.failures] == [
        ("northeurope", "the answer's `Items` holds something else than objects"),
        ("westus", "the price list of westus holds no machine"),
    ]


def test_only_the_regions_named_are_asked(server: FakeServer, settings: Make) -> None:
    clouds.azure_retail(server, azure_lists())
    made = azure(settings(frozenset({"westus", "elsewhere"}), SKYC_AZURE_PRICES_URL=server.url), AZURE)
    assert {row.region for row in made.offers if row.as_of == TODAY} == {"westus"}
    assert len([row for row in made.offers if row.region == "eastus"]) == 3
    with pytest.raises(NoSuchRegion):
        azure(settings(frozenset({"elsewhere"}), SKYC_AZURE_PRICES_URL=server.url), AZURE)


def test_the_next_page_of_a_stranger_is_not_fetched(server: FakeServer, settings: Make) -> None:
    server.get("/api/retail/prices", lambda _: {"Items": [], "NextPageLink": "https://evil.example.com/next"})
    made = azure(settings(frozenset({"westus"}), SKYC_AZURE_PRICES_URL=server.url), AZURE)
    assert made.failures[0].reason == "the price list's next page is not one of its own"


def test_azure_subscriptions_tell_new_types(server: FakeServer, settings: Make) -> None:
    clouds.azure_retail(server, azure_lists())
    clouds.azure_skus(
        server,
        [
            clouds.azure_sku(
                "Standard_New_v9", vCPUs="4", MemoryGB="16", MaxResourceVolumeMB="102400", CpuArchitectureType="Arm64"
            ),
            clouds.azure_sku("Standard_NC24ads_A100_v4", vCPUs="24", MemoryGB="220", GPUs="1"),
            clouds.azure_sku("Standard_Strange", vCPUs="24", MemoryGB="220", GPUs="1"),
        ],
    )
    login = {
        f"AZURE_{name}": value
        for name, value in (("TENANT_ID", "tenant-1"), ("CLIENT_ID", "c"), ("CLIENT_SECRET", "password-of-azure"))
    }
    urls = dict.fromkeys(("SKYC_AZURE_PRICES_URL", "SKYC_AZURE_MANAGEMENT_URL", "SKYC_AZURE_LOGIN_URL"), server.url)
    made = azure(settings(AZURE_SUBSCRIPTION_ID="sub-1", **login, **urls), AZURE)
    types = {row.name: row for row in made.types}
    new = types["Standard_New_v9"]
    assert (new.cpus, new.memory_gb, new.arch, new.local_disk_gb) == (Decimal(4), Decimal(16), "arm64", Decimal(100))
    assert types["Standard_NC24ads_A100_v4"].accelerators == (
        Accelerator(name="A100-80GB", count=Decimal(1), memory_gb=Decimal(80)),
    )
    assert "Standard_Strange" not in types
    assert found(made.offers, "Standard_New_v9", "eastus").on_demand == 1
    server.faults.append(("/tenant-1", Reply(status=401)))
    refused = azure(settings(AZURE_SUBSCRIPTION_ID="sub-1", **login, **urls), AZURE)
    assert refused.failures[0].where == "Azure machine types"
    assert "password-of-azure" not in repr(refused)
    assert found(refused.offers, "Standard_D2s_v5", "eastus").as_of == TODAY


# IBM

BX, GX = kind("bx2-2x8"), kind("gx2-8x64x1v100", "8", "64", ("V100", "1"))
IBM = part(
    "ibm",
    [BX, GX],
    [offer(row, "us-south", f"us-south-{zone}", "7") for row in (BX, GX) for zone in (1, 2)],
    sells_spot=False,
)


def test_ibm_prices_are_added_up_by_metric(server: FakeServer, settings: Make) -> None:
    prices = {
        "bx2-2x8": {"us-south": {"VCPU_HOURS": 0.02, "MEMORY_HOURS": 0.005}},
        "gx2-8x64x1v100": {"us-south": {"INSTANCE_HOURS": 2.5}},
        "unknown-1x1": {"us-south": {"INSTANCE_HOURS": 1.0}},
    }
    clouds.ibm_catalog(server, prices)
    made = ibm(settings(SKYC_IBM_CATALOG_URL=server.url), IBM)
    assert found(made.offers, "bx2-2x8", "us-south", "us-south-1").on_demand == Decimal("0.08")
    assert found(made.offers, "gx2-8x64x1v100", "us-south", "us-south-2").on_demand == Decimal("2.5")
    assert made.failures == ()
    assert "IC_API_KEY" in made.gaps[0]


@pytest.mark.parametrize("metrics", [{"INSTANCE_MONTHS": 9.0}, {"VCPU_HOURS": 0.1, "CARBON": 1.0}, {}])
def test_ibm_prices_in_units_nobody_knows_are_not_guessed(
    server: FakeServer, settings: Make, metrics: dict[str, float]
) -> None:
    clouds.ibm_catalog(server, {"bx2-2x8": {"us-south": metrics}})
    made = ibm(settings(SKYC_IBM_CATALOG_URL=server.url), IBM)
    row = found(made.offers, "bx2-2x8", "us-south", "us-south-1")
    assert (row.on_demand, row.as_of) == (Decimal(7), "2021-02")


def test_an_ibm_profile_that_fails_keeps_its_rows(server: FakeServer, settings: Make) -> None:
    clouds.ibm_catalog(server, {name: {"us-south": {"INSTANCE_HOURS": 1.0}} for name in ("bx2-2x8", "gx2-8x64x1v100")})
    server.get("/api/v1/plan-bx2-2x8/pricing", lambda _: Reply(status=404))
    made = ibm(settings(SKYC_IBM_CATALOG_URL=server.url), IBM)
    assert found(made.offers, "bx2-2x8", "us-south", "us-south-1").as_of == "2021-02"
    assert found(made.offers, "gx2-8x64x1v100", "us-south", "us-south-1").as_of == TODAY
    assert [failure.where for failure in made.failures] == ["bx2-2x8"]


def test_ibm_keys_tell_profiles_and_zones(server: FakeServer, settings: Make) -> None:
    clouds.ibm_catalog(server, {"cx9-4x8": {"us-south": {"INSTANCE_HOURS": 0.5}}})
    fixed = {"type": "fixed"}
    profile = {
        "name": "cx9-4x8",
        "vcpu_count": {**fixed, "value": 4},
        "memory": {**fixed, "value": 8},
        "gpu_count": {**fixed, "value": 2},
        "gpu_model": {"type": "enum", "values": ["A100"]},
        "disks": [{"quantity": {**fixed, "value": 2}, "size": {**fixed, "value": 300}}],
        "vcpu_architecture": {**fixed, "value": "amd64"},
    }
    clouds.ibm_vpc(server, "us-south", [profile])
    urls = dict.fromkeys(("SKYC_IBM_CATALOG_URL", "SKYC_IBM_IAM_URL", "SKYC_IBM_VPC_URL"), server.url)
    made = ibm(settings(IC_API_KEY="key-of-ibm", **urls), IBM)
    row = found(made.offers, "cx9-4x8", "us-south", "us-south-2")
    assert row.on_demand == Decimal("0.5")
    new = {row.name: row for row in made.types}["cx9-4x8"]
    assert (new.cpus, new.local_disk_gb, new.accelerators[0].name, new.accelerators[0].count) == (
        Decimal(4),
        Decimal(600),
        "A100-80GB",
        Decimal(2),
    )
    assert dict(made.images) == {"us-south": "r006-image-2"}, "the newest Ubuntu for these processors"
    for was, then in (("r006-image-5", "r006-image-5"), ("r006-image-0", "r006-image-2")):
        again = ibm(settings(IC_API_KEY="key-of-ibm", **urls), replace(IBM, images=FrozenMap({"us-south": was})))
        assert dict(again.images) == {"us-south": then}, "one that is still to be had stays"
    assert "key-of-ibm" in server.asked[0].text
    assert all("key-of-ibm" not in asked.path + repr(asked.query) for asked in server.asked)


# Lambda

H100 = kind("gpu_1x_h100_pcie", "26", "200", ("H100-PCIE", "1"))
LAMBDA = part("lambda", [H100], [offer(H100, "us-east-1", None, "7"), offer(H100, "us-west-1", None, "7")], sells_spot=False)


def test_lambda_prices_are_the_same_everywhere_and_regions_are_added(server: FakeServer, settings: Make) -> None:
    data = {
        "gpu_1x_h100_pcie": clouds.lambda_type(329, ["us-west-1", "asia-south-1"], vcpus=26, memory_gib=200, gpus=1),
        "gpu_8x_a100_80gb_sxm4": clouds.lambda_type(1432, ["us-east-1"], vcpus=240, memory_gib=1800, gpus=8, storage_gib=19456),
        "cpu_4x_general": clouds.lambda_type(None, ["us-east-1"], vcpus=4, memory_gib=16, gpus=0),
    }
    clouds.lambda_types(server, "key-of-lambda", data)
    made = lambdalabs(settings(SKYC_LAMBDA_URL=server.url, LAMBDA_API_KEY="key-of-lambda"), LAMBDA)
    prices = {(row.type[0], row.region): row.on_demand for row in made.offers}
    assert prices == {
        ("gpu_1x_h100_pcie", "us-east-1"): Decimal("3.29"),
        ("gpu_1x_h100_pcie", "us-west-1"): Decimal("3.29"),
        ("gpu_1x_h100_pcie", "asia-south-1"): Decimal("3.29"),
        ("gpu_8x_a100_80gb_sxm4", "us-east-1"): Decimal("14.32"),
        ("cpu_4x_general", "us-east-1"): None,
    }
    assert {row.name: row.accelerators[0].name for row in made.types if row.accelerators} == {
        "gpu_1x_h100_pcie": "H100-PCIE",
        "gpu_8x_a100_80gb_sxm4": "A100-80GB-SXM",
    }


def test_lambda_needs_a_key_that_is_accepted(server: FakeServer, settings: Make) -> None:
    clouds.lambda_types(server, "right", {})
    with pytest.raises(MissingCredentials) as missing:
        lambdalabs(settings(), LAMBDA)
    assert "LAMBDA_API_KEY" in missing.value.what
    with pytest.raises(Refused) as refused:
        lambdalabs(settings(SKYC_LAMBDA_URL=server.url, LAMBDA_API_KEY="wrong-key"), LAMBDA)
    assert "wrong-key" not in str(refused.value)


# RunPod

SECURE = kind("2x_L40S_SECURE", "32", "124", ("L40S", "2"))
COMMUNITY = kind("1x_RTX4090_COMMUNITY", "4", "24", ("RTX4090", "1"))
NOBODYS = kind("1x_Oddity_SECURE")
RUNPOD = part(
    "runpod",
    [SECURE, COMMUNITY, NOBODYS],
    [
        offer(SECURE, "US", "US-TX-1", "7"),
        offer(SECURE, "FR", "EU-FR-1", "7"),
        offer(COMMUNITY, "US", "US-TX-1", "7"),
        offer(NOBODYS, "US", "US-TX-1", "7"),
    ],
)


def test_runpod_prices_are_per_gpu(server: FakeServer, settings: Make) -> None:
    gpus = [
        {
            "id": "NVIDIA L40S",
            "memoryInGb": 48,
            "securePrice": 0.86,
            "communityPrice": 0.79,
            "secureSpotPrice": 0.86,
            "communitySpotPrice": 0,
        },
        {
            "id": "NVIDIA GeForce RTX 4090",
            "memoryInGb": 24,
            "securePrice": 0.69,
            "communityPrice": None,
            "communitySpotPrice": 0.1,
        },
        {"id": "NVIDIA Something New", "memoryInGb": 999},
    ]
    clouds.runpod_gpus(server, gpus)
    made = runpod(settings(SKYC_RUNPOD_URL=server.url), RUNPOD)
    row = found(made.offers, "2x_L40S_SECURE", "US", "US-TX-1")
    assert (row.on_demand, row.spot) == (Decimal("1.72"), None), "a spot price that equals on-demand is none"
    assert "1x_RTX4090_COMMUNITY" not in {row.type[0] for row in made.offers}, "no price: not sold now"
    assert found(made.offers, "1x_Oddity_SECURE", "US", "US-TX-1").as_of == "2021-02"
    assert "1 GPUs" in made.gaps[0]


def test_runpod_errors_come_with_status_200(server: FakeServer, settings: Make) -> None:
    server.post("/graphql", lambda _: {"errors": [{"message": "no"}], "data": None})
    with pytest.raises(SourceFailure, match="did not accept the query"):
        runpod(settings(SKYC_RUNPOD_URL=server.url), RUNPOD)


# JarvisLabs

L4X2, CPU, OLD = kind("2x_L4_56V_248G", "56", "248", ("L4", "2")), kind("CPU_4V_16G", "4", "16"), kind("1x_H100_24V_200G")
JARVIS = part(
    "jarvislabs",
    [L4X2, CPU, OLD],
    [offer(L4X2, "IN2", None, "7"), offer(CPU, "IN2", None, "7"), offer(OLD, "IN2", None, "7")],
    sells_spot=False,
)


def test_jarvislabs_prices_gpus_and_cpus(server: FakeServer, settings: Make) -> None:
    gpu = {
        "region": "india-noida-01",
        "workload_type": "vm",
        "cpus_per_gpu": 28,
        "ram_per_gpu": 124,
        "vram": "24",
        "num_gpus": 2,
    }
    rows = [
        {**gpu, "gpu_type": "L4", "price_per_hour": 0.44},
        {**gpu, "gpu_type": "L4", "price_per_hour": 0.11, "workload_type": "container"},
        {**gpu, "gpu_type": "H200", "price_per_hour": "3.80", "workload_type": None, "spot_price": 1.99},
        {**gpu, "gpu_type": "A100 40GB", "price_per_hour": 1},
        {**gpu, "gpu_type": "L4", "region": "mars-01", "price_per_hour": 1},
    ]
    cpus = [{"vcpus": 4, "ram_gb": 16, "price": 0.1, "available": True, "regions": {"india-noida-01": 3}}]
    clouds.jarvislabs_servers(server, "key-of-jarvis", rows, cpus)
    made = jarvislabs(settings(SKYC_JARVISLABS_URL=server.url, JL_API_KEY="key-of-jarvis"), JARVIS)
    prices = {(row.type[0], row.region): (row.on_demand, row.spot) for row in made.offers}
    assert prices == {
        ("2x_L4_56V_248G", "IN2"): (Decimal("0.88"), None),
        ("CPU_4V_16G", "IN2"): (Decimal("0.1"), None),
        ("1x_H200_28V_124G", "IN2"): (Decimal("3.80"), None),
        ("2x_H200_56V_248G", "IN2"): (Decimal("7.60"), None),
    }


# All of them


@pytest.mark.parametrize("refresh", [gcp, azure, ibm, runpod], ids=["gcp", "azure", "ibm", "runpod"])
def test_clouds_that_tell_prices_only_need_a_catalog_to_begin_with(refresh: Any, settings: Make) -> None:
    with pytest.raises(SourceFailure, match="no catalog of it to begin with"):
        refresh(settings(), None)
