"""The notes of a merge request at GitLab (REST API v4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...compiler.ir import Secret
from ...providers.retry import BadAnswer
from .answers import asked
from .collection import Collection
from .sticky import Comment


@dataclass(frozen=True, kw_only=True)
class GitLab(Collection):
    """One merge request. `api`: `…/api/v4`."""

    project: int

    permission = "the scope `api` and the role Reporter or a higher one, and the job's own token has neither"
    edit_method = "PUT"
    listing = (("per_page", "100"), ("sort", "asc"), ("order_by", "created_at"))

    def comments(self) -> str:
        return f"{self.api}/projects/{self.project}/merge_requests/{self.number}/notes"

    def one(self, comment: Comment) -> str:
        return f"{self.comments()}/{comment.id}"

    def key(self) -> dict[str, tuple[str, Secret]]:
        return {"PRIVATE-TOKEN": ("", self.token)}

    def is_mine(self) -> Callable[[Mapping[str, Any]], bool]:
        me = asked(self.http, self.request(f"{self.api}/user"), permission=self.permission).body
        if not isinstance(me, dict) or "id" not in me:
            raise BadAnswer(f"{self.api}/user does not say who the token is")
        return lambda row: (row.get("author") or {}).get("id") == me["id"] and not row.get("system")
