"""AWS: EC2's calls against a real moto server, the price list from a fake of it (moto has none)."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from skyc.compiler.ir import Accelerator
from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.aws.client import Ec2, connect
from skyc.providers.aws.prices import parse
from skyc.providers.aws.refresh import described, refresh
from skyc.providers.http import Http
from skyc.providers.refresh import MissingCredentials, Refreshed, Settings, completed
from skyc.providers.retry import BadAnswer, Refused, Schedule, SourceFailure
from skyc.providers.snapshot import encode, offer_rows, type_rows

from .conftest import HURRY, TODAY, found, kind, offer, part
from .fakes import clouds
from .fakes.server import Asked, FakeServer, Reply, serving

pytestmark = pytest.mark.xdist_group("moto")
Make = Callable[..., Settings]
EAST = "us-east-1"
CALGARY = "ca-west-1"
"""The region moto is asked about: it has the fewest types, and moto takes a while for each."""
M5, M6, P4, LOCAL = kind("m5.large"), kind("m6g.large"), kind("p4d.24xlarge", "96", "1152", ("A100", "8")), kind("t3.medium")
BEFORE = part(
    "aws",
    [M5, M6, P4, LOCAL],
    [
        offer(M5, EAST, "use1-az1", "7", "0.05", estimated=True),
        offer(M5, EAST, "use1-az4", "7", "0.05", estimated=True),
        offer(P4, EAST, "use1-az2", "70", "30"),
        offer(LOCAL, EAST, "use1-atl2-az1", "9"),
        offer(M6, CALGARY, "caw1-az1", "7", "0.05", estimated=True),
        offer(LOCAL, CALGARY, "caw1-yyc2-az1", "9"),
        offer(M5, "eu-west-1", "euw1-az1", "7", "6"),
    ],
)
PRICES: Mapping[str, Mapping[str, str | Sequence[str]]] = {
    EAST: {"m5.large": "0.0960000000"},
    CALGARY: {"m6g.large": "0.0960000000", "m6i.large": "0.12", "c6g.large": ["0.085", "0.090"]},
    "eu-west-1": {"m5.large": "0.107"},
}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server of its own on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).with_name("moto_server"))
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output)
        try:
            _wait_for(port, server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            # It keeps everything in memory; there is nothing to put away.
            server.kill()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"moto did not start: {log.read_text()}")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys in the environment, and nothing of this machine's own AWS configuration."""
    without_account(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "THE-SECRET-KEY")
    monkeypatch.setenv("AWS_DEFAULT_REGION", EAST)


def without_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def aws(settings: Make, server: FakeServer, *regions: str) -> Settings:
    return settings(frozenset(regions) or None, SKYC_AWS_PRICE_LIST_URL=server.url)


@pytest.fixture(scope="module")
def of_moto(moto: str, tmp_path_factory: pytest.TempPathFactory) -> CatalogPart:
    """us-east-1 as refreshed from moto; several tests look at it."""
    with pytest.MonkeyPatch.context() as patch, serving() as server, Http(schedule=HURRY) as http:
        without_account(patch, tmp_path_factory.mktemp("aws"))
        for name, value in (("ACCESS_KEY_ID", "AKIAEXAMPLE"), ("SECRET_ACCESS_KEY", "x"), ("ENDPOINT_URL_EC2", moto)):
            patch.setenv(f"AWS_{name}", value)
        clouds.aws_prices(server, PRICES)
        settings = Settings(
            environ={"SKYC_AWS_PRICE_LIST_URL": server.url}, http=http, today=TODAY, regions=frozenset({CALGARY})
        )
        made = refresh(settings, BEFORE)
        assert made.regions is not None and CALGARY in made.regions
        # c6g.large has two prices in the list.
        assert [(failure.where, failure.reason.split()[0]) for failure in made.failures] == [(CALGARY, "c6g.large")]
        return completed("aws", made, BEFORE).part


def test_zones_types_and_prices_come_together(of_moto: CatalogPart) -> None:
    rows = offer_rows(of_moto)
    m6 = [row for row in rows if row.type[0] == "m6g.large" and row.region == CALGARY]
    assert {row.zone for row in m6} == {"caw1-az1", "caw1-az2", "caw1-az3"}
    assert {row.on_demand for row in m6} == {Decimal("0.096")}
    assert {(row.as_of, row.estimated) for row in m6} == {(TODAY, False)}
    assert found(rows, "m6i.large", CALGARY, "caw1-az2").on_demand == Decimal("0.12")
    assert len({row.type[0] for row in rows}) > 250


def test_a_type_without_a_price_is_unknown_and_not_free(of_moto: CatalogPart) -> None:
    rows = offer_rows(of_moto)
    assert all(row.on_demand is None or row.on_demand > 0 for row in rows)
    assert {row.on_demand for row in rows if row.type[0] == "c6g.large"} == {None}, "two prices, and none before"
    assert {row.on_demand for row in rows if row.type[0] == "r6g.large"} == {None}


def test_spot_prices_are_of_a_zone_and_never_above_on_demand(of_moto: CatalogPart) -> None:
    rows = [row for row in offer_rows(of_moto) if row.region == CALGARY and row.as_of == TODAY]
    assert any(row.spot is not None for row in rows)
    assert all(row.spot <= row.on_demand for row in rows if row.spot is not None and row.on_demand is not None)


def test_local_zones_and_other_regions_stay_as_they_were(of_moto: CatalogPart) -> None:
    rows = offer_rows(of_moto)
    for row in (found(rows, "t3.medium", CALGARY, "caw1-yyc2-az1"), found(rows, "m5.large", "eu-west-1", "euw1-az1")):
        assert row.as_of == "2021-02"


@pytest.mark.usefixtures("account")
def test_types_are_described_under_canonical_names(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", moto)
    ec2 = connect(HURRY)
    assert isinstance(ec2, Ec2)
    assert EAST in ec2.regions()
    names = (
        "p4de.24xlarge",
        "p3dn.24xlarge",
        "g6f.large",
        "trn1.2xlarge",
        "g7e.2xlarge",
        "m7g.large",
        "m5.large",
        "vt1.3xlarge",
    )
    types = {row["InstanceType"]: described(row) for row in ec2.types(EAST, names)}
    assert types["p4de.24xlarge"].accelerators == (Accelerator(name="A100-80GB", count=Decimal(8), memory_gb=Decimal(80)),)
    assert types["p3dn.24xlarge"].accelerators[0].name == "V100-32GB"
    assert types["g6f.large"].accelerators[0].count == Decimal("0.125")
    assert types["trn1.2xlarge"].accelerators[0].name == "Trainium"
    assert types["g7e.2xlarge"].accelerators[0].name == "RTXPRO6000"
    assert types["m7g.large"].arch == "arm64"
    assert (types["m5.large"].cpus, types["m5.large"].memory_gb) == (Decimal(2), Decimal(8))
    assert types["vt1.3xlarge"].accelerators == (), "media accelerators are none of ours"


def test_the_same_rows_give_the_same_bytes(of_moto: CatalogPart) -> None:
    rows = Refreshed(types=type_rows(of_moto)[::-1], offers=offer_rows(of_moto)[::-1], sells_spot=True, gaps=of_moto.notes[:-1])
    assert encode(completed("aws", rows, BEFORE).part) == encode(of_moto)


def test_without_an_account_on_demand_prices_are_new_and_the_rest_stays(
    server: FakeServer, settings: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_account(monkeypatch, tmp_path)
    clouds.aws_prices(server, PRICES)
    made = refresh(aws(settings, server), BEFORE)
    m5 = found(made.offers, "m5.large", EAST, "use1-az1")
    assert (m5.on_demand, m5.spot, m5.as_of, m5.estimated) == (Decimal("0.096"), Decimal("0.05"), TODAY, False)
    assert m5.source == "AWS price list; spot: before, 2021-02"
    assert found(made.offers, "p4d.24xlarge", EAST, "use1-az2").on_demand is None, "the list has no price any more"
    assert found(made.offers, "t3.medium", EAST, "use1-atl2-az1").on_demand == 9
    assert "aws configure" in made.gaps[0]
    again = refresh(aws(settings, server), completed("aws", made, BEFORE).part)
    assert found(again.offers, "m5.large", EAST, "use1-az1").source == m5.source
    with pytest.raises(MissingCredentials):
        refresh(aws(settings, server), None)


def test_a_region_without_a_list_keeps_its_rows(
    server: FakeServer, settings: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_account(monkeypatch, tmp_path)
    clouds.aws_prices(server, PRICES)
    server.faults += [("us-east-1", Reply(status=500))] * 4
    made = refresh(aws(settings, server), BEFORE)
    assert {row for row in made.offers if row.region == EAST} == {row for row in offer_rows(BEFORE) if row.region == EAST}
    assert found(made.offers, "m5.large", "eu-west-1", "euw1-az1").on_demand == Decimal("0.107")
    assert [failure.where for failure in made.failures if "c6g" not in failure.reason] == [EAST]


@pytest.mark.usefixtures("account")
def test_an_ec2_that_refuses_leaves_zones_and_spot_as_they_were(
    server: FakeServer, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 in a form moto does not have: an account without permissions."""
    refusal = b"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>THE-SECRET-KEY</Message></Error></Errors></Response>"
    server.post("/", lambda _: Reply(status=403, body=refusal))
    clouds.aws_prices(server, PRICES)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", server.url)
    made = refresh(aws(settings, server), BEFORE)
    assert found(made.offers, "m5.large", EAST, "use1-az1").on_demand == Decimal("0.096")
    assert made.failures[0].where == "EC2 describe_regions"
    assert "UnauthorizedOperation" in made.failures[0].reason
    assert "THE-SECRET-KEY" not in repr(made)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("code", "status", "kind", "tries"),
    [
        ("RequestLimitExceeded", 503, SourceFailure, 4),
        ("InternalError", 500, SourceFailure, 4),
        ("AuthFailure", 401, Refused, 1),
    ],
)
def test_throttling_is_tried_again_by_our_schedule(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[Exception], tries: int
) -> None:
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>x</Message></Error></Errors></Response>".encode()
    server.post("/", lambda _: Reply(status=status, body=body))
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", server.url)
    slept: list[float] = []
    ec2 = connect(Schedule(pauses=(1.0, 2.0, 3.0), sleep=slept.append))
    assert isinstance(ec2, Ec2)
    with pytest.raises(kind, match=code):
        ec2.regions()
    assert len(server.asked) == tries
    assert slept == [1.0, 2.0, 3.0][: tries - 1]


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SESSION_TOKEN", "TOKEN\nX-Evil: 1"),
        ("AWS_ENDPOINT_URL_EC2", "no address"),
        ("AWS_SECRET_ACCESS_KEY", "sch\udcfcssel"),
    ],
)
def test_keys_and_endpoints_that_cannot_be_used_are_not_repeated(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    server.post("/", lambda _: Reply(body=b"not XML"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", server.url)
    monkeypatch.setenv(name, value)
    ec2 = connect(HURRY)
    assert isinstance(ec2, Ec2)
    with pytest.raises(SourceFailure) as caught:
        ec2.regions()
    assert "TOKEN" not in str(caught.value)
    assert caught.value.__suppress_context__


PAGE = """<DescribeInstanceTypeOfferingsResponse><instanceTypeOfferingSet><item><instanceType>{kind}</instanceType>
<location>use1-az1</location></item></instanceTypeOfferingSet><nextToken>{token}</nextToken></DescribeInstanceTypeOfferingsResponse>"""


@pytest.mark.usefixtures("account")
def test_all_pages_are_read_and_a_circle_is_noticed(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2's own paging, which moto does not do for offerings."""
    following = {"": ("m5.large", "A"), "A": ("c5.large", "B"), "B": ("r5.large", "")}

    def page(asked: Asked) -> Reply:
        token = parse_qs(asked.text).get("NextToken", [""])[0]
        kind, after = following[token]
        return Reply(body=PAGE.format(kind=kind, token=after).encode())

    server.post("/", page)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", server.url)
    ec2 = connect(HURRY)
    assert isinstance(ec2, Ec2)
    assert ec2.offerings(EAST) == {(name, "use1-az1") for name in ("m5.large", "c5.large", "r5.large")}
    following["B"] = ("r5.large", "A")
    with pytest.raises(BadAnswer, match="circles"):
        ec2.offerings(EAST)


# The price list by itself


def lines(body: bytes) -> Iterator[str]:
    return iter(body.decode().splitlines(keepends=True))


def test_the_list_is_read_as_it_is_documented() -> None:
    found = parse(lines(clouds.aws_csv({"m5.large": "0.096", "c5.large": ["1", "2"], "r5.large": ["3", "3.0"]})), "r")
    assert found.prices == {"m5.large": Decimal("0.096"), "r5.large": Decimal(3)}
    assert found.contradicted == {"c5.large"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "has no column"),
        (b"a\n" * 5 + b'"SKU","TermType"\n', "has no column CapacityStatus"),
        (clouds.aws_csv({}), "holds no price"),
        (clouds.aws_csv({"m5.large": "0.096"}) + b'"S","OnDemand"\n', "has 2 fields instead of"),
        (clouds.aws_csv({"m5.large": "NaN"}), "holds no price"),
        (clouds.aws_csv({"m5.large": "0.096"}) + b'"' + b"x" * (csv.field_size_limit() + 1) + b'"\n', "not the documented CSV"),
    ],
)
def test_a_list_in_another_form_is_not_guessed_at(body: bytes, reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason):
        parse(lines(body), "r")
