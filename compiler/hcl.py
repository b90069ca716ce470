"""A root module in Terraform's own language, for people to go on with: `main.tf`, `providers.tf`, `versions.tf`, `outputs.tf`.

Contract: pure, and the same module: what these files say is what the JSON said, value by value, so a plan finds nothing to change.
They are laid out as `terraform fmt` would. JSON does not tell a block from an attribute; whoever knows the provider's schema does
(`BlocksOf`). Long texts, such as what a machine runs when it first boots, become files of their own, read with `file`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .ir import FrozenMap, JsonObject

Blocks = Mapping[str, Any]
"""Names of a body's nested blocks → the same of each."""
BlocksOf = Callable[[str], Blocks | None]
"""A resource type, or `provider.<name>` → its nested blocks; None for one whose schema nobody here knows."""

TEXTS = "files"
"""The folder of long texts."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_META = ("depends_on", "lifecycle")
_WIDEST = 100
"""Characters of a list that still stands on one line."""


class UnknownSchema(Exception):
    """A type whose blocks nobody knows: the module has to stay JSON. Its text is the type."""


@dataclass(slots=True)
class _Writer:
    """Collects the texts that become files while a module is written."""

    blocks_of: BlocksOf
    texts: dict[str, bytes] = field(default_factory=dict)


def hcl_files(module: JsonObject, blocks_of: BlocksOf, *, head: str) -> FrozenMap[bytes]:
    """File name → content. `head`: lines that say where the files come from, without `#`. Raises UnknownSchema."""
    writer = _Writer(blocks_of)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    made = {
        "main.tf": _resources(writer, module),
        "providers.tf": _providers(writer, module),
        "versions.tf": _terraform(module),
        "outputs.tf": _outputs(module),
    }
    files = {name: f"{comment}\n{text}".encode() for name, text in made.items() if text}
    return FrozenMap({**files, **writer.texts})


def _resources(writer: _Writer, module: JsonObject) -> str:
    found = []
    for type_, named in sorted(module.get("resource", {}).items()):
        blocks = writer.blocks_of(type_)
        if blocks is None:
            raise UnknownSchema(type_)
        for name, body in sorted(named.items()):
            found.append(_block(f'resource "{type_}" "{name}"', _body(writer, body, blocks, f"{type_}.{name}"), 0))
    return "\n".join(found)


def _providers(writer: _Writer, module: JsonObject) -> str:
    found = []
    for name, bodies in sorted(module.get("provider", {}).items()):
        blocks = writer.blocks_of(f"provider.{name}")
        if blocks is None:
            raise UnknownSchema(f"provider.{name}")
        for body in bodies if isinstance(bodies, list) else [bodies]:
            found.append(_block(f'provider "{name}"', _body(writer, body, blocks, f"provider.{name}"), 0))
    return "\n".join(found)


def _terraform(module: JsonObject) -> str:
    needs = module.get("terraform", {}).get("required_providers", {})
    rows = [(name, _value(need, 2)) for name, need in sorted(needs.items())]
    return _block("terraform", [("required_providers", None, [(name, text, None) for name, text in rows])], 0)


def _outputs(module: JsonObject) -> str:
    found = []
    for name, said in sorted(module.get("output", {}).items()):
        found.append(_block(f'output "{name}"', [(key, _value(value, 1), None) for key, value in sorted(said.items())], 0))
    return "\n".join(found)


Row = tuple[str, str | None, Any]
"""An attribute (name, expression, None), or a block (header, None, its rows)."""


def _body(writer: _Writer, body: JsonObject, blocks: Blocks, place: str, depth: int = 1) -> list[Row]:
    """Attributes first, then nested blocks, then what Terraform itself reads."""
    attributes: list[Row] = []
    nested: list[Row] = []
    for name, value in sorted(body.items()):
        if name in _META and depth == 1:
            continue
        if name in blocks and isinstance(value, list | dict):
            for item in value if isinstance(value, list) else [value]:
                nested.append((name, None, _body(writer, item, blocks[name], f"{place}.{name}", depth + 1)))
        else:
            attributes.append((name, _value(_apart(writer, value, f"{place}.{name}"), depth), None))
    if depth == 1:
        attributes += _references(body, "depends_on")
        lifecycle = body.get("lifecycle", {})
        rows = [*_references(lifecycle, "ignore_changes", depth=2)]
        rows += [(name, _value(value, 2), None) for name, value in sorted(lifecycle.items()) if name != "ignore_changes"]
        nested += [("lifecycle", None, rows)] if rows else []
    return [*attributes, *nested]


def _references(body: JsonObject, name: str, depth: int = 1) -> list[Row]:
    """A list of addresses, which JSON has to quote and the language must not."""
    listed = body.get(name) or []
    return [(name, _list([str(item) for item in listed], depth), None)] if listed else []


def _block(header: str, rows: list[Row], depth: int) -> str:
    """A block, laid out: neighbouring attributes of one line each have their `=` in one column."""
    margin = "  " * depth
    if not rows:
        return f"{margin}{header} {{}}\n" if depth == 0 else f"{margin}{header} {{\n{margin}}}\n"
    lines = [f"{margin}{header} {{"]
    attributes = [(name, text) for name, text, _ in rows if text is not None]
    lines += [f"{margin}  {line}" for line in _aligned(attributes)]
    for number, (name, text, inner) in enumerate(rows):
        if text is None:
            if number or attributes:
                lines.append("")
            lines.append(_block(name, inner, depth + 1).rstrip("\n"))
    return "\n".join([*lines, f"{margin}}}"]) + "\n"


def _aligned(rows: list[tuple[str, str]]) -> Iterator[str]:
    """`name = value`, the `=` of neighbours in one column. One whose value goes on in the next line stands for itself."""
    run: list[tuple[str, str]] = []
    for name, text in [*rows, ("", "\n")]:
        if "\n" not in text:
            run.append((name, text))
            continue
        width = max((len(each) for each, _ in run), default=0)
        yield from (f"{each:<{width}} = {value}" for each, value in run)
        run = []
        if name:
            yield f"{name} = {text}"


def _value(value: Any, depth: int) -> str:
    """An expression. `depth`: of the body its attribute stands in; the lines of a long one are indented for it."""
    match value:
        case _File():
            return value.expression
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return json.dumps(value)
        case str():
            return _text(value, depth)
        case list():
            return _list([_value(item, depth + 1) for item in value], depth)
        case dict():
            return _object({_key(name): _value(item, depth + 1) for name, item in sorted(value.items())}, depth)
        case _:
            raise TypeError(f"no value of Terraform's: {value!r}")


def _list(items: list[str], depth: int) -> str:
    line = f"[{', '.join(items)}]"
    if len(line) <= _WIDEST and "\n" not in line:
        return line
    margin = "  " * depth
    return "[\n" + "".join(f"{margin}  {item},\n" for item in items) + f"{margin}]"


def _object(items: Mapping[str, str], depth: int) -> str:
    if not items:
        return "{}"
    margin = "  " * depth
    lines = "".join(f"{margin}  {line}\n" for line in _aligned(list(items.items())))
    return "{\n" + lines + f"{margin}}}"


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else _quoted(name)


def _text(text: str, depth: int) -> str:
    """A template as an expression: `${x}` alone is x, and what is JSON as the language would write it is written so."""
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return whole.group(1)
    if text.startswith(("{", "[")) and "${" not in text and "%{" not in text:
        try:
            held = json.loads(text)
        except ValueError:
            return _quoted(text)
        if isinstance(held, dict | list) and _as_terraform_encodes(held) == text:
            return f"jsonencode({_value(held, depth)})"
    return _quoted(text)


def _as_terraform_encodes(held: object) -> str:
    """What `jsonencode` gives: keys sorted, no spaces, and three characters escaped."""
    text = json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _quoted(text: str) -> str:
    """In quotes. What is decided at apply stays as it is: inside `${}` quotes are not escaped."""
    parts = re.split(r"((?<!\$)\$\{[^{}]*\})", text)
    return '"' + "".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts)) + '"'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES[sign] if sign in _ESCAPES else f"\\u{ord(sign):04x}" if ord(sign) < ord(" ") or ord(sign) == 0x7F else sign
        for sign in text
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A value that stands in a file."""

    expression: str


def _apart(writer: _Writer, value: Any, place: str) -> Any:
    """The value with its long texts in files."""
    if isinstance(value, dict):
        return {name: _apart(writer, item, f"{place}.{name}") for name, item in value.items()}
    if not isinstance(value, str) or _template(value):
        return value
    plain = value.replace("$${", "${").replace("%%{", "%{")
    decoded = _decoded(plain)
    content, function = (plain.encode(), "file") if decoded is None else (decoded, "filebase64")
    # `file` takes text only; without a line of its own a text reads better where it is used.
    if b"\n" not in content.rstrip(b"\n"):
        return value
    name = f"{TEXTS}/{re.sub(r'[^A-Za-z0-9._-]', '-', place)}"
    writer.texts[name] = content
    return _File(f'{function}("${{path.module}}/{name}")')


def _template(text: str) -> bool:
    """Whether something in it is decided at apply."""
    left = text.replace("$${", "").replace("%%{", "")
    return "${" in left or "%{" in left


def _decoded(text: str) -> bytes | None:
    """What a text in base64 holds, if it is text of several lines."""
    if len(text) < 64 or not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text):
        return None
    try:
        held = base64.b64decode(text, validate=True)
        held.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return held if b"\n" in held and base64.b64encode(held).decode() == text else None
