"""What somebody who runs skyc at AWS does there, with the keys of a user who has one policy and IAM enforcement on.

The machines' site and the buckets' site live through plan, apply, a look by tag, change, destroy, and the removal of leftovers, in the
hands of the released provider. `POLICY` is the one in docs/aws-operator-policy.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from skyc.compiler.ir import DeploymentId, FrozenMap, ResourceGraph, holds_storage
from skyc.compiler.synth import synth
from skyc.compiler.terraform import Terraform, find_engine
from skyc.providers.aws.client import Account
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.power import Ec2Switch
from skyc.providers.base import OwnedResource
from skyc.providers.retry import Schedule
from skyc.runtime.mirror import with_mirror
from tests.aws.conftest import at, lowered, without_placement
from tests.simulator.real_provider import SOURCE, mirror, version

POLICY = Path(__file__).parents[2] / "docs" / "aws-operator-policy.json"
DEPLOYMENT = DeploymentId("operated")
REGION = "us-east-1"
TASK = """\
name: train
resources:
  infra: aws/us-east-1/use1-az1
  instance_type: c6in.32xlarge
  network_tier: best
  labels: {team: TEAM}
num_nodes: 2
storage: {out: {persistent: false}}
run: echo hi
"""


LEFT = {"aws_eip", "aws_iam_instance_profile", "aws_instance", "aws_key_pair", "aws_vpc_security_group_rule"}
"""What is removed without a state here."""


class Denied(Exception):
    """IAM refused something a step needs."""


class Operator:
    """A user with a policy, and what it does at one site. `machines` False: the buckets'."""

    def __init__(self, folder: Path, root: Any, statements: list[dict[str, Any]], *, machines: bool) -> None:
        import boto3

        self.folder, self.machines, self.root = folder, machines, root
        self.directory = folder / "site"
        self.directory.mkdir(parents=True)
        iam, name = root("iam"), f"operator-{uuid4().hex}"
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="skyc", PolicyDocument=document)
        keys = iam.create_access_key(UserName=name)["AccessKey"]
        self.keys = (keys["AccessKeyId"], keys["SecretAccessKey"])
        session = boto3.Session(aws_access_key_id=self.keys[0], aws_secret_access_key=self.keys[1], region_name=REGION)
        self.inventory = Inventory(Account(session, Schedule(pauses=(0.1,))), pause=lambda seconds: None)

    def live(self) -> None:
        """All steps. Raises Denied at the first that is refused."""
        self._write("research")
        self._apply()
        seen = self._observe()
        assert seen, "a tag was lost"
        self._write("platform")
        self._apply()
        # What a killed run leaves is removed without its state; here that is everything but what Terraform removes next.
        if self.machines:
            self._stop_and_start([item for item in seen if item.type == "aws_instance"])
            for item in seen:
                if item.type in LEFT:
                    self._judged(lambda item=item: self.inventory.remove(item))
        else:
            self._fill(seen[0].id)
            for item in seen:
                self._judged(lambda item=item: self.inventory.empty(item))
        self._apply(destroy=True)
        assert self._observe() == ()

    def _stop_and_start(self, machines: list[OwnedResource]) -> None:
        switch = Ec2Switch(self.inventory.account)
        for item in machines:
            for step in (switch.stopping, switch.power, switch.stop, switch.start):
                self._judged(lambda step=step, item=item: step(item))

    def _fill(self, bucket: str) -> None:
        """What a job leaves in it."""
        from moto.core.authorization import disable_iam_authentication

        with disable_iam_authentication():
            s3 = self.root("s3")
            s3.put_object(Bucket=bucket, Key="a/1", Body=b"data")
            s3.create_multipart_upload(Bucket=bucket, Key="a/2")

    def _observe(self) -> Any:
        mark = None if self.machines else "0000000000"
        return self._judged(lambda: self.inventory.observe(DEPLOYMENT, (REGION,), mark))

    def _judged(self, call: Any) -> Any:
        from skyc.providers.retry import SourceFailure

        try:
            return call()
        except SourceFailure as failure:
            raise Denied(str(failure)) from None

    def _write(self, team: str) -> None:
        versions = FrozenMap({SOURCE: version()})
        found = lowered(TASK.replace("TEAM", team), self.folder, deployment=DEPLOYMENT, versions=versions)
        (graph,) = (graph for graph in found if holds_storage(graph.site) is not self.machines)
        _, text = synth(self._signed(at(without_placement(graph))), cache=self.folder.parent / "cache")
        (self.directory / "cdk.tf.json").write_text(text)

    def _signed(self, graph: ResourceGraph) -> ResourceGraph:
        (need,) = graph.requirements
        config = FrozenMap({**need.config, "access_key": self.keys[0], "secret_key": self.keys[1]})
        return replace(graph, requirements=(replace(need, config=config),))

    def _apply(self, *, destroy: bool = False) -> None:
        terraform = self._terraform()
        run = terraform.plan(destroy=destroy)
        if not run.ok or run.plan_file is None:
            raise Denied(str(run.diagnostics))
        done = terraform.apply(run.plan_file)
        if not done.ok:
            raise Denied(str(done.diagnostics))

    def _terraform(self) -> Terraform:
        environ = with_mirror({**os.environ, "SKYC_PROVIDER_MIRROR": str(mirror())}, self.folder, only=True)
        return Terraform(find_engine(environ=os.environ), self.directory, home=self.folder, environ=environ)


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The actions that are asked for meanwhile, with IAM enforcement on."""
    from moto.core.authorization import enable_iam_authentication

    from tests.aws.moto_iam import ASKED

    start, found = len(ASKED), set[str]()
    with enable_iam_authentication():
        yield found
    found |= {action for action, _ in ASKED[start:]}
