"""Stores as a job's node opens them: with the token of its own machine, from its cloud's metadata service, which is a fake here, as is the
guard before each store that lets in nobody else. The client libraries are the real ones."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from skyc.compiler.ir import DeploymentId, GroupName, TaskId
from skyc.runtime.checkpoint import checkpoint
from skyc.runtime.job import JobCheckpoint, JobFile, JobGroup, JobId, JobMount, JobNode, JobRequest
from skyc.runtime.node import opening
from skyc.runtime.node.checkpointing import Checkpointing
from skyc.runtime.node.mounts import MountFailed, put_in_place
from skyc.runtime.storage import az, cos, gs, remote, s3
from skyc.runtime.storage.base import Machine, Store, StoreError, StoreFault, open_store
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from tests.lengths import takes_minutes
from tests.storage import metadata
from tests.storage.azurite import ACCOUNT, KEY, azurite, forward, needs_azurite
from tests.storage.fake_gcs import FakeGcs
from tests.storage.metadata import IDENTITY, TOKEN, Guard, Metadata, guarded
from tests.storage.moto_s3 import moto_s3, shares_moto
from tests.storage.serving import Asked, Reply, Served, serving

_numbers = itertools.count()
_CLOUDS = [
    pytest.param("gs"),
    pytest.param("az", marks=needs_azurite),
    pytest.param("cos", marks=shares_moto),
    pytest.param("s3", marks=shares_moto),
]


@dataclass(frozen=True)
class Cloud:
    """A store behind its guard. `make`: a bucket of this name, and its URI."""

    scheme: str
    guard: Guard
    served: Served
    certificate: Path
    make: Callable[[str], str]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cloud]]:
    """Each is started when it is first asked for."""
    open_: dict[str, Cloud] = {}
    contexts = []

    def cloud(scheme: str) -> Cloud:
        if scheme not in open_:
            guard, make = _MAKERS[scheme]()
            context = guarded(guard, tmp_path_factory.mktemp(scheme))
            contexts.append(context)
            served, certificate = context.__enter__()
            open_[scheme] = Cloud(scheme, guard, served, certificate, lambda name: make(name, served.url))
        return open_[scheme]

    yield cloud
    for context in contexts:
        context.__exit__(None, None, None)


def _google() -> tuple[Guard, Callable[[str, str], str]]:
    fake = FakeGcs()

    def make(name: str, url: str) -> str:
        fake.buckets[name] = {"name": name}
        return f"gs://{name}/a/prefix?endpoint={url}"

    return Guard(fake.answer, metadata.google_refuses), make


def _azure() -> tuple[Guard, Callable[[str, str], str]]:
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

    behind = azurite()
    what = ResourceTypes(service=True, container=True, object=True)
    may = AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)
    sas = dict(parse_qsl(generate_account_sas(ACCOUNT, KEY, what, may, datetime.now(UTC) + timedelta(days=1))))

    def through(asked: Asked) -> Reply:
        return forward(behind, replace(asked, query={**asked.query, **sas}))

    def make(name: str, url: str) -> str:
        with BlobServiceClient(behind, credential=KEY) as client:
            client.create_container(name)
        return f"az://{ACCOUNT}/{name}/a/prefix?endpoint={url}/{ACCOUNT}"

    return Guard(through, metadata.azure_refuses), make


def _moto(scheme: str) -> tuple[Guard, Callable[[str, str], str]]:
    import boto3

    behind = moto_s3()
    # It gives nothing to who is nobody, and does not look at signatures.
    somebody = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=b"

    def through(asked: Asked) -> Reply:
        return forward(behind, asked.with_headers(authorization=somebody))

    def make(name: str, url: str) -> str:
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=behind, **keys).create_bucket(Bucket=name)
        return f"{scheme}://{name}/a/prefix?region=us-east-1&endpoint={url}"

    return Guard(through, metadata.s3_refuses), make


_MAKERS: dict[str, Callable[[], tuple[Guard, Callable[[str, str], str]]]] = {
    "gs": _google,
    "az": _azure,
    "cos": lambda: _moto("cos"),
    "s3": lambda: _moto("s3"),
}


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Metadata, Served]]:
    fake = Metadata()
    with serving(fake.answer) as served:
        yield fake, served


@pytest.fixture
def machine(service: tuple[Metadata, Served], monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """This machine is a rented one, in whichever cloud; and its environment holds somebody else's credentials."""
    from google.auth.compute_engine import _metadata

    fake, served = service
    for name in tuple(os.environ):
        if name.startswith(("ARM_", "AZURE_", "AWS_", "GOOGLE_", "STORAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", served.url)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", served.url)
    monkeypatch.setenv("SKYC_IBM_METADATA_URL", served.url)
    # Read from GCE_METADATA_HOST, and only when the library is loaded.
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", served.url.removeprefix("http://"))
    for name in ("GOOGLE_OAUTH_ACCESS_TOKEN", "AZURE_STORAGE_KEY", "IC_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "c29tZWJvZHkgZWxzZSdz")
    _forget()
    yield fake
    fake.has_identity = True


def _forget() -> None:
    """What clients and tokens are kept, as another process would have none."""
    gs._made.cache_clear()
    az._made.cache_clear()
    s3._made.cache_clear()
    cos._tokens.clear()


@pytest.fixture(params=_CLOUDS)
def cloud(
    request: pytest.FixtureRequest, clouds: Callable[[str], Cloud], machine: Metadata, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    found = clouds(request.param)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(found.certificate))
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    yield found
    found.guard.denied = 0
    found.guard.turned_away.clear()


def fresh(cloud: Cloud) -> str:
    """The URI of a prefix in a new bucket."""
    return cloud.make(f"bucket-{os.getpid()}-{next(_numbers)}")


def as_machine(uri: str) -> Store:
    return open_store(uri, machine=Machine(identity=IDENTITY))


@takes_minutes
class TestAsMachine(StoreConformance, ConditionalConformance):
    @pytest.fixture
    def store(self, cloud: Cloud) -> Store:
        return as_machine(fresh(cloud))


def job_on(directory: Path, *mounts: JobMount, kept: JobCheckpoint | None = None) -> tuple[JobFile, JobNode]:
    request = JobRequest(
        id=JobId("job-1"),
        deployment=DeploymentId("d"),
        task=TaskId("t"),
        groups=(JobGroup(name=GroupName("main"), num_nodes=1, run=""),),
        mounts=mounts,
        checkpoint=kept,
    )
    node = JobNode(
        name="main-0", group=GroupName("main"), rank=0, ip="127.0.0.1", directory=str(directory), python="python", user_bin="/bin",
        bundle="/bundle", identity=IDENTITY,
    )  # fmt: skip
    return JobFile(request=request, nodes=(node,), head=str(directory)), node


def below(uri: str, key: str) -> str:
    """The URI of what has this key in the store."""
    place, _, options = uri.partition("?")
    return f"{place}/{key}?{options}"


def test_a_node_copies_what_is_in_a_bucket(cloud: Cloud, machine: Metadata, tmp_path: Path) -> None:
    uri = fresh(cloud)
    store = as_machine(uri)
    for key in ("data/one", "data/deep/two", "database", "single"):
        store.put(key, key.encode())
    before = machine.given
    _forget()
    mounts = (
        JobMount(target="in", source=below(uri, "data")),
        JobMount(target="file", source=below(uri, "single")),
        JobMount(target="all", source=uri),
    )
    put_in_place(*job_on(tmp_path, *mounts))
    workdir = tmp_path / "workdir"
    found = {str(path.relative_to(workdir)): path.read_text() for path in workdir.rglob("*") if path.is_file()}
    names = ("data/one", "data/deep/two", "database", "single")
    expected = {f"all/{name}": name for name in names}
    assert found == expected | {"in/one": "data/one", "in/deep/two": "data/deep/two", "file": "single"}
    assert machine.given == before + 1, "one token does for all of it"
    assert not cloud.guard.turned_away, "it came with other credentials"
    with pytest.raises(MountFailed) as caught:
        put_in_place(*job_on(tmp_path, JobMount(target="in", source=below(uri, "nothing"))))
    assert caught.value.slug == "mount-source-missing"


def test_a_checkpoint_saved_on_one_machine_is_restored_on_another(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = JobCheckpoint(store=fresh(cloud), prefix="checkpoints/d/t/run-1", path="ckpt", every_seconds=3600, keep=1)
    said: list[str] = []

    def on(name: str) -> Checkpointing:
        job, node = job_on(tmp_path / name, kept=kept)
        (tmp_path / name / "workdir").mkdir(parents=True)
        return Checkpointing(kept, job, node, said.append)

    one = on("one")
    assert one.restore(None) == (0, "")
    model = Path(one.directory, "model")
    model.write_bytes(b"step 1" * 9999)
    # As the user's program does, in a process of its own.
    monkeypatch.setenv("SKYC_CHECKPOINT", one.facts_json)
    monkeypatch.setenv("SKYC_CHECKPOINT_DIR", one.directory)
    assert checkpoint(step=1) == 1
    one.start()
    model.write_bytes(b"step 2" * 9999)
    assert one.final(success=True) == "" and not said
    two = on("two")
    generation, sentence = two.restore(None)
    assert generation > 1 and sentence.startswith("resumed from checkpoint")
    assert Path(two.directory, "model").read_bytes() == b"step 2" * 9999
    assert not cloud.guard.turned_away, "it came with other credentials"
    # Of three generations two were collected, with what they alone had.
    names = list(as_machine(kept.store).list(f"{kept.prefix}/rank-"))
    assert len(names) < generation + 1


def test_rights_that_do_not_count_yet_are_waited_for(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that was given with the machine counts minutes later, and no job fails for that."""
    monkeypatch.setattr(opening, "PAUSE", 0.0)
    uri = fresh(cloud)
    as_machine(uri).put("data/one", b"1")
    cloud.guard.denied = 3
    heard: list[str] = []
    opening.wait_for_rights(as_machine(uri), "data/", heard.append)
    assert len(heard) == 1 and heard[0].startswith("skyc: waiting up to ") and TOKEN not in heard[0]
    cloud.guard.denied = 2
    put_in_place(*job_on(tmp_path, JobMount(target="in", source=below(uri, "data"))))
    assert (tmp_path / "workdir/in/one").read_bytes() == b"1"


def test_a_machine_without_rights_is_told_what_to_do_in_the_end(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote.RemoteStore, "rights_take", 0.0)
    monkeypatch.setattr(s3.S3Store, "rights_take", 0.0)
    monkeypatch.setattr(cos.CosStore, "rights_take", 0.0)
    cloud.guard.denied = 100
    with pytest.raises(MountFailed) as caught:
        put_in_place(*job_on(tmp_path, JobMount(target="in", source=below(fresh(cloud), "data"))))
    said = str(caught.value)
    assert caught.value.slug == "mount-failed" and TOKEN not in said and "Run `" not in said
    assert {"gs": "roles/storage.objectUser", "az": "Storage Blob Data Contributor"}.get(cloud.scheme, "AccessDenied") in said


def test_a_machine_without_an_identity_is_no_puzzle(cloud: Cloud, machine: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.compute_engine._metadata._METADATA_DEFAULT_TIMEOUT", 1)
    uri = fresh(cloud)
    machine.has_identity = False
    with pytest.raises(StoreError) as caught:
        as_machine(uri).get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "this machine" in str(caught.value) and "login" not in str(caught.value)
    assert not cloud.guard.turned_away, "it was tried with other credentials"


def test_a_token_never_travels_in_the_clear(machine: Metadata) -> None:
    for uri in (
        "cos://bucket/p?region=eu-de&endpoint=http://localhost:1",
        "az://account/container?endpoint=http://localhost:1",
    ):
        with pytest.raises(StoreError) as caught:
            as_machine(uri).get("k")
        assert caught.value.kind is StoreFault.INVALID and "plain HTTP" in str(caught.value)


def asked_for(uri: str, monkeypatch: pytest.MonkeyPatch, machine: Machine | None = None) -> str:
    """The server that a store of IBM's would ask."""
    seen: list[str] = []

    def client(region: str, endpoint: str, *_: Any, **__: Any) -> Any:
        seen.append(endpoint)
        raise StoreError(StoreFault.UNREACHABLE, "asked enough.")

    monkeypatch.setattr(cos, "client", client)
    with pytest.raises(StoreError):
        open_store(uri, machine=machine).get("k")
    return "".join(seen)


def test_machines_ask_ibm_inside_its_network(machine: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    cos._region_of_machine.cache_clear()
    inside = "https://s3.direct.{}.cloud-object-storage.appdomain.cloud"
    assert asked_for("cos://b/p?region=us-south", monkeypatch, Machine()) == inside.format("us-south")
    assert asked_for("cos://b/p", monkeypatch, Machine()) == inside.format(metadata.REGION), "its own region"
    assert asked_for("cos://b/p?region=us-south", monkeypatch) == inside.format("us-south").replace("direct.", "")
    assert asked_for("cos://b/p", monkeypatch) == "", "nobody could know the region"


def test_a_token_of_ibms_is_used_until_shortly_before_its_end(machine: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("skyc.runtime.storage.cos.time.monotonic", lambda: now[0])
    before = machine.given
    for later, tokens in ((0, 1), (3299, 1), (3301, 2)):
        now[0] = 1000.0 + later
        assert cos._token_of_machine() == TOKEN
        assert machine.given - before == tokens


def test_what_is_missing_is_told_from_what_is_forbidden(machine: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights for a prefix alone: clouds then refuse what is not there, since to say so would be to list."""
    fake = FakeGcs()

    def through(asked: Asked) -> Reply:
        reply = fake.answer(asked)
        listing = asked.method == "GET" and asked.path.endswith("/o")
        if reply.status == 404 or (listing and not asked.query.get("prefix", "").startswith("mine/")):
            return metadata.google_refuses()
        return reply

    with serving(through) as served:
        fake.buckets["bucket"] = {"name": "bucket"}
        store = open_store(f"gs://bucket/mine?endpoint={served.url}", machine=Machine())
        store.put("there", b"x")
        assert store.size("there") == 1 and store.size("missing") is None
        store.delete("missing")
        with pytest.raises(StoreError) as caught:
            store.get("missing")
        assert caught.value.kind is StoreFault.NOT_FOUND
        fake.denied.add("storage.objects.get")
        with pytest.raises(StoreError) as caught:
            store.get("there")
        assert caught.value.kind is StoreFault.DENIED
        with pytest.raises(StoreError) as caught:
            open_store(f"gs://bucket/others?endpoint={served.url}", machine=Machine()).get("missing")
        assert caught.value.kind is StoreFault.DENIED, "nobody may list it"


def test_a_metadata_service_that_is_not_there_is_named(machine: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", ())
    monkeypatch.setenv("SKYC_IBM_METADATA_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError) as caught:
        as_machine("cos://bucket/p?region=eu-de").get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE and "IBM's login does not answer" in str(caught.value)
