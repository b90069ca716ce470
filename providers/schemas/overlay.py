"""Overlays: what a provider's own schema does not say, written by hand beside it as `<name>.overlay.yaml`.

Per type, or under `"*"` for every type that has the path:

    aws_instance:
      force_new: [ami, root_block_device.encrypted]    # a path of a block stands for all in it
      force_new_except: [tags]                         # or: everything that can be set, but these
      sensitive: [password_data]
      defaults: {source_dest_check: true}              # what the provider plans when it is not written
      enums: {tenancy: [default, dedicated, host]}
      min_items: {…}    max_items: {…}                 # of blocks
      computed_blocks: [metadata_options]
      rules:
        - exactly_one_of: [a, b]                       # also at_least_one_of, conflicts
        - requires: [a, b]                             # when a is set, so is b
        - when: {a: x}                                 # where a is x, b is set and c is true
          set: [b]
          equal: {c: true}
          within: a_block                              # any rule: about each block of this kind

Invariant: a path or word nobody knows is an error, so a provider's new version cannot leave a line behind unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...compiler.ir import FrozenMap
from .model import Rule, RuleKind

WORDS = frozenset(
    {
        "force_new",
        "force_new_except",
        "sensitive",
        "defaults",
        "enums",
        "min_items",
        "max_items",
        "computed_blocks",
        "rules",
    }
)
RULE_WORDS = frozenset({"when", "set", "equal", "within", "exactly_one_of", "at_least_one_of", "conflicts", "requires"})
EVERY_TYPE = "*"
SHARED_WORDS = frozenset({"force_new", "sensitive", "defaults"})
"""Words that may stand under `"*"`."""


class SchemaFileError(Exception):
    """A schema file or overlay of ours is wrong: a defect, not the user's mistake."""


def laid_over(name: str, body: dict[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The overlay's words for a type, checked, with those under `"*"` merged in. Attribute flags go into `body` itself."""
    own = overlay.get(name) or {}
    for word in own:
        if word not in WORDS:
            raise SchemaFileError(f"overlay of {name}: {word} is no word of an overlay")
    for words, strict in ((overlay.get(EVERY_TYPE) or {}, False), (own, True)):
        for path in words.get("force_new", ()):
            for attribute in _attributes_at(name, body, path, strict):
                attribute["force_new"] = True
        for path in words.get("sensitive", ()):
            for attribute in _attributes_at(name, body, path, strict):
                attribute["sensitive"] = True
        for path, value in words.get("defaults", {}).items():
            for attribute in _attributes_at(name, body, path, strict):
                attribute["default"] = value
        for word in ("min_items", "max_items"):
            for path, count in words.get(word, {}).items():
                _block_at(name, body, path)[word] = count
    if "force_new_except" in own:
        kept = set(own["force_new_except"])
        for path in kept:
            list(_attributes_at(name, body, path, True))
        for path, attribute in _settable(body, ""):
            attribute["force_new"] = not any(path == other or path.startswith(f"{other}.") for other in kept)
    for path in own.get("enums", {}):
        list(_attributes_at(name, body, path, True))
    for path in own.get("computed_blocks", ()):
        if "." in path:
            raise SchemaFileError(
                f"overlay of {name}: {path} is inside a block; only blocks of the resource itself are computed"
            )
        _block_at(name, body, path)
    return dict(own)


def check_shared(overlay: Mapping[str, Any], bodies: Mapping[str, dict[str, Any]]) -> None:
    """What stands under `"*"` uses words meant for it, and every path is that of some type. Raises SchemaFileError."""
    shared = overlay.get(EVERY_TYPE) or {}
    for word, paths in shared.items():
        if word not in SHARED_WORDS:
            raise SchemaFileError(f"overlay of every type: {word} is about one type")
        for path in paths:
            if not any(next(_attributes_at(name, body, path, False), None) for name, body in bodies.items()):
                raise SchemaFileError(f"overlay of every type: no type has {path}")


def rules_of(name: str, body: dict[str, Any], words: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a type. Raises SchemaFileError for a field that the body does not have."""
    rules = tuple(_rule(name, entry) for entry in words.get("rules", ()))
    for rule in rules:
        place = _block_at(name, body, rule.within)["block"] if rule.within else body
        for field in (*rule.names, *rule.when, *rule.equal):
            if "." in field:
                raise SchemaFileError(f"overlay of {name}: {field} is inside a block; say `within` and the name alone")
            _member_at(name, place, field)
    return rules


def _rule(name: str, entry: Mapping[str, Any]) -> Rule:
    if not entry.keys() <= RULE_WORDS:
        raise SchemaFileError(f"overlay of {name}: a rule with {', '.join(sorted(entry.keys() - RULE_WORDS))}")
    within = entry.get("within", "")
    if "when" in entry:
        return Rule(
            kind=RuleKind.WHEN,
            names=tuple(entry.get("set", ())),
            within=within,
            when=FrozenMap(entry["when"]),
            equal=FrozenMap(entry.get("equal", {})),
        )
    for kind in RuleKind:
        if kind.value in entry:
            return Rule(kind=kind, names=tuple(entry[kind.value]), within=within)
    raise SchemaFileError(f"overlay of {name}: a rule that demands nothing")


def _member_at(name: str, body: dict[str, Any], path: str) -> dict[str, Any]:
    """The attribute or nested block at a path."""
    first, _, rest = path.partition(".")
    if not rest and first in body.get("attributes", {}):
        found: dict[str, Any] = body["attributes"][first]
        return found
    block = body.get("block_types", {}).get(first)
    if block is None:
        raise SchemaFileError(f"overlay of {name}: there is no {path}")
    return block if not rest else _member_at(name, block["block"], rest)


def _block_at(name: str, body: dict[str, Any], path: str) -> dict[str, Any]:
    found = _member_at(name, body, path)
    if "block" not in found:
        raise SchemaFileError(f"overlay of {name}: {path} is no block")
    return found


def _attributes_at(name: str, body: dict[str, Any], path: str, strict: bool) -> Iterator[dict[str, Any]]:
    """The attribute at a path, or all settable ones of the block there. Not strict: nothing when there is neither."""
    try:
        found = _member_at(name, body, path)
    except SchemaFileError:
        if strict:
            raise
        return
    if "block" in found:
        yield from (attribute for _, attribute in _settable(found["block"], ""))
    else:
        yield found


def _settable(body: dict[str, Any], above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, attribute in body.get("attributes", {}).items():
        # The older SDK lets an id be given, and no provider takes it.
        if (attribute.get("required") or attribute.get("optional")) and f"{above}{name}" != "id":
            yield f"{above}{name}", attribute
    for name, block in body.get("block_types", {}).items():
        # How long to wait is not part of the resource.
        if name != "timeouts":
            yield from _settable(block["block"], f"{above}{name}.")
