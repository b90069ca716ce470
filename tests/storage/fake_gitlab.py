"""A stand-in for GitLab's Terraform states: the HTTP protocol as its API keeps to it, in memory. Nothing of GitLab's is behind it.

What it does as GitLab does, because code has to live with it: a state has versions, each with the serial of the document, and the highest
counts; a serial twice is refused; a POST needs the lock's id while there is a lock, and none while there is none; a lock is not given to
its holder again; an unlock without an id is a forced one; a deleted name cannot be used again for a while; Developers only read.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.storage.serving import Asked, Reply, as_json

BASE = "/api/v4/projects/42/terraform/state/"
NEEDED = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")


@dataclass
class State:
    versions: dict[int, bytes] = field(default_factory=dict)
    lock: str | None = None
    who: str = ""
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    deleted: bool = False


@dataclass
class FakeGitLab:
    """`careless`: what this server gets wrong, as others may: `post` and `unlock` heed no id, `locks` gives everybody one, `none` has
    no locks. `readers`: users that may not write."""

    users: dict[str, str] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    states: dict[str, State] = field(default_factory=dict)
    careless: set[str] = field(default_factory=set)
    methods: tuple[str, str] = ("POST", "DELETE")
    mutex: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, asked: Asked) -> Reply:
        with self.mutex:
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Reply:
        user = self._user(asked)
        if user is None:
            return as_json({"message": "401 Unauthorized"}, 401)
        name, _, rest = asked.path.removeprefix(BASE).partition("/")
        if not asked.path.startswith(BASE) or not name or rest not in ("", "lock"):
            return as_json({"error": "404 Not Found"}, 404)
        if asked.method != "GET" and user in self.readers:
            return as_json({"message": "403 Forbidden"}, 403)
        if rest:
            return self._lock(asked, self.states.setdefault(name, State()), user)
        if asked.method == "GET":
            found = self.states.get(name)
            if found is None or found.deleted:
                return as_json({"message": "404 Not found"}, 404)
            return Reply(body=found.versions[max(found.versions)]) if found.versions else Reply(status=204)
        state = self.states.setdefault(name, State())
        if state.deleted:
            return as_json({"message": "422 Unprocessable Entity"}, 422)
        if state.lock != asked.query.get("ID") and "post" not in self.careless:
            return as_json({"message": "409 Conflict"}, 409)
        if asked.method == "DELETE":
            state.deleted = True
            return Reply()
        return self._post(asked, state)

    def _post(self, asked: Asked, state: State) -> Reply:
        serial = json.loads(asked.body).get("serial")
        if not isinstance(serial, int):
            return as_json({"error": "serial is missing"}, 400)
        if serial in state.versions:
            return as_json({"message": {"version": ["has already been taken"]}}, 400)
        state.versions[serial] = asked.body
        return Reply()

    def _lock(self, asked: Asked, state: State, user: str) -> Reply:
        facts = json.loads(asked.body or b"{}")
        if asked.method == self.methods[0] and "none" not in self.careless:
            if any(not isinstance(facts.get(need), str) for need in NEEDED):
                return as_json({"error": "a field is missing"}, 400)
            taken = state.lock is not None and "locks" not in self.careless
            if not taken:
                state.lock, state.who, state.since = facts["ID"], user, datetime.now(UTC)
            told = {**facts, "ID": state.lock, "Who": state.who, "Created": state.since.isoformat()}
            return as_json(told, 409 if taken else 200)
        if asked.method == self.methods[1] and "none" not in self.careless:
            given = facts.get("ID")
            if given is not None and given != state.lock and "unlock" not in self.careless:
                return as_json({"message": "409 Conflict"}, 409)
            state.lock = None
            return as_json(200)
        return as_json({"error": "405 Not Allowed"}, 405)

    def _user(self, asked: Asked) -> str | None:
        if not self.users:
            return "anybody"
        given = asked.headers.get("authorization", "").removeprefix("Basic ")
        name, _, word = base64.b64decode(given).decode().partition(":")
        return name if self.users.get(name) == word and name else None
