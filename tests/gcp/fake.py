"""A fake of Google's Compute Engine, IAM and Cloud Storage APIs, as far as the inventory asks them: real sockets, documented shapes.

Nothing of Google's is behind it. What it keeps to: lists come in pages of two, aggregated ones by zone with a warning where there is
nothing; a deletion is an operation that is done at the second look; what is in use cannot go, which the operation says, not the request;
a bucket goes only when it is empty; unfinished uploads are listed as XML and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.refresh.fakes.server import Asked, Reply

PAGE = 2
LINK = "https://www.googleapis.com/compute/v1"
EXHAUSTED = "ZONE_RESOURCE_POOL_EXHAUSTED"
PATH = 5
"""Slashes in the path of a resource of a zone."""
IN_USE = "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
Row = dict[str, Any]


@dataclass
class FakeGoogle:
    """resources: path (`projects/p/global/networks/n`) → row. accounts: the same, of IAM. data: bucket → object → content."""

    resources: dict[str, Row] = field(default_factory=dict)
    accounts: dict[str, Row] = field(default_factory=dict)
    operations: dict[str, list[Row]] = field(default_factory=dict)
    """Path → the answers still to be given."""
    owned: dict[str, Row] = field(default_factory=dict)
    """Bucket → its row, with the project."""
    data: dict[str, dict[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Bucket → key and id of multipart uploads that nobody finished."""

    def buckets(self) -> dict[str, Row]:
        return self.owned

    def add_bucket(self, name: str, project: str = "mine", **labels: str) -> None:
        self.owned[name] = {
            "name": name,
            "project": project,
            "labels": {name.replace("_", "-"): v for name, v in labels.items()},
        }
        self.data[name] = {"a/b c": b"1", "a": b"2", "ä": b"3"}
        self.uploads[name] = [("half/way", "u1"), ("half/way", "u2"), ("ö&", "u3")]

    def add(self, path: str, **row: Any) -> str:
        self.resources[path] = {"name": path.rpartition("/")[2], "selfLink": f"{LINK}/{path}", **row}
        return f"{LINK}/{path}"

    def add_account(self, project: str, name: str, description: str) -> None:
        email = f"{name}@{project}.iam.gserviceaccount.com"
        path = f"projects/{project}/serviceAccounts/{email}"
        self.accounts[path] = {"name": path, "email": email, "displayName": "Nodes", "description": description}

    def answer(self, asked: Asked) -> Reply | Row:
        if asked.headers.get("Authorization") != "Bearer a-token":
            return Reply(status=401)
        area, _, path = asked.path.removeprefix("/").partition("/v1/")
        if area.startswith("storage"):
            return self._storage(asked, path)
        if "/v1/" not in asked.path:
            return self._xml(asked)
        if not area.startswith("compute"):
            area, path = "iam", asked.path.removeprefix("/v1/")
        if asked.method == "DELETE":
            return self._delete(area, path)
        if asked.method == "POST":
            return self._act(path, asked)
        if path in self.operations:
            answers = self.operations[path]
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if path in self.resources:
            return self.resources[path]
        if area == "compute" and path.count("/") == PATH:
            return Reply(status=404)
        if area == "iam":
            rows = [row for key, row in self.accounts.items() if key.startswith(f"{path}/")]
            return self._page(asked, "accounts", rows)
        if "/aggregated/" in path:
            return self._aggregated(asked, path)
        return self._page(asked, "items", [row for key, row in self.resources.items() if key.rpartition("/")[0] == path])

    def _aggregated(self, asked: Asked, path: str) -> Row:
        project, _, kind = path.partition("/aggregated/")
        match = re.fullmatch(r"labels\.([a-z-]+)=([a-z0-9-]+)", asked.query.get("filter", ""))
        rows = [row for key, row in self.resources.items() if key.startswith(f"{project}/") and f"/{kind}/" in key]
        if match is not None:
            rows = [row for row in rows if row.get("labels", {}).get(match[1]) == match[2]]
        page = self._page(asked, "rows", rows)
        scopes: Row = {"zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        for row in page.pop("rows"):
            scope = "/".join(row["selfLink"].removeprefix(f"{LINK}/{project}/").split("/")[:2])
            scopes.setdefault(scope, {kind: []})[kind].append(row)
        return {**page, "items": scopes}

    def _storage(self, asked: Asked, path: str) -> Reply | Row:
        parts = path.split("/", 3)
        if parts == ["b"]:
            prefix, project = asked.query["prefix"], asked.query["project"]
            rows = [
                row for name, row in sorted(self.buckets().items()) if name.startswith(prefix) and row["project"] == project
            ]
            return self._page(asked, "items", rows)
        if parts[1] not in self.buckets():
            return Reply(status=404)
        held = self.data.setdefault(parts[1], {})
        match asked.method, parts[2:]:
            case "GET", ["o"]:
                assert asked.query["versions"] == "true"
                return self._page(asked, "items", [{"name": name, "generation": "7"} for name in sorted(held)])
            case "DELETE", ["o", name] if asked.query["generation"] == "7" and "/" not in name:
                return Reply(status=204 if held.pop(unquote(name), None) is not None else 404)
            case "DELETE", []:
                if held or self.uploads.get(parts[1]):
                    return Reply(status=409)
                del self.owned[parts[1]]
                return Reply(status=204)
        return Reply(status=400)

    def _xml(self, asked: Asked) -> Reply:
        bucket, _, key = asked.path.removeprefix("/").partition("/")
        pending = self.uploads.setdefault(bucket, [])
        if asked.method == "DELETE":
            pending.remove((unquote(key), asked.query["uploadId"]))
            return Reply(status=204)
        after = (asked.query.get("key-marker", ""), asked.query.get("upload-id-marker", ""))
        rows = [row for row in sorted(pending) if row > after]
        listed = "".join(f"<Upload><Key>{escape(key)}</Key><UploadId>{id_}</UploadId></Upload>" for key, id_ in rows[:PAGE])
        more = "true" if len(rows) > PAGE else "false"
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        text = f'<ListMultipartUploadsResult xmlns="{space}"><IsTruncated>{more}</IsTruncated>{listed}</ListMultipartUploadsResult>'
        return Reply(body=text.encode())

    def _page(self, asked: Asked, name: str, rows: list[Row]) -> Row:
        start = int(asked.query.get("pageToken", "0"))
        more = {"nextPageToken": str(start + PAGE)} if len(rows) > start + PAGE else {}
        # An empty list is no list.
        found = rows[start : start + PAGE]
        return {**({name: found} if found or name == "rows" else {}), **more}

    def _act(self, path: str, asked: Asked) -> Reply | Row:
        machine, _, verb = path.rpartition("/")
        if machine not in self.resources:
            return Reply(status=404)
        row = self.resources[machine]
        held = any(disk.get("type") == "SCRATCH" for disk in row.get("disks", ()))
        if verb == "stop" and held and asked.query.get("discardLocalSsd") != "true":
            return Reply(status=400)
        if verb == "start" and row["status"] != "TERMINATED":
            return Reply(status=400)
        row["status"] = "TERMINATED" if verb == "stop" else "RUNNING"
        refused = {"error": {"errors": [{"code": EXHAUSTED}]}} if verb == "start" and row.get("full") else {}
        if refused:
            row["status"] = "TERMINATED"
        return self._operation(machine, refused)

    def _delete(self, area: str, path: str) -> Reply | Row:
        if area == "iam":
            return {} if self.accounts.pop(path, None) else Reply(status=404)
        if path not in self.resources:
            return Reply(status=404)
        link = f"{LINK}/{path}"
        used = any(_uses(row, link) for key, row in self.resources.items() if key != path)
        used |= any(f"{LINK}/{key}" in self.resources[path].get("users", ()) for key in self.resources)
        error = {"error": {"errors": [{"code": IN_USE, "message": "in use"}]}} if used else {}
        if not used:
            del self.resources[path]
        return self._operation(path, error)

    def _operation(self, path: str, error: Row) -> Row:
        operation = f"{path.rsplit('/', 2)[0]}/operations/operation-{len(self.operations)}"
        started = {"name": operation.rpartition("/")[2], "status": "RUNNING"}
        self.operations[operation] = [started, {**started, "status": "DONE", **error}]
        return started


def _uses(row: Any, link: str) -> bool:
    """Whether anything in a row is this link, but its own and those of who uses it."""
    if isinstance(row, dict):
        return any(_uses(value, link) for key, value in row.items() if key not in ("selfLink", "users"))
    return any(_uses(item, link) for item in row) if isinstance(row, list) else bool(row == link)
