"""What a deployment has is found by label and description and removed without a state, in whatever order it is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.providers.base import OwnedResource
from skyc.providers.gcp import client
from skyc.providers.gcp.provider import GcpProvider
from tests.gcp.fake import FakeGoogle
from tests.refresh.fakes.server import serving

REGION = "us-central1"
ZONE = f"zones/{REGION}-a"
NAMES = (
    *client.PROJECT_VARIABLES,
    *client.KEY_VARIABLES,
    "GOOGLE_API_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in and no project is named."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def google(bare: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGoogle]:
    with serving() as server:
        fake = FakeGoogle()
        server.otherwise = fake.answer
        monkeypatch.setenv("SKYC_GCP_COMPUTE_URL", server.url)
        monkeypatch.setenv("SKYC_GCP_IAM_URL", server.url)
        monkeypatch.setenv("SKYC_GCP_STORAGE_URL", server.url)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "a-token")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
        monkeypatch.setattr(client, "POLL_SECONDS", 0.0)
        yield fake


def leave(google: FakeGoogle, deployment: str, project: str = "mine") -> None:
    """What a Terraform run that was killed could leave."""
    said = f"skyc-deployment={deployment} skyc-site=train.gcp-{REGION}"
    labels = {"skyc-deployment": deployment}
    network = google.add(f"projects/{project}/global/networks/{deployment}", description=said)
    subnet = google.add(f"projects/{project}/regions/{REGION}/subnetworks/{deployment}", description=said, network=network)
    for rule in ("cluster", "ssh", "port-8080"):
        google.add(f"projects/{project}/global/firewalls/{deployment}-{rule}", description=said, network=network)
    google.add(
        f"projects/{project}/regions/{REGION}/routers/{deployment}-out",
        description=said,
        network=network,
        nats=[{"name": "out", "subnetworks": [{"name": subnet}]}],
    )
    policy = google.add(f"projects/{project}/regions/{REGION}/resourcePolicies/{deployment}", description=said)
    for index in range(3):
        google.add(
            f"projects/{project}/{ZONE}/disks/{deployment}-{index}",
            labels=labels,
            users=[f"{deployment}-{index}"],
        )
        google.add(
            f"projects/{project}/{ZONE}/instances/{deployment}-{index}",
            labels=labels,
            networkInterfaces=[{"network": network, "subnetwork": subnet}],
            resourcePolicies=[policy],
        )
    google.add(f"projects/{project}/{ZONE}/disks/{deployment}-loose", labels=labels)
    google.add_account(project, deployment, said)


def place(home: Path, deployment: str, state: str = "", *, task: str = "train", module: str = "") -> None:
    folder = home / "deployments" / deployment / "sites" / f"{task}.gcp-{REGION}"
    folder.mkdir(parents=True)
    if state:
        (folder / "terraform.tfstate").write_text(state)
    if module:
        (folder / "cdk.tf.json").write_text(module)


@pytest.mark.parametrize("backwards", [False, True], ids=["as-listed", "backwards"])
def test_what_is_left_is_found_and_removed(tmp_path: Path, google: FakeGoogle, backwards: bool) -> None:
    leave(google, "left")
    leave(google, "left-2")
    google.add("projects/mine/global/networks/default")
    google.add_account("mine", "somebody", "An account of somebody's, not of skyc-deployment=leftover")
    place(tmp_path, "left")
    place(tmp_path, "left-2")
    provider = GcpProvider()
    found = provider.observe(DeploymentId("left"), home=tmp_path)
    assert sorted(item.type for item in found) == [
        "google_compute_disk",
        *["google_compute_firewall"] * 3,
        *["google_compute_instance"] * 3,
        "google_compute_network",
        "google_compute_resource_policy",
        "google_compute_router",
        "google_compute_subnetwork",
        "google_service_account",
    ]
    others = provider.observe(DeploymentId("left-2"), home=tmp_path)
    assert len(others) == len(found)
    for item in sorted(found, key=lambda item: item.id, reverse=backwards):
        provider.remove(item, home=tmp_path)
        provider.remove(item, home=tmp_path)
    assert provider.observe(DeploymentId("left"), home=tmp_path) == ()
    assert provider.observe(DeploymentId("left-2"), home=tmp_path) == others
    assert "projects/mine/global/networks/default" in google.resources


def test_ids_are_those_of_a_state(tmp_path: Path, google: FakeGoogle) -> None:
    """What is known to a state would else be taken for an orphan and removed."""
    leave(google, "left")
    place(tmp_path, "left")
    ids = {item.type: item.id for item in GcpProvider().observe(DeploymentId("left"), home=tmp_path)}
    assert ids["google_compute_instance"] == "projects/mine/zones/us-central1-a/instances/left-2"
    assert ids["google_compute_network"] == "projects/mine/global/networks/left"
    assert ids["google_compute_subnetwork"] == "projects/mine/regions/us-central1/subnetworks/left"
    assert ids["google_service_account"] == "projects/mine/serviceAccounts/left@mine.iam.gserviceaccount.com"


def test_what_is_somebodys_stays_and_is_said(tmp_path: Path, google: FakeGoogle) -> None:
    leave(google, "left")
    place(tmp_path, "left")
    network = "projects/mine/global/networks/left"
    link = google.resources[network]["selfLink"]
    google.add("projects/mine/zones/us-central1-a/instances/guest", networkInterfaces=[{"network": link}])
    (item,) = [item for item in GcpProvider().observe(DeploymentId("left"), home=tmp_path) if item.id == network]
    with pytest.raises(SkycError) as caught:
        GcpProvider().remove(item, home=tmp_path)
    assert "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE" in caught.value.diagnostics[0].detail
    assert "projects/mine/zones/us-central1-a/instances/guest" in google.resources and network in google.resources


def test_another_project_is_found_in_the_state(tmp_path: Path, google: FakeGoogle) -> None:
    """Who has switched to another project since would else be told that nothing is left."""
    leave(google, "left", project="other.example:before")
    state = {"resources": [{"instances": [{"attributes": {"id": "projects/other.example:before/global/networks/left"}}]}]}
    place(tmp_path, "left", json.dumps(state))
    found = GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    assert {item.detail for item in found} == {"other.example:before"} and len(found) == 12


def test_where_nothing_was_made_nobody_is_asked(tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYC_GCP_COMPUTE_URL", "http://127.0.0.1:1")
    assert GcpProvider().observe(DeploymentId("left"), home=tmp_path) == ()


RESOURCE = OwnedResource(
    id="projects/mine/global/networks/left",
    type="google_compute_network",
    name="left",
    deployment=DeploymentId("left"),
    detail="mine",
)


@pytest.mark.parametrize("project", [None, "mine"])
def test_without_credentials_nobody_says_that_nothing_is_there(
    tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch, project: str | None
) -> None:
    if project is not None:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", project)
    place(tmp_path, "left")
    with pytest.raises(SkycError) as observed:
        GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    with pytest.raises(SkycError) as removed:
        GcpProvider().remove(RESOURCE, home=tmp_path)
    assert [caught.value.diagnostics[0].slug for caught in (observed, removed)] == ["cannot-observe"] * 2


def test_a_refused_token_is_no_empty_list(tmp_path: Path, google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "of-yesterday")
    place(tmp_path, "left")
    with pytest.raises(SkycError) as caught:
        GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    said = caught.value.diagnostics[0]
    assert "had" not in said.detail.split(), "a first apply is told the same, and has had nothing there"
    assert said.slug == "cannot-observe" and "answered 401" in said.detail and "of-yesterday" not in said.detail


def test_what_is_missing_is_said_before_terraform_is_asked(tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = GcpProvider()
    assert [found.slug for found in provider.ready(home=tmp_path)] == ["not-logged-in", "no-project"]
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    assert [found.slug for found in provider.ready(home=tmp_path)] == ["not-logged-in"]
    login = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    login.parent.mkdir(parents=True)
    login.write_text("{}")
    assert provider.ready(home=tmp_path) == ()
    login.unlink()
    monkeypatch.setenv("GOOGLE_CREDENTIALS", "{}")
    assert provider.ready(home=tmp_path) == ()


@pytest.mark.parametrize("said", [{"unreachables": [ZONE]}, {"items": {ZONE: {"warning": {"code": "UNREACHABLE"}}}}])
def test_a_zone_that_could_not_be_asked_is_not_an_empty_one(
    google: FakeGoogle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, object]
) -> None:
    """Its machines would be called gone, and with them a job that runs."""
    leave(google, "left")
    (tmp_path / "deployments" / "left" / "sites" / f"train.gcp-{REGION}").mkdir(parents=True)
    real = FakeGoogle._aggregated
    monkeypatch.setattr(FakeGoogle, "_aggregated", lambda self, asked, path: {**real(self, asked, path), **said})
    with pytest.raises(SkycError) as failure:
        GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    assert failure.value.diagnostics[0].slug == "cannot-observe" and ZONE in failure.value.diagnostics[0].detail


def test_a_bucket_is_never_removed_with_data_in_it(tmp_path: Path, google: FakeGoogle) -> None:
    deployment, mark = "left", "0123456789"
    mine = {"skyc_deployment": deployment, "skyc_storage": "out"}
    for name in (f"skyc-left-out-{mark}", "skyc-left-out-9999999999", f"somebody-elses-{mark}"):
        google.add_bucket(name, **mine)
    google.add_bucket(f"skyc-another-{mark}", skyc_deployment="another", skyc_storage="out", skyc_keep="no")
    google.add_bucket(f"skyc-left-elsewhere-{mark}", project="theirs", **mine)
    place(tmp_path, deployment)
    provider = GcpProvider()
    assert provider.observe(DeploymentId(deployment), home=tmp_path) == (), "without a mark no bucket was ever made here"
    (tmp_path / "deployments" / deployment / "mark").write_text(mark)
    # Neither another home's bucket, whose mark is another, nor one without the label, nor one of another project.
    (found,) = provider.observe(DeploymentId(deployment), home=tmp_path)
    assert (found.id, found.storage, found.keep) == (f"skyc-left-out-{mark}", "out", True)
    before = {name: dict(held) for name, held in google.data.items()}
    with pytest.raises(SkycError) as refused:
        provider.remove(found, home=tmp_path)
    assert refused.value.diagnostics[0].slug == "storage-not-empty" and google.data == before
    for _ in range(2):
        provider.empty(found, home=tmp_path)
    assert not google.data[found.id] and not google.uploads[found.id]
    for _ in range(2):
        provider.remove(found, home=tmp_path)
    provider.empty(found, home=tmp_path)
    assert provider.observe(DeploymentId(deployment), home=tmp_path) == ()
    assert {name: held for name, held in google.data.items() if name != found.id} == {
        name: held for name, held in before.items() if name != found.id
    }


def test_the_project_of_a_bucket_is_found_in_the_state(tmp_path: Path, google: FakeGoogle) -> None:
    """A bucket's id is its name, and the site of buckets has nothing else."""
    google.add_bucket("skyc-left-out-0123456789", project="before", skyc_deployment="left", skyc_storage="out")
    state = {"resources": [{"instances": [{"attributes": {"id": "skyc-left-out-0123456789", "project": "before"}}]}]}
    place(tmp_path, "left", json.dumps(state), task="_storage")
    (tmp_path / "deployments" / "left" / "mark").write_text("0123456789")
    (found,) = GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    assert found.detail == "before"


def share(google: FakeGoogle, deployment: str) -> str:
    """A network of somebody's in another project, with what a deployment has in it."""
    shared = google.add("projects/host/global/networks/shared")
    subnet = google.add(f"projects/host/regions/{REGION}/subnetworks/training", network=shared)
    for site in (f"train.gcp-{REGION}", "theirs.gcp-europe-west4"):
        said = f"skyc-deployment={deployment} skyc-site={site}"
        google.add(f"projects/host/global/firewalls/{site}-ssh".replace(".", "-"), description=said, network=shared)
    google.add("projects/host/global/firewalls/theirs", network=shared)
    labels = {"skyc-deployment": deployment}
    machine = google.add(
        f"projects/mine/{ZONE}/instances/{deployment}-0", labels=labels, networkInterfaces=[{"subnetwork": subnet}]
    )
    head = f"projects/mine/regions/{REGION}/addresses/{deployment}-head"
    google.add(head, labels=labels, users=[machine])
    return head


@pytest.mark.parametrize("known", ["module", "state"])
def test_what_is_ours_in_a_network_of_the_users_goes_and_the_network_stays(
    tmp_path: Path, google: FakeGoogle, known: str
) -> None:
    share(google, "left")
    text = json.dumps({"network": "projects/host/global/networks/shared", "project": "host"})
    place(tmp_path, "left", **{known: text})
    provider, before = GcpProvider(), dict(google.resources)
    found = provider.observe(DeploymentId("left"), home=tmp_path)
    assert sorted(item.id.rpartition("/")[2] for item in found) == ["left-0", "left-head", f"train-gcp-{REGION}-ssh"]
    for item in found:
        provider.remove(item, home=tmp_path)
    assert provider.observe(DeploymentId("left"), home=tmp_path) == ()
    gone = set(before) - set(google.resources)
    assert gone == {item.id for item in found}, "what others have in the network stays, and so does the network"


def test_the_project_of_the_users_network_is_not_searched_for_machines(tmp_path: Path, google: FakeGoogle) -> None:
    share(google, "left")
    google.add(f"projects/host/{ZONE}/instances/theirs", labels={"skyc-deployment": "left"})
    place(tmp_path, "left", module=json.dumps({"network": "projects/host/global/networks/shared", "project": "host"}))
    found = GcpProvider().observe(DeploymentId("left"), home=tmp_path)
    assert not [item for item in found if item.id.startswith("projects/host/") and item.type != "google_compute_firewall"]
