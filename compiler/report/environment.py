"""Which environment a task is for, as far as its file says so.

The rule: a label `env` or `environment` on a request, or a variable `ENV` or `ENVIRONMENT` under `envs`, names it; `prod`, `prd` and
`production` are called production, and one of these decides whatever else is named. Where nothing names it, it is production when one of
these is a word of the deployment's name.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir import TaskGraph
from .cautions import PRODUCTION

LABELS = ("env", "environment")
VARIABLES = ("ENV", "ENVIRONMENT")
WORDS = frozenset({"prod", "prd", "production"})


def environment_of(graph: TaskGraph, deployment: str) -> str:
    """`production`, the first other name the file gives, or nothing."""
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
