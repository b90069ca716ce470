"""The comments of a pull request at GitHub (REST API of 2022-11-28: issue comments)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...compiler.ir import Secret
from .answers import asked
from .collection import Collection
from .sticky import Comment, Forbidden


@dataclass(frozen=True, kw_only=True)
class GitHub(Collection):
    """One pull request. `repository`: `owner/name`."""

    repository: str

    permission = "`permissions: {contents: read, pull-requests: write}`"
    edit_method = "PATCH"
    listing = (("per_page", "100"),)
    headers: ClassVar[Mapping[str, str]] = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }

    def comments(self) -> str:
        return f"{self._issues()}/{self.number}/comments"

    def one(self, comment: Comment) -> str:
        return f"{self._issues()}/comments/{comment.id}"

    def _issues(self) -> str:
        return f"{self.api}/repos/{self.repository}/issues"

    def key(self) -> dict[str, tuple[str, Secret]]:
        return {"Authorization": ("Bearer ", self.token)}

    def is_mine(self) -> Callable[[Mapping[str, Any]], bool]:
        login = self._login()

        def mine(row: Mapping[str, Any]) -> bool:
            user = row.get("user") or {}
            return bool(user.get("login") == login if login is not None else user.get("type") == "Bot")

        return mine

    def _login(self) -> str | None:
        """Whose token it is; None for a job's own, which may not ask that and belongs to a bot."""
        try:
            answer = asked(self.http, self.request(f"{self.api}/user"), permission=self.permission)
        except Forbidden as refused:
            if refused.status == 401:
                raise
            return None
        return str(answer.body["login"]) if isinstance(answer.body, dict) and "login" in answer.body else None
