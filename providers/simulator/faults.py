"""Faults by rule: when a simulated cloud fails, and how. Read anew for every call, so a test may change them in between.

    faults:
      - fault: no-capacity          # refused before anything is made
        zone: us-east-1a            # patterns with * and ?; what is left out matches everything
        instance_type: g5.*
        times: 2                    # strikes only so often; without it, always
        after: 1                    # lets so many pass first
      - {fault: denied, type: aws_iam_role, permission: "iam:CreateRole"}
      - {fault: slow, type: aws_instance, seconds: 3}

| fault | what happens |
|---|---|
| no-capacity | the cloud has none of this machine in this zone |
| not-sold | the cloud never has this machine in this zone; at AWS, Azure and Google Cloud |
| no-region | the account does not have the region; at the same three |
| unknown-caller | the credentials are not accepted; at the same three |
| quota | the account may not have that many |
| throttled | too many calls; strikes on `call` (create unless said) |
| denied | the permission is missing; `permission` names it, else the one the call needs |
| address-in-use | the address asked for is still that of a machine that ends; at AWS |
| (the eight above) | with `leaves: true` the cloud keeps what it could not finish, and Terraform knows nothing of it (azurerm#7516) |
| slow | the call takes `seconds`, or lasts until the file `until` exists; `late: true` waits when it is made already |
| reply-lost | it is made, and the answer never comes: Terraform knows nothing of it |
| error-after-create | it is made and then fails: Terraform keeps it as tainted |
| preempted | found by the next refresh to have vanished, or with `effect: stop` to have been stopped |
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from .making import Cloud, Making
from .world import Contents


class FaultKind(enum.Enum):
    NO_CAPACITY = "no-capacity"
    NOT_SOLD = "not-sold"
    NO_REGION = "no-region"
    UNKNOWN_CALLER = "unknown-caller"
    QUOTA = "quota"
    THROTTLED = "throttled"
    DENIED = "denied"
    ADDRESS_IN_USE = "address-in-use"
    SLOW = "slow"
    REPLY_LOST = "reply-lost"
    ERROR_AFTER_CREATE = "error-after-create"
    PREEMPTED = "preempted"


class FaultsFileError(Exception):
    """The file of faults cannot be used; the message says which rule and why."""


MATCHED = ("provider", "type", "zone", "instance_type", "id", "permission")
WORDS = frozenset({*MATCHED, "fault", "call", "times", "after", "seconds", "until", "late", "effect", "leaves"})
FOR_MACHINES = frozenset({FaultKind.NO_CAPACITY, FaultKind.NOT_SOLD, FaultKind.QUOTA, FaultKind.PREEMPTED})
"""Faults that strike machines only, unless a type is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. `key` names it in the world, where its strikes are counted."""

    kind: FaultKind
    key: str
    call: str
    provider: str = "*"
    type: str = "*"
    zone: str = "*"
    instance_type: str = "*"
    id: str = "*"
    times: int | None = None
    after: int = 0
    seconds: float = 0.0
    until: Path | None = None
    late: bool = False
    permission: str = ""
    effect: str = "vanish"
    leaves: bool = False

    def matches(self, call: str, cloud: Cloud, making: Making) -> bool:
        """Whether it is about this call. Pure: how often it struck is another question."""
        if call != self.call or not fnmatchcase(cloud.name, self.provider) or not fnmatchcase(making.type, self.type):
            return False
        if self.kind in FOR_MACHINES and self.type == "*" and making.type not in cloud.machines:
            return False
        return (
            (self.zone == "*" or any(fnmatchcase(zone, self.zone) for zone in cloud.zones(making)))
            and fnmatchcase(cloud.size(making), self.instance_type)
            and fnmatchcase(making.id, self.id)
        )


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The rules of a file; none without one. Raises FaultsFileError."""
    import yaml

    try:
        text = path.read_text()
    except FileNotFoundError:
        return ()
    try:
        return _rules(text)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as wrong:
        raise FaultsFileError(f"{path}: {wrong}") from wrong


@lru_cache(maxsize=8)
def _rules(text: str) -> tuple[Fault, ...]:
    """The rules of a text. Every call to a cloud asks for them, and the file seldom changes."""
    import yaml

    document = yaml.safe_load(text) or {}
    return tuple(_fault(entry, index) for index, entry in enumerate(document["faults"]))


def _fault(entry: Mapping[str, Any], index: int) -> Fault:
    strange = sorted(entry.keys() - WORDS)
    if strange:
        raise ValueError(f"rule {index + 1}: {', '.join(strange)} is not known")
    kind = FaultKind(entry["fault"])
    said = json.dumps(entry, sort_keys=True, default=str)
    effect = str(entry.get("effect", "vanish"))
    if effect not in ("vanish", "stop"):
        raise ValueError(f"rule {index + 1}: effect is vanish or stop")
    until = entry.get("until")
    return Fault(
        kind=kind,
        key=f"{index}-{hashlib.sha256(said.encode()).hexdigest()[:12]}",
        call=str(entry.get("call", "read" if kind is FaultKind.PREEMPTED else "create")),
        times=entry.get("times"),
        after=int(entry.get("after", 0)),
        seconds=float(entry.get("seconds", 0.0)),
        until=Path(until) if until is not None else None,
        late=bool(entry.get("late", False)),
        effect=effect,
        leaves=bool(entry.get("leaves", False)),
        **{
            word: str(entry[word])
            for word in ("provider", "type", "zone", "instance_type", "id", "permission")
            if word in entry
        },
    )


def striking(faults: tuple[Fault, ...], contents: Contents, call: str, cloud: Cloud, making: Making) -> tuple[Fault, ...]:
    """The rules that strike this call, counted in the world: every slow one, and the first of the others."""
    struck: list[Fault] = []
    for fault in faults:
        if not fault.matches(call, cloud, making):
            continue
        met = contents.faults.get(fault.key, 0)
        contents.faults[fault.key] = met + 1
        if met < fault.after or (fault.times is not None and met >= fault.after + fault.times):
            continue
        struck.append(fault)
        if fault.kind is not FaultKind.SLOW:
            break
    return tuple(struck)
