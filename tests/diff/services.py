"""Stand-ins for the comment APIs of GitHub and GitLab: real HTTP servers of this machine, with pages, limits, rights and faults.

What they do is what the services' documentation says: GitHub's `Link` pages, `ETag`, 422 for a body beyond 65,536 characters or
262,144 bytes, 403 for a job's token that asks who it is; GitLab's notes with `PRIVATE-TOKEN`. `faults` are taken one per read,
`write_faults` one per write, in order.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JOB, PERSON, READ_ONLY = "ghs_job-token", "ghp_ann-token", "ghs_fork-token"
BOT = {"login": "github-actions[bot]", "type": "Bot"}
ANN = {"login": "ann", "type": "User"}
FAULTS = ("500-before", "502-after", "cut-before", "cut-after", "429", "403-limited", "403-secondary", "not-json")


@dataclass
class World:
    """The comments of one request, and what was asked. `page`: how many comments a page has at most."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    write_faults: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    page: int = 3
    longest: int = 65_536
    next_id: int = 100
    locked: bool = False
    url: str = ""

    def add(self, body: str, user: dict[str, str] = ANN) -> dict[str, Any]:
        self.next_id += 1
        comment = {"id": self.next_id, "body": body, "user": user, "html_url": f"https://example.invalid/c/{self.next_id}"}
        self.comments.append(comment)
        return comment

    def bodies(self, login: str = BOT["login"]) -> list[str]:
        return [comment["body"] for comment in self.comments if comment["user"]["login"] == login]


Reply = tuple[int, Any, dict[str, str]]


class _Handler(BaseHTTPRequestHandler):
    world: World

    def log_message(self, format: str, *arguments: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        world = self.world
        size = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(size)) if size else None
        world.asked.append((self.command, self.path))
        waiting = world.faults if self.command == "GET" else world.write_faults
        fault = waiting.pop(0) if waiting else ""
        early: dict[str, Reply] = {
            "500-before": (500, {"message": "oops"}, {}),
            "429": (429, {"message": "slow down"}, {"Retry-After": "1"}),
            "403-limited": (
                403,
                {"message": "API rate limit exceeded"},
                {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"},
            ),
            "403-secondary": (403, {"message": "You have exceeded a secondary rate limit"}, {}),
        }
        if fault == "cut-before":
            self.close_connection = True
            return
        status, body, headers = early[fault] if fault in early else self.answer(sent)
        if fault == "cut-after":
            self.close_connection = True
            return
        if fault == "502-after":
            status, body, headers = 502, {"message": "bad gateway"}, {}
        content = b"<html>a proxy's page</html>" if fault == "not-json" else b"" if body is None else json.dumps(body).encode()
        self.send_response(502 if fault == "not-json" else status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, sent: Any) -> Reply:
        raise NotImplementedError

    def listed(self, rows: list[dict[str, Any]]) -> Reply:
        """One page, with the way to the next in `Link`."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        number, most = int(query.get("page", ["1"])[0]), min(self.world.page, int(query.get("per_page", ["30"])[0]))
        shown = rows[(number - 1) * most : number * most]
        headers = {"ETag": f'"{hashlib.sha256(json.dumps(shown).encode()).hexdigest()}"'}
        if number * most < len(rows):
            headers["Link"] = (
                f'<{self.world.url}{parts.path}?per_page={most}&page={number + 1}>; rel="next", <{self.world.url}>; rel="last"'
            )
        return 200, shown, headers

    def changed(self, id_: int, sent: Any) -> Reply:
        """An edit or a removal of one comment."""
        world = self.world
        found = next((comment for comment in world.comments if comment["id"] == id_), None)
        if found is None:
            return 404, {"message": "Not Found"}, {}
        if self.command == "DELETE":
            world.comments.remove(found)
            return 204, None, {}
        if not self.fits(sent):
            return self.too_long()
        found["body"] = sent["body"]
        return 200, found, {}

    def fits(self, sent: Any) -> bool:
        return len(sent["body"]) <= self.world.longest and len(sent["body"].encode()) <= 262_144

    def too_long(self) -> Reply:
        errors = [{"resource": "IssueComment", "message": "body is too long (maximum is 65536 characters)"}]
        return 422, {"message": "Validation Failed", "errors": errors}, {}


class _GitHub(_Handler):
    def answer(self, sent: Any) -> Reply:
        world = self.world
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in (JOB, PERSON, READ_ONLY):
            return 401, {"message": "Bad credentials"}, {}
        path = urlsplit(self.path).path
        if path == "/user":
            return (200, ANN, {}) if token == PERSON else (403, {"message": "Resource not accessible by integration"}, {})
        if path == "/repos/acme/jobs/issues/7/comments" and self.command == "GET":
            return self.listed(world.comments)
        if token == READ_ONLY:
            return 403, {"message": "Resource not accessible by integration"}, {}
        if world.locked:
            return 403, {"message": "Unable to create comment because issue is locked."}, {}
        if path == "/repos/acme/jobs/issues/7/comments":
            if not self.fits(sent):
                return self.too_long()
            return 201, world.add(sent["body"], ANN if token == PERSON else BOT), {}
        found = re.fullmatch(r"/repos/acme/jobs/issues/comments/(\d+)", path)
        return self.changed(int(found[1]), sent) if found else (404, {"message": "Not Found"}, {})


class _GitLab(_Handler):
    """Notes hold an `author` with an id instead of a user; a comment's `user` is turned into one."""

    def answer(self, sent: Any) -> Reply:
        world = self.world
        if self.headers.get("PRIVATE-TOKEN") != "glpat-token":
            return 401, {"message": "401 Unauthorized"}, {}
        path = urlsplit(self.path).path
        if path == "/user":
            return 200, {"id": 5, "username": "skyc-bot"}, {}
        notes = "/projects/11/merge_requests/7/notes"
        if path == notes and self.command == "GET":
            return self.listed(
                [
                    {
                        "id": row["id"],
                        "body": row["body"].rstrip(),
                        "system": False,
                        "author": {"id": 5 if row["user"] == BOT else 6},
                    }
                    for row in world.comments
                ]
            )
        if path == notes:
            return 201, world.add(sent["body"], BOT), {}
        found = re.fullmatch(notes + r"/(\d+)", path)
        return self.changed(int(found[1]), sent) if found else (404, {"message": "404 Not found"}, {})


@contextmanager
def served(kind: type[_Handler], **setting: Any) -> Iterator[World]:
    world = World(**setting)
    handler = type("Handler", (kind,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    world.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def github(**setting: Any) -> Any:
    return served(_GitHub, **setting)


def gitlab(**setting: Any) -> Any:
    return served(_GitLab, **setting)
