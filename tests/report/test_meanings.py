"""What targets say of their resource types: complete, of paths that exist, and true of everything skyc makes."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.filetest import FOLDER, SUFFIX, read
from tests.filetests.changes import first_plan
from tests.filetests.stage_runners import Refused, _lowered

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import ChangeSet, Meaning
from skyc.compiler.report.cautions import cautions_of
from skyc.compiler.report.changes import change_rows
from skyc.compiler.report.model import Caution, Risk
from skyc.providers import registry
from skyc.providers.schemas import ProviderSchema, load_schema
from skyc.providers.schemas.emitted import ORIGINS
from skyc.providers.tfplugin.schema import Block

FOLDERS = {"aws": "aws", "azurerm": "azure", "google": "gcp", "ibm": "ibm"}
"""Terraform provider → the target's folder."""
MEANINGS = registry.meanings()
EVERYBODY = ("0.0.0.0/0", "::/0", "Internet", "*")
GRAPHS = sorted(path for path in (FOLDER / "lower").glob(f"*{SUFFIX}"))


@pytest.mark.parametrize("origin", ORIGINS, ids=lambda origin: origin.name)
def test_every_type_that_is_emitted_has_a_meaning_or_none_on_purpose(origin: Any) -> None:
    module = import_module(f"skyc.providers.{FOLDERS[origin.name]}.review")
    assert sorted([*module.MEANINGS, *module.PLAIN]) == sorted(origin.type_names)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_path_is_one_of_the_schema(name: str) -> None:
    schema = load_schema(name)
    wrong = [
        f"{type_}: {path}"
        for type_, meaning in import_module(f"skyc.providers.{FOLDERS[name]}.review").MEANINGS.items()
        for path in paths(meaning)
        if not exists(schema, type_, path)
    ]
    assert wrong == []


def paths(meaning: Meaning) -> list[str]:
    opened = [path for item in meaning.openings for path in (item.path, *item.when, *item.ports)]
    return [path for path in (*opened, *meaning.grants, *meaning.policies, meaning.size, *meaning.says) if path]


def exists(schema: ProviderSchema, type_: str, path: str) -> bool:
    """Whether there is such a path. What an attribute's own type holds is written beside it."""
    block: Block = schema.types[type_].body
    steps = path.split(".")
    while steps[0] in block.blocks and len(steps) > 1:
        block = block.blocks[steps.pop(0)]
    if len(steps) > 1:
        return steps[0] in block.attributes and f"{steps[1]}:" in repr(block.attributes[steps[0]].type)
    return steps[0] in block.attributes or steps[0] in block.blocks


def test_a_schema_without_the_path_is_noticed() -> None:
    assert exists(load_schema("aws"), "aws_security_group", "ingress.cidr_blocks")
    assert not exists(load_schema("aws"), "aws_security_group", "ingress.nothing")
    assert not exists(load_schema("google"), "google_compute_instance", "network_interface.nothing")


def found(sites: tuple[ChangeSet, ...]) -> list[Caution]:
    return list(cautions_of(change_rows(sites), (), MEANINGS, environment=""))


LETS_OUT = (
    *("aws_route.inside", "aws_route.out", "aws_vpc_security_group_egress_rule.all", "ibm_is_security_group_rule.all-out"),
    # A second fence behind the first, and a rule that closes.
    *("ibm_is_network_acl.nodes", "azurerm_network_security_rule.closed"),
)
RIGHTS = ("iam_role", "profile_policy", "service_policy", "role_assignment", "_iam_member", "claim_rule")
PUBLIC = {
    "aws_eip": "{",
    "aws_instance": '"associate_public_ip_address": true',
    "aws_launch_template": '"associate_public_ip_address": "true"',
    "google_compute_instance": '"access_config"',
    "azurerm_public_ip": "{",
    "ibm_is_floating_ip": "{",
}


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_what_golden_graphs_open_is_said(path: Path) -> None:
    """Held against what stands in the arguments, looked for as text, whatever the tables say."""
    test = read(path)
    try:
        graphs = _lowered(SourceFile(path=test.shown, text=test.text))
    except Refused:
        return
    cautions = found(first_plan(graphs))
    arguments = {
        str(node.address): (node.address.type, json.dumps(node.arguments, default=dict_or_text))
        for graph in graphs
        for node in graph.resources
    }
    several = {name for caution in cautions if caution.risk is Risk.ADDRESS for name in caution.subjects}
    open_ = {
        address
        for address, (type_, text) in arguments.items()
        if any(f'"{word}"' in text for word in EVERYBODY)
        and ("rule" in type_ or "firewall" in type_ or "route" in type_ or "acl" in type_)
    }
    said = {name for caution in cautions if caution.risk is Risk.REACH for name in caution.subjects}
    assert {address for address in open_ if not address.startswith(LETS_OUT) and not narrow(address, arguments)} == said
    assert not [caution for caution in cautions if caution.risk is Risk.DATA], "what skyc makes is private"
    rights = {name for caution in cautions if caution.risk is Risk.IDENTITY for name in caution.subjects}
    giving = {address for address, (type_, text) in arguments.items() if any(word in type_ for word in RIGHTS)}
    assert giving <= rights, giving - rights
    public = {address for address, (type_, text) in arguments.items() if type_ in PUBLIC and PUBLIC[type_] in text}
    assert bool(public) == bool(several) and {name for name in several if name in arguments} <= public


def narrow(address: str, arguments: dict[str, tuple[str, str]]) -> bool:
    """Azure's `*` as a port or a protocol, of a rule that names its sources."""
    type_, text = arguments[address]
    return type_ == "azurerm_network_security_rule" and not any(
        f'"{name}": "{word}"' in text for name in ("source_address_prefix",) for word in EVERYBODY
    )


def dict_or_text(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else str(value)


def test_a_third_party_says_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILT_IN", {"local": registry.BUILT_IN["local"]})
    assert list(registry.meanings()) == ["skyc_node"]
