"""Who has approved what a rule asks an approval for.

An approval is for one rule and one plan. A person gives it with `--approve RULE` while they apply the plan they see; in CI it stands in
a file (SKYC_APPROVALS) with the plan's fingerprint, so that one for another plan does not count. skyc authenticates nobody: who somebody
is, git or the system says, and a file is worth what the review of its repository is worth. `approvers` guards against mistakes.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compiler.artifact.fingerprint import SHORTEST, SHOWN
from ...compiler.artifact.fingerprint import matches as names_plan
from ...compiler.diagnostics import Diagnostic, SkycError, error, warning
from ...compiler.ir import PolicyEffect, PolicyResult, digest
from ...compiler.ir.restriction import Patterns, matches
from ...compiler.parse.nearest import nearest
from ...compiler.policy.rules import PolicySet
from ..results import Plan

VARIABLE = "SKYC_APPROVALS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    rule: str
    by: str
    fingerprint: str


def fingerprint_of(plan: Plan) -> str:
    """What names the plan an approval is for: with its changes, where they are known."""
    if plan.fingerprints is not None:
        return plan.fingerprints.changes or plan.fingerprints.compiled
    return digest((plan.placement, tuple(graph.digest for graph in plan.graphs), plan.changes))


def read_approvals(environ: Mapping[str, str]) -> tuple[Approval, ...]:
    """The approvals of the file that SKYC_APPROVALS names; none without it. Raises SkycError for one that cannot be read."""
    import yaml

    text = environ.get(VARIABLE, "")
    if not text:
        return ()
    try:
        found = yaml.safe_load(Path(text).expanduser().read_text(encoding="utf-8"))
        rows = found["approvals"] if isinstance(found, dict) else found
        approvals = tuple(
            Approval(rule=str(row["rule"]), by=str(row["by"]), fingerprint=str(row["fingerprint"])) for row in rows or ()
        )
        short = next((row for row in approvals if len(row.fingerprint) < SHORTEST), None)
        if short is not None:
            raise ValueError(f"the fingerprint `{short.fingerprint}` has less than {SHORTEST} digits")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as failure:
        why = f"`{failure.args[0]}` is missing" if isinstance(failure, KeyError) else str(failure)
        raise SkycError(
            error(
                "bad-approvals",
                "The approvals cannot be read",
                f"{text}, named by {VARIABLE}: {why}.",
                hint="write `approvals:` and a list of `{rule: …, by: …, fingerprint: …}`, the fingerprint in quotes",
            )
        ) from None
    return approvals


def somebody(directory: Path) -> str:
    """What the person at the keyboard calls themselves: git's e-mail address, else the system's name."""
    try:
        told = subprocess.run(
            ["git", "config", "user.email"], cwd=directory, capture_output=True, text=True, timeout=5, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        told = ""
    return told or getpass.getuser()


def approved(
    results: Iterable[PolicyResult],
    *,
    fingerprint: str,
    filed: Sequence[Approval],
    named: Sequence[str] = (),
    who: str = "",
) -> tuple[tuple[PolicyResult, ...], tuple[Diagnostic, ...]]:
    """The results with who approved them. named: rules that `who` approves now; filed: what stands in the file."""
    rows = tuple(results)
    given = [*(Approval(rule=name, by=who, fingerprint=fingerprint) for name in named), *filed]
    said: list[Diagnostic] = []
    by: dict[str, str] = {}
    waiting = {row.rule: row.approvers for row in rows if row.effect is PolicyEffect.APPROVE and not row.met}
    for approval in given:
        if approval.rule not in waiting:
            continue
        wanted = waiting[approval.rule]
        if not names_plan(fingerprint, approval.fingerprint):
            said.append(_for_another(approval, fingerprint))
        elif wanted and not matches(wanted, approval.by):
            said.append(_not_theirs(approval, wanted))
        else:
            by.setdefault(approval.rule, approval.by)
    return tuple(replace(row, approved=by.get(row.rule)) if row.rule in waiting else row for row in rows), tuple(said)


def _for_another(approval: Approval, fingerprint: str) -> Diagnostic:
    return warning(
        "approval-for-another-plan",
        "An approval is for another plan",
        f"`{approval.rule}` was approved by {approval.by} for {approval.fingerprint[:SHOWN]}; this plan is"
        f" {fingerprint[:SHOWN]}. Something changed since, so it does not count.",
    )


def _not_theirs(approval: Approval, wanted: Patterns) -> Diagnostic:
    return warning(
        "not-an-approver",
        "Somebody approved who is no approver",
        f"`{approval.rule}` names as approvers {', '.join(wanted)}; {approval.by or 'nobody'} is none of them.",
    )


def refuse_unknown(named: Sequence[str], results: Sequence[PolicyResult], policies: PolicySet) -> None:
    """Raises SkycError for an approval of a rule that there is not: a misspelt one would be missed at the end only."""
    known = sorted({*(rule.name for rule in policies.rules), *(row.rule for row in results)})
    for name in named:
        if name not in known:
            guess = nearest(name, known)
            raise SkycError(
                error(
                    "unknown-rule",
                    "There is no rule of this name",
                    f"`--approve {name}`: the rules are {', '.join(known) or 'none'}.",
                    hint=f"did you mean `{guess}`?" if guess else None,
                )
            )
