"""What Terraform, the tags and the nodes say, as rows with a class.

Contract: pure, and total: whatever changed is one row or part of one, and what no table knows is `unclassified`, never left out. The same
input gives the same rows in the same order. Of a value that is marked sensitive only is said that it changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from ..ir import (
    Action,
    AttributeChange,
    DriftClass,
    DriftKind,
    DriftRow,
    DriftTable,
    JsonObject,
    RateKind,
    ResourceChange,
    SiteId,
    SpecPath,
    TypeDrift,
    ValueKind,
)
from ..ir.drift import EXTRA, WHOLE
from .filled import given, unexplained, without

GRAVITY = (DriftClass.SECURITY, DriftClass.UNCLASSIFIED, DriftClass.BROKEN, DriftClass.COST, DriftClass.BENIGN)
STANDARD = {
    DriftClass.SECURITY: "it is about who can reach, read or do something",
    DriftClass.UNCLASSIFIED: "nobody has said what this means, so it is treated as security is",
    DriftClass.BROKEN: "nodes may not work or find each other",
    DriftClass.COST: "what is paid changes with it",
    DriftClass.BENIGN: "nothing depends on it",
}
OWN_WORD = "skyc wrote this, and costs are told apart by it"
EMPTY = (None, '""', "[]", "{}")
STATE_HAS_IT = "nothing is to be taken over: the state has it already, and the next apply undoes it"
_NOBODY = TypeDrift(
    name="",
    gone=DriftClass.UNCLASSIFIED,
    extra=DriftClass.UNCLASSIFIED,
    classes=DriftTable().types,  # type: ignore[arg-type]
)
Prices = Callable[[RateKind, str | None, str | None, Any], Decimal | None]
"""(what of, before, after, the resource's attributes before) → US dollars more by the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedResource:
    """A resource of the module applied last: its arguments as Terraform reads them, and where in the user's file it is from."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    origin: SpecPath | None = None
    place: str = ""


def order(row: DriftRow) -> tuple[int, str, str, str]:
    return (GRAVITY.index(row.drift), row.site, row.address, row.path)


def resource_rows(
    site: SiteId,
    drift: Iterable[ResourceChange],
    raw: Mapping[str, JsonObject],
    table: DriftTable,
    applied: Mapping[str, AppliedResource],
    prices: Prices,
    others: Mapping[str, Sequence[JsonObject]] | None = None,
) -> tuple[DriftRow, ...]:
    """Rows of what Terraform found at a site. drift: from `change_set` of a refresh-only plan; raw: address → its `change` in it; others:
    type → the attributes of every resource of that type, as they are now."""
    found: list[DriftRow] = []
    drift = tuple(drift)
    former: dict[str, list[JsonObject]] = {}
    for change in drift:
        if isinstance(before := raw.get(change.address, {}).get("before"), dict):
            former.setdefault(change.type, []).append(before)
    for change in drift:
        one = _Resource(
            site=site,
            change=change,
            raw=raw.get(change.address, {}),
            says=table.types.get(change.type, _NOBODY),
            applied=applied.get(re.sub(r"\[.*\]$", "", change.address), AppliedResource()),
            prices=prices,
            others=others or {},
            former=former,
        )
        found += one.rows()
    return tuple(sorted(found, key=order))


def undone_rows(
    site: SiteId,
    changes: Iterable[ResourceChange],
    told: Iterable[DriftRow],
    table: DriftTable,
    applied: Mapping[str, AppliedResource],
    prices: Prices,
) -> tuple[DriftRow, ...]:
    """What a plan of the code that was applied would still do, beside what drifted: of an apply or a repair that did not end, whose state
    says what is there and no longer that it is wrong. told: the rows of what drifted."""
    known = {(row.address, plain(row.path).partition(".")[0]) for row in told} | {
        (row.address, "") for row in told if row.kind in (DriftKind.GONE, DriftKind.UNDONE) and not row.path
    }
    found: list[DriftRow] = []
    for change in changes:
        match change.action:
            case Action.NO_OP | Action.READ | Action.FORGET:
                continue
            case Action.DELETE:
                row = extra_row(site, change.type, change.address.partition(".")[2], "", table, storage=False)
                if (change.address, "") not in known:
                    why = "what was approved does not have it, and it was not removed"
                    found.append(replace(row, why=why, after=None))
                continue
            case Action.CREATE:
                turned = [replace(change, action=Action.DELETE)]
            case _:
                turned = [_turned(change)]
        rows = resource_rows(site, turned, {}, table, applied, prices)
        found += [
            row
            for row in rows
            if (row.address, plain(row.path).partition(".")[0]) not in known and (row.address, "") not in known
        ]
    return tuple(sorted((replace(row, kind=DriftKind.UNDONE, adopt=STATE_HAS_IT) for row in found), key=order))


def _turned(change: ResourceChange) -> ResourceChange:
    """From what the code says to what is there. What only an apply would tell says nothing about what is."""
    attributes = tuple(
        replace(attribute, before=attribute.after, after=attribute.before)
        for attribute in change.attributes
        if attribute.kind is not ValueKind.UNKNOWN
    )
    return replace(change, action=Action.UPDATE, attributes=attributes)


def extra_row(site: SiteId, type_: str, name: str, id_: str, table: DriftTable, *, storage: bool) -> DriftRow:
    """Something that carries the deployment's tag and is in none of its states."""
    says = table.types.get(type_, _NOBODY)
    repair = "left alone: a bucket that holds data is nobody's to remove by itself" if storage else "is removed"
    return DriftRow(
        site=site,
        address=f"{type_}.{name}",
        type=type_,
        kind=DriftKind.EXTRA,
        drift=says.extra,
        why=says.why.get(EXTRA) or "it carries the deployment's tag, and no state knows it",
        after=json.dumps(id_, ensure_ascii=False),
        repair=repair,
        adopt="not taken over: skyc makes what it has; take the tag away to keep it",
    )


def node_row(
    site: SiteId, address: str, node: str, health: str, *, origin: SpecPath | None, place: str, meant: bool
) -> DriftRow:
    """A node that does not work on a machine that is there. meant: its machine was stopped by skyc."""
    why, repair = f"node {node} does no work", "the machine is made anew"
    if health.startswith("stopped"):
        why, repair = (f"`skyc stop` stopped it: {node}", "is started") if meant else (why, "is started")
    elif health.startswith("unreachable"):
        why, repair = f"nothing is known of node {node}", "left alone: a job may go on there"
    return DriftRow(
        site=site,
        address=address,
        type=address.partition(".")[0],
        kind=DriftKind.NODE,
        drift=DriftClass.BENIGN if meant else DriftClass.BROKEN,
        why=why,
        before="healthy",
        after=health,
        repair=repair,
        adopt="there is nothing to take over",
        origin=origin,
        place=place,
    )


def suppressed(rows: Iterable[DriftRow]) -> tuple[DriftRow, ...]:
    """Without what is said twice: of a machine that is gone its node needs no row of its own, nor of one whose attributes say that it
    stands still."""
    found = sorted(rows, key=order)
    told = {
        (row.site, row.address)
        for row in found
        if row.kind is DriftKind.GONE or (row.kind is DriftKind.CHANGED and row.repair in _NODE_WORDS)
    }
    return tuple(row for row in found if row.kind is not DriftKind.NODE or (row.site, row.address) not in told)


_NODE_WORDS = frozenset({"starts the machine", "makes the node anew"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """One resource that drifted."""

    site: SiteId
    change: ResourceChange
    raw: JsonObject
    says: TypeDrift
    applied: AppliedResource
    prices: Prices
    others: Mapping[str, Sequence[JsonObject]]
    former: Mapping[str, Sequence[JsonObject]]
    """Of those that drifted: their attributes before."""

    def rows(self) -> list[DriftRow]:
        if self.change.action is not Action.UPDATE:
            return [self._gone()]
        lists = dict(self._lists())
        kept = [item for item in lists.values() if item is not None]
        told = lists.keys() | given(self._side("before"), self._side("after"), self.says.filled, self.others)
        kept += [
            attribute
            for attribute in self.change.attributes
            if attribute.path.partition(".")[0] not in told and not self._says_nothing(attribute)
        ]
        paths = {plain(attribute.path) for attribute in kept}
        return [self._changed(attribute) for attribute in kept if not self._repeats(plain(attribute.path), paths)]

    def _says_nothing(self, attribute: AttributeChange) -> bool:
        """Nothing in another spelling, or what the cloud says once something of ours uses the resource."""
        if attribute.kind is not ValueKind.KNOWN or attribute.before not in EMPTY:
            return False
        nothing = attribute.after in EMPTY or (attribute.before is None and attribute.after == "false")
        return nothing or attribute.path.partition(".")[0] in self.says.settles

    def _gone(self) -> DriftRow:
        return self._row(
            DriftKind.GONE,
            self.says.gone,
            self.says.why.get(WHOLE) or STANDARD[self.says.gone],
            repair="is made anew",
            adopt="the state forgets it, and the next apply makes it anew",
        )

    def _row(self, kind: DriftKind, drift: DriftClass, why: str, *, repair: str, adopt: str) -> DriftRow:
        return DriftRow(
            site=self.site,
            address=self.change.address,
            type=self.change.type,
            kind=kind,
            drift=drift,
            why=why,
            repair=repair,
            adopt=adopt,
            origin=self.applied.origin,
            place=self.applied.place,
        )

    def _changed(self, attribute: AttributeChange) -> DriftRow:
        path = plain(attribute.path)
        drift, why = self._class(path)
        if drift is DriftClass.BENIGN and self._loses_own(path, attribute):
            drift, why = DriftClass.COST, OWN_WORD
        field_line = self._field(path, attribute)
        kind = next((kind for name, kind in self.says.rates.items() if name == path), None)
        hourly = self.prices(kind, attribute.before, attribute.after, self._side("before")) if kind is not None else None
        row = self._row(
            DriftKind.CHANGED, drift, why, repair=self._repair(path), adopt=self._adopt(path, field_line, self.applied.place)
        )
        return replace(
            row,
            path=attribute.path,
            before=attribute.before,
            after=attribute.after,
            value=attribute.kind,
            field=field_line,
            hourly=hourly,
        )

    # Classes

    def _class(self, path: str) -> tuple[DriftClass, str]:
        path = self._mirrored(path)
        drift, key = classified(self.says, path)
        if drift is DriftClass.BENIGN and _written(self.applied.arguments, path, deep=True):
            return DriftClass.COST, OWN_WORD
        why = next((self.says.why[name] for name in _above(path) if name in self.says.why), None) if key else None
        # A sentence for a block says nothing about a line below it that has a class of its own.
        if why is None or (key and not any(name in self.says.why for name in _above(path) if name.startswith(key))):
            why = STANDARD[drift]
        return drift, why

    def _loses_own(self, path: str, attribute: AttributeChange) -> bool:
        """Whether something of a list that the module wrote is not in it any more, such as a tag where tags are a list."""
        own = self.applied.arguments.get(path)
        after = json.loads(attribute.after) if attribute.after is not None and attribute.kind is ValueKind.KNOWN else []
        return isinstance(own, list) and isinstance(after, list) and any(item not in after for item in own)

    def _mirrored(self, path: str) -> str:
        for name, other in self.says.mirrors.items():
            if path == name or path.startswith(f"{name}."):
                return other + path[len(name) :]
        return path

    def _repeats(self, path: str, paths: set[str]) -> bool:
        """Whether a row says the same of the attribute this one repeats."""
        other = self._mirrored(path)
        return other != path and any(name == other or other.startswith(f"{name}.") for name in paths)

    # Sentences

    def _repair(self, path: str) -> str:
        top = path.partition(".")[0]
        for name, words in self.says.repairs.items():
            if path == name or path.startswith(f"{name}."):
                return words
        if top in self.says.facts:
            return "cannot be set back: only the cloud says it; the state takes it over"
        if top in self.applied.arguments or top not in self.says.chosen:
            return "is set back"
        return "is set back, named for this once: the code leaves it to the cloud"

    def _adopt(self, path: str, field_line: str, place: str) -> str:
        top = path.partition(".")[0]
        if field_line:
            where = f" ({place})" if place else ""
            return f"the state takes it over; the next apply sets it back unless the task says `{field_line}`{where}"
        if top in self.applied.arguments:
            return "the state takes it over, and the next apply sets it back: no line of a task file says it"
        return "the state takes it over, and it stays"

    def _field(self, path: str, attribute: AttributeChange) -> str:
        if self.applied.origin is None or attribute.kind is not ValueKind.KNOWN or attribute.after is None:
            return ""
        for name, field_name in self.says.fields.items():
            if path == name:
                return f"{_written_path(self.applied.origin.child(field_name))}: {_yaml(attribute.after)}"
            if path.startswith(f"{name}.") and not path[len(name) + 1 :].startswith("skyc"):
                place = self.applied.origin.child(field_name).child(path[len(name) + 1 :])
                return f"{_written_path(place)}: {_yaml(attribute.after)}"
        return ""

    # Lists

    def _side(self, name: str) -> JsonObject:
        value = self.raw.get(name)
        return value if isinstance(value, dict) else {}

    def _lists(self) -> Iterator[tuple[str, AttributeChange | None]]:
        """By name, lists of objects to which some were added, or of which some went, as one change: the elements that differ. Position by
        position it would be many lines that say nothing, since sets have no order. None: all of it is explained by other resources."""
        before, after = self._side("before"), self._side("after")
        for name in sorted({attribute.path.partition(".")[0] for attribute in self.change.attributes}):
            old, new = before.get(name) or [], after.get(name) or []
            filler = self.says.filled.get(name)
            if not _of_objects(old, new):
                continue
            if not old and name in self.says.settles:
                yield name, None
                continue
            if filler is None and max(len(old), len(new)) < 2 and len(old) == len(new):
                continue
            if _marked(self.raw.get("before_sensitive"), name) or _marked(self.raw.get("after_sensitive"), name):
                yield name, AttributeChange(path=name, before=None, after=None, kind=ValueKind.SECRET)
                continue
            gone, come = without(old, new), without(new, old)
            if filler is not None:
                now = self.others.get(filler, ())
                come = unexplained(come, after, now)
                gone = unexplained(gone, before, [*now, *self.former.get(filler, ())])
            kept = AttributeChange(path=name, before=_shown(gone), after=_shown(come), kind=ValueKind.KNOWN)
            yield name, kept if gone or come else None


def classified(says: TypeDrift, path: str) -> tuple[DriftClass, str]:
    """The class of a path and the line that says so. Of a block without a line of its own it is the gravest of what is in it."""
    for name in _above(path):
        if name in says.classes:
            return says.classes[name], name
    below = [drift for name, drift in says.classes.items() if name.startswith(f"{path}.")]
    if below:
        return min(below, key=GRAVITY.index), path
    return says.rest or DriftClass.UNCLASSIFIED, path if says.rest else ""


def plain(path: str) -> str:
    """A path without positions in lists: `ingress.0.from_port` → `ingress.from_port`, `tags["a b"]` → `tags.a b`."""
    text = re.sub(r'\["((?:[^"\\]|\\.)*)"\]', lambda found: f".{found[1]}", path)
    return ".".join(step for step in text.split(".") if not step.isdigit())


def _above(path: str) -> Iterator[str]:
    """The path, then what it is in, the nearest first."""
    steps = path.split(".")
    yield from (".".join(steps[:length]) for length in range(len(steps), 0, -1))


def _written(arguments: Mapping[str, Any], path: str, *, deep: bool = False) -> bool:
    """Whether the module says this value: with `deep` down to the last name."""
    value: Any = arguments
    first, _, rest = path.partition(".")
    value = arguments.get(first)
    if not deep or not rest:
        return value is not None and not deep
    return isinstance(value, Mapping) and rest in value


def _of_objects(*sides: Any) -> bool:
    return all(isinstance(side, list) and all(isinstance(row, dict) for row in side) for side in sides) and any(sides)


def _marked(marks: Any, name: str) -> bool:
    def any_true(mark: Any) -> bool:
        if isinstance(mark, dict):
            return any(map(any_true, mark.values()))
        if isinstance(mark, list):
            return any(map(any_true, mark))
        return mark is True

    return marks is True or (isinstance(marks, dict) and any_true(marks.get(name)))


def _shown(rows: list[JsonObject]) -> str | None:
    """The elements with what is set in them: a rule has ten fields, of which three say something."""
    said = [{name: value for name, value in row.items() if value not in (None, "", [], False, {})} for row in rows]
    return json.dumps(said, sort_keys=True, separators=(", ", ": "), ensure_ascii=False) if said else None


def _written_path(path: SpecPath) -> str:
    """As somebody writes it in a file of one task, which is the first."""
    return str(SpecPath(path.steps[2:]) if path.steps[:2] == ("tasks", 0) else path)


def _yaml(text: str) -> str:
    """A JSON value as a task file would hold it."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return text
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.-]*", value) else text
