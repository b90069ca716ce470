"""Change sets as Terraform would give them, built by hand: what a report must show."""

from skyc.compiler.ir import Action, AttributeChange, ChangeSet, ResourceChange, SiteId, SpecPath, ValueKind

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
