"""The notes of a merge request at GitLab (REST API v4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...compiler.ir import Secret
from ...providers.http import Http, Request
from ...providers.retry import Again, BadAnswer
from .answers import asked, pages
from .sticky import Comment

PERMISSION = "the scope `api` and the role Reporter or a higher one, and the job's own token has neither"


Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class GitLab:
    """One merge request. `api`: `…/api/v4`, without a slash at the end."""

    http: Http
    api: str
    project: int
    number: int
    token: Secret

    def ours(self, first_line: str) -> Sequence[Comment]:
        me = asked(self.http, Request(url=f"{self.api}/user", secret_headers=self._key()), permission=PERMISSION).body
        if not isinstance(me, dict) or "id" not in me:
            raise BadAnswer(f"{self.api}/user does not say who the token is")
        found = []
        query = (("per_page", "100"), ("sort", "asc"), ("order_by", "created_at"))
        for row in pages(self.http, self._request("", query=query), permission=PERMISSION):
            body = row.get("body") or ""
            mine = (row.get("author") or {}).get("id") == me["id"] and not row.get("system")
            if mine and body.splitlines()[:1] == [first_line]:
                found.append(Comment(id=int(row["id"]), body=body))
        return sorted(found, key=lambda comment: comment.id)

    def create(self, body: str) -> Comment:
        answer = asked(self.http, self._request("", "POST", body), permission=PERMISSION)
        if not isinstance(answer.body, dict):
            raise BadAnswer(f"{self.api} answered with something that is no note")
        return Comment(id=int(answer.body["id"]), body=body)

    def edit(self, comment: Comment, body: str) -> None:
        request = self._request(f"/{comment.id}", "PUT", body, accepts=(404,))
        if asked(self.http, request, permission=PERMISSION).status == 404:
            raise Again(f"{request.label} answered 404: somebody has removed the note")

    def remove(self, comment: Comment) -> None:
        asked(self.http, self._request(f"/{comment.id}", "DELETE", accepts=(404,)), permission=PERMISSION)

    def _request(
        self,
        path: str,
        method: str = "GET",
        body: str | None = None,
        *,
        accepts: tuple[int, ...] = (),
        query: tuple[tuple[str, str], ...] = (),
    ) -> Request:
        return Request(
            url=f"{self.api}/projects/{self.project}/merge_requests/{self.number}/notes{path}",
            method=method,
            params=query,
            secret_headers=self._key(),
            body=None if body is None else {"body": body},
            accepts=frozenset(accepts),
        )

    def _key(self) -> dict[str, tuple[str, Secret]]:
        return {"PRIVATE-TOKEN": ("", self.token)}
