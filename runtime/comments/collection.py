"""A request's comments at a service that keeps them as a REST collection: list, create, edit and remove, each one attempt.

What differs between services is a subclass: where the collection lies, whose a comment is, and how the token travels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...compiler.ir import Secret
from ...providers.http import Http, Request
from ...providers.retry import Again, BadAnswer
from .answers import asked, pages
from .sticky import Comment

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Collection(ABC):
    """The comments of one request. `api`: without a slash at the end. Fulfils `sticky.Service`."""

    http: Http
    api: str
    number: int
    token: Secret

    permission: ClassVar[str]
    """What the token needs, in words."""
    edit_method: ClassVar[str]
    listing: ClassVar[Query]
    headers: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def comments(self) -> str:
        """URL of the collection."""

    @abstractmethod
    def one(self, comment: Comment) -> str:
        """URL of a comment."""

    @abstractmethod
    def key(self) -> dict[str, tuple[str, Secret]]:
        """The header with the token."""

    @abstractmethod
    def is_mine(self) -> Callable[[Mapping[str, Any]], bool]:
        """Ask who the token is; what tells of a listed comment whether it is theirs."""

    def ours(self, first_line: str) -> Sequence[Comment]:
        mine = self.is_mine()
        found = []
        for row in pages(self.http, self.request(self.comments(), query=self.listing), permission=self.permission):
            body = row.get("body") or ""
            if mine(row) and body.splitlines()[:1] == [first_line]:
                found.append(_comment(row, body))
        return sorted(found, key=lambda comment: comment.id)

    def create(self, body: str) -> Comment:
        answer = asked(self.http, self.request(self.comments(), "POST", body), permission=self.permission)
        if not isinstance(answer.body, dict):
            raise BadAnswer(f"{self.api} answered with something that is no comment")
        return _comment(answer.body, body)

    def edit(self, comment: Comment, body: str) -> None:
        request = self.request(self.one(comment), self.edit_method, body, accepts=(404,))
        if asked(self.http, request, permission=self.permission).status == 404:
            raise Again(f"{request.label} answered 404: somebody has removed the comment")

    def remove(self, comment: Comment) -> None:
        asked(self.http, self.request(self.one(comment), "DELETE", accepts=(404,)), permission=self.permission)

    def request(
        self, url: str, method: str = "GET", body: str | None = None, *, accepts: Sequence[int] = (), query: Query = ()
    ) -> Request:
        return Request(
            url=url,
            method=method,
            params=query,
            headers=self.headers,
            secret_headers=self.key(),
            body=None if body is None else {"body": body},
            accepts=frozenset(accepts),
        )


def _comment(row: Mapping[str, Any], body: str) -> Comment:
    return Comment(id=int(row["id"]), body=body, url=str(row.get("html_url") or ""))
