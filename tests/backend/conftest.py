"""Two homes, one backend, one pretended cloud."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skyc.providers.simulator import World, WorldResource
from skyc.runtime.backend.settings import conditional
from skyc.runtime.storage import az
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.cloud import WORLD
from tests.lengths import takes_minutes
from tests.storage.azurite import ACCOUNT, KEY, azurite, needs_azurite
from tests.storage.fake_gcs import FakeGcs
from tests.storage.fake_gitlab import BASE, FakeGitLab
from tests.storage.moto_s3 import heed_conditions_at_once
from tests.storage.serving import serving

ROOT = Path(__file__).parents[2]
SECRET = "hidden-backend-secret"
TASK = """\
name: train
resources:
  infra: aws/us-east-1/use1-az1
  instance_type: g5.xlarge
  labels: {team: TEAM}
run: echo hi
"""
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a pretended S3."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        _heed_conditions(patch)
        heed_conditions_at_once()
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def _heed_conditions(patch: pytest.MonkeyPatch) -> None:
    """moto 5.2 takes no account of a bucket policy's conditions, so a rule against plain HTTP locks everybody out. Here everybody
    counts as having come over TLS."""
    from moto.iam.access_control import IAMPolicyStatement, PermissionResult

    judged = IAMPolicyStatement.is_action_permitted

    def judge(self: Any, *given: Any, **named: Any) -> Any:
        plain = self._statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        return PermissionResult.NEUTRAL if plain else judged(self, *given, **named)

    patch.setattr(IAMPolicyStatement, "is_action_permitted", judge)


@pytest.fixture(scope="session")
def gcs() -> Iterator[tuple[FakeGcs, str]]:
    fake = FakeGcs()
    with serving(fake.answer) as served:
        yield fake, served.url


@pytest.fixture(scope="session")
def gitlab() -> Iterator[str]:
    with serving(FakeGitLab(users={"skyc": SECRET}).answer) as served:
        yield served.url


OTHERS = ("gs", pytest.param("az", marks=needs_azurite), "http")
LONG_OTHERS = tuple(
    pytest.param(kind, marks=[takes_minutes, *(needs_azurite if kind == "az" else ())]) for kind in ("gs", "az", "http")
)
every_kind = pytest.mark.parametrize("kind", ["s3", *LONG_OTHERS])
"""The test is one of every kind of backend; with `make test`, of S3."""


@pytest.fixture
def kind() -> str:
    return "s3"


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A place of its own for states, of a kind, and an environment in which it can be used."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "TF_CLI_CONFIG_FILE", "SKYC_PROVIDER_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    name = f"states-{next(_numbers)}"

    def make(kind: str) -> str:
        match kind:
            case "s3":
                return _bucket(request.getfixturevalue("s3"), name, monkeypatch)
            case "gs":
                fake, url = request.getfixturevalue("gcs")
                fake.buckets[name] = {"name": name}
                return f"gs://{name}/team?endpoint={url}"
            case "az":
                url = azurite()
                monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
                az._client(ACCOUNT, url, az._environment()).create_container(name)
                return f"az://{ACCOUNT}/{name}/team?endpoint={url}"
            case "http":
                monkeypatch.setenv("TF_HTTP_USERNAME", "skyc")
                monkeypatch.setenv("TF_HTTP_PASSWORD", SECRET)
                return f"{request.getfixturevalue('gitlab')}{BASE}{name}"
        raise AssertionError(kind)

    return make


def _bucket(server: str, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return f"s3://{name}/team?region=us-east-1&endpoint={server}"


@pytest.fixture
def uri(place: Callable[[str], str], kind: str) -> str:
    return place(kind)


@pytest.fixture
def objects(uri: str) -> ConditionalStore:
    return conditional(uri)


@dataclass
class Home:
    """A home and its command line."""

    path: Path
    world: World | None
    """None: resources are made by the released provider, at an endpoint."""

    def start(self, *words: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        if self.world is not None:
            environ[WORLD] = str(self.world.folder.parent)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.backend.child", *words, "--home", str(self.path), "--no-color"],
            cwd=self.path.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *words: str, code: int | None = 0) -> str:
        process = self.start(*words)
        out, _ = process.communicate(timeout=200)
        assert code is None or process.returncode == code, out
        return out

    def write_task(self, team: str = "research") -> Path:
        path = self.path.parent / f"{self.path.name}.yaml"
        path.write_text(TASK.replace("TEAM", team))
        return path

    def apply(self, team: str = "research") -> str:
        """Makes everything; the job cannot be started on a pretended machine, which is error 1."""
        out = self("apply", str(self.write_task(team)), "-y", "--detach", code=1)
        assert "cluster-unreachable" in out, out
        return out

    @property
    def state(self) -> Path:
        return self.path / "deployments" / "train" / "sites" / "train.aws-us-east-1" / "terraform.tfstate"

    def serial(self) -> int:
        return int(json.loads(self.state.read_text())["serial"])


MakeHome = Callable[..., Home]


def machines(world: World) -> tuple[WorldResource, ...]:
    return world.resources("aws_instance")


def index_of(objects: ConditionalStore) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(objects.get("train/deployment.json"))
    return found


def terraforms(home: Home) -> list[int]:
    """Terraform runs that work for a home."""
    listing = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = []
    for line in listing.splitlines():
        pid, _, words = line.strip().partition(" ")
        if re.search(r"\b(terraform|tofu)\b.*\bapply\b", words):
            try:
                where = Path(f"/proc/{pid}/cwd").readlink()
            except OSError:
                continue
            if where.is_relative_to(home.path):
                found.append(int(pid))
    return found


def until(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesis starts Node; all homes of all tests share what it makes of equal graphs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "cloud")


@pytest.fixture
def home(tmp_path: Path, world: World, uri: str, cache: Path) -> MakeHome:
    """`state` None: a home without a backend."""

    def make(name: str, state: str | None = uri) -> Home:
        path = tmp_path / name
        path.mkdir(mode=0o700)
        (path / "cache").symlink_to(cache)
        rows = ["access: {ssh_from: [198.51.100.0/24]}", *([f"state: {state}"] if state else [])]
        (path / "config.yaml").write_text("\n".join(rows) + "\n")
        return Home(path, world)

    return make
