"""The identity that machines get, held against moto with its IAM enforcement on: it suffices, and every action in it is needed.

The policy is the compiled one, and each call is signed with the role's own credentials. What moto judges otherwise than IAM is put
right in `moto_iam`; whose rights these are cannot be tested here (the trust in EC2 is read, not exercised).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from skyc.compiler.ir import ResourceGraph
from tests.aws.conftest import compiled

TASK = """\
name: train
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}
file_mounts: {data: s3://team-data/imagenet}
storage: {out: {uri: s3://team-out/train}, whole: {uri: s3://team-whole}}
run: echo hi
"""
REGION = "us-east-1"


def role_of(graph: ResourceGraph) -> tuple[str, list[dict[str, Any]]]:
    """Trust document and statements, as compiled."""
    found = {str(node.address): node.arguments for node in graph.resources}
    trust = str(found["aws_iam_role.nodes"]["assume_role_policy"])
    return trust, json.loads(str(found["aws_iam_role_policy.buckets"]["policy"]))["Statement"]


class World:
    """An account with the buckets of the task and others, and roles in it."""

    def __init__(self, root: Any) -> None:
        self.root = root
        s3 = root("s3")
        for bucket in ("team-data", "team-out", "team-whole", "others"):
            s3.create_bucket(Bucket=bucket)
            for key in ("imagenet", "imagenet/1", "train/1", "elsewhere/1", "training/1"):
                s3.put_object(Bucket=bucket, Key=key, Body=b"x")

    def session(self, trust: str, statements: list[dict[str, Any]]) -> Callable[[str], Any]:
        """Clients with the rights of a new role."""
        name = f"role-{uuid4().hex}"
        iam = self.root("iam")
        role = iam.create_role(RoleName=name, Path="/skyc/demo/", AssumeRolePolicyDocument=trust)["Role"]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="buckets", PolicyDocument=document)
        keys = self.root("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="node")["Credentials"]
        made = boto3.Session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            region_name=REGION,
        )
        return lambda service: made.client(service)


@pytest.fixture
def world(account: Any) -> Iterator[World]:
    made = World(account)
    yield made
    s3 = account("s3")
    for bucket in ("team-data", "team-out", "team-whole", "others"):
        for row in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=bucket, Key=row["Key"], UploadId=row["UploadId"])
        for row in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=row["Key"])
        s3.delete_bucket(Bucket=bucket)


ALLOWED_FAILURES = {"PreconditionFailed"}
"""What a call that IAM let through may answer: it was made once before."""


def denied(call: Callable[[], Any]) -> bool:
    """Whether IAM refuses it. Whatever else goes wrong is a fault of the test."""
    try:
        call()
    except ClientError as failure:
        code = failure.response["Error"]["Code"]
        assert code in {"AccessDenied", "403", "UnauthorizedOperation"} | ALLOWED_FAILURES, code
        return code not in ALLOWED_FAILURES
    return False


def reads(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What copying a place in does. `prefix` may be one object, or all objects below it."""
    yield f"list {bucket}/{prefix}/", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    yield f"look at {bucket}/{prefix}", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    yield f"get {bucket}/{prefix}", lambda: s3.get_object(Bucket=bucket, Key=prefix)
    yield f"get {bucket}/{prefix}/1", lambda: s3.get_object(Bucket=bucket, Key=f"{prefix}/1")
    yield f"head {bucket}/{prefix}/1", lambda: s3.head_object(Bucket=bucket, Key=f"{prefix}/1")


def writes(s3: Any, bucket: str, below: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a storage is used for: mounts, checkpoints, large files in parts, and what is collected."""
    key = f"{below}new"
    here: dict[str, Any] = {"Bucket": bucket, "Key": key}
    yield f"list {bucket}/{below}", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=below)
    yield f"put {key}", lambda: s3.put_object(**here, Body=b"1")
    yield f"put {key} once", lambda: s3.put_object(Bucket=bucket, Key=f"{key}-once", Body=b"1", IfNoneMatch="*")
    yield f"get {key}", lambda: s3.get_object(Bucket=bucket, Key=f"{below}1")
    yield f"head {key}", lambda: s3.head_object(Bucket=bucket, Key=f"{below}1")

    def in_parts() -> None:
        upload = s3.create_multipart_upload(**here)["UploadId"]
        part = s3.upload_part(**here, UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
        s3.complete_multipart_upload(**here, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})

    yield f"put {key} in parts", in_parts
    yield f"go on with {key}", lambda: s3.list_parts(**here, UploadId=s3.create_multipart_upload(**here)["UploadId"])
    yield f"give {key} up", lambda: s3.abort_multipart_upload(**here, UploadId=s3.create_multipart_upload(**here)["UploadId"])
    yield f"delete {key}", lambda: s3.delete_object(**here)
    rows = {"Objects": [{"Key": f"{key}-once"}]}
    yield f"delete many of {bucket}", lambda: s3.delete_objects(Bucket=bucket, Delete=rows)


def needed(s3: Any) -> list[tuple[str, Callable[[], Any]]]:
    """Everything the task's machines do with its places."""
    return [
        *reads(s3, "team-data", "imagenet"),
        *writes(s3, "team-out", "train/"),
        *writes(s3, "team-whole", "train/"),
        ("list team-whole", lambda: s3.list_objects_v2(Bucket="team-whole")),
    ]


def beyond(client: Callable[[str], Any]) -> list[tuple[str, Callable[[], Any]]]:
    """What they must not be able to do: other prefixes, those of a similar name among them, other buckets, other services."""
    s3, ec2, iam = client("s3"), client("ec2"), client("iam")
    return [
        ("write what is only read", lambda: s3.put_object(Bucket="team-data", Key="imagenet/1", Body=b"")),
        ("delete what is only read", lambda: s3.delete_object(Bucket="team-data", Key="imagenet/1")),
        ("read another prefix", lambda: s3.get_object(Bucket="team-data", Key="elsewhere/1")),
        ("read a prefix that begins alike", lambda: s3.get_object(Bucket="team-out", Key="training/1")),
        ("write a prefix that begins alike", lambda: s3.put_object(Bucket="team-out", Key="training/1", Body=b"")),
        ("list another prefix", lambda: s3.list_objects_v2(Bucket="team-data", Prefix="elsewhere/")),
        ("list a prefix that begins alike", lambda: s3.list_objects_v2(Bucket="team-out", Prefix="training/")),
        ("list a bucket whole", lambda: s3.list_objects_v2(Bucket="team-out")),
        ("read another bucket", lambda: s3.get_object(Bucket="others", Key="train/1")),
        ("list another bucket", lambda: s3.list_objects_v2(Bucket="others", Prefix="train/")),
        ("write another bucket", lambda: s3.put_object(Bucket="others", Key="train/1", Body=b"")),
        ("list the buckets", lambda: s3.list_buckets()),
        ("make a bucket", lambda: s3.create_bucket(Bucket="mine")),
        ("delete a bucket", lambda: s3.delete_bucket(Bucket="team-whole")),
        ("open a bucket", lambda: s3.delete_public_access_block(Bucket="team-whole")),
        ("change a bucket's policy", lambda: s3.put_bucket_policy(Bucket="team-whole", Policy="{}")),
        ("see old versions", lambda: s3.list_object_versions(Bucket="team-whole")),
        ("see machines", lambda: ec2.describe_instances()),
        ("end machines", lambda: ec2.terminate_instances(InstanceIds=["i-0123456789abcdef0"])),
        ("see users", lambda: iam.list_users()),
        ("take more rights", lambda: iam.put_role_policy(RoleName="role-1", PolicyName="buckets", PolicyDocument="{}")),
        (
            "be somebody else",
            lambda: client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/a", RoleSessionName="xx"),
        ),
    ]


def test_the_identity_suffices_and_nothing_more_works(world: World, tmp_path: Path) -> None:
    from moto.core.authorization import enable_iam_authentication

    client = world.session(*role_of(compiled(TASK, tmp_path)))
    with enable_iam_authentication():
        assert [name for name, call in needed(client("s3")) if denied(call)] == []
        assert [name for name, call in beyond(client) if not denied(call)] == []


def test_a_wrong_secret_is_no_identity(world: World, tmp_path: Path) -> None:
    """That the rest of this file is not about a server that lets everybody in."""
    from moto.core.authorization import enable_iam_authentication

    client = world.session(*role_of(compiled(TASK, tmp_path)))
    own = client("s3")
    own._request_signer._credentials.secret_key = "wrong"
    with enable_iam_authentication(), pytest.raises(ClientError) as refused:
        own.get_object(Bucket="team-out", Key="train/1")
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_every_action_is_needed(world: World, tmp_path: Path) -> None:
    from moto.core.authorization import enable_iam_authentication

    trust, statements = role_of(compiled(TASK, tmp_path))
    less = list(_with_one_action_less(statements))
    assert len(less) == 15
    clients = {what: world.session(trust, rest)("s3") for what, rest in less}
    with enable_iam_authentication():
        unneeded = [what for what, s3 in clients.items() if not any(denied(call) for _, call in needed(s3))]
    assert unneeded == []


def _with_one_action_less(statements: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for index, statement in enumerate(statements):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            rest = [other for other in actions if other != action]
            changed = [{**statement, "Action": rest}] if rest else []
            yield f"{action} on {statement['Resource']}", [*statements[:index], *changed, *statements[index + 1 :]]


def test_only_machines_take_it(tmp_path: Path) -> None:
    trust, _ = role_of(compiled(TASK, tmp_path))
    (statement,) = json.loads(trust)["Statement"]
    assert statement == {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
