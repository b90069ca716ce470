"""Which environment a task is for, as far as its file says so.

The rule: a label `env` or `environment` on a request, or a variable `ENV` or `ENVIRONMENT` under `envs`, names it; `prod`, `prd` and
`production` are called production, and one of these decides whatever else is named. Where nothing names it, it is production when one of
these is a word of the deployment's name. Where a deployment goes, no file is read: then the labels of what dies say it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from ..ir import ChangeSet, TaskGraph
from .cautions import PRODUCTION

LABELS = ("env", "environment")
VARIABLES = ("ENV", "ENVIRONMENT")
_LABEL = re.compile(r"(?:tags|labels)(?:\.|\[\")(?:env|environment)(?:\"\])?")
"""Where a cloud has labels as a mapping; where they are a list, each is `name:value`."""
WORDS = frozenset({"prod", "prd", "production"})


def environment_of(graph: TaskGraph, deployment: str) -> str:
    """`production`, the first other name the file gives, or nothing."""
    return _environment(_said(graph), deployment)


def environment_of_what_goes(sites: Iterable[ChangeSet], deployment: str) -> str:
    """The same of a deployment that is destroyed."""
    return _environment(_labelled(sites), deployment)


def _environment(said: Iterable[str], deployment: str) -> str:
    found = [PRODUCTION if name.lower() in WORDS else name for name in said if name]
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


def _labelled(sites: Iterable[ChangeSet]) -> Iterator[str]:
    for item in (item for site in sites for change in site.changes for item in change.attributes):
        if item.before is None:
            continue
        if _LABEL.fullmatch(item.path):
            yield str(json.loads(item.before))
        elif item.path == "tags" and item.before.startswith("["):
            named = (str(word).partition(":") for word in json.loads(item.before))
            yield from (value for name, _, value in named if name in LABELS)
