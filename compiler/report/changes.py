"""Resource changes as rows: their order, their counts, and the text of a value that is too long to be shown whole. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..ir import Action, AttributeChange, ChangeSet, FrozenMap, Meaning, Meanings, ResourceChange, ValueKind
from .harmless import safe
from .model import ChangeRow, Counts

SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.REPLACE: "-/+",
    Action.CREATE_BEFORE_DESTROY: "+/-",
    Action.FORGET: "x",
    Action.READ: "<=",
    Action.NO_OP: "=",
}
REPLACED = (Action.REPLACE, Action.CREATE_BEFORE_DESTROY)
GRAVE = (Action.DELETE, *REPLACED, Action.FORGET)
"""What takes something away. Never left out of a report, whatever its size."""
RISK_ORDER = (*GRAVE, Action.CREATE, Action.UPDATE, Action.READ, Action.NO_OP)
"""Destroys first: what a reader must not miss stands on top."""

NO_MEANINGS: Meanings = FrozenMap()
NOTHING = Meaning()

WIDEST = 60
"""Characters of one value. Where two long ones differ, the place where they do is shown."""
_AROUND = 12
"""Characters of what is equal, before the place where two values differ."""
MOST_ATTRIBUTES = 10
"""Lines of one resource that is made: its address says most, and its plan holds the rest."""
_EMPTY = frozenset({'""', "[]", "{}", "null"})
_OWN_TAG = re.compile(r'(?:\.|\[")skyc[-.][\w./-]*(?:"\])?$|^tags(?:_all)?\.Name$')
"""Tags that skyc gives everything it makes; the one called Name says what the address says."""

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_OWN_LIST = re.compile(r'\["skyc-\w+:[^"]*"(?:,"skyc-\w+:[^"]*")*\]')
_OWN_TEXT = '"skyc-deployment='
"""The same tags, where a cloud has none and they stand in a description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """One line of a resource diff. symbol: as in `SYMBOLS`. inner: an attribute of the resource above it."""

    symbol: str
    text: str
    inner: bool = False


def change_rows(sites: Iterable[ChangeSet], *, drift: bool = False, meanings: Meanings = NO_MEANINGS) -> tuple[ChangeRow, ...]:
    """Everything that happens, the gravest first. What stays as it is has no row, but for moves and imports."""
    found = list(sites)
    times = Counter(address for site in found for address in {change.address for change in (*site.changes, *site.drift)})
    rows = [
        ChangeRow(
            site=str(site.site) if times[change.address] > 1 else "",
            change=replace(change, attributes=_by_path(change)),
            says=meanings.get(change.type, NOTHING).says,
        )
        for site in found
        for change in (site.drift if drift else site.changes)
        if change.action is not Action.NO_OP or change.previous_address or change.importing
    ]
    return tuple(sorted(rows, key=_order))


def _by_path(change: ResourceChange) -> tuple[AttributeChange, ...]:
    return tuple(sorted(map(_without_keys, change.attributes), key=lambda item: (item.path, repr(item))))


def _without_keys(item: AttributeChange) -> AttributeChange:
    """A first boot's script holds the key a machine introduces itself with once. It is worth nothing after that; in a comment it would
    be read before."""
    texts = [text and _PRIVATE_KEY.sub("‹private key›", text) for text in (item.before, item.after)]
    if texts == [item.before, item.after]:
        return item
    if texts[0] == texts[1]:
        # Nothing but the key differs.
        return replace(item, before=None, after=None, kind=ValueKind.SECRET)
    return replace(item, before=texts[0], after=texts[1])


def _order(row: ChangeRow) -> tuple[int, str, str, str, str]:
    change = row.change
    return (RISK_ORDER.index(change.action), row.site, change.address, change.reason or "", repr(change.attributes))


def counts_of(sites: Iterable[ChangeSet]) -> Counts:
    """Of every site together. What is read, or stays, is no change."""
    changes = [change for site in sites for change in site.changes]

    def count(*actions: Action) -> int:
        return sum(change.action in actions for change in changes)

    return Counts(
        add=count(Action.CREATE, *REPLACED),
        change=count(Action.UPDATE),
        destroy=count(Action.DELETE, *REPLACED),
        unchanged=sum(c.action is Action.NO_OP and not c.previous_address and not c.importing for c in changes),
        moved=sum(bool(change.previous_address) for change in changes),
        imported=sum(bool(change.importing) for change in changes),
        forgotten=count(Action.FORGET),
    )


def diff_rows(row: ChangeRow) -> Iterator[DiffRow]:
    """A change and what of it differs. Values that are known only after the apply are counted; secrets are not shown."""
    change = row.change
    symbol = SYMBOLS[change.action]
    # What is destroyed is gone whole: its address says it, its attributes would bury the next destroy.
    shown = () if change.action is Action.DELETE else change.attributes
    told = [item for item in shown if item.kind is not ValueKind.UNKNOWN or item.forces_replacement]
    telling = [item for item in told if not _is_dull(change, item)]
    listed = _of_new(telling, row.says) if change.action is Action.CREATE else telling
    unknown = sum(item.kind is ValueKind.UNKNOWN for item in shown)
    more = [(len(telling) - len(listed), "more"), (unknown, "known after apply")]
    counted = ", ".join(f"+{count} {word}" for count, word in more if count)
    yield DiffRow(symbol=symbol, text=safe(row.name + _came_from(change) + (f" ({counted})" if counted else "")))
    for item in listed:
        yield DiffRow(symbol=symbol, text=_attribute(change, item), inner=True)


def _of_new(attributes: list[AttributeChange], says: tuple[str, ...]) -> list[AttributeChange]:
    """What is shown of something new: what says what it is, else the first ones."""
    found = [item for path in says for item in attributes if bare(item.path) == path or bare(item.path).startswith(f"{path}.")]
    return (found or attributes)[:MOST_ATTRIBUTES]


def bare(path: str) -> str:
    """Without the positions in lists: `ingress.0.cidr_blocks` → `ingress.cidr_blocks`."""
    return ".".join(step for step in path.split(".") if not step.isdigit())


def _came_from(change: ResourceChange) -> str:
    moved = f" (was {change.previous_address})" if change.previous_address else ""
    return moved + (f" (exists as {change.importing})" if change.importing else "")


def _is_dull(change: ResourceChange, item: AttributeChange) -> bool:
    """Of something new: what is not set, and skyc's own tags, which say nothing about it."""
    if change.action is not Action.CREATE or item.kind is not ValueKind.KNOWN:
        return False
    after = item.after or ""
    own = _OWN_TAG.search(item.path) is not None or _OWN_LIST.fullmatch(after) is not None or after.startswith(_OWN_TEXT)
    return own or item.after in _EMPTY


def _attribute(change: ResourceChange, item: AttributeChange) -> str:
    path = short(item.path)
    forced = "  # forces replacement" if item.forces_replacement else ""
    if item.kind is ValueKind.SECRET:
        return f"{path} ‹secret, changed›{forced}"
    before, after = pair(item.before, item.after)
    if item.kind is ValueKind.UNKNOWN:
        after = "(known after apply)"
    return f"{path} {after}" if change.action is Action.CREATE else f"{path} {before} → {after}{forced}"


def short(text: str, limit: int = WIDEST) -> str:
    return safe(text if len(text) <= limit else text[: limit - 1] + "…")


def pair(before: str | None, after: str | None) -> tuple[str, str]:
    """Two values as they are shown beside each other. Long ones are cut to where they differ; `–` stands for none."""
    if before is None or after is None or max(len(before), len(after)) <= WIDEST:
        return (short("–" if before is None else before), short("–" if after is None else after))
    same = next(
        (at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), min(len(before), len(after))
    )
    start = max(0, same - _AROUND) if same > _AROUND * 2 else 0
    lead = "…" if start else ""
    return (short(lead + before[start:]), short(lead + after[start:]))
