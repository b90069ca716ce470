"""The simulator beside the released AWS provider: plans of one shape, and the same changes in place or by replacement.

This is where the overlay of AWS is proven: its defaults, computed blocks and what it says forces a replacement.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Ref, ResourceGraph
from skyc.compiler.synth import synth
from skyc.compiler.terraform import ApplyRun, Terraform, find_engine
from skyc.providers.schemas import TypeSchema, check, load_schema
from skyc.providers.tfplugin.codec import compile_block
from skyc.providers.tfplugin.schema import Attribute, Block, Nesting
from tests.lengths import takes_minutes
from tests.schemas import graphs

from . import real_provider
from .conftest import Site, emptied
from .everything import EVERYTHING
from .refusing import refusing

pytestmark = pytest.mark.terraform

DIFFERENT = {
    # The pinned version differs from the real one at hand (6.69.1 against 5.100.0):
    ("aws_instance.node", "user_data"): "computed in version 5",
    ("aws_spot_instance_request.node", "user_data"): "computed in version 5",
    ("aws_subnet.a", "ipv6_cidr_block"): "computed in version 6",
    ("aws_s3_bucket_server_side_encryption_configuration.data", "rule"): "its parts are computed in version 6",
    # A habit of one resource that no flag tells:
    ("aws_nat_gateway.nat", "secondary_allocation_ids"): "plans null, though it is computed",
    ("aws_s3_bucket_lifecycle_configuration.data", "rule"): "plans null for parts of `filter` that are computed",
}

LOOKS = {
    # The real one looks at something before it makes these, so its first refusal is of another call.
    "aws_instance.node",
    "aws_route.out",
}

ALSO_CONDITIONAL = {
    # Decided by code, not by the schema, and not for the value tried here.
    ("aws_spot_instance_request", "spot_price"),
}


@takes_minutes
def test_plans_have_the_shape_of_the_real_providers(site: Site, tmp_path: Path) -> None:
    graph = graphs.graph("aws", real_provider.version(), graphs.AWS_CONFIG, EVERYTHING)
    assert check(graph, [load_schema("aws")]) == ()
    site.write(graph)
    ours, theirs = _changes(site.plan()), _changes(_real_plan(site, graph, tmp_path))
    assert ours.keys() == theirs.keys()
    assert list(_differences(ours, theirs)) == []


def test_every_type_we_emit_is_planned() -> None:
    assert {address.partition(".")[0] for address in EVERYTHING} == set(load_schema("aws").types)


def _real_plan(site: Site, graph: ResourceGraph, folder: Path) -> dict[str, Any]:
    environ = {**os.environ, "TF_CLI_CONFIG_FILE": str(real_provider.configuration(folder))}
    directory = folder / "real"
    directory.mkdir()
    _, text = synth(graph, cache=site.cache)
    (directory / "cdk.tf.json").write_text(text)
    terraform = Terraform(find_engine(environ=environ), directory, home=folder / "home", environ=environ)
    run = terraform.plan()
    assert run.plan_file is not None, run.diagnostics
    return dict(terraform.show(run.plan_file))


@pytest.fixture(scope="module")
def provider() -> Iterator[real_provider.RealProvider]:
    """The released provider, whose every call to AWS is refused."""
    with refusing() as endpoint, real_provider.started() as provider:
        services = dict.fromkeys(("autoscaling", "ec2", "iam", "s3", "sts"), endpoint)
        # A refusal is never repeated; a connection that a busy machine dropped is.
        settings = {"skip_metadata_api_check": "true", "s3_use_path_style": True, "max_retries": 5}
        provider.configure({**graphs.AWS_CONFIG, **settings}, services)
        yield provider


def test_errors_have_the_words_of_the_real_provider(site: Site, provider: real_provider.RealProvider) -> None:
    """Both are refused every call for want of a permission; what they say agrees up to the id of the request."""
    resources = {address: _without_references(arguments) for address, arguments in EVERYTHING.items()}
    theirs = {
        address: _before_the_id(provider.refusal(address.partition(".")[0], arguments))
        for address, arguments in resources.items()
        if address not in LOOKS
    }
    site.faults("faults: [{fault: denied}]")
    site.write(graphs.graph("aws", "6.69.1", graphs.AWS_CONFIG, resources))
    ours = _errors(site.apply())
    assert ours.keys() == EVERYTHING.keys()
    assert {address: (ours[address], said) for address, said in theirs.items() if ours[address] != said} == {}


def _without_references(value: Any) -> Any:
    """Every reference as a text, so that nothing waits for anything."""
    if isinstance(value, Ref):
        # The provider looks at the prefix of this one.
        return "lt-0" if value.address.type == "aws_launch_template" else f"{value.address.type.removeprefix('aws_')}-0"
    if isinstance(value, dict):
        return {name: _without_references(item) for name, item in value.items()}
    return [_without_references(item) for item in value] if isinstance(value, list) else value


def _errors(run: ApplyRun) -> dict[str, str]:
    """Address → what its error says before the request's id."""
    found = {}
    for diagnostic in run.diagnostics:
        where, _, rest = diagnostic.detail.partition("\n")
        found[where.removeprefix("Resource: ")] = _before_the_id(f"{diagnostic.summary} | {rest}")
    return found


def _before_the_id(said: str) -> str:
    return said.partition(", RequestID")[0]


def _changes(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {change["address"]: change["change"] for change in plan["resource_changes"]}


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[tuple[str, str, str, Any, Any]]:
    """Attributes both versions have and plan differently: known values, what is unknown, what is sensitive."""
    for address, mine in ours.items():
        other = theirs[address]
        names = [set(change["after"]) | set(change["after_unknown"]) for change in (mine, other)]
        for name in sorted(names[0] & names[1]):
            if (address, name) in DIFFERENT:
                continue
            for part in ("after", "after_unknown", "after_sensitive"):
                left, right = mine[part].get(name), other[part].get(name)
                if _meaning(left) != _meaning(right):
                    yield address, name, part, left, right


def _meaning(value: Any) -> Any:
    """The real provider writes policies anew; what they say is the same."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


@pytest.fixture(scope="module")
def states(served: Site) -> dict[str, dict[str, Any]]:
    """A state of each type, as the simulator makes it."""
    emptied(served).write(graphs.graph("aws", "6.69.1", graphs.AWS_CONFIG, EVERYTHING))
    assert served.apply().finished
    return {found.type: dict(found.attributes) for found in served.world.resources()}


def test_what_forces_a_replacement_is_what_the_real_provider_says(
    states: dict[str, dict[str, Any]], provider: real_provider.RealProvider
) -> None:
    """Every attribute of every type, changed one at a time."""
    wrong: list[tuple[str, str, str]] = []
    asked = 0
    for name, type_ in load_schema("aws").types.items():
        body = provider.bodies[name]
        known = {path for path, _ in _settable(body)}
        prior = compile_block(body).from_json(states[name], ())
        for path, attribute in _settable(type_.body):
            tried = _changed(type_, body, prior, path, attribute) if path in known else None
            if tried is None or (name, ".".join(path)) in ALSO_CONDITIONAL:
                continue
            found = provider.replaced(name, *tried)
            if found is None:
                continue
            asked += 1
            forced = any(one == path[: len(one)] for one in found)
            if forced != attribute.force_new:
                wrong.append((name, ".".join(path), "replaces" if forced else "changes in place"))
    assert wrong == []
    assert asked > 400


def _settable(body: Block, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Attribute]]:
    for name, attribute in body.attributes.items():
        if attribute.settable and (*above, name) != ("id",):
            yield (*above, name), attribute
    for name, block in body.blocks.items():
        if name != "timeouts":
            yield from _settable(block, (*above, name))


def _changed(
    type_: TypeSchema, body: Block, state: dict[str, Any], path: tuple[str, ...], attribute: Attribute
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A prior state with the blocks on the way, and the same with another value at the path."""
    prior = copy.deepcopy(state)
    _leaf(prior, body, path)
    planned = copy.deepcopy(prior)
    leaf = _leaf(planned, body, path)
    other = _other(attribute.type, leaf.get(path[-1]), type_.enums.get(".".join(path), ()))
    if other is None:
        return None
    leaf[path[-1]] = other
    return prior, planned


def _leaf(values: dict[str, Any], body: Block, path: tuple[str, ...]) -> dict[str, Any]:
    for step in path[:-1]:
        body = body.blocks[step]
        if not values.get(step):
            values[step] = [_empty(body)]
        values = values[step][0]
    return values


def _empty(body: Block) -> dict[str, Any]:
    many = (Nesting.LIST, Nesting.SET)
    return {
        **dict.fromkeys(body.attributes),
        **{name: [] if block.nesting in many else None for name, block in body.blocks.items()},
    }


def _other(type_: Any, value: Any, accepted: tuple[str, ...]) -> Any:
    if accepted:
        return next(item for item in accepted if item != value)
    match type_:
        case "string":
            return f"{value or ''}x"
        case "number":
            return (value or 0) + 1
        case "bool":
            return not value
        case ("list" | "set", "string"):
            return [*(value or []), "new"]
        case ("map", "string"):
            return {**(value or {}), "new": "x"}
    return None
