"""Policies in Python: a function of an installed package, named by a rule and found by its entry point.

    [project.entry-points."skyc.policies"]
    acme = "acme_policies:judge"

Contract: `judge(given: PolicyInput) -> Iterable[PolicyResult]`. It runs in this process, with this user's rights: only packages that a
policy file names are called. What it raises, what is no result, and taking longer than `SECONDS` are denials that name it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib import metadata

from ...compiler.ir import PolicyEffect, PolicyResult
from ...compiler.policy.evaluate import PolicyInput, in_order
from ...compiler.policy.load import GROUP
from ...compiler.policy.rules import Plugin, Rule

SECONDS = 10.0
"""What a plug-in may take. It looks at one value and asks nobody."""


def ask_plugin(rule: Rule, given: PolicyInput, *, seconds: float = SECONDS) -> tuple[PolicyResult, ...]:
    """What the plug-in of a rule says, each result named `<rule>/<its own>`; one that is met when it has nothing to say."""
    assert isinstance(rule.check, Plugin)
    name = rule.check.name
    found = next(iter(metadata.entry_points(group=GROUP, name=name)), None)
    if found is None:
        return (denied(rule, f"The plug-in `{name}` is not installed, so nobody can say whether its rules are met."),)
    answers: list[tuple[object, ...]] = []
    raised: list[str] = []

    def ask() -> None:
        try:
            answers.append(tuple(found.load()(given)))
        except BaseException as failure:  # whatever a stranger's code does, it is a denial
            raised.append(f"{type(failure).__name__}: {failure}"[:200])

    # A thread that does not end is left behind: there is no way to stop it, and the command is over soon.
    thread = threading.Thread(target=ask, name=f"policy {name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        return (denied(rule, f"The plug-in `{name}` failed: {raised[0]}"),)
    if not answers:
        return (denied(rule, f"The plug-in `{name}` did not answer within {seconds:g} s."),)
    said = [row for row in answers[0] if isinstance(row, PolicyResult)]
    strange = next((row for row in answers[0] if not isinstance(row, PolicyResult)), None)
    if strange is not None:
        return (denied(rule, f"The plug-in `{name}` gave a {type(strange).__name__}, which is no PolicyResult."),)
    # It may judge and not approve: approvals are people's.
    own = (
        replace(row, rule=f"{rule.name}/{row.rule}" if row.rule else rule.name, source=rule.source, approved=None)
        for row in said
    )
    return in_order(own) or (PolicyResult(rule=rule.name, effect=PolicyEffect.DENY, met=True, source=rule.source),)


def denied(rule: Rule, message: str) -> PolicyResult:
    return PolicyResult(rule=rule.name, effect=PolicyEffect.DENY, met=False, message=message, source=rule.source)
