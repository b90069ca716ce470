"""A policy file's text to its rules. The same reader as for task files, so the same care about spelling, places and YAML's surprises.

Contract: pure; never raises. What a rule refers to outside of its file (Rego files, an installed package) is not looked at here.
"""

from __future__ import annotations

from typing import Any

from ..diagnostics import Diagnostic, SourceFile, Span, error, has_errors
from ..ir import FrozenMap, PolicyEffect, SpecPath
from ..parse import amounts
from ..parse.nodes import Mapping, compose
from ..parse.reader import Reader
from ..parse.words import found
from .fields import MEANT, POLICY, AllowSpec, MaxSpec, PolicySpec, RequireSpec, RuleSpec, SelectorSpec
from .rules import Allow, Check, Forbid, Max, Plugin, Policy, Rego, Require, Rule, Selector, Thing

CHECKS = ("allow", "max", "forbid", "require", "plugin", "rego")
"""A rule has exactly one of these."""


def parse_policy(source: SourceFile) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """Read a policy file. The policy is None exactly when there is an error among the diagnostics."""
    nodes, complaints = compose(source)
    if nodes is None:
        return None, complaints
    reader = Reader(meant=MEANT, homes={}, diagnostics=list(complaints))
    documents = [node for node in nodes if node is not None]
    top = Span(file=source.path, line=1, column=1, end_line=1, end_column=2)
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        what = found(documents[0]) if len(documents) == 1 else f"{len(documents)} documents"
        detail = f"A policy is one mapping with `rules`; this is {what}."
        span = documents[0].span if documents else top
        reader.diagnostics.append(error("not-a-policy", "The file does not hold a policy", detail, span=span))
        return None, tuple(reader.diagnostics)
    spec: PolicySpec | None = reader.read(POLICY, documents[0], SpecPath())
    if has_errors(reader.diagnostics):
        # What a rule lacks may be what could not be read.
        return None, tuple(reader.diagnostics)
    rules = _rules(spec or PolicySpec(origin=SpecPath()), reader)
    if not rules and not has_errors(reader.diagnostics):
        detail = "It has no rules, so it would hold nothing against anything."
        reader.diagnostics.append(
            error("not-a-policy", "The file does not hold a policy", detail, span=top, hint="write `rules:` and a list")
        )
    diagnostics = tuple(reader.diagnostics)
    return (None if has_errors(diagnostics) else Policy(source=source, rules=rules)), diagnostics


def _rules(spec: PolicySpec, reader: Reader) -> tuple[Rule, ...]:
    made: list[Rule] = []
    taken: set[str] = set()
    for row in spec.rules:
        rule = _rule(row, reader)
        if rule is None:
            continue
        if rule.name in taken:
            detail = f"Two rules are called `{rule.name}`. Who approves one names it, so names are unique."
            place = reader.spans.get(row.origin.child("name"))
            reader.diagnostics.append(error("duplicate-rule", "Two rules have one name", detail, span=place))
        taken.add(rule.name)
        made.append(rule)
    return tuple(made)


def _rule(row: RuleSpec, reader: Reader) -> Rule | None:
    span = reader.spans[row.origin]
    said = len(reader.diagnostics)

    def wrong(slug: str, summary: str, detail: str, field: str = "", hint: str | None = None) -> None:
        place = reader.spans.get(row.origin.child(field)) if field else None
        reader.diagnostics.append(error(slug, summary, detail, span=place or span, hint=hint))

    called = f"The rule `{row.name}`" if row.name else "The rule"
    if not row.name:
        wrong("missing-field", "A field is missing", "A rule needs a `name`: messages and approvals use it.")
    given = [name for name in CHECKS if getattr(row, name) is not None]
    if len(given) != 1:
        words = ", ".join(f"`{name}`" for name in CHECKS)
        if given:
            both = " and ".join(f"`{name}`" for name in given)
            detail = f"{called} has {both}. A rule asks for one thing, so that its name says what was not met."
            wrong("conflicting-fields", "Two fields contradict", detail, given[1], "make two rules of it")
        else:
            wrong("missing-field", "A field is missing", f"{called} asks for nothing: it needs one of {words}.")
        return None
    check = _check(row, given[0])
    if check is None:
        detail = f"`{given[0]}` is empty: {called[0].lower()}{called[1:]} would ask for nothing."
        wrong("missing-value", "A value is missing", detail, given[0])
    effect = PolicyEffect(row.effect or "deny")
    if row.approvers is not None and effect is not PolicyEffect.APPROVE:
        detail = f"{called} names approvers, and its effect is `{effect.value}`."
        wrong("conflicting-fields", "Two fields contradict", detail, "approvers", "write `effect: approve`, or remove them")
    if row.plugin is not None and row.effect is not None:
        detail = f"{called} calls a plug-in, which says the effect of each thing it finds."
        wrong("conflicting-fields", "Two fields contradict", detail, "effect", "remove `effect`")
    if isinstance(check, Forbid) and any(thing.of_destroys for thing in check.things):
        for place, selector in (("when", row.when), ("except", row.unless)):
            if selector is not None and selector.labels:
                detail = f"{called} is about `skyc destroy`, which knows the deployment and its tasks and no labels."
                wrong("conflicting-fields", "Two fields contradict", detail, place, "select by `deployments`")
    if check is None or len(reader.diagnostics) > said:
        return None
    return Rule(
        name=row.name or "",
        check=check,
        effect=effect,
        reason=" ".join((row.reason or "").split()),
        approvers=row.approvers or (),
        when=_selector(row.when) if row.when is not None else Selector(),
        unless=_selector(row.unless) if row.unless is not None else None,
        span=reader.spans.get(row.origin.child(given[0]), span),
        origin=row.origin,
    )


def _check(row: RuleSpec, name: str) -> Check | None:
    """What the rule asks for; None when that is nothing."""
    value: Any = getattr(row, name)
    match value:
        case AllowSpec():
            allow = Allow(
                clouds=value.clouds,
                regions=value.regions,
                zones=value.zones,
                machines=value.machines,
                accelerators=value.accelerators,
            )
            # An empty list would allow nothing at all, which nobody means.
            lists = (allow.clouds, allow.regions, allow.zones, allow.machines, allow.accelerators)
            return None if () in lists or allow == Allow() else allow
        case MaxSpec():
            return _max(value)
        case RequireSpec():
            labels = value.labels or ()
            wanted = labels if isinstance(labels, FrozenMap) else FrozenMap[tuple[str, ...]](dict.fromkeys(labels, ()))
            require = Require(labels=wanted, fields=tuple(dict.fromkeys(value.fields or ())))
            return None if require == Require() else require
        case tuple():
            things = tuple(dict.fromkeys(Thing(word) for word in value))
            return Forbid(things=things) if things else None
        case _:
            text = str(value).strip()
            return None if not text else Plugin(name=text) if name == "plugin" else Rego(directory=text)


def _max(value: MaxSpec) -> Max | None:
    def money(text: str | None) -> Any:
        return None if text is None else amounts.read_money(text)

    made = Max(
        per_run=money(value.per_run),
        per_month=money(value.per_month),
        hourly=money(value.hourly),
        nodes=value.nodes,
        hours=None if value.hours is None else amounts.read_hours(value.hours),
    )
    return None if made == Max() else made


def _selector(row: SelectorSpec) -> Selector:
    return Selector(tasks=row.tasks or (), deployments=row.deployments or (), labels=row.labels or FrozenMap[tuple[str, ...]]())


__all__ = ["CHECKS", "parse_policy"]
