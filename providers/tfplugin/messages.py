"""Protocol messages made from skyc's values: schemas, diagnostics and attribute paths.

The one place, with `service`, that knows the generated `tfplugin6_pb2`. It is made again after a change of the .proto with

    cd providers/tfplugin && uvx --from grpcio-tools==1.76.0 python-grpc-tools-protoc -I. --python_out=. --pyi_out=. tfplugin6.proto

The generator is pinned because generated code refuses a protobuf older than its generator: 1.76.0 needs protobuf 6.31.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from . import tfplugin6_pb2 as pb
from .schema import Attribute, Block, Nesting, Schema, plain_type

_STEP = re.compile(r'\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\.(\d+)')

_BLOCK_NESTING = {
    Nesting.SINGLE: pb.Schema.NestedBlock.SINGLE,
    Nesting.LIST: pb.Schema.NestedBlock.LIST,
    Nesting.SET: pb.Schema.NestedBlock.SET,
    Nesting.MAP: pb.Schema.NestedBlock.MAP,
    Nesting.GROUP: pb.Schema.NestedBlock.GROUP,
}
_OBJECT_NESTING = {
    Nesting.SINGLE: pb.Schema.Object.SINGLE,
    Nesting.LIST: pb.Schema.Object.LIST,
    Nesting.SET: pb.Schema.Object.SET,
    Nesting.MAP: pb.Schema.Object.MAP,
}


def schema_message(schema: Schema) -> pb.Schema:
    return pb.Schema(version=schema.version, block=_block(schema, schema.version))


def error(summary: str, detail: str = "", attribute: str | None = None) -> pb.Diagnostic:
    """An error diagnostic. A path that cannot be read is left out rather than losing the message."""
    diagnostic = pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary, detail=detail)
    path = None if attribute is None else attribute_path(attribute)
    if path is not None:
        diagnostic.attribute.CopyFrom(path)
    return diagnostic


def attribute_path(text: str) -> pb.AttributePath | None:
    """`disk[0].size`, `disk.0.size`, `tags["team"]` as steps; None when it is not such a path."""
    steps: list[pb.AttributePath.Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            return None
        name, index, key, dotted = match.groups()
        if name is not None:
            steps.append(pb.AttributePath.Step(attribute_name=name))
        elif key is not None:
            steps.append(pb.AttributePath.Step(element_key_string=json.loads(key)))
        else:
            steps.append(pb.AttributePath.Step(element_key_int=int(index or dotted)))
        position = match.end()
    return pb.AttributePath(steps=steps) if steps else None


def _block(block: Block, version: int = 0) -> pb.Schema.Block:
    return pb.Schema.Block(
        version=version,
        attributes=_attributes(block.attributes.items()),
        block_types=(
            pb.Schema.NestedBlock(
                type_name=name,
                block=_block(nested),
                nesting=_BLOCK_NESTING[nested.nesting],
                min_items=nested.min_items,
                max_items=nested.max_items,
            )
            for name, nested in block.blocks.items()
        ),
        description=block.description,
        deprecated=block.deprecated,
    )


def _attributes(attributes: Iterable[tuple[str, Attribute]]) -> Iterator[pb.Schema.Attribute]:
    for name, attribute in attributes:
        message = pb.Schema.Attribute(
            name=name,
            description=attribute.description,
            required=attribute.required,
            optional=attribute.optional,
            computed=attribute.computed or attribute.default is not None,
            sensitive=attribute.sensitive,
            deprecated=attribute.deprecated,
        )
        if attribute.nested is None:
            message.type = json.dumps(plain_type(attribute.type), separators=(",", ":")).encode()
        else:
            message.nested_type.CopyFrom(
                pb.Schema.Object(
                    attributes=_attributes(attribute.nested.attributes.items()),
                    nesting=_OBJECT_NESTING[attribute.nested.nesting],
                )
            )
        yield message
