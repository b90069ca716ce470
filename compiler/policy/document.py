"""What a plan is to rules that are no Python: a JSON document, `skyc.policy-input/v1` (docs/policy.md lists its fields).

Contract: pure. Nothing secret is in it: of `envs` and `secrets` the names, of scripts nothing, of Terraform's code types and addresses
alone. Amounts are JSON numbers, None where nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ..ir import ChangeSet, GroupPlacement, ImageByPlace, JsonObject, NodeGroup, Task
from ..optimize.rates import MONTH, total
from .amounts import envelopes_of, hourly, per_run, worst_hourly, worst_of
from .evaluate import PolicyInput

SCHEMA = "skyc.policy-input/v1"


def document(given: PolicyInput) -> JsonObject:
    """A fresh document."""
    plan, tasks = given.placement, given.graph.tasks
    envelopes = envelopes_of(plan)
    running, kept = hourly(envelopes, given.endless), total(bucket.monthly for bucket in given.buckets)
    return {
        "schema": SCHEMA,
        "deployment": given.deployment,
        "destroying": False,
        "purge": False,
        "tasks": [_task(task) for task in tasks],
        "placements": [
            _placement(task, item, number)
            for task in tasks
            for group in task.groups
            for number, item in enumerate(envelopes[task.id, group.name])
        ],
        "storages": [
            {
                "name": bucket.storage.name,
                "cloud": bucket.location.provider,
                "region": bucket.location.region,
                "size_gb": _number(bucket.storage.size_gb),
                "per_month": _number(bucket.monthly),
                "persistent": bucket.storage.persistent,
            }
            for bucket in given.buckets
        ],
        "cost": {
            "expected": _number(plan.total),
            "per_run": _number(per_run(plan, envelopes, tasks, everything=True)),
            "hourly": _number(hourly(envelopes, [task.id for task in tasks])),
            "per_month": _number(None if running is None or kept is None else running * MONTH + kept),
        },
        "ssh_from": list(given.ssh_from),
        "resources": [
            {"site": graph.site, "address": str(node.address), "type": node.address.type}
            for graph in given.graphs
            for node in graph.resources
        ],
        "compared": given.compared,
        "changes": change_rows(given.changes),
    }


def change_rows(changes: tuple[ChangeSet, ...]) -> list[JsonObject]:
    """What Terraform would do, without any value."""
    return [
        {"site": site.site, "address": change.address, "type": change.type, "action": change.action.value}
        for site in changes
        for change in site.changes
    ]


def _task(task: Task) -> JsonObject:
    return {
        "name": task.id,
        "nodes": task.num_nodes,
        "hours": None if task.hours_assumed else _number(task.hours),
        "budget": _number(task.budget),
        "deadline": task.deadline,
        "checkpoint": task.checkpoint is not None,
        "needs": list(task.needs),
        "envs": list(task.envs),
        "secrets": list(task.secrets),
        "groups": [_group(group) for group in task.groups],
    }


def _group(group: NodeGroup) -> JsonObject:
    return {
        "name": group.name,
        "nodes": group.num_nodes,
        "requests": [
            {
                "infra": str(request.infra),
                "market": request.market.value,
                "instance_type": request.instance_type,
                "accelerators": [f"{item.name}:{item.count}" for item in request.accelerators or ()],
                "image_id": _image(request.image_id),
                "ports": list(request.ports),
                "labels": dict(request.labels),
            }
            for request in group.requests
        ],
    }


def _image(image: str | ImageByPlace | None) -> JsonObject | str | None:
    """A text, or an object from place to text."""
    return dict(image.images) if isinstance(image, ImageByPlace) else image


def _placement(task: Task, item: GroupPlacement, number: int) -> JsonObject:
    """fallback: 0 for the choice, then in the order they are tried."""
    return {
        "task": item.task,
        "group": item.group,
        "fallback": number,
        "cloud": item.provider,
        "region": item.region,
        "zone": item.zone,
        "machine": item.instance_type,
        "market": item.market.value,
        "nodes": item.num_nodes,
        "cpus": _number(item.shape.cpus),
        "memory_gb": _number(item.shape.memory_gb),
        "accelerators": list(_devices(item)),
        "hours": _number(item.hours),
        "hourly": _number(worst_hourly(item)),
        "per_run": _number(worst_of(task, item)),
    }


def _devices(item: GroupPlacement) -> Iterator[JsonObject]:
    for device in item.shape.accelerators:
        yield {"name": device.name, "count": _number(device.count)}


def _number(value: Decimal | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)
