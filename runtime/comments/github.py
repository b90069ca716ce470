"""The comments of a pull request at GitHub (REST API of 2022-11-28: issue comments)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...compiler.ir import Secret
from ...providers.http import Http, Request
from ...providers.retry import Again, BadAnswer
from .answers import asked, pages
from .sticky import Comment, Forbidden

PERMISSION = "`permissions: {contents: read, pull-requests: write}`"
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """One pull request. `api`: without a slash at the end."""

    http: Http
    api: str
    repository: str
    number: int
    token: Secret

    def ours(self, first_line: str) -> Sequence[Comment]:
        login = self._login()
        found = []
        for row in pages(
            self.http, self._request(f"issues/{self.number}/comments", query=(("per_page", "100"),)), permission=PERMISSION
        ):
            user, body = row.get("user") or {}, row.get("body") or ""
            mine = user.get("login") == login if login is not None else user.get("type") == "Bot"
            if mine and body.splitlines()[:1] == [first_line]:
                found.append(Comment(id=int(row["id"]), body=body, url=str(row.get("html_url") or "")))
        return sorted(found, key=lambda comment: comment.id)

    def create(self, body: str) -> Comment:
        answer = asked(self.http, self._request(f"issues/{self.number}/comments", "POST", body), permission=PERMISSION)
        if not isinstance(answer.body, dict):
            raise BadAnswer(f"{self.api} answered with something that is no comment")
        return Comment(id=int(answer.body["id"]), body=body, url=str(answer.body.get("html_url") or ""))

    def edit(self, comment: Comment, body: str) -> None:
        request = self._request(f"issues/comments/{comment.id}", "PATCH", body, accepts=(404,))
        if asked(self.http, request, permission=PERMISSION).status == 404:
            raise Again(f"{request.label} answered 404: somebody has removed the comment")

    def remove(self, comment: Comment) -> None:
        asked(self.http, self._request(f"issues/comments/{comment.id}", "DELETE", accepts=(404,)), permission=PERMISSION)

    def _login(self) -> str | None:
        """Whose token it is; None for a job's own, which may not ask that and belongs to a bot."""
        request = Request(url=f"{self.api}/user", headers=HEADERS, secret_headers=self._key())
        try:
            answer = asked(self.http, request, permission=PERMISSION)
        except Forbidden as refused:
            if refused.status == 401:
                raise
            return None
        return str(answer.body["login"]) if isinstance(answer.body, dict) and "login" in answer.body else None

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
            url=f"{self.api}/repos/{self.repository}/{path}",
            method=method,
            params=query,
            headers=HEADERS,
            secret_headers=self._key(),
            body=None if body is None else {"body": body},
            accepts=frozenset(accepts),
        )

    def _key(self) -> dict[str, tuple[str, Secret]]:
        return {"Authorization": ("Bearer ", self.token)}
