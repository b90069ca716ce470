"""What an older skyc called otherwise is moved, and no released address can change without anybody noticing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.changeset import change_set
from skyc.compiler.ir import Action, DeploymentId, Move, Rename, ResourceAddress, SiteId
from skyc.compiler.lower import GraphInvariantError, verify
from skyc.compiler.moves import moves_for, renamed, with_moves
from skyc.compiler.synth import synth
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.registry import load
from tests.aws.conftest import compiled
from tests.moves.released import current, released
from tests.simulator.conftest import opened

TARGETS = {"aws": "aws", "azure": "azurerm", "gcp": "google", "ibm": "ibm", "local": "skyc"}
RENAMES = (
    Rename(since="0.2.0", before="aws_instance.{group}-{index}", after="aws_instance.node-{group}-{index}"),
    Rename(since="0.2.0", before="aws_vpc.network", after="aws_vpc.main"),
    Rename(since="0.3.0", before="aws_vpc.main", after="aws_vpc.site"),
)

DROPPED = {"ibm_is_ssh_key.login": "IBM takes a key once per region, so the login key comes with the first boot"}
"""Released addresses that nothing takes the place of, and why: Terraform destroys what is there, as it should."""

BESIDE_THE_HEAD = re.compile(r"(aws_eip|azurerm_public_ip|ibm_is_floating_ip)\.\w+-[1-9]\d*")
"""Public addresses, which other machines than the head have only where config.yaml asks for it: their going is meant."""


def all_renames() -> tuple[Rename, ...]:
    return tuple(rename for target in TARGETS for rename in load(target).renames())


def test_no_released_address_has_changed() -> None:
    now = current()
    compared = 0
    for name, (digest, addresses) in released().items():
        if name not in now or now[name][0] != digest:
            # The task itself is another one: nothing can be said about its addresses until the next release.
            continue
        compared += 1
        there = set(now[name][1])
        moved = {str(move.before) for move in moves_for(all_renames(), addresses, there)}
        assert not set(DROPPED) & there, f"{name}: what was dropped is emitted again"
        lost = [name for name in sorted(set(addresses) - there - moved - set(DROPPED)) if not BESIDE_THE_HEAD.fullmatch(name)]
        assert not lost, (
            f"{name}: {', '.join(lost)} is in states of released versions, and is not emitted any more. Terraform would destroy it and make"
            " another. Say in the target's `moved.py` what it is called now: Rename(since=…, before=…, after=…)."
        )
    assert compared >= 15, (
        "too few tasks are as they were at the last release: write them anew with `python -m tests.moves.released`"
    )


def test_the_guard_sees_a_change() -> None:
    """A test that cannot fail guards nothing."""
    addresses = released()["aws-cpu.yaml.test"][1]
    without = {address for address in addresses if address != "aws_vpc.site"} | {"aws_vpc.other"}
    assert not moves_for((), addresses, without)
    told = Rename(since="0.2.0", before="aws_vpc.site", after="aws_vpc.other")
    assert [str(move.before) for move in moves_for((told,), addresses, without)] == ["aws_vpc.site"]


@pytest.mark.parametrize("target", TARGETS)
def test_tables_are_well_made(target: str) -> None:
    for rename in load(target).renames():
        assert rename.before.partition(".")[0] == rename.after.partition(".")[0], "a move never changes the type"
        assert rename.before.startswith(f"{TARGETS[target]}_") and re.fullmatch(r"\d+\.\d+\.\d+", rename.since)
        assert set(re.findall(r"\{(\w+)\}", rename.after)) <= set(re.findall(r"\{(\w+)\}", rename.before))


def test_names_are_carried_over_and_renames_follow_each_other() -> None:
    assert renamed(RENAMES, "aws_instance.main-0") == "aws_instance.node-main-0"
    assert renamed(RENAMES, "aws_instance.two-words-11") == "aws_instance.node-two-words-11"
    assert renamed(RENAMES, "aws_vpc.network") == renamed(RENAMES, "aws_vpc.main") == "aws_vpc.site"
    assert renamed(RENAMES, "aws_vpc.site") == "aws_vpc.site" and renamed(RENAMES, "aws_vpc.networks") == "aws_vpc.networks"


def test_only_what_the_state_holds_and_the_code_wants_is_moved() -> None:
    def moved(held: list[str], wanted: list[str]) -> list[tuple[str, str]]:
        return [(str(move.before), str(move.after)) for move in moves_for(RENAMES, held, wanted)]

    assert moved(["aws_vpc.network"], ["aws_vpc.site"]) == [("aws_vpc.network", "aws_vpc.site")]
    assert moved([], ["aws_vpc.site"]) == []
    # What nobody wants any more goes, as it does without a rename.
    assert moved(["aws_instance.main-1"], ["aws_instance.node-main-0"]) == []
    # What is there already keeps its place, and two are never moved to one.
    assert moved(["aws_vpc.network", "aws_vpc.site"], ["aws_vpc.site"]) == []
    assert moved(["aws_vpc.main", "aws_vpc.network"], ["aws_vpc.site"]) == [("aws_vpc.main", "aws_vpc.site")]
    # The same whatever the order.
    held = ["aws_instance.main-1", "aws_instance.main-0", "aws_vpc.main"]
    wanted = ["aws_instance.node-main-0", "aws_instance.node-main-1", "aws_vpc.site"]
    assert moves_for(RENAMES, held, wanted) == moves_for(RENAMES, held[::-1], wanted[::-1])
    assert len(moves_for(RENAMES, held, wanted)) == 3


TASK = """\
name: prep
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}
run: python prep.py
"""


def older(text: str) -> str:
    """The module as an older skyc would have made it, with two things under other names."""
    module = json.loads(text)
    resources: dict[str, Any] = module["resource"]
    resources["aws_vpc"]["network"] = resources["aws_vpc"].pop("site")
    resources["aws_instance"]["main0"] = resources["aws_instance"].pop("main-0")
    return (
        json.dumps(module)
        .replace("${aws_vpc.site.", "${aws_vpc.network.")
        .replace("${aws_instance.main-0.", "${aws_instance.main0.")
    )


def test_a_graph_without_moves_is_what_it_was(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert with_moves(graph, RENAMES, []).digest == graph.digest
    (vpc,) = [node.address for node in graph.resources if node.address.type == "aws_vpc"]
    moved = replace(graph, moves=(Move(before=ResourceAddress("aws_vpc", "network"), after=vpc),))
    verify(moved)
    assert moved.digest != graph.digest
    for wrong in (Move(before=vpc, after=vpc), Move(before=ResourceAddress("aws_subnet", "x"), after=vpc)):
        with pytest.raises(GraphInvariantError):
            verify(replace(graph, moves=(wrong,)))


def test_the_compiler_asks_the_states_only_where_something_was_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DeploymentId] = []

    def held(deployment: DeploymentId) -> dict[SiteId, tuple[str, ...]]:
        asked.append(deployment)
        return {SiteId("prep.aws-us-east-1"): ("aws_vpc.network", "aws_subnet.other")}

    assert compiled(TASK, tmp_path, held=held).moves == () and not asked
    monkeypatch.setattr(AwsProvider, "renames", lambda self: RENAMES)
    (move,) = compiled(TASK, tmp_path, held=held).moves
    assert (str(move.before), str(move.after)) == ("aws_vpc.network", "aws_vpc.site") and asked
    # A plan that asks nobody has no state.
    assert compiled(TASK, tmp_path, held=held, offline=True).moves == () and len(asked) == 1


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_terraform_makes_and_destroys_nothing(tmp_path: Path) -> None:
    """An old state and the new code: moves alone, with the same machine."""
    graph = compiled(TASK, tmp_path, offline=True)
    _, text = synth(graph, cache=tmp_path / "cache")
    renames = (
        Rename(since="0.2.0", before="aws_instance.{group}{index}", after="aws_instance.{group}-{index}"),
        Rename(since="0.2.0", before="aws_vpc.network", after="aws_vpc.site"),
    )
    with opened(("aws",), tmp_path, tmp_path / "cache") as site:
        (site.directory / "cdk.tf.json").write_text(older(text))
        assert site.apply().ok
        ids = site.ids()
        state = site.terraform.state()
        assert state is not None
        site.write(graph)
        assert {"delete", "create"} <= {action for actions in site.changes().values() for action in actions}
        moved = with_moves(graph, renames, state.resources)
        site.write(moved)
        assert '"moved"' in (site.directory / "cdk.tf.json").read_text()
        found = change_set(site.plan(), graph=moved, site=moved.site, engine=site.terraform.engine)
        assert {change.action for change in found.changes} == {Action.NO_OP}
        assert [(change.previous_address, change.address) for change in found.changes if change.previous_address] == [
            ("aws_instance.main0", "aws_instance.main-0"),
            ("aws_vpc.network", "aws_vpc.site"),
        ]
        # A move alone is something to apply, and afterwards nothing is left, with the moves in the code or without.
        assert found.has_changes and site.apply().ok and site.ids() == ids
        assert site.changes() == {}
        site.write(graph)
        assert site.changes() == {}
