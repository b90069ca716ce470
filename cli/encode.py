"""The JSON that `--json` prints. The wire is not the core: each document is spelled out here, field by field.

Every document has `schema: skyc.<thing>/v1`. Within a version fields are only added. Money is text (US dollars), null when not
known; times are ISO 8601 in UTC. `cli/commands/plan.py` prints the report's own JSON instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from ..compiler.diagnostics import Diagnostic
from ..compiler.ir import JsonObject, decimal_text
from ..providers.base import CheckReport
from ..runtime.records import JobRecord
from ..runtime.results import DeploymentStatus, NodeStatus


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
                    "diagnostics": [_diagnostic(diagnostic) for diagnostic in report.diagnostics],
                }
                for report in reports
            ],
        }
    )


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
        "hourly": _money(status.hourly),
        "refreshed": status.refreshed,
        "working": status.working,
        "sites": [{"site": site.site, "provider": site.provider, "resources": site.resources} for site in status.sites],
        "nodes": [_node(node) for node in status.nodes],
        "jobs": [_job(job) for job in status.jobs],
        "diagnostics": [_diagnostic(diagnostic) for diagnostic in status.diagnostics],
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
        "hourly": _money(job.hourly),
        "paid": _money(job.paid),
    }


def _diagnostic(diagnostic: Diagnostic) -> JsonObject:
    return {
        "severity": diagnostic.severity.name.lower(),
        "slug": diagnostic.slug,
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
        "hint": diagnostic.hint,
        "commands": list(diagnostic.commands),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)
