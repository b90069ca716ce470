"""What somebody who runs skyc at AWS does there, with the keys of a user who has one policy and IAM enforcement on.

The sites live through plan, apply, a look by tag, changes, the removal of leftovers, and destroy, in the hands of the released provider.
`POLICY` is the one in docs/aws-operator-policy.json. The account must be empty: what another life left would be found, and be in the way.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from skyc.compiler.ir import Addresses, DeploymentId, FrozenMap, ResourceGraph, holds_storage
from skyc.compiler.synth import synth
from skyc.compiler.terraform import Terraform, find_engine
from skyc.providers.aws.client import Account
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.power import Ec2Switch
from skyc.providers.base import NetworkChoice, OwnedResource
from skyc.providers.rented.names import DEPLOYMENT_TAG
from skyc.providers.retry import Schedule, SourceFailure
from skyc.runtime.mirror import with_mirror
from tests.aws.conftest import at, lowered
from tests.aws.moto_iam import ASKED
from tests.simulator.real_provider import SOURCE, mirror, version

POLICY = Path(__file__).parents[2] / "docs" / "aws-operator-policy.json"
DEPLOYMENT = DeploymentId("operated")
REGION = "us-east-1"
MARK = "0000000000"
"""At the end of the bucket's name."""


class Life(enum.Enum):
    """One site, and what it lives through."""

    MACHINES = "machines"
    """A burstable machine with an identity."""
    GANG = "gang"
    """Two spot machines close together, with adapters on several network cards, the head alone with a public address."""
    BUCKETS = "buckets"


TASK = """\
name: train
resources:
  infra: aws/us-east-1/use1-az1
  instance_type: t3.xlarge
  disk_size: {disk}
  labels: {{team: {team}}}
storage: {{out: {{persistent: false}}}}
run: echo hi
"""
GANG = """\
name: train
num_nodes: 2
resources: {infra: aws/us-east-1/use1-az1, instance_type: c6in.32xlarge, network_tier: best, use_spot: true}
run: echo hi
"""
LEFTOVERS = frozenset(
    {
        *("aws_instance", "aws_ebs_volume", "aws_key_pair", "aws_iam_instance_profile", "aws_network_interface"),
        "aws_vpc_security_group_rule",
    }
)
"""What a killed run leaves is removed without its state; here that is all but what Terraform removes next."""


class Denied(Exception):
    """A step failed. IAM's own record says whether that was why."""


Step = tuple[str, Callable[[], None]]


class Operator:
    """A user with a policy, and what it does at one site."""

    def __init__(self, folder: Path, root: Any, statements: Sequence[dict[str, Any]], life: Life, *, cache: Path | None = None):
        import boto3

        self.folder, self.life, self.root = folder, life, root
        self.cache = cache or folder / "cache"
        self.directory = folder / "site"
        self.directory.mkdir(parents=True)
        iam, self.name = root("iam"), f"operator-{uuid4().hex}"
        iam.create_user(UserName=self.name)
        self.allow(statements)
        keys = iam.create_access_key(UserName=self.name)["AccessKey"]
        self.keys = {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"]}
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name=REGION)
        self.inventory = Inventory(Account(session, Schedule(pauses=(0.1,))), pause=lambda seconds: None)
        self.seen: tuple[OwnedResource, ...] = ()

    def allow(self, statements: Sequence[dict[str, Any]]) -> None:
        """From now on its policy is this one. Said to the account itself, so that it can be said while something is judged."""
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.iam.models import iam_backends

        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam_backends[DEFAULT_ACCOUNT_ID]["aws"].put_user_policy(self.name, "skyc", document)

    def live(self, skip: frozenset[str] = frozenset()) -> dict[str, tuple[str, ...]]:
        """All steps but those named: action → the steps that asked for it. Raises Denied at the first that fails."""
        asked: dict[str, tuple[str, ...]] = {}
        for name, step in self.steps():
            if name in skip:
                continue
            start = len(ASKED)
            try:
                step()
            except Denied as why:
                raise Denied(f"{name}: {why}") from None
            for action in sorted({judged.action for judged in ASKED[start:]}):
                asked[action] = (*asked.get(action, ()), name)
        return asked

    def steps(self) -> list[Step]:
        made: list[Step] = [("make", lambda: self._apply(self._task())), ("look", self._look)]
        gone: list[Step] = [("destroy", self._destroy), ("look for what is left", self._look_for_nothing)]
        match self.life:
            case Life.MACHINES:
                return [
                    *made,
                    ("another label", lambda: self._apply(self._task(team="platform"))),
                    ("a label less", lambda: self._apply(self._task(team=""))),
                    (ANOTHER_DISK, lambda: self._apply(self._task(disk=300))),
                    ("stop and start", self._stop_and_start),
                    ("remove what a killed run left", self._remove),
                    *gone,
                ]
            case Life.GANG:
                return [*made, *gone]
            case Life.BUCKETS:
                return [*made, ("look for a checkpoint", self._checkpoint), ("empty", self._empty), *gone]

    def _task(self, *, team: str = "research", disk: int = 256) -> str:
        if self.life is Life.GANG:
            return GANG
        text = TASK.format(team=team, disk=disk)
        return text if team else text.replace("  labels: {team: }\n", "")

    def _look(self) -> None:
        self.seen = self._observe()
        if not self.seen:
            raise Denied("a tag was lost")

    def _look_for_nothing(self) -> None:
        if left := self._observe():
            raise Denied(f"left: {', '.join(item.id for item in left)}")

    def _observe(self) -> tuple[OwnedResource, ...]:
        mark = MARK if self.life is Life.BUCKETS else None
        found: tuple[OwnedResource, ...] = self._judged(self.inventory.observe, DEPLOYMENT, (REGION,), mark)
        return found

    def _stop_and_start(self) -> None:
        switch = Ec2Switch(self.inventory.account)
        for item in self._observe():
            if item.type == "aws_instance":
                for step in (switch.stopping, switch.power, switch.stop, switch.start):
                    self._judged(step, item)

    def _remove(self) -> None:
        tags = {DEPLOYMENT_TAG: str(DEPLOYMENT)}
        with self._unjudged():
            # Of a machine that was killed while it started.
            rows = [{"Key": key, "Value": value} for key, value in tags.items()]
            disk, interface = ([{"ResourceType": kind, "Tags": rows}] for kind in ("volume", "network-interface"))
            ec2, subnet = self.root("ec2"), next(item.id for item in self.seen if item.type == "aws_subnet")
            ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=disk)
            ec2.create_network_interface(SubnetId=subnet, TagSpecifications=interface)
        seen = self._observe()
        if not {"aws_ebs_volume", "aws_network_interface"} <= {item.type for item in seen}:
            raise Denied("the disk or the interface was not found")
        for item in seen:
            if item.type in LEFTOVERS:
                self._judged(self.inventory.remove, item)

    def _checkpoint(self) -> None:
        """A plan says from which checkpoint a job would go on, where its reader may know."""
        from skyc.runtime.checkpoint import newest_generation, snapshot
        from skyc.runtime.storage.base import StoreError, open_store

        bucket = self.seen[0].id
        with self._unjudged():
            saved = self.folder / "saved"
            saved.mkdir()
            snapshot(open_store(f"s3://{bucket}"), "run", saved, rank=0, counted=True)
        with _environment(self.keys):
            try:
                if newest_generation(open_store(f"s3://{bucket}"), "run", 1) != 1:
                    raise Denied("the checkpoint was not found")
            except StoreError as failure:
                raise Denied(str(failure)) from None

    def _empty(self) -> None:
        bucket = self.seen[0].id
        with self._unjudged():
            s3 = self.root("s3")
            s3.put_object(Bucket=bucket, Key="a/1", Body=b"data")
            s3.create_multipart_upload(Bucket=bucket, Key="a/2")
        for item in self.seen:
            self._judged(self.inventory.empty, item)

    def _destroy(self) -> None:
        self._run(destroy=True)

    def _judged(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except SourceFailure as failure:
            raise Denied(str(failure)) from None

    @contextmanager
    def _unjudged(self) -> Iterator[None]:
        """What others do in the account."""
        from moto.core.authorization import disable_iam_authentication

        with disable_iam_authentication():
            yield

    def _apply(self, task: str) -> None:
        chosen = NetworkChoice(public=Addresses.HEAD if self.life is Life.GANG else Addresses.ALL)
        versions = FrozenMap({SOURCE: version()})
        found = lowered(task, self.folder, deployment=DEPLOYMENT, versions=versions, networks={("aws", REGION): chosen})
        (graph,) = (graph for graph in found if holds_storage(graph.site) is (self.life is Life.BUCKETS))
        _, text = synth(_keyless(at(graph)), cache=self.cache)
        (self.directory / "cdk.tf.json").write_text(text)
        self._run()

    def _run(self, *, destroy: bool = False) -> None:
        environ = {**os.environ, **self.keys, "SKYC_PROVIDER_MIRROR": str(mirror())}
        environ = with_mirror(environ, self.folder, only=True)
        terraform = Terraform(find_engine(environ=os.environ), self.directory, home=self.folder, environ=environ)
        run = terraform.plan(destroy=destroy)
        if not run.ok or run.plan_file is None:
            raise Denied(_said(run.diagnostics))
        done = terraform.apply(run.plan_file)
        if not done.ok:
            raise Denied(_said(done.diagnostics))


ANOTHER_DISK = "another disk"
"""Replaces the machine, and takes as long as to make it."""


def _keyless(graph: ResourceGraph) -> ResourceGraph:
    """Keys come from the environment, so that the same graph is synthesised once and not once per user."""
    (need,) = graph.requirements
    config = {name: value for name, value in need.config.items() if name not in ("access_key", "secret_key")}
    return replace(graph, requirements=(replace(need, config=FrozenMap(config)),))


def _said(diagnostics: Sequence[Any]) -> str:
    return " | ".join(dict.fromkeys(f"{found.summary}: {found.detail}" for found in diagnostics))


@contextmanager
def _environment(names: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def enforced() -> Iterator[list[Any]]:
    """With IAM enforcement on: what is judged meanwhile, in order, as it comes."""
    from moto.core.authorization import enable_iam_authentication

    ASKED.clear()
    with enable_iam_authentication():
        yield ASKED
