"""Change sets as Terraform would give them: built by hand, or made of a graph that is new as a whole."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from skyc.compiler.changeset import change_set
from skyc.compiler.ir import (
    Action,
    AttributeChange,
    ChangeSet,
    Joined,
    Ref,
    ResourceChange,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
    Value,
    ValueKind,
)
from skyc.compiler.terraform_engine import Engine

NODE = "skyc_node.main-0"
HOSTILE = "\u001b[31mred\u001b[0m \u202egnp.exe **bold** | [x](http://y) ``` <b> @all"


def known(path: str, before: str | None, after: str | None, *, forces: bool = False) -> AttributeChange:
    return AttributeChange(path=path, before=before, after=after, kind=ValueKind.KNOWN, forces_replacement=forces)


def unknown(path: str, before: str | None = None, *, forces: bool = False) -> AttributeChange:
    return AttributeChange(path=path, before=before, after=None, kind=ValueKind.UNKNOWN, forces_replacement=forces)


def change(action: Action, *attributes: AttributeChange, address: str = NODE) -> ResourceChange:
    return ResourceChange(
        address=address,
        type=address.partition(".")[0],
        action=action,
        reason=None,
        attributes=attributes,
        origin=SpecPath(("resources",)),
    )


def site(*changes: ResourceChange, drift: tuple[ResourceChange, ...] = ()) -> tuple[ChangeSet, ...]:
    return (ChangeSet(site=SiteId("task.local"), engine="terraform", engine_version="1.15.0", changes=changes, drift=drift),)


DEAD = '"dead: its supervisor is gone"'
SECRET = AttributeChange(path="token", before=None, after=None, kind=ValueKind.SECRET)

CHANGES: dict[str, tuple[ChangeSet, ...]] = {
    "create": site(change(Action.CREATE, known("cpus", None, "1"), known("role", None, '"head"'), unknown("id"))),
    "replace": site(
        change(Action.REPLACE, unknown("health", DEAD, forces=True), unknown("id", '"a"')),
        drift=(change(Action.UPDATE, known("health", '"healthy"', DEAD)),),
    ),
    "destroy": site(change(Action.DELETE), change(Action.DELETE, address="skyc_node.main-1")),
    "mixed": site(
        change(Action.CREATE, known("cpus", None, "1")),
        change(Action.UPDATE, known("rank", "0", "1"), SECRET, address="skyc_node.main-1"),
        change(Action.DELETE, address="skyc_node.main-2"),
    ),
    "hostile": site(change(Action.UPDATE, known("name", '"plain"', HOSTILE))),
    "none": site(),
    "not-compared": (),
}


def first_plan(graphs: Iterable[ResourceGraph]) -> tuple[ChangeSet, ...]:
    """What Terraform would plan where nothing is there yet. An emulation: what the provider adds by itself is missing."""
    return tuple(_change_set(graph, _creation) for graph in graphs)


def moving_plan(before: Iterable[ResourceGraph], after: Iterable[ResourceGraph]) -> tuple[ChangeSet, ...]:
    """What Terraform would plan where everything goes to other sites: the old ones are destroyed whole, the new ones made."""
    new = list(after)
    kept = {graph.site for graph in new}
    old = [graph for graph in before if graph.site not in kept]
    return (*first_plan(new), *(_change_set(graph, _destruction) for graph in old))


def _change_set(graph: ResourceGraph, change_of: Callable[[ResourceNode], dict[str, Any]]) -> ChangeSet:
    entries = [{"address": str(node.address), "type": node.address.type, "change": change_of(node)} for node in graph.resources]
    engine = Engine(name="terraform", version="1.15.0", argv=())
    return change_set({"format_version": "1.2", "resource_changes": entries}, site=graph.site, graph=graph, engine=engine)


def _creation(node: ResourceNode) -> dict[str, Any]:
    after = {name: _told(value) for name, value in node.arguments.items() if not _is_unknown(value)}
    unknown = {name: _unknown(value) for name, value in node.arguments.items() if _unknown(value)}
    return {"actions": ["create"], "before": None, "after": after, "after_unknown": {"id": True, **unknown}}


def _destruction(node: ResourceNode) -> dict[str, Any]:
    before = {name: _told(value) for name, value in node.arguments.items() if not _is_unknown(value)}
    return {"actions": ["delete"], "before": before, "after": None, "after_unknown": {}}


def _is_unknown(value: Value) -> bool:
    return isinstance(value, Ref | Joined)


def _told(value: Value) -> Any:
    """A value without what is known after the apply, as JSON has it."""
    if isinstance(value, tuple):
        return [_told(item) for item in value if not _is_unknown(item)]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Ref | Joined) or value is None or isinstance(value, bool | int | str):
        return value
    return {name: _told(item) for name, item in value.items() if not _is_unknown(item)}


def _unknown(value: Value) -> Any:
    """The same, with `true` for what is known after the apply; nothing where all is known."""
    if _is_unknown(value):
        return True
    if isinstance(value, tuple):
        marks = [_unknown(item) for item in value]
        return [mark or False for mark in marks] if any(marks) else None
    if isinstance(value, bool | int | str | Decimal) or value is None or isinstance(value, Ref | Joined):
        return None
    found = {name: mark for name, item in value.items() if (mark := _unknown(item))}
    return found or None
