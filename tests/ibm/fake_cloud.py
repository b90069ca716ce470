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
from email.message import Message
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests import serving as http
from tests.serving import Asked, Reply

KEY, TOKEN, ACCOUNT = "key-of-the-user", "token-of-ibm", "a0123456789abcdef0123456789abcdef"
REGION = "us-south"
COLLECTIONS = (
    "floating_ips",
    "instances",
    "network_acls",
    "public_gateways",
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
    instances: dict[str, Row] = field(default_factory=dict)
    """CRN of an instance of Cloud Object Storage → its row."""
    held: dict[str, str] = field(default_factory=dict)
    """Bucket → CRN of its instance."""
    data: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Bucket → object → content."""
    uploads: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
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

    def add_storage(self, name: str, tags: tuple[str, ...], *buckets: str) -> str:
        """An instance of Cloud Object Storage with buckets that hold something; its CRN."""
        crn = f"crn:v1:bluemix:public:cloud-object-storage:global:a/{ACCOUNT}:{next(self.number)}::"
        self.instances[crn] = {"id": crn, "crn": crn, "name": name, "state": "active"}
        self.tags[crn] = list(tags)
        for bucket in buckets:
            self.held[bucket] = crn
            self.data[bucket] = {"a/b c": b"1", "a": b"2", "ä": b"3"}
            self.uploads[bucket] = [("half/way", "u1"), ("half/way", "u2"), ("ö&", "u3")]
        return crn

    def storage(self) -> tuple[dict[str, Row], dict[str, str]]:
        """Instances and buckets there are."""
        return self.instances, self.held

    # What it answers

    def answer(self, method: str, path: str, query: Mapping[str, str], headers: Message, sent: bytes = b"") -> tuple[int, Any]:
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
            if parts[:2] == ["v2", "resource_instances"]:
                return self._resources(method, parts[2:], query)
            if parts[0] not in ("v1", "v2", "v3"):
                return self._objects(method, path, query, headers)
            return self._iam(method, parts, query, headers)

    def _resources(self, method: str, parts: list[str], query: Mapping[str, str]) -> tuple[int, Any]:
        instances, held = self.storage()
        if method == "GET":
            start = int(query.get("start", "0"))
            rows = [
                *instances.values(),
                {"crn": "crn:v1:bluemix:public:kms:us-south:a/1:2::", "name": "skyc-k", "state": "active"},
            ]
            more = {"next_url": f"/v2/resource_instances?start={start + 1}"} if start + 1 < len(rows) else {}
            return 200, {"resources": rows[start : start + 1], **more}
        crn = unquote("/".join(parts))
        if crn not in instances:
            return 404, {}
        # What is removed is listed for some days yet.
        instances[crn]["state"] = "pending_reclamation"
        for bucket in [bucket for bucket, owner in held.items() if owner == crn]:
            del held[bucket]
        return 202, None

    def _objects(self, method: str, path: str, query: Mapping[str, str], headers: Message) -> tuple[int, Any]:
        _, held = self.storage()
        bucket, _, key = path.removeprefix("/").partition("/")
        if not bucket:
            names = [name for name, crn in held.items() if crn == headers["ibm-service-instance-id"]]
            return 200, _xml("".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in names), "Buckets")
        if bucket not in held:
            return 404, b"<Error/>"
        objects, pending = self.data.setdefault(bucket, {}), self.uploads.setdefault(bucket, [])
        if method == "DELETE" and not key:
            if objects or pending:
                return 409, b"<Error><Code>BucketNotEmpty</Code></Error>"
            del held[bucket]
        elif method == "DELETE" and "uploadId" in query:
            pending.remove((unquote(key), query["uploadId"]))
        elif method == "DELETE":
            del objects[unquote(key)]
        elif query.get("list-type") == "2":
            after = query.get("continuation-token", "")
            rows = [name for name in sorted(objects) if name > after]
            listed = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in rows[:PAGE])
            more = f"<NextContinuationToken>{escape(rows[PAGE - 1])}</NextContinuationToken>" if len(rows) > PAGE else ""
            return 200, _xml(f"{_truncated(len(rows) > PAGE)}{more}{listed}")
        elif "uploads" in query:
            marker = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
            left = [row for row in sorted(pending) if row > marker]
            listed = "".join(
                f"<Upload><Key>{escape(name)}</Key><UploadId>{id_}</UploadId></Upload>" for name, id_ in left[:PAGE]
            )
            last = left[min(PAGE, len(left)) - 1] if left else ("", "")
            more = f"<NextKeyMarker>{escape(last[0])}</NextKeyMarker><NextUploadIdMarker>{last[1]}</NextUploadIdMarker>"
            return 200, _xml(f"{_truncated(len(left) > PAGE)}{more}{listed}")
        else:
            return 400, b"<Error/>"
        return 204, None

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
        if parts[2:] == ["public_gateway"]:
            return (204, None) if rows[id_].pop("public_gateway", None) else (404, {})
        if parts[0] == "floating_ips" and (rows[id_].get("target") or {}).get("id") in self.rows["public_gateways"]:
            return 409, {"errors": [{"code": "floating_ip_in_use"}]}
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

    def _iam(self, method: str, parts: list[str], query: Mapping[str, str], headers: Message) -> tuple[int, Any]:
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


def _xml(inside: str, name: str = "") -> bytes:
    text = f"<{name}>{inside}</{name}>" if name else inside
    return f'<Result xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{text}</Result>'.encode()


def _truncated(more: bool) -> str:
    return f"<IsTruncated>{str(more).lower()}</IsTruncated>"


@contextmanager
def serving() -> Iterator[FakeCloud]:
    cloud = FakeCloud()

    def answer(asked: Asked) -> Reply:
        status, said = cloud.answer(asked.method, asked.path, asked.query, asked.headers, asked.body)
        body = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        return Reply(status=status, body=body)

    with http.serving(answer) as cloud.url:
        yield cloud
