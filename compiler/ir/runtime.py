"""What every node runs. One place, because the plan, the node's environment and the job client must agree."""

from __future__ import annotations

from dataclasses import dataclass

RAY_VERSION = "2.60.0"
"""Pinned: the client, every node and `pyproject.toml`'s `ray` extra use this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRuntime:
    """The Python and Ray of a node's environment. `python` is `major.minor`."""

    python: str
    ray: str = RAY_VERSION
