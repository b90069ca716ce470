"""What is said of a search for a place: on the way, and when it ends without one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..compiler.diagnostics import Diagnostic, error
from ..compiler.failover import envelope, name_of
from ..compiler.ir import DeploymentId, Failure, FailureKind, PlacementPlan, Reach, SiteId
from .records import AttemptOutcome, AttemptRecord

RULED_OUT = "not tried: the refusals above rule it out"


ABSENT = {
    Reach.MACHINE_IN_ZONE: "not sold in the zone",
    Reach.MACHINE_IN_REGION: "not sold in the region",
    Reach.ZONE: "not a zone of the account's",
    Reach.REGION: "not a region of the account's",
}
"""What it is that is not offered."""


def _said(code: str, kind: str, reach: Reach | None) -> str:
    """`InsufficientInstanceCapacity (capacity)`, `OptInRequired (not a region of the account's)`."""
    absent = ABSENT.get(reach, kind) if reach is not None and kind == FailureKind.NOT_OFFERED.value else kind
    return f"{code} ({absent})"


def _of(attempt: AttemptRecord) -> str:
    return _said(attempt.code, attempt.kind, Reach[attempt.reach] if attempt.reach else None)


def told(attempt: AttemptRecord, failure: Failure) -> str:
    """An event: `aws/us-east-1/use1-az1 g5.xlarge on-demand: InsufficientInstanceCapacity (capacity)`."""
    return f"{attempt.placement}: {_said(failure.code, failure.kind.value, failure.reach)}"


def not_had(attempt: AttemptRecord) -> str:
    """What is said before the next place is tried."""
    if attempt.code and attempt.kind == FailureKind.NOT_OFFERED.value:
        return f"{attempt.placement} is not to be had: {_of(attempt)}"
    return f"{attempt.placement} is not to be had ({attempt.code or attempt.kind})"


def outcome(attempt: AttemptRecord) -> str:
    """What came of an attempt, in a few words."""
    match attempt.outcome:
        case AttemptOutcome.UP:
            return f"up in part: {_of(attempt)}" if attempt.code else "up"
        case AttemptOutcome.TRYING:
            return "under way, or cut off"
        case AttemptOutcome.SKIPPED:
            return f"not tried: {attempt.detail}"
        case AttemptOutcome.FAILED:
            return _of(attempt) if attempt.code else attempt.detail or attempt.kind


def exhausted(
    deployment: DeploymentId,
    plan: PlacementPlan,
    tried: Sequence[AttemptRecord],
    left: Sequence[Diagnostic],
    kept: Sequence[SiteId] = (),
) -> Diagnostic:
    """Every placement of the envelope, and why it could not be had. kept: sites that were up before and stay."""
    absent = [row for row in tried if row.outcome is AttemptOutcome.FAILED and row.kind == FailureKind.NOT_OFFERED.value]
    closed = any(row.reach == Reach.REGION.name for row in absent)
    lines = ["The plan approved these places, which were tried in this order:"]
    for task, group in dict.fromkeys((row.task, row.group) for row in tried):
        mine = {row.placement: row for row in tried if (row.task, row.group) == (task, group)}
        if not any(row.outcome is AttemptOutcome.FAILED for row in mine.values()):
            # Another group of the task had none left; this one was not in question.
            continue
        lines.append(f"`{task}`, group `{group}`:" if group != "main" else f"`{task}`:")
        names = [*mine, *(name for name in map(name_of, envelope(plan, task, group)) if name not in mine)]
        lines += [f"  {name}: {outcome(mine[name]) if name in mine else RULED_OUT}" for name in names]
    lines.append(_remains(left, "Everything that was made on the way is removed again."))
    if kept:
        lines.append(_still_up(kept))
    return error(
        "no-capacity",
        "None of the approved places is to be had" if absent else "There is no capacity at any of the approved places",
        "\n".join(lines),
        hint="apply again later, or let the task accept more: other regions or machines, `use_spot`, or a larger quota"
        + ("; enable in the account what is not a region of its own" if closed else ""),
        commands=_commands(deployment, left, kept),
    )


def standing(site: SiteId, kept: Iterable[str], failures: Iterable[Failure]) -> Diagnostic:
    """Some of a cluster's nodes live: it is not moved away from under them."""
    codes = ", ".join(dict.fromkeys(_said(failure.code, failure.kind.value, failure.reach) for failure in failures))
    names = ", ".join(sorted(kept))
    return error(
        "no-capacity",
        "There is no capacity for the rest of a cluster",
        f"{site} could not be completed: {codes}. Nodes that were up before still are ({names}), and skyc does not move a cluster away"
        " from living nodes. Others that were made now stay too, for the next apply to go on with.",
        hint="apply again later; or destroy it and apply, which then looks for one place for all of it",
    )


def denied(
    deployment: DeploymentId, site: SiteId, failure: Failure, left: Sequence[Diagnostic], kept: Sequence[SiteId]
) -> Diagnostic:
    """Names what is missing: no other place would help. kept: sites that were up before and stay."""
    gone = "" if site in kept else "What was made before is removed again."
    remains = "\n".join(filter(None, [_remains(left, gone), _still_up(kept) if kept else ""]))
    missing = f"`{failure.permission}`" if failure.permission else "what this call needs"
    return error(
        "permission-missing",
        "A permission is missing",
        f"{site}: the target refused with {failure.code}. Who applies is not allowed {missing}. No other place was tried, since that is the"
        f" same everywhere.\n{remains}",
        hint=f"have {missing} granted to the identity whose credentials are used, then apply again",
        commands=_commands(deployment, left, kept),
    )


def unknown_caller(site: SiteId, failure: Failure) -> Diagnostic:
    """Nothing is removed: the target would refuse that too, and the next apply goes on from what there is."""
    return error(
        "login-refused",
        "The target does not accept these credentials",
        f"{site}: {failure.code}. No other place was tried, since it is the account that is not let in. What is made stays, and is in the"
        " state.",
        hint="log in again, or correct the credentials, then apply again: it goes on from here",
        commands=("skyc check",),
    )


def still_throttled(site: SiteId, failure: Failure) -> Diagnostic:
    return error(
        "throttled",
        "The target takes no more calls for now",
        f"{site}: {failure.code}, again and again. What is made stays, and is in the state.",
        hint="apply again in a few minutes: it goes on from here",
    )


def still_in_use(site: SiteId, failure: Failure) -> Diagnostic:
    return error(
        "still-in-use",
        "What the target needs is still in use",
        f"{site}: {failure.code}, after minutes. A machine that ends keeps its address until it has ended. What is made stays, and is"
        " in the state.",
        hint="apply again in a few minutes: it goes on from here",
    )


def outside(site: SiteId, types: Sequence[str]) -> Diagnostic:
    return error(
        "outside-envelope",
        "The next place would need what nobody approved",
        f"{site} would there also need: {', '.join(types)}. Nothing more was made.",
        hint="review a plan of that place: name it with `infra`",
    )


def _still_up(kept: Sequence[SiteId]) -> str:
    """Of an apply that was cut off, or of one that went well: both cost money, and only the user knows which are in use."""
    return f"What was up before this apply still is: {', '.join(kept)}."


def _commands(deployment: DeploymentId, left: Sequence[Diagnostic], kept: Sequence[SiteId]) -> tuple[str, ...]:
    if left:
        return (f"skyc destroy {deployment}",)
    return (f"skyc status {deployment}",) if kept else ()


def _remains(left: Sequence[Diagnostic], gone: str) -> str:
    if not left:
        return gone
    return "Not everything that was made on the way could be removed: " + "; ".join(found.summary for found in left) + "."
