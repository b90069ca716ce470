"""Which environment a task is for, as far as its file says so.

The rule, in this order: a label `env` or `environment` on a request; a variable `ENV` or `ENVIRONMENT` under `envs`; the deployment's
name, when `prod` or `production` is one of its words. `prod`, `prd` and `production` are called production; any other word stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir import TaskGraph
from .cautions import PRODUCTION

LABELS = ("env", "environment")
VARIABLES = ("ENV", "ENVIRONMENT")
WORDS = frozenset({"prod", "prd", "production"})


def environment_of(graph: TaskGraph, deployment: str) -> str:
    """`production`, another name the file gives, or nothing. Production wins where tasks differ."""
    found = [PRODUCTION if name.lower() in WORDS else name for name in _said(graph) if name]
    if not found and WORDS & set(deployment.lower().split("-")):
        return PRODUCTION
    return PRODUCTION if PRODUCTION in found else next(iter(found), "")


def _said(graph: TaskGraph) -> Iterator[str]:
    for task in graph.tasks:
        for group in task.groups:
            for request in group.requests:
                yield from (request.labels[name] for name in LABELS if name in request.labels)
    for task in graph.tasks:
        yield from (task.envs[name] for name in VARIABLES if name in task.envs)
