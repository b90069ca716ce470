"""A fake Azure Resource Manager: a subscription in memory behind a real socket, in the shapes of the REST reference.

Nothing of Azure is behind it. What it does as Azure does, because code has to live with it:
- deletes are accepted (202) and carried out some looks later; what is in use is refused (409);
- lists name what is gone already, come in pages, and write resource groups in capitals;
- a resource group takes all in it along; a role outlives the identity it was given to;
- a storage account goes with all containers in it, and a container with its data; lists of resources name no containers;
- a version of the API must be named, and a token sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.azure.conftest import SUBSCRIPTION
from tests.refresh.fakes.server import Asked, FakeServer, Reply, as_json

TOKEN = "the-access-token"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
PAGE = 2
INSIDE = "/blobservices/default/containers"
_FILTER = re.compile(r"tagName eq '([^']+)' and tagValue eq '([^']+)'")
_PRINCIPAL = re.compile(r"principalId eq '([^']+)'")


@dataclass
class FakeArm:
    """`looks`: how often something that is deleted is still seen."""

    server: FakeServer
    looks: int = 2
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Lower-case id → the resource."""
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What lists name; never shorter than what there was."""
    going: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    power: dict[str, list[str]] = field(default_factory=dict)
    """Lower-case id of a machine → its states from now on; one that is not here runs."""

    def put(self, path: str, deployment: str | None, **properties: Any) -> str:
        """A resource below the subscription; its id."""
        id_ = f"{ROOT}/{path}"
        words = path.split("/providers/")[-1].split("/")
        row: dict[str, Any] = {"id": id_, "name": words[-1], "properties": {"provisioningState": "Succeeded", **properties}}
        if "/providers/" in path:
            row["type"] = "/".join(words[:2])
        if deployment is not None:
            row["tags"] = {"skyc-deployment": deployment}
        self.things[id_.lower()] = self.listed[id_.lower()] = row
        return id_

    def account(self, name: str, deployment: str, containers: tuple[str, ...], **tags: str) -> str:
        """A storage account in a group of its name; the account's id."""
        group = f"resourceGroups/{name}"
        self.put(group, deployment)
        id_ = self.put(f"{group}/providers/Microsoft.Storage/storageAccounts/{name}", deployment)
        for path in (f"{ROOT}/{group}", id_):
            self.things[path.lower()]["tags"] |= {f"skyc-{key}": value for key, value in tags.items()}
        for container in containers:
            inside = f"{id_}/blobServices/default/containers/{container}"
            self.put(inside.removeprefix(f"{ROOT}/"), None)
            del self.listed[inside.lower()]
        return id_

    def role(self, scope: str, principal: str) -> str:
        id_ = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{len(self.roles)}"
        self.roles[id_.lower()] = {"id": id_, "properties": {"principalId": principal}}
        return id_

    def answer(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Reply(status=401)
        if "api-version" not in asked.query:
            return Reply(status=400)
        path = asked.path.lower()
        if asked.method == "GET" and path.endswith(("/resources", "/resourcegroups", "/roleassignments")):
            return self._list(asked, path)
        if asked.method == "POST":
            return self._act(*path.rsplit("/", 1))
        if asked.method == "GET" and path.endswith(INSIDE):
            return as_json({"value": [row for id_, row in self.containers().items() if id_.startswith(f"{path}/")]})
        found = self.things.get(path) or self.roles.get(path)
        if found is None:
            return Reply(status=404)
        match asked.method:
            case "GET":
                return self._look(path, found, expanded=asked.query.get("$expand") == "instanceView")
            case "DELETE":
                return self._delete(path)
            case "PUT":
                self.things[path] = json.loads(asked.body)
                return as_json(self.things[path])
        return Reply(status=405)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What is there of them; one that is going is seen until it is gone."""
        return {id_: {**row, "name": row["id"].rpartition("/")[2]} for id_, row in self.things.items() if f"{INSIDE}/" in id_}

    def _list(self, asked: Asked, path: str) -> Reply:
        if path.endswith("/roleassignments"):
            wanted = _PRINCIPAL.fullmatch(asked.query["$filter"])
            assert wanted is not None
            # Also what comes through groups, as the real filter does.
            return as_json({"value": [row for row in self.roles.values() if wanted[1] != "nobody"]})
        rows = [(id_, row) for id_, row in sorted(self.listed.items()) if ("/providers/" in id_) == path.endswith("/resources")]
        above = path.removesuffix("/resources")
        rows = [(id_, row) for id_, row in rows if id_.startswith(f"{above}/") or not path.endswith("/resources")]
        chosen = _FILTER.fullmatch(asked.query.get("$filter", ""))
        if chosen is not None:
            rows = [(id_, row) for id_, row in rows if row.get("tags", {}).get(chosen[1]) == chosen[2]]
        elif "$filter" not in asked.query:
            rows = [(id_, row) for id_, row in rows if id_ in self.things]
        start = int(asked.query.get("skip", "0"))
        page: dict[str, Any] = {"value": [_shouted(row) for _, row in rows[start : start + PAGE]]}
        if start + PAGE < len(rows):
            more = "".join(f"&{name}={value}".replace(" ", "%20") for name, value in asked.query.items() if name != "skip")
            page["nextLink"] = f"{self.server.url}{asked.path}?skip={start + PAGE}{more}"
        return as_json(page)

    def _act(self, path: str, verb: str) -> Reply:
        """Accepted, and done after two looks."""
        if path not in self.things:
            return Reply(status=404)
        self.power[path] = {"deallocate": ["deallocating", "deallocated"], "start": ["starting", "running"]}[verb]
        return Reply(status=202)

    def _look(self, path: str, found: dict[str, Any], *, expanded: bool = False) -> Reply:
        if expanded:
            states = self.power.get(path, ["running"])
            state = states.pop(0) if len(states) > 1 else states[0]
            codes = [{"code": "ProvisioningState/succeeded"}, {"code": f"PowerState/{state}"}]
            found = {**found, "properties": {**found["properties"], "instanceView": {"statuses": codes}}}
        if path in self.going:
            self.going[path] -= 1
            if self.going[path] < 0:
                self._gone(path)
                return Reply(status=404)
        return as_json(found)

    def _delete(self, path: str) -> Reply:
        if path in self.roles:
            del self.roles[path]
            return Reply(status=200)
        if "/providers/" in path and self._used(path):
            return Reply(status=409)
        self.deleted.append(path.rpartition("/")[2])
        self.going.setdefault(path, self.looks)
        return Reply(status=202)

    def _gone(self, path: str) -> None:
        for id_ in [id_ for id_ in self.things if id_ == path or id_.startswith(f"{path}/")]:
            del self.things[id_]
            self.going.pop(id_, None)
        # What used it names it no more, and what it used is free.
        for row in self.things.values():
            row["properties"] = _without(row["properties"], path)
            if str(row.get("managedBy", "")).lower() == path:
                del row["managedBy"]

    def _used(self, path: str) -> bool:
        """By whom Azure's own refusals go: the places where a resource says who uses it."""
        row = self.things[path]
        properties = row["properties"]
        in_subnets = [
            row for subnet in properties.get("subnets", ()) for row in subnet.get("properties", {}).get("ipConfigurations", ())
        ]
        kind = row["type"].lower()
        if kind == "microsoft.network/applicationsecuritygroups":
            nics = [row for row in self.things.values() if str(row.get("type")).lower().endswith("/networkinterfaces")]
            return any(path in json.dumps(nic["properties"]).lower() for nic in nics)
        if kind == "microsoft.network/networksecuritygroups" and properties.get("networkInterfaces"):
            return True
        if kind == "microsoft.network/networksecuritygroups":
            nets = [row["properties"].get("networkSecurityGroup") for id_, row in self.things.items() if "/subnets/" in id_]
            return any(net and net["id"].lower() == path for net in nets)
        if kind == "microsoft.network/natgateways":
            nets = [row["properties"].get("natGateway") for id_, row in self.things.items() if "/subnets/" in id_]
            return any(net and net["id"].lower() == path for net in nets)
        users = [
            properties.get("virtualMachine"),
            properties.get("ipConfiguration"),
            properties.get("natGateway"),
            row.get("managedBy"),
        ]
        return any(users) or bool(in_subnets) or bool(properties.get("virtualMachines"))


def _without(value: Any, path: str) -> Any:
    """The value without references to `path` and what is below it."""
    if isinstance(value, dict):
        kept = {name: _without(item, path) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item is not None}
    if isinstance(value, list):
        return [item for item in (_without(item, path) for item in value) if item]
    if isinstance(value, str) and (value.lower() == path or value.lower().startswith(f"{path}/")):
        return None
    return value


def _shouted(row: dict[str, Any]) -> dict[str, Any]:
    id_ = re.sub(r"(?<=/resourceGroups/)[^/]+", lambda match: match[0].upper(), row["id"])
    return {**row, "id": id_}
