"""A report as JSON, `schema: skyc.plan/v1`, and the JSON Schema of that. Within the version fields are only added.

Amounts that are read (`per_run`) are text as in every other format; below `usd` stand the exact ones as decimal text, null when not
known. Values too long for people are whole here: what another format has left out for its size is found in this one.
"""

from __future__ import annotations

import json
from importlib.resources import files

from ..diagnostics import diagnostic_object
from ..ir import JsonObject, PolicyResult, ValueKind, decimal_text
from .harmless import invisible
from .model import AlternativeRow, ChangeRow, Costs, FallbackRow, GroupRow, Report, Side
from .money import Sum

SCHEMA = "skyc.plan/v1"


def schema() -> JsonObject:
    """The JSON Schema of `render_json`'s documents."""
    loaded: JsonObject = json.loads(files(__package__).joinpath("plan.schema.json").read_text(encoding="utf-8"))
    return loaded


def render_json(report: Report) -> str:
    """One document, its keys in a fixed order."""
    return _escape_invisible(json.dumps(_document(report), indent=2, ensure_ascii=False)) + "\n"


def _document(report: Report) -> JsonObject:
    prints = report.fingerprints
    return {
        "schema": SCHEMA,
        "deployment": report.deployment,
        "environment": report.environment or None,
        "task_file": report.task_file or None,
        "tone": report.tone.value,
        "destroying": report.destroying,
        "compared": report.compared,
        "unfinished": list(report.unfinished),
        "incomplete": list(report.incomplete),
        "fingerprints": None if prints is None else {"compiled": prints.compiled, "changes": prints.changes},
        "cost": _cost(report.costs),
        "placement": [_placement(row, row.after) for row in report.groups if row.after is not None],
        "proof": report.proof,
        "objective": report.objective or None,
        "moves": list(report.moves),
        "kept": list(report.kept),
        "notes": list(report.notes),
        "alternatives": [_in_words(row) for row in report.alternatives],
        "runners_up": [_runner_up(row) for row in report.alternatives],
        "left_out": [
            {"task": row.task, "group": row.group, "count": row.count, "reason": row.reason, "detail": row.detail}
            for row in report.rejections
        ],
        "envelope": [_fallback(row) for row in report.fallbacks],
        "counts": {
            "add": report.counts.add,
            "change": report.counts.change,
            "destroy": report.counts.destroy,
            "unchanged": report.counts.unchanged,
            "moved": report.counts.moved,
            "imported": report.counts.imported,
            "forgotten": report.counts.forgotten,
        },
        "cautions": [caution.sentence for caution in report.cautions],
        "risks": [
            {"risk": caution.risk.value, "subject": subject, "text": caution.sentence}
            for caution in report.cautions
            for subject in caution.subjects
        ],
        "policies": [policy_object(rule) for rule in report.policies],
        "policy_digest": report.policy_digest or None,
        "jobs": [{"task": job.task, "action": job.action.value, "run": job.run, "detail": job.detail} for job in report.jobs],
        "changes": [_change(row) for row in report.changes],
        "drift": [_change(row) for row in report.drift],
        "diagnostics": [diagnostic_object(said) for said in report.diagnostics],
        "engine": report.engine,
        "catalog_digest": report.catalog_digest,
    }


def _escape_invisible(text: str) -> str:
    """JSON with `\\u…` for what JSON itself lets through and a terminal obeys: DEL, right-to-left marks, line separators."""
    return "".join(json.dumps(char)[1:-1] if char != "\n" and invisible(char) else char for char in text)


def _usd(amount: Sum) -> str | None:
    return None if amount.exact is None else decimal_text(amount.exact)


def _cost(costs: Costs) -> JsonObject:
    return {
        "per_run": str(costs.total),
        "per_run_before": None if costs.before is None else str(costs.before),
        "worst_case": str(costs.worst),
        "hourly": costs.hourly.rate,
        "hourly_ending": None if costs.ends is None else costs.ends.rate,
        "kept_monthly": str(costs.kept),
        "hours": costs.hours + (" assumed" if costs.assumed else ""),
        "usd": {
            "per_run": _usd(costs.total),
            "per_run_at_least": decimal_text(costs.total.known),
            "per_run_before": None if costs.before is None else _usd(costs.before),
            "worst_case": _usd(costs.worst),
            "hourly": _usd(costs.hourly),
            "hourly_ending": None if costs.ends is None else _usd(costs.ends),
            "kept_monthly": _usd(costs.kept),
        },
        "lines": [
            {
                "of": row.of or None,
                "kind": row.kind,
                "label": row.label,
                "quantity": f"{row.quantity} {row.unit}",
                "unit_price": row.unit_price,
                "amount": row.amount,
                "source": f"{row.source}, {row.as_of}" if row.as_of else row.source,
                "estimated": row.estimated,
            }
            for row in costs.rows
        ],
    }


def _placement(row: GroupRow, side: Side) -> JsonObject:
    return {
        "task": row.task,
        "group": row.group,
        **_side(side),
        "fallbacks": row.fallbacks,
        "before": None if row.before is None else _side(row.before),
    }


def _side(side: Side) -> JsonObject:
    return {
        "where": side.where,
        "machine": f"{side.machine} ({side.shape} each)",
        "nodes": side.nodes,
        "market": side.market,
        "hourly": side.hourly.rate,
        "hours": side.hours,
        "amount": str(side.amount),
    }


def _in_words(row: AlternativeRow) -> str:
    return f"{row.where} {row.machine}: " + (f"{row.extra}, {row.reason}" if row.extra else row.reason)


def _runner_up(row: AlternativeRow) -> JsonObject:
    return {
        "task": row.task,
        "group": row.group,
        "where": row.where,
        "machine": row.machine,
        "market": row.market,
        "per_run": row.total,
        "extra": row.extra or None,
        "reason": row.reason,
    }


def _fallback(row: FallbackRow) -> JsonObject:
    return {
        "task": row.task,
        "group": row.group,
        "where": row.where,
        "machine": row.machine,
        "market": row.market,
        "hourly": row.hourly,
        "worst_hourly": row.worst or row.hourly,
    }


def policy_object(rule: PolicyResult) -> JsonObject:
    """What a rule says, as every document has it."""
    return {
        "rule": rule.rule,
        "effect": rule.effect.value,
        "met": rule.met,
        "blocks": rule.blocks,
        "message": rule.message,
        "source": rule.source,
        "origin": None if rule.origin is None else str(rule.origin),
        "approved": rule.approved,
    }


def _change(row: ChangeRow) -> JsonObject:
    change = row.change
    return {
        "site": row.site or None,
        "address": change.address,
        "type": change.type,
        "action": change.action.value,
        "reason": change.reason,
        "origin": None if change.origin is None else str(change.origin),
        "previous_address": change.previous_address,
        "importing": change.importing,
        "attributes": [
            {
                "path": a.path,
                "kind": a.kind.value,
                "before": None if a.kind is ValueKind.SECRET else a.before,
                "after": None if a.kind is ValueKind.SECRET else a.after,
                "forces_replacement": a.forces_replacement,
            }
            for a in change.attributes
        ],
    }
