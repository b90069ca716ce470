"""Two revisions of a repository, compared: what differs per deployment, and how that is shown."""

from .job import job_changes
from .model import DeploymentDiff, JobChange, Kind, Revision, RevisionDiff, in_order
from .render import BUDGET, render_json, render_markdown, render_page, render_text

__all__ = [
    "BUDGET",
    "DeploymentDiff",
    "JobChange",
    "Kind",
    "Revision",
    "RevisionDiff",
    "in_order",
    "job_changes",
    "render_json",
    "render_markdown",
    "render_page",
    "render_text",
]
