"""The shipped schema files: how they are made, what they may not hold, and how they compare with real ones where there are some."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap
from skyc.providers.schemas import load_schema, parse_schema
from skyc.providers.schemas.build import FOLDER, build, from_documentation, packed
from skyc.providers.schemas.emitted import IBM, ORIGINS
from skyc.providers.schemas.handwritten import read_handwritten
from skyc.providers.schemas.overlay import SchemaFileError
from skyc.providers.tfplugin.schema import Block

BESIDE = [folder / "shared" / "schemas" for folder in Path(__file__).parents[3:5]]
"""Where a folder of real schemas may lie: beside the checkout, or beside a folder of checkouts."""
NAMES = [origin.name for origin in ORIGINS]

NEWER = {
    # What the pinned version has and the real dump, being older, has not.
    ("azurerm-4.80.0", "azurerm_linux_virtual_machine_scale_set.data_disk.disk_iops_read_write"),
    ("azurerm-4.80.0", "azurerm_linux_virtual_machine_scale_set.data_disk.disk_mbps_read_write"),
}


@pytest.mark.parametrize("origin", ORIGINS, ids=NAMES)
def test_a_file_holds_what_is_emitted_and_where_it_is_from(origin: Any) -> None:
    schema = load_schema(origin.name)
    assert tuple(schema.types) == origin.type_names
    assert schema.source == origin.source
    assert "sha256 " in schema.made_from
    assert all("id" in type_.body.attributes for type_ in schema.types.values())
    assert (FOLDER / f"{origin.name}.json.gz").stat().st_size < 12_000
    assert hash(schema.types) == hash(FrozenMap(dict(schema.types)))


def test_a_handwritten_one_is_built_to_the_same_bytes() -> None:
    assert packed(from_documentation(IBM)) == (FOLDER / "ibm.json.gz").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_packing_is_canonical(name: str) -> None:
    content = (FOLDER / f"{name}.json.gz").read_bytes()
    assert packed(json.loads(gzip.decompress(content))) == content


def file(types: dict[str, Any]) -> bytes:
    common = {"format_version": "1", "source": "s", "provider_version": "1", "made_from": "m", "provider": {}}
    return packed({**common, "types": types})


@pytest.mark.parametrize(
    "overlay",
    [
        "x_b: {}",
        "x_a: {force_now: [name]}",
        "x_a: {force_new: [nam]}",
        "x_a: {enums: {nam: [a]}}",
        "x_a: {computed_blocks: [name]}",
        "x_a: {rules: [{exactly_one_of: [name, nam]}]}",
        "x_a: {rules: [{one_of: [name]}]}",
        "x_a: {rules: [{within: disk}]}",
        "x_a: {rules: [{conflicts: [name, disk.size]}]}",
        "'*': {force_new: [nam]}",
        "'*': {enums: {name: [a]}}",
    ],
)
def test_a_line_of_an_overlay_that_fits_nothing_is_an_error(overlay: str) -> None:
    body = {"attributes": {"name": {"type": "string", "required": True}}}
    parse_schema("x", file({"x_a": body}), b"x_a: {force_new: [name]}")
    with pytest.raises(SchemaFileError):
        parse_schema("x", file({"x_a": body}), overlay.encode())


def test_an_overlay_says_what_the_file_cannot() -> None:
    disk = {"nesting_mode": "list", "block": {"attributes": {"size": {"type": "number", "optional": True}}}}
    body = {"attributes": {"name": {"type": "string", "optional": True}}, "block_types": {"disk": disk}}
    schema = parse_schema(
        "x",
        file({"x_a": body}),
        b"{'*': {sensitive: [name]}, x_a: {force_new: [disk], defaults: {name: n}, max_items: {disk: 3}, "
        b"computed_blocks: [disk]}}",
    )
    type_ = schema.types["x_a"]
    assert type_.body.attributes["name"].sensitive
    assert type_.body.attributes["name"].default == "n"
    assert type_.body.blocks["disk"].attributes["size"].force_new
    assert type_.body.blocks["disk"].max_items == 3
    assert type_.computed_blocks == {"disk"}


@pytest.mark.parametrize("text", ["a: {x: string}", "a: {x: text required}", "a: {x: string needed}"])
def test_a_handwritten_line_must_say_type_and_use(text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.x"):
        read_handwritten(f"provider: {{}}\n{text}".encode())


def test_a_wheel_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("skyc.providers.schemas.build._uv", lambda: str(tmp_path / "nothing-here"))
    with pytest.raises(SkycError) as caught:
        build(ORIGINS[0], tmp_path)
    assert [found.slug for found in caught.value.diagnostics] == ["schema-not-built"]
    assert list(tmp_path.iterdir()) == []


# Against real schemas, where a folder of them is at hand.


def real(name: str) -> dict[str, Any]:
    found = [folder / f"{name}.json.gz" for folder in BESIDE if (folder / f"{name}.json.gz").exists()]
    if not found:
        pytest.skip(f"no real schema {name} beside the repository: nothing to compare with")
    (schema,) = json.loads(gzip.decompress(found[0].read_bytes()))["provider_schemas"].values()
    types: dict[str, Any] = schema["resource_schemas"]
    return types


def differences(ours: Block, theirs: dict[str, Any], path: str, *, whole: bool) -> Iterator[tuple[str, str]]:
    """Paths that differ, and how. `whole`: also what only theirs has."""
    attributes, blocks = theirs.get("attributes", {}), theirs.get("block_types", {})
    for name, attribute in ours.attributes.items():
        here = f"{path}.{name}"
        if name not in attributes:
            yield here, "not there"
            continue
        other = attributes[name]
        if json.dumps(_plain(attribute.type)) != json.dumps(_plain(other["type"])):
            yield here, "type"
        for flag in ("required", "optional", "computed"):
            if getattr(attribute, flag) != other.get(flag, False):
                yield here, flag
        if other.get("sensitive") and not attribute.sensitive:
            yield here, "sensitive"
    for name, block in ours.blocks.items():
        here = f"{path}.{name}"
        if name not in blocks:
            yield here, "not there"
            continue
        other = blocks[name]
        limits = (other["nesting_mode"], other.get("min_items", 0), other.get("max_items", 0))
        if (block.nesting.value, block.min_items, block.max_items) != limits:
            yield here, f"nesting {limits}"
        yield from differences(block, other["block"], here, whole=whole)
    if whole:
        for name in sorted({*attributes, *blocks} - {*ours.attributes, *ours.blocks}):
            yield f"{path}.{name}", "missing here"


def _plain(type_: Any) -> Any:
    from skyc.providers.tfplugin.schema import frozen_type, plain_type

    return plain_type(frozen_type(type_))


@pytest.mark.parametrize(
    ("name", "other", "whole"),
    [
        ("aws", "aws-6.69.1.derived", True),
        ("google", "google-8.7.0.derived", True),
        ("azurerm", "azurerm-4.80.0", True),
        ("ibm", "ibm-2.5.0.derived", False),
    ],
)
def test_nothing_differs_from_the_real_schema(name: str, other: str, whole: bool) -> None:
    types = real(other)
    found = [
        (path, how)
        for type_name, type_ in load_schema(name).types.items()
        for path, how in differences(type_.body, types[type_name]["block"], type_name, whole=whole)
        if (other, path) not in NEWER
    ]
    assert found == []


def test_ibm_replaces_what_the_real_one_replaces() -> None:
    """Only there do the real facts hold what forces a replacement."""
    types = real("ibm-2.5.0.derived")
    wrong = [
        path
        for type_name, type_ in load_schema("ibm").types.items()
        for path in _other_replacements(type_.body, types[type_name]["block"], type_name)
    ]
    assert wrong == []


DOCUMENTED = {
    # The documentation says so of the blocks as a whole, and the facts at hand have no flags of blocks.
    "ibm_iam_authorization_policy.resource_attributes",
    "ibm_iam_authorization_policy.subject_attributes",
}


def _other_replacements(ours: Block, theirs: dict[str, Any], above: str) -> Iterator[str]:
    for name, attribute in ours.attributes.items():
        if attribute.force_new != theirs["attributes"][name].get("force_new", False):
            yield f"{above}.{name}"
    for name, block in ours.blocks.items():
        if name != "timeouts" and f"{above}.{name}" not in DOCUMENTED:
            yield from _other_replacements(block, theirs["block_types"][name]["block"], f"{above}.{name}")
