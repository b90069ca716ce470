"""Terraform's plan as a ChangeSet: what a reviewer sees and `apply` checks. Made only from `show -json`, whose order is stable.

Invariants
- Pure: same plan, same graph, same ChangeSet. Everything is sorted by address and path.
- A value Terraform marks sensitive, or that holds one of `secrets`, is SECRET: its text is in no field, on no side.
- Only what differs is listed; an attribute that is not known before the apply is UNKNOWN, with its old value.
- Fields that OpenTofu leaves out (`complete`) are worked out; fields not known here are ignored; another major `format_version`
  or an action not known here is refused, because leaving it out could hide a destroy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from .diagnostics import SkycError, error
from .ir import Action, AttributeChange, ChangeSet, JsonObject, ResourceChange, ResourceGraph, SiteId, SpecPath, ValueKind
from .scrub import Scrubber

FORMAT_MAJOR = "1"

_ACTIONS: dict[tuple[str, ...], tuple[Action, ...]] = {
    ("no-op",): (Action.NO_OP,),
    ("create",): (Action.CREATE,),
    ("read",): (Action.READ,),
    ("update",): (Action.UPDATE,),
    ("delete",): (Action.DELETE,),
    ("delete", "create"): (Action.REPLACE,),
    ("create", "delete"): (Action.CREATE_BEFORE_DESTROY,),
    ("forget",): (Action.FORGET,),
    # A replacement that leaves the old one standing, unrecorded. It is two things to a reviewer.
    ("create", "forget"): (Action.CREATE, Action.FORGET),
    ("forget", "create"): (Action.CREATE, Action.FORGET),
}

Steps = tuple[str | int, ...]
"""Keys and positions on the way to a value."""


class EngineFacts(Protocol):
    """Which Terraform made the plan."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


class _Absent:
    """Not there, which is not the same as null."""


_ABSENT = _Absent()


def change_set(
    plan: JsonObject,
    *,
    site: SiteId,
    graph: ResourceGraph | None,
    engine: EngineFacts,
    secrets: Sequence[str] = (),
    refresh_only: bool = False,
) -> ChangeSet:
    """The changes a plan makes at a site. `graph` None: nothing is wanted there any more, so nothing has an origin.

    `refresh_only`: the plan was made to show drift, so all of it matters. Raises SkycError for a plan this version cannot read.
    """
    version = str(plan.get("format_version", ""))
    if version.partition(".")[0] != FORMAT_MAJOR:
        raise _unreadable(f"its format is {version or 'not told'}, and this version of skyc reads {FORMAT_MAJOR}.x")
    scrubber = Scrubber(secrets)
    origins = {str(node.address): node.origin for node in graph.resources} if graph is not None else {}
    changes = [
        change for entry in plan.get("resource_changes") or () for change in _changes(entry, origins=origins, scrubber=scrubber)
    ]
    relevant = None if refresh_only else _relevant(plan, changes)
    drift = [
        kept
        for entry in plan.get("resource_drift") or ()
        for change in _changes(entry, origins=origins, scrubber=scrubber)
        if (kept := _kept(change, str(entry["address"]), relevant)) is not None
    ]
    errored = bool(plan.get("errored", False))
    return ChangeSet(
        site=site,
        engine=engine.name,
        engine_version=engine.version,
        changes=tuple(sorted(changes, key=_order)),
        drift=tuple(sorted(drift, key=_order)),
        outputs=tuple(sorted(scrubber.scrub(name) for name, actions in _outputs(plan) if actions != ["no-op"])),
        errored=errored,
        complete=bool(plan.get("complete", not errored and not plan.get("deferred_changes"))),
    )


def _order(change: ResourceChange) -> tuple[str, str, str]:
    return (change.address, change.action.value, change.reason or "")


def _outputs(plan: JsonObject) -> Iterator[tuple[str, list[str]]]:
    for name, change in (plan.get("output_changes") or {}).items():
        yield name, list(change.get("actions") or ())


def _changes(entry: JsonObject, *, origins: Mapping[str, SpecPath], scrubber: Scrubber) -> Iterator[ResourceChange]:
    """An entry of the plan as one change; as two where the old object is replaced and left standing."""
    address, change = str(entry["address"]), entry["change"]
    actions = tuple(change["actions"])
    if actions not in _ACTIONS:
        raise _unreadable(f"it has an action this version of skyc does not know: {', '.join(map(str, actions))}")
    previous = entry.get("previous_address")
    importing = change.get("importing")
    reason = entry.get("action_reason")
    if reason is None and entry.get("deposed"):
        reason = "deposed"
    origin = origins.get(address) or origins.get(_bare(address))
    for action in _ACTIONS[actions]:
        yield ResourceChange(
            address=scrubber.scrub(address),
            type=str(entry["type"]),
            action=action,
            reason=reason,
            attributes=() if action in (Action.NO_OP, Action.FORGET) else tuple(_attributes(change, scrubber)),
            origin=origin,
            previous_address=scrubber.scrub(previous) if previous else None,
            importing=scrubber.scrub(str(importing.get("id", "(by identity)"))) if isinstance(importing, dict) else None,
        )


def _bare(address: str) -> str:
    """The address of the block an instance comes from."""
    return re.sub(r"\[.*\]$", "", address)


def _attributes(change: JsonObject, scrubber: Scrubber) -> list[AttributeChange]:
    forced = [tuple(path) for path in change.get("replace_paths") or ()]
    walk = _Walk(forced, scrubber)
    walk.compare(
        (),
        _side(change.get("before")),
        _side(change.get("after")),
        change.get("after_unknown"),
        (change.get("before_sensitive"), change.get("after_sensitive")),
    )
    return sorted(walk.found, key=lambda attribute: attribute.path)


def _side(value: Any) -> Any:
    """A resource that is not there has no attributes, which is not the same as one null value."""
    return _ABSENT if value is None else value


class _Walk:
    """Compares two values with their marks, down to what a reader would call one attribute."""

    def __init__(self, forced: list[Steps], scrubber: Scrubber) -> None:
        self._forced, self._scrubber = forced, scrubber
        self.found: list[AttributeChange] = []

    def compare(self, path: Steps, before: Any, after: Any, unknown: Any, sensitive: tuple[Any, Any]) -> None:
        if not _any_true(unknown) and _same(before, after):
            return
        secret = any(mark is True for mark in sensitive)
        steps = None if secret or unknown is True else _steps(before, after, unknown, sensitive)
        if steps is None:
            self._add(path, before, after, _any_true(unknown), any(map(_any_true, sensitive)))
            return
        known = len(self.found)
        for step in steps:
            self.compare(
                (*path, step),
                _at(before, step),
                _at(after, step),
                _mark(unknown, step),
                (_mark(sensitive[0], step), _mark(sensitive[1], step)),
            )
        if len(self.found) == known and (type(before) is not type(after) or _length(before) != _length(after)):
            # What differs is only that there is something, with nothing set in it.
            self._add(path, before, after, False, any(map(_any_true, sensitive)))

    def _add(self, path: Steps, before: Any, after: Any, unknown: bool, secret: bool) -> None:
        """Record one difference. A mark anywhere inside a value that is compared whole holds for all of it."""
        old, new = _text(before), None if unknown else _text(after)
        if old is None and new is None and not unknown:
            return
        secret = secret or any(text is not None and self._scrubber.finds(text) for text in (old, new))
        kind = ValueKind.SECRET if secret else ValueKind.UNKNOWN if unknown else ValueKind.KNOWN
        self.found.append(
            AttributeChange(
                path=self._scrubber.scrub(_dotted(path)),
                before=None if secret else old,
                after=None if secret else new,
                kind=kind,
                forces_replacement=any(_touch(path, forced) for forced in self._forced),
            )
        )


def _same(before: Any, after: Any) -> bool:
    """Equality of JSON values: Python's own takes 1 for true."""
    return _canonical(before) == _canonical(after) if type(before) is type(after) else before is after


def _any_true(mark: Any) -> bool:
    if isinstance(mark, dict):
        return any(map(_any_true, mark.values()))
    if isinstance(mark, list):
        return any(map(_any_true, mark))
    return mark is True


def _steps(before: Any, after: Any, unknown: Any, sensitive: tuple[Any, Any]) -> list[str | int] | None:
    """The keys or positions to go down into; None where the value is compared whole.

    A list of plain values is one attribute: `["80"] → ["80", "443"]` says more than what happened to position 1.
    """
    sides = [side for side in (before, after) if side is not _ABSENT and side is not None]
    marks = [mark for mark in (unknown, *sensitive) if isinstance(mark, (dict, list))]
    if sides and all(isinstance(side, dict) for side in sides):
        keys = {key for item in (*sides, *marks) if isinstance(item, dict) for key in item}
        return sorted(keys) if keys else None
    if sides and all(isinstance(side, list) for side in sides):
        nested = any(isinstance(item, (dict, list)) for side in sides for item in side) or any(map(_any_true, marks))
        length = max([len(side) for side in sides] + [len(mark) for mark in marks if isinstance(mark, list)])
        return list(range(length)) if nested and length else None
    return None


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _at(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(step), _ABSENT)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return _ABSENT


def _mark(mark: Any, step: str | int) -> Any:
    found = _at(mark, step) if isinstance(mark, (dict, list)) else mark
    return None if found is _ABSENT else found


def _canonical(value: Any) -> str:
    if value is _ABSENT:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _text(value: Any) -> str | None:
    """Canonical JSON text; None for what is not set."""
    return None if value is _ABSENT or value is None else _canonical(value)


_PLAIN = re.compile(r"[\w-]+")


def _dotted(path: Steps) -> str:
    text = ""
    for step in path:
        plain = isinstance(step, int) or _PLAIN.fullmatch(step)
        text += f"{'.' if text else ''}{step}" if plain else f"[{json.dumps(step, ensure_ascii=False)}]"
    return text or "(all)"


def _touch(path: Steps, other: Steps) -> bool:
    """Whether one of two paths lies on the way to the other."""
    length = min(len(path), len(other))
    return path[:length] == other[:length]


def _relevant(plan: JsonObject, changes: Iterable[ResourceChange]) -> dict[str, list[str]]:
    """Resource address → dotted paths the plan's changes depend on, or change themselves.

    Every engine skyc drives tells the first, and has no such field where there are none: then what differs outside leads to nothing, such
    as what a cloud adds to a resource after it was made.
    """
    found: dict[str, list[str]] = {}
    for change in changes:
        if change.action is Action.UPDATE:
            found.setdefault(change.address, []).extend(attribute.path for attribute in change.attributes)
        elif change.action in (Action.DELETE, Action.REPLACE, Action.CREATE_BEFORE_DESTROY):
            found.setdefault(change.address, []).append(_dotted(()))
    for item in plan.get("relevant_attributes") or ():
        found.setdefault(str(item["resource"]), []).append(_dotted(tuple(item.get("attribute") or ())))
    return found


def _kept(change: ResourceChange, address: str, relevant: dict[str, list[str]] | None) -> ResourceChange | None:
    """The part of a drift that matters: all of it where something is gone, else what the plan's changes are about."""
    if change.action is Action.DELETE or relevant is None:
        return change
    wanted = [path for name in {address, _bare(address)} for path in relevant.get(name, ())]
    kept = tuple(attribute for attribute in change.attributes if any(_near(attribute.path, path) for path in wanted))
    return replace(change, attributes=kept) if kept else None


def _near(path: str, wanted: str) -> bool:
    return wanted == "(all)" or path == wanted or path.startswith((f"{wanted}.", f"{wanted}[")) or wanted.startswith(f"{path}.")


def _unreadable(why: str) -> SkycError:
    return SkycError(
        error(
            "plan-not-readable",
            "Terraform's plan cannot be read by this version of skyc",
            f"The plan was not used: {why}.",
            hint="use a newer skyc, or an older Terraform",
        )
    )
