"""The JSON that `--json` prints. The wire is not the core: each document is spelled out here, field by field.

Every document has `schema: skyc.<thing>/v1`. Within a version fields are only added. Money (US dollars) and other decimal amounts are
text, null when not known; times are ISO 8601 in UTC. `cli/commands/plan.py` prints the report's own JSON instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ..compiler.diagnostics import diagnostic_object
from ..compiler.ir import JsonObject, decimal_text

if TYPE_CHECKING:
    from ..compiler.ir import DriftRow, GroupPlacement
    from ..compiler.optimize.explain import WhyNot
    from ..providers.base import CheckReport
    from ..runtime.catalog import CatalogSummary
    from ..runtime.eject import EjectResult
    from ..runtime.explain import Explanation
    from ..runtime.field_effects import FieldEffect
    from ..runtime.locking import LockResult
    from ..runtime.offers import Offer, OfferList
    from ..runtime.records import AttemptRecord, JobRecord
    from ..runtime.results import Backend, DeploymentStatus, Drift, NodeStatus


def status_document(found: Iterable[DeploymentStatus]) -> str:
    return _text({"schema": "skyc.status/v1", "deployments": [_deployment(status) for status in found]})


def queue_document(deployment: str, jobs: Iterable[JobRecord]) -> str:
    return _text({"schema": "skyc.queue/v1", "deployment": deployment, "jobs": [_job(job) for job in jobs]})


def check_document(reports: Iterable[CheckReport]) -> str:
    return _text(
        {
            "schema": "skyc.check/v1",
            "targets": [
                {
                    "provider": report.provider,
                    "usable": report.usable,
                    "facts": dict(report.facts),
                    "diagnostics": [diagnostic_object(diagnostic) for diagnostic in report.diagnostics],
                }
                for report in reports
            ],
        }
    )


def drift_document(found: Iterable[Drift]) -> str:
    return _text({"schema": "skyc.drift/v1", "deployments": [_drift(drift) for drift in found]})


def _drift(drift: Drift) -> JsonObject:
    return {
        "deployment": drift.deployment,
        "looked": not drift.failed,
        "drifts": drift.matters(),
        "rows": [_drift_row(row) for row in drift.rows],
        "diagnostics": [diagnostic_object(said) for said in drift.diagnostics],
    }


def _drift_row(row: DriftRow) -> JsonObject:
    return {
        "site": row.site,
        "address": row.address,
        "type": row.type,
        "kind": row.kind.value,
        "path": row.path or None,
        "before": row.before,
        "after": row.after,
        "value": row.value.value,
        "class": row.drift.value,
        "why": row.why,
        "repair": row.repair,
        "adopt": row.adopt,
        "hourly": None if row.hourly is None else decimal_text(row.hourly),
        "origin": None if row.origin is None else str(row.origin),
        "place": row.place or None,
        "field": row.field or None,
        # No target says it yet; a name in the file of somebody who looks would be a guess.
        "who": None,
    }


def backend_document(found: Backend | None) -> str:
    if found is None:
        return _text({"schema": "skyc.backend/v1", "uri": None, "properties": [], "deployments": []})
    return _text(
        {
            "schema": "skyc.backend/v1",
            "uri": found.uri,
            "properties": [{"name": row.name, "holds": row.holds, "detail": row.detail} for row in found.properties],
            "deployments": [
                {
                    "name": row.name,
                    "state": row.state.value if row.state is not None else None,
                    "sites": row.sites,
                    "resources": row.resources,
                    "cut_off": row.cut_off,
                    "working": row.working,
                    "problem": row.problem,
                }
                for row in found.deployments
            ],
            "diagnostics": [diagnostic_object(diagnostic) for diagnostic in found.diagnostics],
        }
    )


def offers_document(found: OfferList) -> str:
    return _text(
        {
            "schema": "skyc.offers/v1",
            "total": found.total,
            "offers": [_offer(offer) for offer in found.offers],
        }
    )


def catalog_document(parts: Iterable[CatalogSummary]) -> str:
    return _text(
        {
            "schema": "skyc.catalog/v1",
            "parts": [
                {
                    "provider": part.provider,
                    "types": part.types,
                    "regions": part.regions,
                    "offers": part.offers,
                    "on_demand_priced": part.on_demand_priced,
                    "spot_priced": part.spot_priced,
                    "estimated": part.estimated,
                    "sells_spot": part.sells_spot,
                    "oldest": part.oldest or None,
                    "newest": part.newest or None,
                    "origin": part.origin,
                    "digest": part.digest,
                    "notes": list(part.notes),
                }
                for part in parts
            ],
        }
    )


def lock_document(made: LockResult) -> str:
    changed = [{"name": row.name, "before": row.locked, "after": row.here} for row in made.changed]
    return _text(
        {
            "schema": "skyc.lock-result/v1",
            "path": made.path,
            "tasks": list(made.tasks),
            "written": made.written,
            "changed": changed,
        }
    )


def fields_document(found: Iterable[FieldEffect]) -> str:
    """`skyc.fields/v1`: what changing fields does."""
    rows = [
        {
            "field": row.field,
            "where": row.where,
            "before": row.before,
            "after": row.after,
            "effect": row.effect,
            "task_changes": row.job,
            "causes": list(row.causes),
            "goes": list(row.lost),
            "stays": list(row.stays),
            "detail": row.detail,
        }
        for row in found
    ]
    return _text({"schema": "skyc.fields/v1", "effects": rows})


def eject_document(made: EjectResult, *, undone: bool) -> str:
    sites = [
        {
            "site": site.site,
            "provider": site.provider,
            "resources": site.resources,
            "files": list(site.files),
            "state": site.state,
        }
        for site in made.sites
    ]
    return _text(
        {
            "schema": "skyc.eject/v1",
            "deployment": made.deployment,
            "directory": made.directory,
            "engine": made.engine,
            "undone": undone,
            "recorded": made.recorded,
            "sites": sites,
        }
    )


def explanation_document(made: Explanation) -> str:
    plan = made.placement
    return _text(
        {
            "schema": "skyc.explanation/v1",
            "name": plan.name,
            "proof": {
                "status": plan.proof.status,
                "method": plan.proof.method,
                "value": decimal_text(plan.proof.value),
                "bound": decimal_text(plan.proof.bound),
                "choices": plan.proof.choices,
            },
            "total": _decimal(plan.total),
            "worst_case": _decimal(plan.worst_case),
            "finish_hours": decimal_text(plan.finish_hours),
            "placements": [_placement(placement) for placement in plan.placements],
            "alternatives": [
                {"placement": _placement(a.placement), "extra": _decimal(a.extra), "reason": a.reason}
                for a in plan.alternatives
            ],
            "storages": [
                {"name": s.name, "location": None if s.location is None else str(s.location), "chosen": s.chosen}
                for s in plan.storages
            ],
            "transfers": [
                {"source": t.source, "destination": t.destination, "gb": decimal_text(t.gb), "amount": _decimal(t.line.amount)}
                for t in plan.transfers
            ],
            "notes": dict(plan.notes.items()),
            "why_not": [_why_not(answer) for answer in made.why_not],
        }
    )


def _placement(placement: GroupPlacement) -> JsonObject:
    return {
        "task": placement.task,
        "group": placement.group,
        "location": str(placement.location),
        "instance_type": placement.instance_type,
        "market": placement.market.value,
        "num_nodes": placement.num_nodes,
        "hourly": _decimal(placement.hourly),
        "hours": decimal_text(placement.hours),
        "lines": [
            {
                "kind": line.kind,
                "label": line.label,
                "quantity": decimal_text(line.quantity),
                "unit": line.unit,
                "unit_price": _decimal(line.unit_price),
                "amount": _decimal(line.amount),
                "source": line.source,
                "as_of": line.as_of,
                "estimated": line.estimated,
            }
            for line in placement.lines
        ],
    }


def _why_not(answer: WhyNot) -> JsonObject:
    return {
        "subject": answer.subject,
        "task": answer.task,
        "group": answer.group,
        "offers": answer.offers,
        "fitting": answer.fitting,
        "best": None if answer.best is None else _placement(answer.best),
        "extra": _decimal(answer.extra),
        "changes": {kind: decimal_text(amount) for kind, amount in answer.changes},
        "hours": decimal_text(answer.hours),
        "hindrances": [
            {
                "reason": row.reason,
                "field": row.field,
                "detail": row.detail,
                "offers": row.offers,
                "alone": row.alone,
                "cheapest": _decimal(row.cheapest),
            }
            for row in answer.hindrances
        ],
    }


def log_line(deployment: str, line: str) -> str:
    """One line of a job's output as one line of JSON."""
    return json.dumps({"schema": "skyc.log/v1", "deployment": deployment, "line": line}, ensure_ascii=False)


def _text(document: JsonObject) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _deployment(status: DeploymentStatus) -> JsonObject:
    return {
        "deployment": status.deployment,
        "state": status.state.value,
        "spec_path": status.spec_path,
        "created": _time(status.created),
        "updated": _time(status.updated),
        "hourly": _decimal(status.hourly),
        "refreshed": status.refreshed,
        "working": status.working,
        "sites": [{"site": site.site, "provider": site.provider, "resources": site.resources} for site in status.sites],
        "nodes": [_node(node) for node in status.nodes],
        "storages": [
            {"name": storage.name, "uri": storage.uri, "gb_month": _decimal(storage.gb_month)} for storage in status.storages
        ],
        "jobs": [_job(job) for job in status.jobs],
        "attempts": [_attempt(attempt) for attempt in status.attempts],
        "diagnostics": [diagnostic_object(diagnostic) for diagnostic in status.diagnostics],
    }


def _attempt(attempt: AttemptRecord) -> JsonObject:
    return {
        "task": attempt.task,
        "group": attempt.group,
        "placement": attempt.placement,
        "outcome": attempt.outcome.value,
        "kind": attempt.kind or None,
        "code": attempt.code or None,
        "detail": attempt.detail,
        "started": _time(attempt.started),
        "finished": _time(attempt.finished),
    }


def _offer(offer: Offer) -> JsonObject:
    return {
        "provider": offer.provider,
        "region": offer.region,
        "zones": list(offer.zones),
        "instance_type": offer.instance_type,
        "cpus": _decimal(offer.cpus),
        "memory_gb": _decimal(offer.memory_gb),
        "accelerators": [
            {"name": device.name, "count": decimal_text(device.count), "memory_gb": _decimal(device.memory_gb)}
            for device in offer.accelerators
        ],
        "arch": offer.arch,
        "local_disk_gb": _decimal(offer.local_disk_gb),
        "on_demand": _decimal(offer.on_demand),
        "spot": _decimal(offer.spot),
        "sells_spot": offer.sells_spot,
        "estimated": offer.estimated,
        "source": offer.source,
        "as_of": offer.as_of,
        "interruption_rate": _decimal(offer.interruption_rate),
        "capacity": offer.capacity,
    }


def _node(node: NodeStatus) -> JsonObject:
    return {
        "name": node.name,
        "site": node.site,
        "task": node.task,
        "group": node.group,
        "rank": node.rank,
        "ip": node.ip,
        "cpus": node.cpus,
        "memory_mb": node.memory_mb,
        "accelerators": dict(node.accelerators),
        "health": node.health,
    }


def _job(job: JobRecord) -> JsonObject:
    return {
        "id": job.id,
        "task": job.task,
        "run": job.run,
        "attempt": job.attempt,
        "kind": job.kind.value,
        "state": job.state.value,
        "exit_code": job.exit_code,
        "failed_rank": job.failed_rank,
        "reason": job.reason,
        "submitted": _time(job.submitted),
        "started": _time(job.started),
        "ended": _time(job.ended),
        "hourly": _decimal(job.hourly),
        "paid": _decimal(job.paid),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _decimal(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)
