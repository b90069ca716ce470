"""One comment of a pull or merge request that is kept up to date: written, edited only where it would say something else.

Contract
- The comment is found by its hidden first line among those the token's owner wrote. Others' comments are never read as ours: who can
  comment could else have us edit theirs.
- However often it is called and wherever it is cut off, there is one comment and it says what the last call had to say: every attempt
  looks before it writes, so an attempt whose answer was lost is not repeated blindly.
- The token is read from the environment and is in no argument, message or log. Without one, and for requests from forks, whose jobs have
  none to be trusted with, the report goes to the job's summary alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ...compiler.diagnostics import SkycError, error
from ...compiler.revisions import BUDGET, RevisionDiff, render_markdown
from ...compiler.revisions.render import marker
from ...providers.http import Http
from ...providers.retry import Refused, Schedule, SourceFailure
from .place import Nowhere, Place, place_of, write_summary
from .sticky import Comment, CommentResult, Forbidden, Service, TooLong, Written, settle

SMALL_BUDGET = 20_000
"""Bytes, after a service has called the first report too long."""

__all__ = ["Comment", "CommentResult", "Service", "Written", "comment"]


def comment(
    found: RevisionDiff, *, name: str = "default", environ: Mapping[str, str] | None = None, schedule: Schedule | None = None
) -> CommentResult:
    """Write, edit or leave the comment of the pull or merge request this CI job is for, and the job's summary.

    name: which of several comments of one request; letters, digits and hyphens. Raises SkycError: `comment-place` outside of such a job,
    `comment-refused` where the token lacks a permission, `comment-failed` where the service does not answer.
    """
    variables = os.environ if environ is None else environ
    if not name or not name.replace("-", "").isalnum() or not name.isascii():
        raise SkycError(
            error("comment-place", "A comment's name cannot be used", f"`{name}` holds more than letters, digits and hyphens.")
        )
    summary = write_summary(render_markdown(found, name=name), variables)
    place = place_of(variables)
    if isinstance(place, Nowhere):
        if place.is_mistake:
            raise SkycError(error("comment-place", "There is no request to comment on", place.reason, hint=place.hint))
        return CommentResult(written=Written.SKIPPED, reason=place.reason, summary=summary)
    body = partial(render_markdown, found, name=name)
    try:
        with Http(schedule=schedule) as http:
            result = _settled(place, http, marker(name), body, needed=found.has_differences)
    except Forbidden as failure:
        raise SkycError(error("comment-refused", "The comment may not be written", failure.detail, hint=failure.hint)) from None
    except (Refused, SourceFailure) as failure:
        raise SkycError(
            error(
                "comment-failed",
                "The comment could not be written",
                f"{failure}. The report is above" + (" and in the job's summary." if summary else "."),
                hint="run the job again; what was written is found and edited",
            )
        ) from None
    return replace(result, summary=summary)


def _settled(place: Place, http: Http, first_line: str, body: partial[str], *, needed: bool) -> CommentResult:
    service = place.service(http)
    try:
        return settle(service, http.schedule, first_line, body(budget=BUDGET), needed=needed)
    except TooLong:
        try:
            return settle(service, http.schedule, first_line, body(budget=SMALL_BUDGET), needed=needed)
        except TooLong as failure:
            raise SourceFailure(str(failure)) from None
