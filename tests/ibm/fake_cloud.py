"""A fake IBM Cloud over HTTP: the shapes its API documentation describes, for what skyc lists and removes. Nothing real is behind it.

It refuses what IBM refuses: requests without the token or the version, and removing what something else still uses. A machine or a
subnet that is removed stays for a few looks, as at IBM. Lists are paged, two rows a page.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY, TOKEN, ACCOUNT = "key-of-the-user", "token-of-ibm", "a0123456789abcdef0123456789abcdef"
REGION = "us-south"
COLLECTIONS = (
    "floating_ips",
    "instances",
    "keys",
    "network_acls",
    "security_groups",
    "subnets",
    "virtual_network_interfaces",
    "volumes",
    "vpcs",
)
SLOW = ("instances", "subnets")
PAGE = 2
Row = dict[str, Any]


@dataclass
class FakeCloud:
    url: str = ""
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {name: {} for name in COLLECTIONS})
    tags: dict[str, list[str]] = field(default_factory=dict)
    profiles: dict[str, Row] = field(default_factory=dict)
    policies: dict[str, Row] = field(default_factory=dict)
    ending: dict[str, int] = field(default_factory=dict)
    """Id of what is being removed → looks until it is gone."""
    asked: list[str] = field(default_factory=list)
    number: Iterator[int] = field(default_factory=itertools.count)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    # What a test puts there

    def add(self, collection: str, name: str, tags: tuple[str, ...] = (), **more: Any) -> str:
        number = next(self.number)
        id_ = f"r006-{number:08d}"
        crn = f"crn:v1:bluemix:public:is:{REGION}:a/{ACCOUNT}::{collection}:{id_}"
        self.rows[collection][id_] = {"id": id_, "crn": crn, "name": name, **more}
        self.tags[crn] = list(tags)
        return id_

    def add_profile(self, name: str, description: str) -> str:
        id_ = f"Profile-{next(self.number)}"
        self.profiles[id_] = {"id": id_, "iam_id": f"iam-{id_}", "name": name, "description": description}
        for _ in range(2):
            policy = f"policy-{next(self.number)}"
            self.policies[policy] = {"id": policy, "subject": f"iam-{id_}"}
        return id_

    # What it answers

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], sent: bytes = b""
    ) -> tuple[int, Any]:
        with self.mutex:
            self.asked.append(f"{method} {path}")
            if (method, path) == ("POST", "/identity/token"):
                return 200, {"access_token": TOKEN}
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {"errors": [{"code": "not_authorized"}]}
            parts = path.strip("/").split("/")
            if parts[0] == "v1" and parts[1] in COLLECTIONS:
                if query.get("generation") != "2" or "version" not in query:
                    return 400, {"errors": [{"code": "missing_version"}]}
                return self._vpc(method, parts[1:], query, sent)
            if path == "/v3/tags":
                assert query["tag_type"] == "user"
                names = [{"name": tag} for tag in self.tags.get(query["attached_to"], [])]
                start = int(query["offset"])
                return 200, {"items": names[start : start + int(query["limit"])], "total_count": len(names)}
            return self._iam(method, parts, query, headers)

    def _vpc(self, method: str, parts: list[str], query: Mapping[str, str], sent: bytes) -> tuple[int, Any]:
        rows = self.rows[parts[0]]
        if len(parts) == 1:
            listed = sorted(rows.values(), key=lambda row: str(row["id"]))
            start = int(query.get("start", "0"))
            page: Row = {parts[0]: listed[start : start + PAGE], "limit": PAGE, "total_count": len(listed)}
            if start + PAGE < len(listed):
                page["next"] = {"href": f"{self.url}/v1/{parts[0]}?start={start + PAGE}&limit={PAGE}&generation=2"}
            return 200, page
        id_ = parts[1]
        if id_ in self.ending:
            self.ending[id_] -= 1
            if self.ending[id_] <= 0:
                del self.ending[id_], rows[id_]
        if id_ not in rows:
            return 404, {"errors": [{"code": "not_found"}]}
        if method == "POST":
            return self._act(rows[id_], parts[2:], sent)
        if method == "GET":
            row = rows[id_]
            # On its way for one look.
            if "next_status" in row:
                row["status"], shown = row.pop("next_status"), dict(row)
                return 200, shown
            return 200, row
        if id_ in self.ending:
            return 204, None
        if any(self._uses(row, id_) for name, other in self.rows.items() for row in other.values() if name != "floating_ips"):
            return 409, {"errors": [{"code": "in_use"}]}
        if parts[0] in SLOW:
            self.ending[id_] = 3
        else:
            del rows[id_]
        return 204, None

    def _act(self, row: Row, parts: list[str], sent: bytes) -> tuple[int, Any]:
        verb = json.loads(sent)["type"]
        before, on_its_way, after = {"stop": ("running", "stopping", "stopped"), "start": ("stopped", "starting", "running")}[
            verb
        ]
        if parts != ["actions"] or row.get("status") != before:
            return 409, {"errors": [{"code": "instance_state_wrong"}]}
        row |= {"status": on_its_way, "next_status": after}
        return 201, {"id": "action", "type": verb, "status": "pending"}

    def _uses(self, row: Row, id_: str) -> bool:
        """Whether a resource refers to another, but for a network's own group and ACL, which refer to it."""
        network = self.rows["vpcs"].get(id_)
        own = {network[name]["id"] for name in ("default_security_group", "default_network_acl")} if network else set()
        return row["id"] not in {id_, *own} and f'"{id_}"' in json.dumps({**row, "id": ""})

    def _iam(self, method: str, parts: list[str], query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["v1", "apikeys", "details"] if headers.get("IAM-Apikey") == KEY:
                return 200, {"account_id": ACCOUNT}
            case "GET", ["v1", "profiles"]:
                listed = sorted(self.profiles.values(), key=lambda row: str(row["id"]))
                start = int(query.get("pagetoken", "0"))
                page: Row = {"profiles": listed[start : start + 1]}
                if start + 1 < len(listed):
                    page["next"] = f"{self.url}/v1/profiles?account_id={ACCOUNT}&pagetoken={start + 1}"
                return 200, page
            case "GET", ["v2", "policies"]:
                return 200, {"policies": [row for row in self.policies.values() if row["subject"] == query["iam_id"]]}
            case "DELETE", ["v2", "policies", id_]:
                return (204, None) if self.policies.pop(id_, None) else (404, {})
            case "DELETE", ["v1", "profiles", id_]:
                return (204, None) if self.profiles.pop(id_, None) else (404, {})
        return 404, {}


@contextmanager
def serving() -> Iterator[FakeCloud]:
    cloud = FakeCloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def do_DELETE(self) -> None:
            self._do("DELETE")

        def _do(self, method: str) -> None:
            parts = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            status, said = cloud.answer(method, parts.path, query, dict(self.headers), sent)
            body = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
