"""Who we are at AWS and what the account may have. moto answers; botocore's Stubber where moto cannot say it (expired sessions, and
Service Quotas, which moto answers with 500).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId, Market, Quota
from skyc.compiler.match import _counted
from skyc.providers.aws.client import Account
from skyc.providers.aws.login import LoginState, login, look
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.aws.quotas import read_quotas
from skyc.providers.retry import Schedule
from skyc.runtime.explain import explain
from skyc.runtime.quotas import encode_quotas, told_quotas
from skyc.runtime.quotas import read_quotas as known_quotas

HASTY = Schedule(pauses=())


class Session:
    """A session whose clients are stubbed."""

    region_name = "us-east-1"

    def __init__(self, *clients: Any) -> None:
        self.clients = {client.meta.service_model.service_name: client for client in clients}

    def client(self, service: str, **options: Any) -> Any:
        return self.clients[service]


def stubbed(service: str) -> tuple[Any, Stubber]:
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    return client, Stubber(client)


def test_who_we_are_and_where_we_may_be(account: Any, tmp_path: Path) -> None:
    found = login(HASTY)
    assert (found.state, found.account) == (LoginState.USABLE, "123456789012")
    assert found.who.startswith("arn:aws:") and found.regions is not None and "eu-west-1" in found.regions
    report = AwsProvider().check(home=tmp_path)
    assert report.facts["account"] == "123456789012" and int(report.facts["regions"]) == len(found.regions)
    assert not [said for said in report.diagnostics if said.slug.startswith(("login", "not-logged"))]
    # moto's account has every region.
    assert set(report.regions) == {region for region in found.regions if AwsProvider().on_request(region)} > {"eu-south-2"}
    assert "eu-south-2" in report.facts["opt-in regions"].split()


def test_no_credentials_is_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert login(HASTY).state is LoginState.NONE
    report = AwsProvider().check(home=tmp_path)
    assert (
        report.facts["state"] == "login none"
        and not report.usable
        and [said.slug for said in report.diagnostics] == ["not-logged-in"]
    )


def test_a_key_aws_does_not_know(account: Any) -> None:
    from moto.core.authorization import enable_iam_authentication

    stranger = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x", region_name="us-east-1")
    with enable_iam_authentication():
        found = look(Account(stranger, HASTY))
    assert found.state is LoginState.REFUSED and "InvalidClientTokenId" in found.why


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, account: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert login(HASTY).state is LoginState.UNREACHABLE


def test_a_session_that_has_expired() -> None:
    sts, answers = stubbed("sts")
    answers.add_client_error("get_caller_identity", "ExpiredToken", http_status_code=403)
    with answers:
        assert look(Account(Session(sts), HASTY)).state is LoginState.EXPIRED


def test_regions_that_may_not_be_asked_are_unknown_and_not_none() -> None:
    sts, who = stubbed("sts")
    ec2, where = stubbed("ec2")
    who.add_response("get_caller_identity", {"Account": "1" * 12, "Arn": "arn:aws:iam::111111111111:user/a", "UserId": "u"})
    where.add_client_error("describe_regions", "UnauthorizedOperation", http_status_code=403)
    with who, where:
        found = look(Account(Session(sts, ec2), HASTY))
    assert (found.state, found.regions) == (LoginState.USABLE, None)


ROWS = [
    ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 32.0),
    ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 64.0),
    ("Running On-Demand G and VT instances", 0.0),
    ("All P4, P3 and P2 Spot Instance Requests", 96.0),
    ("Running On-Demand High Memory instances", 448.0),
    ("EC2-VPC Elastic IPs", 5.0),
]


def test_in_another_account_nothing_is_called_gone(account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destroy would be done at once there, and the machines would run on in the other."""
    ec2, demo = account("ec2"), DeploymentId("demo")
    vpc = ec2.create_vpc(
        CidrBlock="10.0.0.0/16",
        TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "skyc-deployment", "Value": "demo"}]}],
    )["Vpc"]["VpcId"]
    site = tmp_path / "deployments" / "demo" / "sites" / "train.aws-us-east-1"
    site.mkdir(parents=True)
    arn = f"arn:aws:ec2:us-east-1:123456789012:vpc/{vpc}"
    (site / "terraform.tfstate").write_text(f'{{"resources": [{{"instances": [{{"attributes": {{"arn": "{arn}"}}}}]}}]}}')
    aws = AwsProvider()
    assert [found.id for found in aws.observe(demo, home=tmp_path)] == [vpc]
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "999999999999")
    with pytest.raises(SkycError) as failure:
        aws.observe(demo, home=tmp_path)
    (said,) = failure.value.diagnostics
    assert said.slug == "other-account" and "123456789012" in said.detail and "999999999999" in said.detail
    # Without a state nothing tells the account, and what is there is what is seen.
    (site / "terraform.tfstate").unlink()
    assert aws.observe(demo, home=tmp_path) == ()


def test_quotas_are_read_with_the_families_they_count() -> None:
    client, answers = stubbed("service-quotas")
    for start, token in ((0, "more"), (3, None)):
        rows = [{"QuotaName": name, "Value": value} for name, value in ROWS[start : start + 3]]
        answers.add_response("list_service_quotas", {"Quotas": rows, **({"NextToken": token} if token else {})})
    with answers:
        found, failures = read_quotas(Account(Session(client), HASTY), ["us-east-1"])
    assert failures == ()
    standard = tuple("acdhimrtz")
    assert {(quota.market, quota.families, quota.limit) for quota in found} == {
        (Market.ON_DEMAND, standard, Decimal(32)),
        (Market.SPOT, standard, Decimal(64)),
        (Market.ON_DEMAND, ("g", "vt"), Decimal(0)),
        (Market.SPOT, ("p2", "p3", "p4"), Decimal(96)),
    }


def test_what_is_not_told_limits_nothing(account: Any) -> None:
    # moto 5.2 answers 500 here.
    found, failures = read_quotas(Account(boto3.Session(), HASTY), ["us-east-1", "eu-west-1"])
    assert found == () and [failure.where for failure in failures] == ["quotas in eu-west-1", "quotas in us-east-1"]


@pytest.mark.parametrize(
    ("name", "families", "counted"),
    [
        ("g5.xlarge", ("g", "vt"), True),
        ("gr6.4xlarge", ("g", "vt"), False),
        ("p4d.24xlarge", ("p4",), True),
        ("p5.48xlarge", ("p4",), False),
        ("inf2.xlarge", ("i",), False),
        ("i4i.large", ("i",), True),
    ],
)
def test_which_types_a_quota_counts(name: str, families: tuple[str, ...], counted: bool) -> None:
    assert _counted(name, families) is counted


def test_a_quota_of_nothing_leaves_the_family_out(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text("name: train\nresources: {infra: aws/us-east-1, instance_type: g5.xlarge}\nrun: x\n")
    quota = Quota(
        provider="aws",
        region="us-east-1",
        market=Market.ON_DEMAND,
        accelerator=None,
        families=("g", "vt"),
        limit=Decimal(0),
    )
    home = tmp_path / "home"
    assert explain(task, home=home).placement.placements[0].instance_type == "g5.xlarge"
    (home / "catalog").mkdir(exist_ok=True)
    told_quotas(home, "aws").write_bytes(encode_quotas((quota,)))
    assert known_quotas(home) == (quota,)
    with pytest.raises(SkycError) as refused:
        explain(task, home=home)
    assert "quota" in str([said.detail for said in refused.value.diagnostics])
    told_quotas(home, "aws").write_text("{")
    assert known_quotas(home) == ()
