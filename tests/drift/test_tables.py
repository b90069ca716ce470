"""Every attribute of every type that a target emits has a class: nothing is harmless because nobody thought about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.compiler.drift.rows import classified
from skyc.compiler.ir import DriftClass, DriftTable
from skyc.providers.base import Provider
from skyc.providers.drift import DriftTableError, table_of
from skyc.providers.registry import load
from skyc.providers.schemas.load import load_schema
from skyc.providers.tfplugin.schema import Block

SCHEMAS = {"aws": "aws", "azure": "azurerm", "gcp": "google", "ibm": "ibm"}
LOWERED = Path(__file__).parents[1] / "filetests" / "lower"


def table(target: str) -> DriftTable:
    provider: Provider = load(target)
    return provider.drift_table()


def emitted() -> set[str]:
    """Types in what the tests of lowering show; they show every kind of resource there is."""
    text = "\n".join(file.read_text() for file in LOWERED.glob("*.test"))
    return set(re.findall(r"\b((?:aws|google|azurerm|ibm|skyc)_[a-z0-9_]+)\.[\w-]+", text))


def test_every_emitted_type_is_in_a_table() -> None:
    known = {name for target in (*SCHEMAS, "local") for name in table(target).types}
    assert len(emitted()) > 50, "this test looks in the wrong place"
    assert not emitted() - known


def attributes(body: Block, above: str = "") -> Iterator[str]:
    """Every attribute of a type, blocks' too, as paths."""
    yield from (f"{above}{name}" for name in body.attributes)
    for name, block in body.blocks.items():
        # How long to wait is not part of the resource.
        if name != "timeouts":
            yield from attributes(block, f"{above}{name}.")


@pytest.mark.parametrize("target", SCHEMAS)
def test_every_attribute_has_a_class(target: str) -> None:
    known = load_schema(SCHEMAS[target]).types
    without = [
        f"{name}.{path}"
        for name, says in table(target).types.items()
        if name in known
        for path in attributes(known[name].body)
        if classified(says, says.mirrors.get(path, path))[0] is DriftClass.UNCLASSIFIED
    ]
    assert not without, "say in the target's drift.yaml what a change of these means"


@pytest.mark.parametrize("target", SCHEMAS)
def test_what_the_inventory_lists_has_a_class_when_nobody_knows_it(target: str) -> None:
    folder = Path(__file__).parents[2] / "providers" / target
    listed = set(re.findall(rf'"({SCHEMAS[target]}_[a-z0-9_]+)"', (folder / "inventory.py").read_text()))
    assert listed and not listed - set(table(target).types)


def test_what_matters_most_is_what_it_should_be() -> None:
    """Spot checks by hand: a table can be complete and wrong."""
    wanted = {
        "aws": {
            "aws_security_group": {"ingress.cidr_blocks": "security", "tags.x": "benign", "tags.skyc-deployment": "cost"},
            "aws_instance": {
                "instance_type": "cost",
                "root_block_device.volume_size": "cost",
                "root_block_device.encrypted": "security",
                "metadata_options.http_tokens": "security",
                "instance_state": "broken",
                "arn": "benign",
            },
            "aws_s3_bucket_public_access_block": {"block_public_acls": "security"},
        },
        "gcp": {
            "google_compute_firewall": {"source_ranges": "security", "self_link": "benign"},
            "google_compute_instance": {"machine_type": "cost", "service_account.scopes": "security", "zone": "broken"},
            "google_storage_bucket": {"public_access_prevention": "security", "storage_class": "cost", "updated": "benign"},
        },
        "azure": {
            "azurerm_network_security_rule": {"source_address_prefix": "security"},
            "azurerm_linux_virtual_machine": {"size": "cost", "priority": "cost", "identity.type": "security"},
            "azurerm_storage_account": {"allow_nested_items_to_be_public": "security", "account_replication_type": "cost"},
        },
        "ibm": {
            "ibm_is_security_group_rule": {"remote": "security", "name": "benign"},
            "ibm_is_instance": {"profile": "cost", "status": "broken", "keys": "security"},
        },
        "local": {"skyc_node": {"health": "broken", "labels.x": "benign"}},
    }
    for target, types in wanted.items():
        for name, paths in types.items():
            for path, class_ in paths.items():
                assert classified(table(target).types[name], path)[0].value == class_, f"{name} {path}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aws_vpc: {gone: broken, extra: cost, harmless: id}", "harmless is no word"),
        ("aws_vpc: {gone: odd, extra: cost}", "odd is no class"),
        ("aws_vpc: {gone: broken, extra: cost, broken: idd}", "there is no idd"),
        ("aws_vpc: {gone: broken, extra: cost, broken: id, cost: id}", "id has two classes"),
        ('"*": {benign: idd}\naws_vpc: {gone: broken, extra: cost}', "no type has idd"),
    ],
)
def test_a_line_that_fits_nothing_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "drift.yaml").write_text(text)
    with pytest.raises(DriftTableError, match=said):
        table_of(tmp_path, "aws")
