"""What changes a fingerprint and what does not, over the real compiler with the shipped catalog."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyc.compiler.artifact.fingerprint import (
    ceiling,
    changes_fingerprint,
    compiled_fingerprint,
    keyed,
    matches,
    own_texts,
)
from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import (
    Action,
    AttributeChange,
    ChangeSet,
    DeploymentId,
    FrozenMap,
    NodeRuntime,
    PlacementPlan,
    ResourceChange,
    Secret,
    SiteId,
    ValueKind,
)
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.base import Access, Provider
from skyc.providers.registry import load

TASK: dict[str, Any] = {
    "name": "train",
    "workdir": ".",
    "resources": {
        "infra": "aws/us-east-1",
        "instance_type": "g5.xlarge",
        "disk_size": 100,
        "ports": [8080],
        "image_id": "ami-0123456789abcdef0",
        "labels": {"team": "a", "cost": "b"},
    },
    "num_nodes": 2,
    "envs": {"EPOCHS": "3", "LR": "0.1"},
    "secrets": {"TOKEN": None},
    "setup": "pip list",
    "run": "python train.py",
}
KEYS = Access(ssh_from=("203.0.113.7/32",), login_key="ssh-ed25519 AAAAlogin", host_key="-----KEY-----", host_key_public="pub")


def compiled(
    folder: Path,
    task: dict[str, Any] | str = TASK,
    *,
    until: str = "lower",
    secret: str = "hunter2-hunter2",
    providers: dict[str, Provider] | None = None,
    **options: Any,
) -> Compilation:
    text = task if isinstance(task, str) else yaml.safe_dump(task, sort_keys=False)
    found = compile_source(
        SourceFile(path=str(folder / "task.yaml"), text=text),
        CompileOptions(
            **{
                "providers": providers or {"aws": load("aws")},
                "home": folder / "home",
                "runtime": NodeRuntime(python="3.12"),
                "overrides": EnvOverrides.of(environ={"TOKEN": secret, "OTHER": secret, "HOME": str(folder)}),
                "access": lambda deployment: KEYS,
                **options,
            }
        ),
        until=until,
    )
    assert not found.failed, found.diagnostics
    return found


def name(*arguments: Any, **options: Any) -> str:
    found = compiled_fingerprint(compiled(*arguments, **options))
    assert found is not None and len(found) == 64
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("task")


@pytest.fixture(scope="module")
def reviewed(folder: Path) -> Compilation:
    return compiled(folder)


@pytest.fixture(scope="module")
def known(reviewed: Compilation) -> str:
    found = compiled_fingerprint(reviewed)
    assert found is not None
    return found


def changed(**fields: Any) -> dict[str, Any]:
    return {**TASK, **fields}


def resources(**fields: Any) -> dict[str, Any]:
    return changed(resources={**TASK["resources"], **fields})


def shuffled(value: Any, by: random.Random) -> Any:
    if isinstance(value, dict):
        rows = list(value.items())
        by.shuffle(rows)
        return {key: shuffled(item, by) for key, item in rows}
    return value


def test_the_order_in_which_things_are_written_is_nothing(folder: Path, known: str) -> None:
    """All that comes after resolve is made from its graph, so 100 orders are compiled so far, and ten to the end."""
    graph = compiled(folder, until="resolve").graph
    for seed in range(100):
        task = shuffled(TASK, random.Random(seed))
        assert compiled(folder, task, until="resolve").graph == graph
        if seed % 10 == 0:
            assert name(folder, task) == known


def test_the_order_of_the_catalog_is_nothing(folder: Path, known: str, reviewed: Compilation) -> None:
    """Providers in another order, and one that has nothing to offer here."""
    both: dict[str, Provider] = {"gcp": load("gcp"), "aws": load("aws")}
    assert name(folder, providers=both) == known
    assert name(folder, providers=dict(reversed(both.items()))) == known


def test_what_is_no_part_of_a_plan(folder: Path, known: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump(TASK, sort_keys=False)
    commented = "# why\n\n" + text.replace("num_nodes: 2", "num_nodes:   2   # two of them")
    assert name(folder, commented) == known
    elsewhere = tmp_path / "a" / "clone"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert name(elsewhere) == known, "another folder, home and working directory"
    (elsewhere / "train.py").write_text("print(2)")
    assert name(elsewhere, secret="another-value") == known, "a workdir's content, and a secret's value"
    others = dataclasses.replace(KEYS, login_key="ssh-ed25519 BBBB", host_key="x", host_key_public="y")
    assert name(folder, access=lambda deployment: others) == known, "the keys of the deployment"
    assert name(folder, offline=True) == known, "without an account"
    assert name(folder, versions=FrozenMap({"registry.terraform.io/hashicorp/aws": "5.100.0"})) == known
    assert "/" not in known and os.sep not in known


CHANGES: dict[str, dict[str, Any]] = {
    "image": resources(image_id="ami-0fedcba9876543210"),
    "price ceiling": resources(max_hourly_cost=50),
    "place": resources(infra="aws/us-west-2"),
    "zone": resources(infra="aws/us-east-1/use1-az1"),
    "machine": resources(instance_type="g5.2xlarge"),
    "market": resources(use_spot=True),
    "disk": resources(disk_size=200),
    "port": resources(ports=[8081]),
    "label": resources(labels={"team": "a", "cost": "c"}),
    "nodes": changed(num_nodes=3),
    "run": changed(run="python other.py"),
    "setup": changed(setup="pip list -v"),
    "env": changed(envs={"EPOCHS": "4", "LR": "0.1"}),
    "secret's name": changed(secrets={"OTHER": None}),
    "budget": changed(budget="$5000"),
    "name": changed(name="other"),
}


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_what_is_a_part_of_a_plan(what: str, folder: Path, known: str) -> None:
    assert name(folder, CHANGES[what]) != known


def test_who_may_log_in_is_reviewed(folder: Path, known: str) -> None:
    opened = dataclasses.replace(KEYS, ssh_from=("0.0.0.0/0",))
    assert name(folder, access=lambda deployment: opened) != known


def edited(reviewed: Compilation, change: Callable[[PlacementPlan], PlacementPlan]) -> str | None:
    assert reviewed.placement is not None
    return compiled_fingerprint(dataclasses.replace(reviewed, placement=change(reviewed.placement)))


def test_the_envelope_and_its_ceilings_are_reviewed(reviewed: Compilation, known: str) -> None:
    def dearer(amount: str) -> Callable[[PlacementPlan], PlacementPlan]:
        def change(plan: PlacementPlan) -> PlacementPlan:
            first, *rest = plan.fallbacks
            top = ceiling(first)
            assert top is not None
            return dataclasses.replace(plan, fallbacks=(dataclasses.replace(first, worst_hourly=top + Decimal(amount)), *rest))

        return change

    assert edited(reviewed, dearer("0")) == known
    assert edited(reviewed, dearer("0.000001")) != known, "a ceiling"
    assert edited(reviewed, lambda plan: dataclasses.replace(plan, fallbacks=plan.fallbacks[:-1])) != known, "an entry"
    assert edited(reviewed, lambda plan: dataclasses.replace(plan, fallbacks=plan.fallbacks[::-1])) != known, "the order tried"


def test_a_spot_price_that_moved_below_its_ceiling_is_the_same_plan(folder: Path) -> None:
    spot = compiled(folder, resources(use_spot=True))

    def cheaper(plan: PlacementPlan) -> PlacementPlan:
        (place,) = plan.placements
        assert place.hourly is not None and place.worst_hourly is not None and place.hourly < place.worst_hourly
        moved = dataclasses.replace(place, hourly=place.hourly * Decimal("0.9"))
        return dataclasses.replace(plan, placements=(moved,), catalog_digest="of another day")

    assert edited(spot, cheaper) == compiled_fingerprint(spot)


def attribute(path: str, after: str | None, before: str | None = None, kind: ValueKind = ValueKind.KNOWN) -> AttributeChange:
    return AttributeChange(path=path, before=before, after=after, kind=kind)


def change(address: str, action: Action, *attributes: AttributeChange, **more: Any) -> ResourceChange:
    return ResourceChange(
        address=address, type=address.partition(".")[0], action=action, reason=None, attributes=attributes, **more
    )


def changes(*rows: ResourceChange, engine: str = "terraform", version: str = "1.11.4", **more: Any) -> ChangeSet:
    return ChangeSet(site=SiteId("train.aws"), engine=engine, engine_version=version, changes=rows, **more)


DISK = change("aws_disk.a", Action.UPDATE, attribute("gb", "200", "100"), attribute("id", None, kind=ValueKind.UNKNOWN))
MADE = change(
    "aws_node.a", Action.CREATE, attribute("home", '"/home/me/.skyc/x"'), attribute("key", None, kind=ValueKind.SECRET)
)
GONE = change("aws_node.b", Action.DELETE, attribute("ip", None, '"10.0.0.1"'))
STAYS = change("aws_node.c", Action.NO_OP)


def test_what_terraform_would_do_is_in_the_other_one() -> None:
    known = changes_fingerprint("c", [changes(DISK, MADE, GONE, STAYS)])
    same = [
        changes(GONE, STAYS, MADE, DISK),
        changes(DISK, MADE, GONE, engine="tofu", version="1.12.0"),
        changes(DISK, MADE, GONE, change("aws_node.d", Action.READ), drift=(DISK,)),
        changes(dataclasses.replace(DISK, attributes=DISK.attributes[::-1]), MADE, GONE),
        # What goes, goes whole.
        changes(DISK, MADE, change("aws_node.b", Action.DELETE, attribute("ip", None, '"10.0.0.2"'))),
    ]
    assert {changes_fingerprint("c", [made]) for made in same} == {known}
    nothing = changes(STAYS)
    assert changes_fingerprint("c", [changes(DISK, MADE, GONE), dataclasses.replace(nothing, site=SiteId("z"))]) == known
    others = [
        changes(DISK, MADE),
        changes(change("aws_disk.a", Action.UPDATE, attribute("gb", "201", "100")), MADE, GONE),
        changes(change("aws_disk.a", Action.UPDATE, attribute("gb", "200", "150")), MADE, GONE),
        changes(dataclasses.replace(DISK, action=Action.REPLACE), MADE, GONE),
        changes(dataclasses.replace(DISK, attributes=DISK.attributes[:1]), MADE, GONE),
        changes(DISK, MADE, GONE, outputs=("nodes",)),
        changes(DISK, MADE, GONE, dataclasses.replace(STAYS, previous_address="aws_node.x")),
        changes(DISK, MADE, GONE, dataclasses.replace(STAYS, importing="i-1")),
    ]
    names = {changes_fingerprint("c", [made]) for made in others}
    assert len(names) == len(others) and known not in names
    assert changes_fingerprint("d", [changes(DISK, MADE, GONE)]) != known


def test_secrets_enter_as_keyed_hashes() -> None:
    def of(key: bytes, **secrets: str) -> str:
        hashes = keyed(key, {name: Secret(value) for name, value in secrets.items()})
        assert all(value not in repr(hashes) for value in secrets.values())
        return changes_fingerprint("c", [changes(DISK)], secrets=hashes)

    assert of(b"k", A="one", B="two") == of(b"k", B="two", A="one")
    names = {of(b"k", A="one"), of(b"k", A="two"), of(b"k", B="one"), of(b"other", A="one"), of(b"k")}
    assert len(names) == 5


def test_a_machines_own_texts_tell_nothing(folder: Path, reviewed: Compilation) -> None:
    own = own_texts(reviewed)
    assert {str(folder / "home"), KEYS.login_key, KEYS.host_key}.issubset(own)
    one, other = ("/home/me/.skyc", "KEY-one\nof two lines"), ("/root/.skyc", "KEY-two\nof two lines")

    def seen(home: str, key: str) -> str:
        data = f"#cloud-config\nkey: |\n  {key}\nhome: {home}/nodes"
        rows = [
            attribute("home", json.dumps(f"{home}/nodes")),
            attribute("user_data", json.dumps(data)),
            attribute("custom_data", json.dumps(base64.b64encode(data.encode()).decode())),
        ]
        return changes_fingerprint("c", [changes(change("a.b", Action.CREATE, *rows))], own=(home, key))

    assert seen(*one) == seen(*other)
    assert changes_fingerprint("c", [changes(MADE)]) == changes_fingerprint("c", [changes(MADE)], own=("/home/you",))
    assert changes_fingerprint("c", [changes(MADE)]) != changes_fingerprint("c", [changes(MADE)], own=("/home/me/.skyc",))


def test_a_name_is_given_by_its_beginning() -> None:
    full = "0123456789abcdef" * 4
    assert matches(full, full) and matches(full, full[:16]) and matches(full, full[:12].upper())
    assert not matches(full, full[:11]) and not matches(full, "f" * 16) and not matches(full, "")


def test_without_code_there_is_no_name(folder: Path) -> None:
    assert compiled_fingerprint(compiled(folder, until="optimize")) is None
    assert DeploymentId("train") == compiled(folder, until="resolve").deployment
