"""Reading a Terraform provider's schema out of its prebuilt CDK wheel.

A wheel of the CDK's provider bindings holds a tarball of JavaScript, generated from the provider's own schema, one file per
resource type. This module reads back what the generator wrote: attribute types, required/optional/computed, which nested values
are blocks, how they nest, and whether more than one is allowed.

Contract: `read_archive` gives Terraform's own notation (that of `terraform providers schema -json`), or raises WheelFormatError
with the file and the construct it does not know; it never guesses. What the generated code does not say and an overlay must:
sensitive, ForceNew, defaults, enums, `max_items` above one, `min_items` above one, the schema's version.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

Body = dict[str, Any]
"""`{"attributes": …, "block_types": …}` as Terraform prints a schema's block."""

CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{$", re.M)
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{$", re.M)
MEMBER = re.compile(r"^ +// (\w+) ?- computed: (true|false), optional: (true|false), required: (true|false)$", re.M)
ENTRY = re.compile(
    r"^ +(\w+): \{\n +value: (.*),\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"(\w+)\",$", re.M
)
NESTED = re.compile(r"= new (\w+?)(OutputReference|List|MapList|Map)\(this, \"\w+\"(?:, (true|false))?\);")
STRUCT = re.compile(r"(?<!cdktn\.)\b(\w+)ToHclTerraform\b")
GETTER = re.compile(r"this\.get(\w+)Attribute\('\w+'\)")
MAP_MEMBER = re.compile(r"= new cdktn\.(String|Number|Boolean)Map\(this")

SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
GETTERS: dict[str, Any] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
}


class WheelFormatError(Exception):
    """The wheel's code has a construct this reader does not know, so its schema cannot be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One attribute or block as its class declares it. `code` is what follows the declaration."""

    computed: bool
    optional: bool
    required: bool
    code: str

    @property
    def flags(self) -> dict[str, bool]:
        named = {"required": self.required, "optional": self.optional, "computed": self.computed}
        return {name: True for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How one settable member is written out: `form` is simple, list, set, map or struct."""

    value: str
    complex: bool
    form: str
    storage: str


def read_archive(archive: Path, types: Iterable[str], *, prefix: str) -> tuple[str, Body, dict[str, Body]]:
    """Provider version, the provider's own body, and the body of each type. `prefix` is `aws` for `aws_vpc`.

    Raises WheelFormatError, also when the wheel lacks one of the types.
    """
    folders = {name.removeprefix(f"{prefix}_").replace("_", "-"): name for name in types}
    texts: dict[str, str] = {}
    version = ""
    with tarfile.open(archive) as files:
        # Read once from front to back: a gzip'd tarball has no directory to seek in.
        for member in files:
            parts = member.name.split("/")
            wanted = parts[-1] == "index.js" and len(parts) == 4 and (parts[2] in folders or parts[2] == "provider")
            if not wanted and member.name != "package/package.json":
                continue
            content = files.extractfile(member)
            text = content.read().decode() if content is not None else ""
            if parts[-1] == "package.json":
                version = str(json.loads(text)["cdktf"]["provider"]["version"])
            else:
                texts[parts[2]] = text
    missing = sorted(folders[folder] for folder in folders.keys() - texts.keys())
    if missing or "provider" not in texts or not version:
        raise WheelFormatError(f"{archive.name} lacks {', '.join(missing) or 'the provider itself'}")
    provider = _Source(texts.pop("provider"), prefix).root("TerraformProvider")
    bodies = {folders[folder]: _Source(text, folders[folder]).root("TerraformResource") for folder, text in texts.items()}
    return version, provider, dict(sorted(bodies.items()))


class _Source:
    """One generated file, cut into its classes and its functions."""

    def __init__(self, text: str, name: str) -> None:
        # The source map after it is several times the code.
        text = text.partition("\n//# sourceMappingURL=")[0]
        self._name = name
        self._kinds = {match[1]: match[2] for match in CLASS.finditer(text)}
        self._classes = dict(_sections(text, CLASS))
        self._functions = dict(_sections(text, FUNCTION))

    def root(self, kind: str) -> Body:
        """The body of the one class of this kind."""
        (name,) = (name for name, base in self._kinds.items() if base == kind)
        code = self._classes[name]
        return self._body(_members(code), _entries(code.partition("synthesizeHclAttributes()")[2]))

    def _struct(self, name: str) -> Body:
        """The body of a nested value called `name`."""
        function = self._functions.get(name[:1].lower() + name[1:], "")
        entries = _entries(function)
        code = self._classes.get(f"{name}OutputReference")
        if code is not None:
            return self._body(_members(code), entries)
        if not entries:
            raise WheelFormatError(f"{self._name}: nothing says what {name} holds")
        # The provider's own nested values are never read back, so they have no class, and with it no flags.
        unread = Member(computed=False, optional=True, required=False, code="")
        return self._body(dict.fromkeys(entries, unread), entries)

    def _body(self, members: dict[str, Member], entries: dict[str, Entry]) -> Body:
        body: Body = {"attributes": {}, "block_types": {}}
        for name, member in members.items():
            entry = entries.get(name)
            if entry is None and not member.flags.keys() <= {"computed"}:
                raise WheelFormatError(f"{self._name}: {name} can be set, and nothing says how")
            if entry is not None and entry.complex and self._is_block(entry):
                body["block_types"][name] = self._block(entry, member)
            else:
                body["attributes"][name] = {"type": self._type(name, member, entry), **member.flags}
        return {key: dict(sorted(value.items())) for key, value in body.items() if value}

    @staticmethod
    def _is_block(entry: Entry) -> bool:
        """A list of objects that is an attribute is written by a mapper told `false`; single nested values are blocks."""
        return not re.search(r"listMapperHcl\(\w+, false\)", entry.value)

    def _block(self, entry: Entry, member: Member) -> Body:
        found = STRUCT.search(entry.value)
        if found is None or entry.form not in ("list", "set", "struct"):
            raise WheelFormatError(f"{self._name}: a block written as {entry.value} ({entry.form})")
        block: Body = {"nesting_mode": "single" if entry.form == "struct" else entry.form}
        if entry.form != "struct":
            if member.required:
                block["min_items"] = 1
            if "listMapperHcl" not in entry.value:
                block["max_items"] = 1
        block["block"] = self._struct(found[1][:1].upper() + found[1][1:])
        return block

    def _type(self, name: str, member: Member, entry: Entry | None) -> Any:
        nested = NESTED.search(member.code)
        if nested is not None:
            element = ["object", _object_types(self._struct(nested[1]))]
            match nested[2]:
                case "List":
                    return ["set" if nested[3] == "true" else "list", element]
                case "OutputReference":
                    return element if entry is None or entry.form == "struct" else [entry.form, element]
        mapped = MAP_MEMBER.search(member.code)
        if mapped is not None:
            return ["map", SIMPLE[mapped[1].lower()]]
        getter = GETTER.search(member.code)
        if getter is not None and getter[1] in GETTERS:
            found = GETTERS[getter[1]]
            return ["set", found[1]] if "Fn.tolist" in member.code else found
        written = self._written_type(entry) if entry is not None else None
        if written is None:
            raise WheelFormatError(f"{self._name}: the type of {name} is written in a way that is not known")
        return written

    def _written_type(self, entry: Entry) -> Any:
        """The type by how a value is written out, for members that cannot be read back."""
        if entry.form == "simple":
            return SIMPLE.get(entry.storage)
        if entry.complex:
            found = STRUCT.search(entry.value)
            element = ["object", _object_types(self._struct(found[1][:1].upper() + found[1][1:]))] if found else None
            return [entry.form, element] if element else None
        inner = re.fullmatch(r"(string|number|boolean)(List|Map)", entry.storage)
        return [entry.form, SIMPLE[inner[1]]] if inner else None


def _object_types(body: Body) -> dict[str, Any]:
    """The attribute types of a body as an object type holds them."""
    types = {name: attribute["type"] for name, attribute in body.get("attributes", {}).items()}
    for name, nested in body.get("block_types", {}).items():
        types[name] = [nested["nesting_mode"], ["object", _object_types(nested["block"])]]
    return dict(sorted(types.items()))


def _sections(text: str, header: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """What a header opens, up to the brace that closes it at the beginning of a line."""
    for match in header.finditer(text):
        end = text.find("\n}\n", match.end())
        yield match[1], text[match.end() : end if end >= 0 else len(text)]


def _members(code: str) -> dict[str, Member]:
    found = list(MEMBER.finditer(code))
    members: dict[str, Member] = {}
    for match, following in zip_longest(found, found[1:]):
        end = following.start() if following is not None else len(code)
        name, computed, optional, required = match.groups()
        body = code[match.end() : end].partition("// =========\n")[0]
        members[name] = Member(computed=computed == "true", optional=optional == "true", required=required == "true", code=body)
    return members


def _entries(code: str) -> dict[str, Entry]:
    return {
        name: Entry(value=value, complex=block == "true", form=form, storage=storage)
        for name, value, block, form, storage in ENTRY.findall(code)
    }
