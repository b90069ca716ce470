"""The field table of a policy file, as `parse/fields.py` is that of a task file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir import FrozenMap, SpecPath
from ..ir.restriction import Patterns
from ..parse import amounts
from ..parse.kinds import Choice, Field, ListOf, MapOf, OneOf, Record, Text, Whole
from .rules import Thing

FIELDS_REQUIRED = ("budget", "checkpoint", "deadline", "hours")
"""Fields of a task that `require` can ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowSpec:
    origin: SpecPath
    clouds: Patterns | None = None
    regions: Patterns | None = None
    zones: Patterns | None = None
    machines: Patterns | None = None
    accelerators: Patterns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxSpec:
    origin: SpecPath
    per_run: str | None = None
    per_month: str | None = None
    hourly: str | None = None
    nodes: int | None = None
    hours: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireSpec:
    origin: SpecPath
    labels: tuple[str, ...] | FrozenMap[Patterns] | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorSpec:
    origin: SpecPath
    tasks: Patterns | None = None
    deployments: Patterns | None = None
    labels: FrozenMap[Patterns] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    origin: SpecPath
    name: str | None = None
    reason: str | None = None
    effect: str | None = None
    approvers: Patterns | None = None
    when: SelectorSpec | None = None
    unless: SelectorSpec | None = None
    allow: AllowSpec | None = None
    max: MaxSpec | None = None
    forbid: tuple[str, ...] | None = None
    require: RequireSpec | None = None
    plugin: str | None = None
    rego: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    origin: SpecPath
    rules: tuple[RuleSpec, ...] = field(default=())


def _patterns() -> ListOf:
    return ListOf(Text(numbers=True), single=True)


_MONEY = Text(amounts.MONEY, numbers=True)

ALLOW = Record(
    "allow",
    (
        Field("clouds", _patterns(), "Targets: `[aws, gcp]`."),
        Field("regions", _patterns(), "Regions: `[eu-*, europe-*]`. Holds for buckets too."),
        Field("zones", _patterns(), "Zones."),
        Field("machines", _patterns(), "Machine types: `[g5.*, '!g5.48xlarge']`."),
        Field("accelerators", _patterns(), "Accelerators, where a machine has any: `['!H100', '!H200']`."),
    ),
    AllowSpec,
)

MAX = Record(
    "max",
    (
        Field("per_run", _MONEY, "US dollars for one run, in the worst case."),
        Field("per_month", _MONEY, "US dollars a month for what stays after the run."),
        Field("hourly", _MONEY, "US dollars per hour for all machines at once, in the worst case."),
        Field("nodes", Whole(1, 1_000_000), "Machines at once."),
        Field("hours", Text(amounts.HOURS, numbers=True), "Expected run time of each task: `12`, `90m`."),
    ),
    MaxSpec,
)

REQUIRE = Record(
    "require",
    (
        Field(
            "labels",
            OneOf((ListOf(Text(), single=True), MapOf(_patterns(), named=True))),
            "Labels every machine must have: names, or `{team: 'ml-*'}` for their values too.",
        ),
        Field("fields", ListOf(Choice(FIELDS_REQUIRED), single=True), "Fields every task must give."),
    ),
    RequireSpec,
)

SELECTOR = Record(
    "selector",
    (
        Field("tasks", _patterns(), "Names of tasks."),
        Field("deployments", _patterns(), "Names of deployments."),
        Field("labels", MapOf(_patterns(), named=True), "Labels of the task's machines: `{env: prod}`."),
    ),
    SelectorSpec,
)

RULE = Record(
    "rule",
    (
        Field("name", Text(amounts.NAME), "What the rule is called, in messages and by who approves."),
        Field("reason", Text(), "Why there is this rule; shown to who meets it."),
        Field("effect", Choice(("deny", "warn", "approve")), "`deny` (the default), `warn`, or `approve`: somebody has to."),
        Field("approvers", _patterns(), "Who may approve: e-mail addresses or patterns of them."),
        Field("when", SELECTOR, "Holds only for these tasks."),
        Field("except", SELECTOR, "Does not hold for these.", alias="unless"),
        Field("allow", ALLOW, "Where and on what tasks may run."),
        Field("max", MAX, "The most they may cost and take."),
        Field("forbid", ListOf(Choice(tuple(thing.value for thing in Thing)), single=True), "What must not be."),
        Field("require", REQUIRE, "What every task must have."),
        Field("plugin", Text(amounts.NAME), "A Python function of an installed package, by its entry point's name."),
        Field("rego", Text(), "A directory of Rego files beside this one."),
    ),
    RuleSpec,
)

POLICY = Record("policy", (Field("rules", ListOf(RULE), "The rules. All of them hold."),), PolicySpec)

MEANT = {
    "id": "name",
    "description": "reason",
    "message": "reason",
    "because": "reason",
    "action": "effect",
    "severity": "effect",
    "unless": "except",
    "exclude": "except",
    "if": "when",
    "match": "when",
    "selector": "when",
    "deny": "forbid",
    "block": "forbid",
    "limit": "max",
    "limits": "max",
    "budget": "per_run",
    "cost": "per_run",
    "monthly": "per_month",
    "per_hour": "hourly",
    "providers": "clouds",
    "cloud": "clouds",
    "region": "regions",
    "instance_types": "machines",
    "gpus": "accelerators",
    "tags": "labels",
    "opa": "rego",
    "python": "plugin",
}
"""Words people use for a field where the spelling is no help."""
