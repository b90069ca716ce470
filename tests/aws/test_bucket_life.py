"""Buckets of a deployment over their whole life: the released AWS provider, a pretended account, and skyc's own commands.

Needs the provider in a mirror (SKYC_PROVIDER_MIRROR); counted as skipped otherwise. Machines are left out: what their Terraform does is in
`test_real_provider`, and what runs on them in `test_apply`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId, Storage, holds_storage
from skyc.providers.aws.client import Account
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import LowerContext
from skyc.providers.local.client import LocalProvider
from skyc.providers.retry import Schedule
from skyc.runtime import inspect
from skyc.runtime.apply import _make, locked, site_context
from skyc.runtime.destroy import destroy
from skyc.runtime.planning import planned
from skyc.runtime.plans import plan_result
from skyc.runtime.refusals import compiled
from skyc.runtime.request import Request
from skyc.runtime.results import DestroyOutcome, Plan
from skyc.runtime.session import Session, open_session
from skyc.runtime.sites import site_directory
from tests.aws.conftest import at
from tests.lengths import takes_minutes
from tests.simulator.real_provider import MIRROR, mirror

DEMO = DeploymentId("demo")
TASK = """\
name: demo
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}
storage:
  out: {size_gb: 100}
  scratch: {persistent: false}
run: echo hi
"""


@pytest.fixture
def session(tmp_path: Path, account: Any, moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv(MIRROR, str(mirror()))
    lower = AwsProvider.lower_storages

    def to_moto(self: AwsProvider, storages: tuple[Storage, ...], region: str, context: LowerContext) -> Any:
        graph, said = lower(self, storages, region, context)
        return None if graph is None else at(graph), said

    monkeypatch.setattr(AwsProvider, "lower_storages", to_moto)
    with open_session(tmp_path / "home") as session:
        # Where a cached property keeps its value.
        session.__dict__["providers"] = {"aws": AwsProvider(), "local": LocalProvider()}
        yield session


def make(session: Session, text: str) -> tuple[dict[str, str], str]:
    """Apply the buckets of a task: address → action, and the report."""
    path = session.home.parent / "task.yaml"
    path.write_text(text)
    request = Request(path=path, env={}, secrets={})
    whole = compiled(session, request)
    assert whole.graphs is not None and whole.synthesized is not None
    kept = [pair for pair in zip(whole.graphs, whole.synthesized, strict=True) if holds_storage(pair[0].site)]
    part = replace(whole, graphs=tuple(graph for graph, _ in kept), synthesized=tuple(made for _, made in kept))
    with locked(session, DEMO, command="test", wait=0) as lock_fd:
        context = site_context(session, DEMO, lock_fd, part)
        with planned(session, request, part, context) as plan:
            changes = {
                change.address: change.action.value
                for site in plan.changes
                for change in site.changes
                if change.action.value != "no-op"
            }
            report = plan_result(plan).report("text")
            _make(session, plan, request)
    return changes, report


def buckets(account: Any) -> dict[str, str]:
    """Storage → bucket, of everything tagged."""
    s3 = account("s3")
    found = {}
    for row in s3.list_buckets()["Buckets"]:
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=row["Name"])["TagSet"]}
        if tags.get("skyc-deployment") == DEMO:
            found[tags["skyc-storage"]] = row["Name"]
    return found


@takes_minutes
@pytest.mark.terraform
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_buckets_are_made_kept_found_again_and_purged(session: Session, account: Any) -> None:
    s3 = account("s3")
    changes, report = make(session, TASK)
    assert {address for address in changes if address.startswith("aws_s3_bucket.")} == {
        "aws_s3_bucket.out",
        "aws_s3_bucket.scratch",
    }
    names = buckets(account)
    mark = (session.home / "deployments" / DEMO / "mark").read_text()
    assert names == {"out": f"skyc-demo-out-{mark}", "scratch": f"skyc-demo-scratch-{mark}"}
    assert f"storage out at aws/us-east-1 · s3://{names['out']} · $2.30 a month · stays after a destroy" in report
    assert f"storage scratch at aws/us-east-1 · s3://{names['scratch']} · $0.023 per GB and month · goes with" in report
    for name in names.values():
        _is_closed(s3, name)
        s3.put_object(Bucket=name, Key="a/b", Body=b"data")
        s3.create_multipart_upload(Bucket=name, Key="half")

    # What is seen by tag is what the state knows: nothing with data is taken for an orphan.
    assert {item.storage: item.keep for item in session.provider("aws").observe(DEMO, home=session.home)} == {
        "out": True,
        "scratch": False,
    }

    shown: list[Plan] = []

    def agree(plan: Plan) -> bool:
        shown.append(plan)
        return True

    result = destroy(session, "demo", confirm=agree)
    assert result.outcome is DestroyOutcome.DESTROYED
    assert [(kept.name, kept.uri) for kept in result.kept] == [("out", f"s3://{names['out']}")]
    assert {change.address for site in shown[0].changes for change in site.changes if change.action.value == "delete"} == {
        f"aws_s3_bucket{part}.scratch"
        for part in (
            "",
            "_lifecycle_configuration",
            "_ownership_controls",
            "_policy",
            "_public_access_block",
            "_server_side_encryption_configuration",
        )
    }
    assert f"stays: out at s3://{names['out']} · $0.023 per GB and month" in shown[0].report("text")
    assert buckets(account) == {"out": names["out"]}
    assert s3.get_object(Bucket=names["out"], Key="a/b")["Body"].read() == b"data"
    (status,) = inspect.status(session, None, refresh=False)
    assert [storage.name for storage in status.storages] == ["out"]

    # The next apply finds it again, also of a file that does not name it any more: what is persistent stays where it is.
    changes, report = make(session, "name: demo\nresources: {infra: aws/us-east-1/use1-az1}\nrun: echo hi\n")
    assert changes == {}
    assert "storage out at aws/us-east-1" in report and "the file does not name it any more" in report
    assert buckets(account) == {"out": names["out"]}
    module = site_directory(session.home, DEMO, status.sites[0].site) / "cdk.tf.json"
    assert json.loads(module.read_text())["resource"]["aws_s3_bucket"]["out"]["lifecycle"]["prevent_destroy"] is True

    result = destroy(session, "demo", confirm=None, purge=True)
    assert result.kept == () and buckets(account) == {}
    assert not module.exists()


def _is_closed(s3: Any, name: str) -> None:
    block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True} and len(block) == 4
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (owner,) = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (sweep,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert sweep["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_a_bucket_is_never_removed_with_data_in_it(tmp_path: Path, account: Any) -> None:
    import boto3

    s3, mark, deployment = account("s3"), "0123456789", DeploymentId("orphan")
    tags = {"skyc-deployment": deployment, "skyc-storage": "out"}
    for name in (f"skyc-orphan-out-{mark}", "skyc-orphan-out-9999999999", f"somebody-elses-{mark}"):
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2"):
            s3.put_object(Bucket=name, Key="a", Body=body)
        s3.delete_object(Bucket=name, Key="a")
        if name.startswith("skyc"):
            rows = [{"Key": key, "Value": value} for key, value in tags.items()]
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": rows})
    directory = tmp_path / "deployments" / deployment
    (directory / "sites" / "_storage.aws-us-east-1").mkdir(parents=True)
    (directory / "mark").write_text(mark)
    provider = AwsProvider()
    # Neither another home's bucket, whose mark is another, nor one without the tag.
    (found,) = provider.observe(deployment, home=tmp_path)
    assert (found.id, found.storage, found.keep) == (f"skyc-orphan-out-{mark}", "out", True)
    with pytest.raises(SkycError) as refused:
        provider.remove(found, home=tmp_path)
    assert refused.value.diagnostics[0].slug == "storage-not-empty"
    assert len(s3.list_object_versions(Bucket=found.id)["Versions"]) == 2
    provider.empty(found, home=tmp_path)
    provider.empty(found, home=tmp_path)
    for _ in range(2):
        provider.remove(found, home=tmp_path)
    assert provider.observe(deployment, home=tmp_path) == ()
    inventory = Inventory(Account(boto3.Session(), Schedule(pauses=(0.1,))))
    inventory.empty(found)
    assert len(s3.list_object_versions(Bucket="skyc-orphan-out-9999999999")["Versions"]) == 2
