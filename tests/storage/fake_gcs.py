"""A fake of Google Cloud Storage's JSON API, for what its emulators get wrong: conditions on generations. Documented shapes, in memory.

It holds every write against its checksums, never loses a write it has answered, and answers 412, 404 and 403 in the words of the real
service. Nothing of Google's is behind it.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, unquote

import google_crc32c

from tests.storage.serving import Asked, Reply, as_json

PAGE = 4


@dataclass
class Held:
    data: bytes
    generation: int
    written: float

    @property
    def crc(self) -> str:
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.data).digest()).decode()


@dataclass
class FakeGcs:
    """`denied`: permissions nobody has. `others`: buckets of somebody else's."""

    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[tuple[str, str], Held] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    mutex: threading.RLock = field(default_factory=threading.RLock)
    numbers: Any = field(default_factory=lambda: itertools.count(1_700_000_000_000_001))

    def answer(self, asked: Asked) -> Reply:
        with self.mutex:
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Reply:
        parts = asked.path.strip("/").split("/")
        uploading = parts[0] == "upload"
        if parts[0] in ("upload", "download"):
            parts = parts[1:]
        if parts[:3] != ["storage", "v1", "b"]:
            return _error(404, "Not Found")
        if len(parts) < 5:
            return self._bucket(asked, parts[3] if len(parts) > 3 else "")
        bucket = parts[3]
        if bucket not in self.buckets:
            return _error(404, "The specified bucket does not exist.")
        name = unquote(parts[5]) if len(parts) > 5 else ""
        if uploading:
            return self._upload(asked, bucket)
        if not name:
            return self._list(asked, bucket) if self._may("list") else self._refuse("list")
        held = self.objects.get((bucket, name))
        need = "delete" if asked.method == "DELETE" else "get"
        if not self._may(need):
            return self._refuse(need)
        if held is None:
            return _error(404, f"No such object: {bucket}/{name}")
        if asked.method == "DELETE":
            del self.objects[bucket, name]
            return Reply(status=204)
        if asked.query.get("alt") == "media":
            return self._media(asked, held)
        return as_json(_row(bucket, name, held))

    def _may(self, verb: str) -> bool:
        return f"storage.objects.{verb}" not in self.denied

    def _refuse(self, verb: str) -> Reply:
        said = f"me@example.com does not have storage.objects.{verb} access to the Google Cloud Storage object."
        return _error(403, f"{said} Permission 'storage.objects.{verb}' denied on resource (or it may not exist).")

    def _media(self, asked: Asked, held: Held) -> Reply:
        headers = {
            "X-Goog-Generation": str(held.generation),
            "X-Goog-Hash": f"crc32c={held.crc},md5={held.md5}",
            "Last-Modified": formatdate(held.written, usegmt=True),
            "Content-Type": "application/octet-stream",
        }
        span = asked.headers.get("range", "")
        if span.startswith("bytes=") and span != "bytes=0-":
            first, _, last = span.removeprefix("bytes=").partition("-")
            end = min(int(last) if last else len(held.data) - 1, len(held.data) - 1)
            headers["Content-Range"] = f"bytes {first}-{end}/{len(held.data)}"
            return Reply(status=206, body=held.data[int(first) : end + 1], headers=headers)
        return Reply(body=held.data, headers=headers)

    def _list(self, asked: Asked, bucket: str) -> Reply:
        prefix = asked.query.get("prefix", "")
        names = sorted((name for place, name in self.objects if place == bucket and name.startswith(prefix)), key=str.encode)
        start = int(asked.query.get("pageToken") or 0)
        rows = [_row(bucket, name, self.objects[bucket, name]) for name in names[start : start + PAGE]]
        more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(names) else {}
        return as_json({"kind": "storage#objects", **({"items": rows} if rows else {}), **more})

    def _upload(self, asked: Asked, bucket: str) -> Reply:
        if not self._may("create"):
            return self._refuse("create")
        if asked.method == "PUT":
            return self._part(asked)
        if asked.query["uploadType"] == "resumable":
            facts = json.loads(asked.body or b"{}")
            id_ = str(next(self.numbers))
            name = facts.get("name") or asked.query["name"]
            self.uploads[id_] = (bucket, name, {**asked.query, **facts}, bytearray())
            host = asked.headers["host"]
            return Reply(
                headers={"Location": f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id_}"}
            )
        head = b"Content-Type: " + asked.headers["content-type"].encode() + b"\r\n\r\n"
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + asked.body)
        facts = json.loads(next(message.iter_parts()).get_content())
        # The parser of letters would change line ends in the data.
        boundary = b"--" + message.get_boundary("").encode()
        data = asked.body.split(boundary)[2].split(b"\r\n\r\n", 1)[1][: -len(b"\r\n")]
        return self._write(bucket, facts["name"], data, {**asked.query, **facts})

    def _part(self, asked: Asked) -> Reply:
        bucket, name, facts, data = self.uploads[asked.query["upload_id"]]
        span, _, total = asked.headers["content-range"].removeprefix("bytes ").partition("/")
        if not span.startswith("*"):
            del data[int(span.partition("-")[0]) :]
            data += asked.body
        if total == "*" or len(data) < int(total):
            return Reply(status=308, headers={"Range": f"bytes=0-{len(data) - 1}"})
        # Checksums of an upload in parts come with its last one.
        sent = dict(row.strip().split("=", 1) for row in asked.headers.get("x-goog-hash", "").split(",") if "=" in row)
        return self._write(bucket, name, bytes(data), {**facts, **({"crc32c": sent["crc32c"]} if "crc32c" in sent else {})})

    def _write(self, bucket: str, name: str, data: bytes, facts: dict[str, str]) -> Reply:
        held = self.objects.get((bucket, name))
        if "ifGenerationMatch" in facts and int(facts["ifGenerationMatch"]) != (held.generation if held else 0):
            return _error(412, "At least one of the pre-conditions you specified did not hold.")
        fresh = Held(data, next(self.numbers), time.time())
        for kind, mine in (("crc32c", fresh.crc), ("md5Hash", fresh.md5)):
            if facts.get(kind, mine) != mine:
                return _error(400, f"Provided {kind} doesn't match calculated")
        self.objects[bucket, name] = fresh
        return as_json(_row(bucket, name, fresh))

    def _bucket(self, asked: Asked, name: str) -> Reply:
        if name in self.others:
            return _error(403, "me@example.com does not have storage.buckets.get access to the Google Cloud Storage bucket.")
        match asked.method:
            case "POST":
                facts = json.loads(asked.body)
                if facts["name"] in self.others:
                    return _error(409, "The requested bucket name is not available.")
                if facts["name"] in self.buckets:
                    return _error(409, "Your previous request to create the named bucket succeeded and you already own it.")
                self.buckets[facts["name"]] = {"metageneration": "1", **facts}
                return as_json(self.buckets[facts["name"]])
            case "PATCH" if name in self.buckets:
                for key, value in json.loads(asked.body).items():
                    before = self.buckets[name].get(key)
                    merged = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
                    self.buckets[name][key] = merged
                return as_json(self.buckets[name])
            case "GET" if name in self.buckets:
                return as_json(self.buckets[name])
        return _error(404, "The specified bucket does not exist.")


def _row(bucket: str, name: str, held: Held) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{quote(name)}/{held.generation}",
        "name": name,
        "bucket": bucket,
        "generation": str(held.generation),
        "size": str(len(held.data)),
        "crc32c": held.crc,
        "md5Hash": held.md5,
    }


def _error(status: int, message: str) -> Reply:
    return as_json({"error": {"code": status, "message": message, "errors": [{"message": message}]}}, status)
