"""Names of things, as values with one canonical text each. Never pass these around as bare strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

TaskId = NewType("TaskId", str)
"""A task's name inside its deployment: lower-case letters, digits and hyphens, unique."""

GroupName = NewType("GroupName", str)
"""A node group inside a task. A task without `groups:` has one group, called `main`."""

DeploymentId = NewType("DeploymentId", str)
"""What the user calls the deployment: `[a-z][a-z0-9-]{0,38}`."""

SiteId = NewType("SiteId", str)
"""One root module and state: a task's placement in one provider and region, e.g. `digits.local`; or the deployment's buckets
there, e.g. `_storage.aws-us-east-1`."""

_STORAGE = "_storage"
"""No task can have this name."""


def site_place(provider: str, region: str) -> str:
    """`local`, `aws-us-east-1`: a file name on every system."""
    return provider if provider == region else f"{provider}-{region}"


def storage_site(provider: str, region: str) -> SiteId:
    """The site of the buckets in one region."""
    return SiteId(f"{_STORAGE}.{site_place(provider, region)}")


def holds_storage(site: SiteId) -> bool:
    """Whether it is a site of buckets: it has no nodes, and what it holds may outlive the deployment."""
    return site.startswith(f"{_STORAGE}.")


def task_of(site: SiteId) -> TaskId | None:
    """The task a site runs; None for a site of buckets."""
    return None if holds_storage(site) else TaskId(site.split(".", 1)[0])


@dataclass(frozen=True, slots=True)
class SpecPath:
    """A place in the user's file: keys and list positions. Prints as `tasks[0].resources.accelerators`."""

    steps: tuple[str | int, ...] = ()

    def child(self, step: str | int) -> SpecPath:
        return SpecPath((*self.steps, step))

    @property
    def parent(self) -> SpecPath:
        return SpecPath(self.steps[:-1])

    def __str__(self) -> str:
        text = ""
        for step in self.steps:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text or "(file)"

    def __canonical__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class ResourceAddress:
    """A Terraform resource address inside a root module, e.g. `skyc_node.main-0`."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}.{self.name}"

    def __canonical__(self) -> str:
        return str(self)
