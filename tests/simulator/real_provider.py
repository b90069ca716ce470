"""The released AWS provider, where a filesystem mirror of it is at hand: through Terraform, and asked directly.

Asked directly it is started as Terraform starts it and spoken to in protocol 5, whose messages have the same fields as those of
protocol 6 wherever both are used here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from skyc.providers.tfplugin import tfplugin6_pb2 as pb
from skyc.providers.tfplugin.codec import compile_block, pack
from skyc.providers.tfplugin.schema import Attribute, Block, NestedBlock, Nesting
from skyc.providers.tfplugin.server import MAGIC_COOKIE

SOURCE = "registry.terraform.io/hashicorp/aws"
MIRROR = "SKYC_PROVIDER_MIRROR"


def mirror() -> Path:
    """The mirror's folder. Skips the test without one."""
    given = os.environ.get(MIRROR)
    if not given or not any(Path(given, SOURCE).glob("*/*/terraform-provider-aws*")):
        pytest.skip(f"{MIRROR} names no filesystem mirror with {SOURCE}")
    return Path(given)


def version() -> str:
    return sorted(path.name for path in (mirror() / SOURCE).iterdir())[-1]


def configuration(folder: Path) -> Path:
    """A CLI configuration that takes providers from the mirror and from nowhere else."""
    path = folder / "terraform.rc"
    path.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror()))}\n  }}\n}}\n")
    return path


class RealProvider:
    """A running provider process."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        found = self._call("GetSchema", pb.Empty(), pb.GetProviderSchema.Response)
        self.bodies = {name: _block(schema.block) for name, schema in found.resource_schemas.items()}
        self._provider = _block(found.provider.block)

    def configure(self, values: Mapping[str, Any], endpoints: Mapping[str, str]) -> None:
        """`endpoints`: service → where its calls go."""
        type_ = compile_block(self._provider)
        values = {**values, "endpoints": [_written(self._provider.blocks["endpoints"], endpoints)]}
        config = pb.DynamicValue(msgpack=pack(type_, values))
        request = pb.ConfigureProvider.Request(terraform_version="1.11.4", config=config)
        response = self._call("Configure", request, pb.ConfigureProvider.Response)
        assert not response.diagnostics, response.diagnostics

    def replaced(self, name: str, prior: Mapping[str, Any], planned: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
        """Paths whose change replaces the resource; None where it cannot say (it would have to ask the cloud)."""
        body = self.bodies[name]
        type_ = compile_block(body)
        request = pb.PlanResourceChange.Request(
            type_name=name,
            prior_state=pb.DynamicValue(msgpack=pack(type_, prior)),
            proposed_new_state=pb.DynamicValue(msgpack=pack(type_, planned)),
            config=pb.DynamicValue(msgpack=pack(type_, _settable(body, planned))),
        )
        response = self._call("PlanResourceChange", request, pb.PlanResourceChange.Response)
        if response.diagnostics:
            return None
        return tuple(
            tuple(step.attribute_name for step in path.steps if step.attribute_name) for path in response.requires_replace
        )

    def refusal(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What it says when the create of a resource is refused: summary and detail. Empty when it is not."""
        body = self.bodies[name]
        type_ = compile_block(body)
        nothing = pb.DynamicValue(msgpack=pack(type_, None))
        config = pb.DynamicValue(msgpack=pack(type_, _written(body, arguments)))
        planned = self._call(
            "PlanResourceChange",
            pb.PlanResourceChange.Request(type_name=name, prior_state=nothing, proposed_new_state=config, config=config),
            pb.PlanResourceChange.Response,
        )
        assert not planned.diagnostics, planned.diagnostics
        request = pb.ApplyResourceChange.Request(
            type_name=name,
            prior_state=nothing,
            planned_state=planned.planned_state,
            config=config,
            planned_private=planned.planned_private,
        )
        response = self._call("ApplyResourceChange", request, pb.ApplyResourceChange.Response)
        return "\n".join(f"{found.summary} | {found.detail}" for found in response.diagnostics)

    def _call(self, name: str, request: Any, response: Any) -> Any:
        call = self._channel.unary_unary(
            f"/tfplugin5.Provider/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return call(request, timeout=60)


@contextmanager
def started() -> Iterator[RealProvider]:
    (program,) = (mirror() / SOURCE / version()).glob("linux_amd64/terraform-provider-aws*")
    name, value = MAGIC_COOKIE
    environment = {**os.environ, name: value, "PLUGIN_PROTOCOL_VERSIONS": "5", "AWS_EC2_METADATA_DISABLED": "true"}
    process = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        socket = process.stdout.readline().decode().split("|")[3]
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
            yield RealProvider(channel)
    finally:
        process.kill()
        process.communicate()


def _block(message: Any) -> Block:
    return Block(
        attributes={
            attribute.name: Attribute(
                type=json.loads(attribute.type),
                required=attribute.required,
                optional=attribute.optional,
                computed=attribute.computed,
            )
            # A value that is only ever written has no place in a state.
            for attribute in message.attributes
            if attribute.type and (attribute.required or attribute.optional or attribute.computed)
        },
        blocks={nested.type_name: _nested(nested) for nested in message.block_types},
    )


def _nested(message: Any) -> NestedBlock:
    body = _block(message.block)
    nesting = list(Nesting)[message.nesting - 1]
    return NestedBlock(attributes=body.attributes, blocks=body.blocks, nesting=nesting)


def _written(body: Block, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they are written, as a whole configuration: nulls, and lists of blocks."""
    config: dict[str, Any] = {name: arguments.get(name) for name in body.attributes}
    for name, block in body.blocks.items():
        value = arguments.get(name)
        elements = value if isinstance(value, list) else [] if value is None else [value]
        many = block.nesting in (Nesting.LIST, Nesting.SET)
        config[name] = [_written(block, element) for element in elements] if many else None
    return config


def _settable(body: Block, values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that would propose these values."""
    config = {name: values.get(name) if attribute.settable else None for name, attribute in body.attributes.items()}
    for name, block in body.blocks.items():
        value = values.get(name)
        config[name] = [_settable(block, element) for element in value] if isinstance(value, list) else value
    return config
