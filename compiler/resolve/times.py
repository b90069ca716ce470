"""How long a task runs, and by when it must have ended."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..ir import FrozenMap, HoursOn, SpecPath
from ..parse import amounts
from ..parse.nearest import nearest
from ..parse.words import placed
from .variables import Scope

DEFAULT_HOURS = Decimal(1)
_DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    hours: Decimal = DEFAULT_HOURS
    assumed: bool = False
    on: tuple[HoursOn, ...] = ()


def hours(scope: Scope, given: str | FrozenMap[str] | None, path: SpecPath) -> Hours:
    """The expected run time. Machines that a mapping does not name take its `default`, or else its largest: an estimate that is
    too long costs a better offer, one that is too short breaks a deadline."""
    if given is None:
        return Hours(assumed=True)
    if isinstance(given, str):
        return Hours(hours=amounts.read_hours(given))
    if not given:
        detail = "`hours` names no machine and no `default`."
        scope.complain("missing-value", "A value is missing", detail, path, hint="write a number of hours, or remove `hours`")
        return Hours()
    named: dict[str, HoursOn] = {}
    for text, amount in given.items():
        if text == _DEFAULT:
            continue
        if nearest(text, (_DEFAULT,)) is not None:
            detail = f"{placed(text)} would be an accelerator's name."
            scope.complain(
                "unknown-field", "A field is not known", detail, path.child(text), hint=f"did you mean `{_DEFAULT}`?"
            )
            continue
        accelerator = amounts.read_accelerator(text)
        # Names are compared without case everywhere; the catalog's own spelling comes later.
        key = f"{accelerator.name.lower()}:{accelerator.count.normalize()}"
        if key in named:
            detail = f"{placed(text)} is the same machine as another entry."
            scope.complain("duplicate-key", "A key is written twice", detail, path.child(text), hint="remove one of them")
        named[key] = HoursOn(accelerator=accelerator, hours=amounts.read_hours(amount))
    others = amounts.read_hours(given[_DEFAULT]) if _DEFAULT in given else max(map(amounts.read_hours, given.values()))
    return Hours(hours=others, on=tuple(named.values()))


def deadline(scope: Scope, given: str | None, path: SpecPath) -> tuple[str | None, Decimal | None]:
    """The deadline as written, and its hours from the start where that is how it is written."""
    if given is None:
        return None, None
    text, from_start = amounts.read_deadline(given)
    if from_start is None:
        # When a job starts is not known while it is compiled, and asking a clock would make two compiles differ.
        detail = "Machines are chosen without it: the placement knows deadlines from the start only."
        hint = "write the hours you have, such as `6h`"
        scope.warn("deadline-not-placed", "A deadline does not reach the placement", detail, path, hint=hint)
    return text, from_start
