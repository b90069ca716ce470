"""The Terraform resource `skyc_node`: one Ray node on this machine.

Contract: everything but `rank` decides how a node is started, so a change of it replaces the node. A node that died in the
meantime shows as a replacement because of `health`. State holds no secret: the token stays in files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ...compiler.ir import FrozenMap
from ..base import HEALTHY, is_lost
from ..doors import LOOPBACK
from ..tfplugin.resource import UNKNOWN, CallContext, Planned, ProviderDefinition, ResourceBase, ResourceError, Values
from ..tfplugin.schema import NUMBER, STRING, Attribute, Schema, TypeNotation, map_of
from . import cluster, lifecycle
from .lower import SOURCE, TYPE, VERSION
from .record import NodeRecord, boot_id, new_life_id
from .trees import is_plain_name, new_temp_dir, node_directory

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_PYTHON = re.compile(r"[0-9]+\.[0-9]+")
_RAY = re.compile(r"[0-9]+(\.[0-9A-Za-z]+)+")


def _given(description: str, type_: TypeNotation = STRING, *, required: bool = True) -> Attribute:
    return Attribute(type=type_, required=required, optional=not required, force_new=True, description=description)


def _fact(description: str, type_: TypeNotation = STRING) -> Attribute:
    return Attribute(type=type_, computed=True, description=description)


SCHEMA = Schema(
    description="A Ray node on this machine, on loopback only, with a directory and a Python environment of its own.",
    attributes={
        "deployment": _given("Deployment the node belongs to."),
        "name": _given("Unique in the deployment; also the name of the node's directory."),
        "group": _given("Node group of the task."),
        "rank": Attribute(type=NUMBER, required=True, description="Rank over all nodes of the task; the head has 0."),
        "role": _given("`head` or `worker`."),
        "cpus": _given("CPUs that Ray may give to work on this node.", NUMBER),
        "memory_mb": _given("Memory that Ray may give to work on this node, MiB, its object store included.", NUMBER),
        "accelerators": _given("GPUs set aside for this node, by name.", map_of(NUMBER), required=False),
        "labels": _given("Labels; those under `skyc.io/` are the Ray node's too.", map_of(STRING), required=False),
        "python": _given("Python of the node's environments, `major.minor`."),
        "ray": _given("Ray version."),
        "head_address": _given("A worker's head: its `address`.", required=False),
        "head_life": _given("A worker's head: its `id`. A new head takes its workers with it.", required=False),
        "id": _fact("New for every life of the node."),
        "directory": _fact("Absolute path of everything the node has."),
        "temp_dir": _fact("Ray's temporary directory."),
        "address": _fact("Address and port of the cluster's GCS."),
        "ip": _fact("Where the node listens."),
        "gcs_port": _fact("The head's GCS port.", NUMBER),
        "dashboard_port": _fact("The head's dashboard port; null on a worker.", NUMBER),
        "agent_port": _fact("This node's agent port.", NUMBER),
        "python_path": _fact("Interpreter of the pinned environment."),
        "user_bin": _fact("`bin` directory of the environment of the job."),
        "supervisor_pid": _fact("The process above everything the node runs.", NUMBER),
        "health": _fact("`healthy`, or `dead: <why>`."),
    },
)


class NodeResource(ResourceBase):
    """See the module's docstring."""

    @property
    def schema(self) -> Schema:
        return SCHEMA

    @property
    def type_name(self) -> str:
        return TYPE

    def validate(self, config: Values) -> tuple[tuple[str, str | None], ...]:
        # Names become parts of paths: nothing that could lead out of the home directory gets through.
        mistakes: list[tuple[str, str | None]] = []
        for name, pattern in (("deployment", _NAME), ("name", _NAME), ("group", _NAME), ("python", _PYTHON), ("ray", _RAY)):
            value = config.get(name)
            if isinstance(value, str) and not pattern.fullmatch(value):
                mistakes.append((f"{value!r} is not of the form {pattern.pattern}", name))
        role = config.get("role")
        if isinstance(role, str) and role not in ("head", "worker"):
            mistakes.append((f"{role!r} is neither `head` nor `worker`", "role"))
        for name in ("head_address", "head_life"):
            if role == "worker" and config.get(name) is None:
                mistakes.append(("a worker needs it", name))
            if role == "head" and config.get(name) is not None:
                mistakes.append(("a head has none", name))
        for name, least in (("cpus", 0), ("memory_mb", 255)):
            value = config.get(name)
            if isinstance(value, int | float | Decimal) and not value > least:
                mistakes.append((f"must be more than {least}", name))
        return tuple(mistakes)

    def plan(self, prior: Values | None, proposed: dict[str, Any]) -> Planned:
        planned = super().plan(prior, proposed)
        if prior is None or prior.get("health") == HEALTHY:
            return planned
        # Terraform shows a replacement only for a value that changes, and `healthy` is what the new node will report.
        return Planned({**planned.values, "health": UNKNOWN}, tuple(dict.fromkeys((*planned.requires_replace, "health"))))

    def create(self, planned: Values, context: CallContext) -> Values:
        wanted = _wanted(planned, context.home)
        try:
            record = lifecycle.create(wanted, environ=os.environ)
        except lifecycle.NodeError as failure:
            raise ResourceError(failure.summary, failure.detail) from failure
        return {**planned, **_facts(record, HEALTHY)}

    def read(self, state: Values, context: CallContext) -> Values | None:
        record = _current(state, context.home)
        if record is None:
            return None
        health = cluster.health(record)
        # What is written down decides over a replacement: a node that is too busy to answer is there, with its job.
        return {**state, **_facts(record, health if is_lost(health) else HEALTHY), "rank": record.rank}

    def update(self, prior: Values, planned: Values, context: CallContext) -> Values:
        record = _current(prior, context.home)
        if record is None:
            raise ResourceError("the local node is gone", "It was removed after the plan was made. Plan again.")
        lifecycle.set_rank(record, int(planned["rank"]))
        return planned

    def delete(self, state: Values, context: CallContext) -> None:
        try:
            for record in lifecycle.find_records(context.home, str(state["deployment"])):
                if record.id == state["id"]:
                    lifecycle.delete(record)
        except lifecycle.NodeError as failure:
            raise ResourceError(failure.summary, failure.detail) from failure

    def import_state(self, id: str, context: CallContext) -> Values:
        folder = context.home / "deployments"
        for deployment in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not is_plain_name(deployment.name):
                continue
            for record in lifecycle.find_records(context.home, deployment.name):
                if record.id == id:
                    return _state(record)
        raise ResourceError("no such local node", f"No node below {folder} has the id {id!r}.")


def _current(state: Values, home: Path) -> NodeRecord | None:
    try:
        return lifecycle.current(str(state["id"]), node_directory(home, str(state["deployment"]), str(state["name"])))
    except lifecycle.NodeError as failure:
        raise ResourceError(failure.summary, failure.detail) from failure


def _wanted(planned: Values, home: Path) -> NodeRecord:
    return NodeRecord(
        id=new_life_id(),
        home=str(home),
        deployment=planned["deployment"],
        name=planned["name"],
        group=planned["group"],
        rank=int(planned["rank"]),
        role=planned["role"],
        cpus=Decimal(str(planned["cpus"])),
        memory_mb=int(planned["memory_mb"]),
        accelerators=FrozenMap({name: int(count) for name, count in _mapping(planned.get("accelerators")).items()}),
        labels=FrozenMap({name: str(text) for name, text in _mapping(planned.get("labels")).items()}),
        python=planned["python"],
        ray=planned["ray"],
        head_address=planned.get("head_address"),
        head_life=planned.get("head_life"),
        temp_dir=new_temp_dir(),
        boot=boot_id(),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _facts(record: NodeRecord, health: str) -> dict[str, Any]:
    ports = record.ports
    return {
        "id": record.id,
        "directory": str(record.directory),
        "temp_dir": record.temp_dir,
        "address": None if ports is None else f"{LOOPBACK}:{ports.gcs}",
        "ip": LOOPBACK,
        "gcs_port": None if ports is None else ports.gcs,
        "dashboard_port": None if ports is None else ports.dashboard,
        "agent_port": None if ports is None else ports.agent,
        "python_path": record.python_path,
        "user_bin": str(record.directory / "env" / "bin"),
        "supervisor_pid": record.supervisor_pid,
        "health": health,
    }


def _state(record: NodeRecord) -> dict[str, Any]:
    """The whole state of a node that exists, from its record."""
    return {
        "deployment": record.deployment,
        "name": record.name,
        "group": record.group,
        "rank": record.rank,
        "role": record.role,
        "cpus": record.cpus,
        "memory_mb": record.memory_mb,
        "accelerators": dict(record.accelerators),
        "labels": dict(record.labels),
        "python": record.python,
        "ray": record.ray,
        "head_address": record.head_address,
        "head_life": record.head_life,
        **_facts(record, cluster.health(record)),
    }


def definition() -> ProviderDefinition:
    """What `python -m skyc.providers.tfplugin serve` is pointed at."""
    return ProviderDefinition(resources=(NodeResource(),), source=SOURCE, version=VERSION)
