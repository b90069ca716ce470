"""What is not planned or not applied, and why: files with errors, targets that cannot run a job, what belongs to others, another plan."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..compiler.artifact.fingerprint import SHORTEST, SHOWN, matches
from ..compiler.diagnostics import Diagnostic, Severity, SkycError, error
from ..compiler.ir import DeploymentId, holds_storage
from ..compiler.pipeline import Compilation
from ..providers.base import Capability
from .access import CONFIG, ssh_ranges
from .attempts import continued
from .planning import Planned, cannot_ask, shared_deployment
from .policy.judge import DENIED
from .records import DeploymentState
from .request import Request, compile_request
from .session import Session

if TYPE_CHECKING:
    from .locking import Hold

OVER_BUDGET = "over-budget"
POLICY_DENIED = "policy-denied"
SSH_CLOSED = "ssh-closed"


def compiled(session: Session, request: Request, hold: Hold | None = None) -> Compilation:
    """Compile and refuse a file with errors, or one that is not as `hold` wants it. Raises SkycError with all of them."""
    compilation = compile_request(session, request)
    if compilation.failed:
        raise refused(compilation)
    if hold is not None:
        hold.refuse_differences(session, compilation, engine=True)
    return warned(session, request, compilation)


def warned(session: Session, request: Request, compilation: Compilation) -> Compilation:
    """The compilation with what the deployment's history has to say to it."""
    compilation = continued(session, compilation)
    said = (*shared_deployment(session, request, compilation), *_not_as_locked(session, request, compilation))
    return dataclasses.replace(compilation, diagnostics=(*compilation.diagnostics, *said))


def _not_as_locked(session: Session, request: Request, compilation: Compilation) -> tuple[Diagnostic, ...]:
    from .lockfile import lock_path

    if not lock_path(request.path).exists():
        return ()
    from .locking import differences_warned

    return differences_warned(session, request, compilation)


def refuse_unasked(session: Session, compilation: Compilation) -> None:
    """Before the cloud is asked or anything made there: what is missing to ask it is said as a plan says it, of all targets at once. What
    could be said without (`compiled`, `refuse_what_cannot_run`) came first, and keys may be written by then. Raises SkycError."""
    missing = [found for found in cannot_ask(session, compilation) if found.severity is Severity.ERROR]
    if missing:
        # What a plan can do without an account is no help for who wants machines.
        raise SkycError(*(dataclasses.replace(found, hint="do that, then apply again") for found in missing))


def refuse_what_cannot_run(session: Session, compilation: Compilation) -> None:
    """Machines that no job could be started on are not rented. Raises SkycError."""
    names = sorted({graph.provider for graph in compilation.graphs or () if not holds_storage(graph.site)})
    without = [name for name in names if Capability.RUN not in session.provider(name).capabilities]
    if without:
        raise SkycError(
            error(
                "cannot-run-yet",
                "Jobs cannot be started at this target yet",
                f"skyc can plan machines at {', '.join(f'`{name}`' for name in without)} and cannot start jobs on them yet, so it"
                " rents none: they would cost money and do nothing.",
                hint="write `infra: local` to run the task on this machine; `skyc plan` shows what would be made",
            )
        )
    closed = [name for name in names if Capability.LOGIN in session.provider(name).capabilities]
    # A target may take none of the addresses: some know IPv4 only.
    unusable = any(said.slug == SSH_CLOSED for said in compilation.diagnostics)
    if closed and (unusable or not ssh_ranges(session.home)):
        raise SkycError(
            error(
                SSH_CLOSED,
                "Nobody could log in to the machines",
                f"skyc starts jobs at `{closed[0]}` over SSH, and `access.ssh_from` in {session.home / CONFIG} names no address that"
                " SSH could be opened to there. So it rents nothing: the machines would cost money and do nothing.",
                hint="write your own address there, as `access: {ssh_from: [203.0.113.7/32]}`, and apply again",
            )
        )


def refused(compilation: Compilation) -> SkycError:
    """What to raise for a compilation with errors. A budget that cannot be kept is a denial, not a mistake."""
    denied = any(diagnostic.slug in (OVER_BUDGET, POLICY_DENIED) for diagnostic in compilation.diagnostics)
    return SkycError(*compilation.diagnostics, exit_code=DENIED if denied else 1)


def refuse_ejected(session: Session, deployment: DeploymentId) -> None:
    """What plain Terraform has taken over is planned and changed by nobody else. Raises SkycError."""
    record = session.store.deployment(deployment)
    if record is not None and record.state is DeploymentState.EJECTED:
        raise SkycError(
            error(
                "deployment-ejected",
                "The deployment was ejected",
                f"Plain Terraform works on the states of `{deployment}` now, so skyc plans and changes nothing of it.",
                hint="use Terraform where it was ejected to, give the task another deployment with `-d NAME`, or take it back",
                commands=(f"skyc eject {deployment} --undo",),
            )
        )


def refuse_another(plan: Planned, fingerprint: str | None) -> None:
    """Stop (exit code 4) where the plan is not the one whose fingerprint was approved. None: nobody named one. Raises SkycError."""
    if fingerprint is None:
        return
    found = plan.fingerprints
    names = [name for name in (found.changes, found.compiled) if name is not None] if found is not None else []
    if len(fingerprint) < SHORTEST:
        detail = f"`--plan` takes the first {SHORTEST} digits of a fingerprint, or more. Nothing was changed."
        raise SkycError(error("short-fingerprint", "The fingerprint is too short to name a plan", detail))
    if names and matches(names[0], fingerprint):
        return
    told = f"Now it would be {names[0][:SHOWN]}." if names else "Now there is no plan to compare it with."
    same = len(names) > 1 and matches(names[1], fingerprint)
    raise SkycError(
        error(
            "another-plan",
            "The plan is not the one that was reviewed",
            f"`--plan {fingerprint}` was approved. {told} "
            + (
                "What was approved is the compiled part of it, which was compared with nothing. "
                if same
                else "The task, a price ceiling, the envelope, a secret or what exists has changed since. "
            )
            + "Nothing was changed.",
            hint="review the new plan and approve that one",
            commands=(f"skyc plan {plan.compilation.source.path}",),
        ),
        exit_code=4,
    )
