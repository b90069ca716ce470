"""skyc: an infrastructure compiler for compute jobs.

Everything the command line does is a typed call here: `skyc.plan("task.yaml")`, `skyc.apply(…)`, `skyc.status()`, …; inside a
job, `skyc.checkpoint()` says that the checkpoint directory is whole. Calls are loaded when first used, so importing skyc costs
next to nothing, and on a node it needs nothing but the standard library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .runtime.backend.commands import backend_create, backend_show
    from .runtime.calls import (
        adopt_drift,
        apply,
        cancel,
        check,
        destroy,
        drift,
        eject,
        exec,
        lock,
        logs,
        mirror,
        plan,
        queue,
        repair_drift,
        schema,
        shell,
        start,
        status,
        stop,
    )
    from .runtime.catalog import catalog, offers
    from .runtime.catalog_refresh import catalog_refresh
    from .runtime.checkpoint import checkpoint
    from .runtime.comments import comment
    from .runtime.explain import explain, explain_field, explain_fields
    from .runtime.policy.check import policy_check
    from .runtime.revisions.diff import diff

_HOMES = {
    **dict.fromkeys(("backend_create", "backend_show"), "runtime.backend.commands"),
    "catalog_refresh": "runtime.catalog_refresh",
    "checkpoint": "runtime.checkpoint",
    "comment": "runtime.comments",
    "diff": "runtime.revisions.diff",
    "policy_check": "runtime.policy.check",
    **dict.fromkeys(("explain", "explain_field", "explain_fields"), "runtime.explain"),
    **dict.fromkeys(("catalog", "offers"), "runtime.catalog"),
    **dict.fromkeys(
        (
            "adopt_drift",
            "apply",
            "cancel",
            "check",
            "destroy",
            "drift",
            "eject",
            "exec",
            "lock",
            "logs",
            "mirror",
            "plan",
            "queue",
            "repair_drift",
            "schema",
            "shell",
            "start",
            "status",
            "stop",
        ),
        "runtime.calls",
    ),
}

__all__ = [
    "__version__",
    "adopt_drift",
    "apply",
    "backend_create",
    "backend_show",
    "cancel",
    "catalog",
    "catalog_refresh",
    "check",
    "checkpoint",
    "comment",
    "destroy",
    "diff",
    "drift",
    "eject",
    "exec",
    "explain",
    "explain_field",
    "explain_fields",
    "lock",
    "logs",
    "mirror",
    "offers",
    "plan",
    "policy_check",
    "queue",
    "repair_drift",
    "schema",
    "shell",
    "start",
    "status",
    "stop",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
