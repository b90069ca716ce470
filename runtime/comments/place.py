"""Where this CI job may comment, read from the variables its service sets. Pure, but for the event's file and the summary's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import SkycError, error
from ...compiler.ir import Secret
from ...providers.http import Http, endpoint
from .github import GitHub
from .gitlab import GitLab
from .sticky import Service

GITHUB_TOKEN = "GITHUB_TOKEN"  # noqa: S105 - a variable's name
GITLAB_TOKEN = "SKYC_GITLAB_TOKEN"  # noqa: S105 - a variable's name
SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A request that can be commented on. `label`: for people."""

    label: str
    service: Callable[[Http], Service]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nowhere:
    """Nobody comments from here. `is_mistake`: the user meant it to be otherwise; else it is how such jobs are."""

    reason: str
    is_mistake: bool = False
    hint: str | None = None


def place_of(environ: Mapping[str, str]) -> Place | Nowhere:
    """Raises SkycError for an endpoint or an event that cannot be used."""
    if environ.get("GITHUB_EVENT_PATH"):
        return _github(environ)
    if environ.get("CI_API_V4_URL"):
        return _gitlab(environ)
    return Nowhere(
        reason="This is no job of GitHub Actions (GITHUB_EVENT_PATH is not set) or GitLab CI (CI_API_V4_URL is not set).",
        is_mistake=True,
        hint="leave out --comment here",
    )


def write_summary(body: str, environ: Mapping[str, str]) -> bool:
    """Add the report to the job's summary, where the service has one."""
    place = environ.get(SUMMARY)
    if not place:
        return False
    try:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(body)
    except OSError as failure:
        detail = f"{SUMMARY} names {place}: {failure.strerror}."
        raise SkycError(error("comment-place", "The job's summary cannot be written", detail)) from None
    return True


def _github(environ: Mapping[str, str]) -> Place | Nowhere:
    event = _event(Path(environ["GITHUB_EVENT_PATH"]))
    request = event.get("pull_request")
    if not isinstance(request, dict):
        return Nowhere(reason="this job was not started by a pull request.")
    number = request.get("number")
    repository = environ.get("GITHUB_REPOSITORY", "")
    head, base = _repository(request, "head"), _repository(request, "base")
    if not isinstance(number, int) or repository.count("/") != 1:
        raise _bad_event("it names no pull request, or GITHUB_REPOSITORY no repository")
    if head is None or head != base:
        return Nowhere(reason="the pull request comes from a fork, whose jobs may not write here.")
    token = environ.get(GITHUB_TOKEN)
    if not token:
        return Nowhere(reason=f"{GITHUB_TOKEN} is not set; pass it on: `env: {{GITHUB_TOKEN: ${{{{ github.token }}}}}}`.")
    api = endpoint(environ, "GITHUB_API_URL", "https://api.github.com")
    return Place(
        label=f"{repository}#{number}",
        service=lambda http: GitHub(http=http, api=api, repository=repository, number=number, token=Secret(token)),
    )


def _gitlab(environ: Mapping[str, str]) -> Place | Nowhere:
    number = environ.get("CI_MERGE_REQUEST_IID", "")
    if not number:
        return Nowhere(reason="this job was not started by a merge request.")
    project = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or environ.get("CI_PROJECT_ID", "")
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") or project
    if not number.isdecimal() or not project.isdecimal():
        raise _bad_event("CI_MERGE_REQUEST_IID or CI_MERGE_REQUEST_PROJECT_ID is no number")
    if source != project:
        return Nowhere(reason="the merge request comes from a fork, whose jobs may not write here.")
    token = environ.get(GITLAB_TOKEN)
    if not token:
        return Nowhere(reason=f"{GITLAB_TOKEN} is not set: a project access token with the scope `api`, as a masked variable.")
    api = endpoint(environ, "CI_API_V4_URL", "https://gitlab.com/api/v4")
    return Place(
        label=f"!{number}",
        service=lambda http: GitLab(http=http, api=api, project=int(project), number=int(number), token=Secret(token)),
    )


def _event(path: Path) -> dict[str, Any]:
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise _bad_event(str(failure)) from None
    if not isinstance(event, dict):
        raise _bad_event("it is no object")
    return event


def _repository(request: dict[str, Any], side: str) -> str | None:
    """`owner/name` of one side of a pull request; None where it is gone."""
    found = (request.get(side) or {}).get("repo")
    return found.get("full_name") if isinstance(found, dict) else None


def _bad_event(why: str) -> SkycError:
    return SkycError(error("comment-place", "The job's event cannot be read", f"{why}."))
