"""What nobody may overlook in a plan: what dies, what opens to everybody, which rights grow, and spot machines in production.

Contract: pure. What an attribute means is said by the targets (`Meanings`); where a plan does not tell an attribute that a meaning
asks for, it is taken to be the graver way.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

from ..ir import Action, AttributeChange, Exposure, Meaning, Meanings, Opening, ResourceChange, ValueKind
from .changes import NOTHING, REPLACED, bare, pair
from .model import Caution, ChangeRow, GroupRow, Risk

WIDE = {4: 8, 6: 16}
"""IP version → length of a prefix. What is shorter is a good part of the world's addresses, and called everybody."""
MOST_NAMED = 3
"""Resources of one kind that are named; the rest are counted."""
LONGEST_CAUSE = 40
"""Characters of a value that stands in a caution."""
MOST_RIGHTS = 8
"""The same for rights: which ones is what a reader wants to know."""
PRODUCTION = "production"
REASONS = {
    "replace_because_tainted": "it was left half made",
    "replace_because_by_request": "as was asked for",
    "replace_because_by_triggers": "because of what it depends on",
    "delete_because_no_resource_config": "",
    "delete_because_no_move_target": "what it was moved to is not wanted either",
    "deposed": "left over from an earlier replacement",
}
"""Terraform's words for why, where they add something."""
_RISKS = {Exposure.REACH: Risk.REACH, Exposure.DATA: Risk.DATA}


def cautions_of(
    rows: tuple[ChangeRow, ...], groups: tuple[GroupRow, ...], meanings: Meanings, *, environment: str
) -> tuple[Caution, ...]:
    """The gravest first, then by subject. Public addresses are one caution for all machines that get one."""
    found = [caution for row in rows for caution in _of_change(row, meanings.get(row.change.type, NOTHING))]
    found = _together(found, {row.name for row in rows if _holds_nothing(row, meanings)})
    addresses = [row.name for row in rows if _gets_address(row.change, meanings.get(row.change.type, NOTHING))]
    if addresses:
        rest = len(addresses) - MOST_NAMED
        more = f", and {rest} more" if rest > 0 else ""
        named = tuple(addresses[:MOST_NAMED])
        found.append(Caution(risk=Risk.ADDRESS, subjects=named, text=f"gives a public address: {{}}{more}"))
    if environment == PRODUCTION:
        found += _spot([row for row in groups if row.after is not None and row.after.market == "spot"])
    order = list(Risk)
    return tuple(sorted(found, key=lambda said: (order.index(said.risk), len(said.subjects) > 1, said.subjects, said.sentence)))


def _holds_nothing(row: ChangeRow, meanings: Meanings) -> bool:
    """Whether it dies and takes no data along. Of a type that no target has spoken of, nobody knows."""
    meaning = meanings.get(row.change.type)
    return row.change.action is Action.DELETE and meaning is not None and not meaning.data


def _together(found: list[Caution], harmless: set[str]) -> list[Caution]:
    """One caution for all that dies without data, so that what takes data along is not lost among it. Each is still named."""
    small = [said for said in found if said.risk is Risk.DESTROY and said.subjects[0] in harmless]
    if len(small) <= MOST_NAMED:
        return found
    names = tuple(sorted(said.subjects[0] for said in small))
    whole = Caution(risk=Risk.DESTROY, subjects=names, text=f"destroys {len(names):,} resources that hold no data: {{}}")
    return [whole, *(said for said in found if said not in small)]


def _of_change(row: ChangeRow, meaning: Meaning) -> Iterator[Caution]:
    change = row.change
    if change.action is Action.DELETE:
        detail = REASONS.get(change.reason or "", "")
        yield Caution(risk=Risk.DESTROY, subjects=(row.name,), text="destroys {}" + _dies(change, meaning), detail=detail)
    elif change.action in REPLACED:
        forced = ", ".join(_forced(change)) or REASONS.get(change.reason or "", "")
        yield Caution(risk=Risk.REPLACE, subjects=(row.name,), text="replaces {}" + _dies(change, meaning), detail=forced)
    elif change.action is Action.FORGET:
        yield Caution(risk=Risk.FORGET, subjects=(row.name,), text="forgets {}, which stays and may go on costing money")
    if change.action in (Action.DELETE, Action.FORGET, Action.READ, Action.NO_OP):
        return
    for opening in meaning.openings:
        if opening.exposure is not Exposure.ADDRESS and _opens(change, opening):
            verb = "lets everybody in: {}" if opening.exposure is Exposure.REACH else "makes data public: {}"
            yield Caution(risk=_RISKS[opening.exposure], subjects=(row.name,), text=verb, detail=_ports(change, opening))
    rights = list(_rights(change, meaning))
    if rights:
        yield Caution(risk=Risk.IDENTITY, subjects=(row.name,), text="gives rights: {}", detail=_named(rights, "; "))


def _dies(change: ResourceChange, meaning: Meaning) -> str:
    """` and its 500 GB root disk`."""
    if not meaning.data:
        return ""
    sizes = (_told(change, meaning.size, before=True) or ()) if meaning.size else ()
    size = f"{sizes[0]} GB " if len(sizes) == 1 and re.fullmatch(r"[\d.]+", sizes[0]) else ""
    return f" and its {size}{meaning.data}"


def _forced(change: ResourceChange) -> Iterator[str]:
    for item in change.attributes:
        if item.forces_replacement:
            yield f"{item.path} {_turned(item)}".rstrip()


def _turned(item: AttributeChange) -> str:
    """`"a" → "b"`; of what is too long for a first screen, such as a script, the diff below shows where it differs."""
    if item.kind is ValueKind.SECRET or max(len(text or "") for text in (item.before, item.after)) > LONGEST_CAUSE:
        return "changed"
    if item.after is None:
        return "" if item.before is None else f"was {pair(item.before, None)[0]}"
    return " → ".join(pair(item.before, item.after))


def _opens(change: ResourceChange, opening: Opening) -> bool:
    """Whether the change makes that opening, or makes it wider. One that was there before and stays is no news."""
    for path, wanted in opening.when.items():
        told = _told(change, path)
        if told is not None and wanted not in told:
            return False
    if any(value in ("*", told) for path, value in opening.unless.items() for told in _told(change, path) or ()):
        return False
    if not opening.path:
        return change.action is Action.CREATE
    after = _told(change, opening.path)
    if after is None:
        # Not said, so it did not change; what did may open it all the same.
        return change.action is not Action.CREATE and any(_told(change, path) is not None for path in opening.when)
    if not any(_is_open(value, opening) for value in after):
        return False
    before = _told(change, opening.path, before=True) or ()
    return not any(_is_open(value, opening) for value in before) or bool(_ports(change, opening))


def _is_open(value: str, opening: Opening) -> bool:
    if value in opening.values:
        return True
    if opening.exposure is not Exposure.REACH:
        return not opening.values
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return network.prefixlen < WIDE[network.version]


def _ports(change: ResourceChange, opening: Opening) -> str:
    """`port 22`, `ports 8000-8010`; of two paths that tell one port each, the first and the last."""
    told = [_told(change, path) or () for path in opening.ports]
    every = list(dict.fromkeys(port for ports in told for port in ports))
    if not every:
        return ""
    text = ("-" if len(told) == 2 and all(len(ports) == 1 for ports in told) else ", ").join(every)
    return f"port{'' if text.isdigit() else 's'} {text}"


def _gets_address(change: ResourceChange, meaning: Meaning) -> bool:
    if change.action not in (Action.CREATE, Action.UPDATE, *REPLACED):
        return False
    return any(opening.exposure is Exposure.ADDRESS and _opens(change, opening) for opening in meaning.openings)


def _rights(change: ResourceChange, meaning: Meaning) -> Iterator[str]:
    """What an identity may do after the change and may not do before it."""
    for path in meaning.policies:
        for item in change.attributes:
            if bare(item.path) != path or (item.kind is ValueKind.KNOWN and item.after is None):
                continue
            if item.kind is not ValueKind.KNOWN:
                yield "what, is known after the apply" if item.kind is ValueKind.UNKNOWN else "secret"
            else:
                yield from _gained(_allowed(item.before), _allowed(item.after))
    given = [(path, _told(change, path) or ()) for path in meaning.grants]
    kept = [(path, _told(change, path, before=True) or ()) for path in meaning.grants]
    if any(set(new) - set(old) for (_, new), (_, old) in zip(given, kept, strict=True)):
        yield " · ".join(f"{path} {', '.join(values)}" for path, values in given if values)


def _gained(before: set[tuple[str, str]], after: set[tuple[str, str]]) -> Iterator[str]:
    """`s3:GetObject, s3:PutObject on arn:…`, for each thing that something new may be done to."""
    new = after - before
    for target in sorted({target for _, target in new}):
        yield f"{_named(sorted(action for action, on in new if on == target))} {target}".rstrip()


def _allowed(document: str | None) -> set[tuple[str, str]]:
    """Each pair of an action and `on` what, or `by` whom, that a policy document allows. What cannot be read is a right of its own."""
    if document is None:
        return set()
    try:
        statements = json.loads(json.loads(document))["Statement"]
        return {
            (action, target)
            for statement in (statements if isinstance(statements, list) else [statements])
            if statement.get("Effect") == "Allow"
            for action in _each(statement, "Action")
            for target in _targets(statement)
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {(document, "")}


def _targets(statement: dict[str, Any]) -> list[str]:
    who = sorted(_plain(statement["Principal"])) if "Principal" in statement else []
    by = f" by {'everybody' if '*' in who else ', '.join(who)}" if who else ""
    if "Resource" not in statement and "NotResource" not in statement:
        return [by.lstrip()]
    return [f"on {resource}{by}" for resource in _each(statement, "Resource")]


def _each(statement: dict[str, Any], word: str) -> list[str]:
    if f"Not{word}" in statement:
        return [f"all but {json.dumps(statement[f'Not{word}'])}"]
    found = statement[word]
    return [str(item) for item in found] if isinstance(found, list) else [str(found)]


def _told(change: ResourceChange, path: str, *, before: bool = False) -> tuple[str, ...] | None:
    """The plain values at a path on one side; None where the change says nothing about it. What is not known is no value."""
    found: list[str] = []
    told = False
    for item in change.attributes:
        here = bare(item.path)
        text = None if item.kind is ValueKind.SECRET else item.before if before else item.after
        below = here == path or here.startswith(f"{path}.")
        if not below and not path.startswith(f"{here}."):
            continue
        if text is not None:
            value = _parsed(text)
            told = True
            found += _plain(value if below else _inside(value, path[len(here) + 1 :].split(".")))
        elif below:
            told = True
    return tuple(found) if told else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _inside(value: Any, steps: list[str]) -> Any:
    if isinstance(value, list):
        return [_inside(item, steps) for item in value]
    if not steps:
        return value
    return _inside(value.get(steps[0]), steps[1:]) if isinstance(value, dict) else None


def _plain(value: Any) -> Iterator[str]:
    """Every leaf, as `str` or as JSON writes it."""
    if isinstance(value, list):
        for item in value:
            yield from _plain(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _plain(item)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def _named(rights: list[str], comma: str = ", ") -> str:
    rest = len(rights) - MOST_RIGHTS
    return comma.join(rights[:MOST_RIGHTS]) + (f"{comma}and {rest} more" if rest > 0 else "")


def _spot(rows: list[GroupRow]) -> list[Caution]:
    """One for all of them, as for public addresses."""
    if not rows:
        return []
    subjects = tuple(row.task if row.group == "main" else f"{row.task}/{row.group}" for row in rows)
    rest = len(subjects) - MOST_NAMED
    more = f", and {rest} more" if rest > 0 else ""
    text = f"spot machines in production: {{}}{more} can lose them at any moment"
    return [Caution(risk=Risk.SPOT, subjects=subjects[:MOST_NAMED], text=text)]
