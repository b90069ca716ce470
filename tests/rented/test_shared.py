"""Names, ports and the first boot of rented machines."""

from __future__ import annotations

import itertools
import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from skyc.compiler.diagnostics import Severity
from skyc.compiler.ir import (
    DeploymentId,
    FileMount,
    FrozenMap,
    NodeRuntime,
    ResourceRequest,
    SiteId,
    SpecPath,
    Task,
    TaskId,
)
from skyc.providers.base import Access, LowerContext
from skyc.providers.environments import CLIENTS, PSUTIL
from skyc.providers.registry import load_all
from skyc.providers.rented import cloud_init, names, ports
from skyc.providers.rented.buckets import without_rights

ROOT = Path(__file__).parents[2]
BOOT = cloud_init.Boot(
    node="train-main-0",
    arch="x86_64",
    runtime=NodeRuntime(python="3.11"),
    access=Access(host_key="-----BEGIN\nkey\n-----END\n", host_key_public="ssh-ed25519 AAAA"),
    head=None,
    cpus=4,
    gpus=1,
    opens=frozenset({"s3"}),
)


@given(some.text(min_size=1, max_size=200), some.text(min_size=1, max_size=200), some.integers(20, 100))
def test_a_name_is_short_and_two_are_never_cut_to_one(one: str, other: str, limit: int) -> None:
    first, second = names.short(f"skyc-{one}", limit), names.short(f"skyc-{other}", limit)
    assert re.fullmatch(r"[a-z0-9-]+", first) and len(first) <= limit
    plain = {text.lower().replace(".", "-") for text in (one, other)}
    assert first != second or len(plain) == 1 or one == other


def at(deployment: str, site: str) -> LowerContext:
    return LowerContext(
        deployment=DeploymentId(deployment), site=SiteId(site), home="/h", runtime=NodeRuntime(python="3.11"), plan="abc"
    )


WORDS = some.text("abyz019-", max_size=60).map(lambda text: f"a{text}z")
ROLES = some.one_of(some.just(()), some.tuples(WORDS), some.tuples(WORDS, some.integers(0, 9999).map(str)))


@given(
    WORDS, WORDS, some.booleans(), some.lists(ROLES, min_size=2, max_size=5, unique_by="-".join), some.sampled_from([63, 90])
)
def test_what_tells_a_sites_resources_apart_is_in_their_names(
    deployment: str, task: str, alike: bool, roles: list[tuple[str, ...]], limit: int
) -> None:
    context = at(deployment, f"{deployment if alike else task}.gcp-us-central1")
    made = [names.site_name(context, limit, *role) for role in roles]
    assert len(set(made)) == len(made), "no two resources have one name"
    for name, role in zip(made, roles, strict=True):
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) and len(name) <= limit, "every cloud takes it"
        assert name == names.site_name(context, limit, *role)
        whole = "-".join(("skyc", context.deployment, context.site.replace(".", "-"), *role))
        assert name == whole or len(whole) > limit, "what fits stays as it is"
        assert name.endswith("-".join(role)[-limit // 3 :].strip("-")), "the rank, at least, is seen"


@settings(max_examples=50)
@given(WORDS, WORDS, WORDS, WORDS)
def test_sites_that_differ_have_names_that_differ(one: str, other: str, task: str, role: str) -> None:
    first, second = (names.site_name(at(name, f"{task}.x"), 63, role) for name in (one, other))
    assert (first == second) is (one == other)


def test_a_deployment_is_not_said_twice_where_there_is_no_room() -> None:
    context = at("gcp-n2-spot-compact", "gcp-n2-spot-compact.gcp-us-central1")
    assert [names.site_name(context, 63, *what) for what in ((), ("ssh",), ("main-7",))] == [
        "skyc-gcp-n2-spot-compact-gcp-n2-spot-compact-gcp-us-central1",
        "skyc-gcp-n2-spot-compact-gcp-us-central1-6d829b20-ssh",
        "skyc-gcp-n2-spot-compact-gcp-us-central1-6d829b20-main-7",
    ]


def test_tags_name_deployment_site_and_plan() -> None:
    assert names.tags(at("d", "t.x"), "n") == {"Name": "n", "skyc-deployment": "d", "skyc-site": "t.x", "skyc-plan": "abc"}
    assert "skyc-plan" not in names.tags(replace(at("d", "t.x"), plan=""), "n")


def test_a_description_names_its_deployment_and_no_other() -> None:
    context = LowerContext(deployment=DeploymentId("ab"), site=SiteId("t.x"), home="/h", runtime=NodeRuntime(python="3.11"))
    text = names.description(context)
    assert names.describes(text, DeploymentId("ab"))
    assert not any(names.describes(text, DeploymentId(other)) for other in ("a", "abc", "b", ""))
    assert not names.describes(None, DeploymentId("ab"))


@pytest.mark.parametrize("port", ["6379", "8265", "52365", "10001", "10500", "1-65535", "6000-7000"])
def test_a_port_of_rays_is_refused_however_it_is_asked_for(port: str) -> None:
    request = ResourceRequest(origin=SpecPath(("resources",)), ports=(port,))
    assert [found.slug for found in ports.refused(request)] == ["port-of-ray"]


def test_every_port_ray_is_told_to_use_is_kept_closed() -> None:
    """What the unit starts Ray with, and what the firewall never opens, are one list."""
    for boot in (BOOT, replace(BOOT, head="10.64.16.10")):
        (command,) = re.findall(r"ExecStart=(.*)", cloud_init.user_data(boot))
        given_ports = [int(number) for number in re.findall(r"port=(\d+)", command)]
        assert given_ports and all(ports.is_rays(ports.PortRange(port, port)) for port in given_ports)
    assert ports.refused(ResourceRequest(origin=SpecPath(), ports=("22", "80", "8080", "8000-8010"))) == ()


def test_the_first_boot_is_valid_and_holds_no_token() -> None:
    for boot in (BOOT, replace(BOOT, head="10.64.16.10", arch="arm64")):
        text = cloud_init.user_data(boot)
        assert text.startswith("#cloud-config\n") and len(text) < cloud_init.LIMIT
        document = yaml.safe_load(text)
        assert document["ssh_keys"]["ed25519_private"] == "-----BEGIN\nkey\n-----END\n"
        assert document["ssh_pwauth"] is False
        files = {row["path"]: row["content"] for row in document["write_files"]}
        for path, content in files.items():
            if path.endswith(".sh"):
                subprocess.run(["bash", "-n"], input=content, text=True, check=True)
        unit = files["/etc/systemd/system/skyc-ray.service"]
        assert "RAY_AUTH_MODE=token" in unit and "ray stop" not in text
        assert ("--head" in unit) == (boot.head is None)
        assert ("--address=10.64.16.10:6379" in unit) == (boot.head is not None)
        # Ray waits for the token, which is not here.
        assert files["/etc/systemd/system/skyc-ray.path"].count("PathExists=") == 1


def test_a_cloud_may_add_a_login_key_and_files() -> None:
    plain = yaml.safe_load(cloud_init.user_data(BOOT))
    more = replace(BOOT, login_key="ssh-ed25519 BBBB me", files=FrozenMap({"/etc/agent.cfg": '[A]\nb = "c"\n'}))
    document = yaml.safe_load(cloud_init.user_data(more))
    assert document.pop("ssh_authorized_keys") == ["ssh-ed25519 BBBB me"]
    assert document["write_files"].pop(0) == {"path": "/etc/agent.cfg", "content": '[A]\nb = "c"\n'}
    assert document == plain


def test_user_data_no_cloud_takes_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="bytes of user data"):
        cloud_init.user_data(replace(BOOT, access=Access(host_key="x" * cloud_init.LIMIT)))


def test_the_pinned_uv_is_the_one_of_the_lock() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (uv,) = [package for package in packages if package["name"] == "uv"]
    assert uv["version"] == cloud_init.UV_VERSION
    wheels = {wheel["url"]: wheel["hash"].removeprefix("sha256:") for wheel in uv["wheels"]}
    for address, digest in cloud_init.UV_WHEELS.values():
        assert wheels[address] == digest


def test_the_pinned_clients_are_those_of_the_lock() -> None:
    """So what a node speaks to a store with is what the tests spoke to it with."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    locked = {f"{package['name']}=={package['version']}" for package in packages}
    assert set(itertools.chain.from_iterable(CLIENTS.values())) | {PSUTIL} <= locked


@pytest.mark.parametrize("scheme", sorted(CLIENTS))
def test_a_node_gets_the_clients_of_its_own_stores_alone(scheme: str) -> None:
    boot = replace(BOOT, opens=frozenset({scheme}))
    text = cloud_init.user_data(boot)
    others = set(itertools.chain.from_iterable(CLIENTS.values())) - set(CLIENTS[scheme])
    assert all(package in text for package in CLIENTS[scheme]) and not any(package in text for package in others)
    # Another environment is another place, so that no node takes one of a target with other stores for its own.
    assert str(cloud_init.places(boot.node, boot.runtime, boot.opens).runtime) in text


def test_every_store_a_target_opens_has_its_clients() -> None:
    opened = set().union(*(provider.opens for provider in load_all()))
    assert opened == {"file", *CLIENTS}


@pytest.mark.parametrize("port", ["22", "20-30"])
def test_a_task_that_opens_ssh_to_everybody_is_told(port: str) -> None:
    request = ResourceRequest(origin=SpecPath(("resources",)), ports=("80", port))
    (said,) = ports.about(request)
    assert said.slug == "ssh-open" and said.severity is Severity.WARNING
    assert said.subject == request.origin.child("ports") and port in said.detail


@pytest.mark.parametrize(
    ("ssh_from", "slugs"),
    [
        ((), ["ssh-closed"]),
        (("203.0.113.7/32", "203.0.113.7/32"), []),
        (("203.0.113.7/32", "2001:db8::/48"), ["ignored-here"]),
        (("2001:db8::/48",), ["ignored-here", "ssh-closed"]),
        # Nobody comes in by it.
        (("::/0", "203.0.113.7/32"), ["ignored-here"]),
        (("0.0.0.0/0",), ["ssh-open"]),
        (("128.0.0.0/1", "0.0.0.0/1"), ["ssh-open"]),
    ],
)
def test_who_can_log_in_is_said_in_the_same_words_everywhere(ssh_from: tuple[str, ...], slugs: list[str]) -> None:
    said = ports.said_of_ssh(ssh_from, "aws")
    assert [found.slug for found in said] == slugs and all(found.hint for found in said)
    assert all("2001:db8::/48" in found.detail or "::/0" in found.detail for found in said if found.slug == "ignored-here")


def test_places_of_another_cloud_are_named_once_and_others_not() -> None:
    def mount(number: int, source: str) -> FileMount:
        return FileMount(target=f"t{number}", origin=SpecPath(("file_mounts", str(number))), source=source)

    sources = ("gs://a/x", "s3://b", "/here", "https://web/x", "az://account/c")
    task = Task(
        id=TaskId("t"), origin=SpecPath(), groups=(), setup="", envs=FrozenMap(), secrets=(), workdir=None,
        file_mounts=tuple(mount(number, source) for number, source in enumerate(sources)),
    )  # fmt: skip
    said = list(without_rights(task, "s3://", "aws"))
    assert [found.slug for found in said] == ["no-rights-there"] * 2
    assert ["Google Cloud" in said[0].detail, "Azure" in said[1].detail] == [True, True]
    assert [str(found.subject) for found in said] == [str(task.file_mounts[0].origin), str(task.file_mounts[4].origin)]


def test_a_first_boot_before_there_is_a_way_out_asks_again(tmp_path: Path) -> None:
    """With a `curl` that fails twice, and one that never gets through."""
    text = cloud_init.user_data(replace(BOOT, late=True))
    (script,) = [row["content"] for row in yaml.safe_load(text)["write_files"] if row["path"].endswith("prepare.sh")]
    loop = re.search(r"(?ms)^ *until curl .*?^ *done$", script)
    assert loop is not None and "until" not in cloud_init.user_data(BOOT)
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\necho x >> {tmp_path}/calls\n[ "$(wc -l < {tmp_path}/calls)" -gt "$FAILING" ]\n')
    curl.chmod(0o755)
    for failing, seconds, status, calls in (("2", "0", 0, 3), ("99", "901", 7, 1)):
        (tmp_path / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail; SECONDS={seconds}; sleep() {{ :; }}; {loop[0]}"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FAILING": failing},
            check=False,
        )
        assert done.returncode == status and len((tmp_path / "calls").read_text().splitlines()) == calls
