"""Fakes of what moto 5.2 has not got of EC2: placement groups, and what EC2 says of a spot machine's request.

They answer the calls that are made, well enough for the released provider to go on; what is asked of IAM before them is moto's own work.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

PREFIX = "pg"
REQUEST = "sir"


def add(patch: pytest.MonkeyPatch) -> None:
    from moto.core.responses import ActionResult, EmptyResult
    from moto.ec2.models import instances
    from moto.ec2.responses import EC2Response
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE

    def groups(self: Any) -> dict[str, dict[str, Any]]:
        kept: dict[str, dict[str, Any]] = self.ec2_backend.__dict__.setdefault("placement_groups", {})
        return kept

    def create(self: Any) -> Any:
        name = self._get_param("GroupName")
        id_ = f"{PREFIX}-{len(groups(self)) + 1:017x}"
        row = {"GroupName": name, "GroupId": id_, "State": "available", "Strategy": self._get_param("Strategy")}
        groups(self)[name] = row
        tags = self._parse_tag_specification().get("placement-group", {})
        self.ec2_backend.create_tags([id_], tags)
        return ActionResult({"PlacementGroup": {**row, "Tags": _rows(tags)}})

    def describe(self: Any) -> Any:
        names = self._get_param("GroupNames", []) or list(groups(self))
        found = [
            {**row, "Tags": _rows(self.ec2_backend.tags.get(row["GroupId"], {}))}
            for name, row in groups(self).items()
            if name in names
        ]
        return ActionResult({"PlacementGroups": found})

    def delete(self: Any) -> Any:
        row = groups(self).pop(self._get_param("GroupName"))
        self.ec2_backend.tags.pop(row["GroupId"], None)
        return EmptyResult()

    def cancelled(self: Any) -> set[str]:
        ids: set[str] = self.ec2_backend.__dict__.setdefault("cancelled_requests", set())
        return ids

    def cancel(self: Any) -> Any:
        ids = self._get_param("SpotInstanceRequestIds", [])
        cancelled(self).update(ids)
        rows = [{"SpotInstanceRequestId": id_, "State": "cancelled"} for id_ in ids]
        return ActionResult({"CancelledSpotInstanceRequests": rows})

    def requests(self: Any) -> Any:
        rows = [
            {
                "SpotInstanceRequestId": machine.spot_instance_request_id,
                "InstanceId": machine.id,
                "State": "active",
                "Status": {"Code": "fulfilled"},
                "Type": "one-time",
                "InstanceInterruptionBehavior": "terminate",
            }
            for machine in self.ec2_backend.all_instances()
            if getattr(machine, "spot_instance_request_id", None) not in (None, *cancelled(self))
        ]
        wanted = {"instance-id": "InstanceId", "spot-instance-request-id": "SpotInstanceRequestId"}
        filters = dict(self._filters_from_querystring())
        if given := self._get_param("SpotInstanceRequestIds", []):
            filters["spot-instance-request-id"] = given
        found = [row for row in rows if all(row[wanted[name]] in values for name, values in filters.items())]
        return ActionResult({"SpotInstanceRequests": found})

    asked, run, wanted = EC2Response.run_instances, instances.InstanceBackend.run_instances, threading.local()

    def launch(self: Any) -> Any:
        wanted.group = self._get_param("Placement.GroupName")
        return asked(self)

    def machines(self: Any, *given: Any, **named: Any) -> Any:
        reservation = run(self, *given, **named)
        for machine in reservation.instances:
            machine.placement.group_name = wanted.group or ""
        if named.get("instance_market_options"):
            for machine in reservation.instances:
                machine.__dict__["spot_instance_request_id"] = machine.id.replace("i-", f"{REQUEST}-")
        return reservation

    patch.setitem(EC2_PREFIX_TO_RESOURCE, PREFIX, "placement-group")
    patch.setattr(EC2Response, "create_placement_group", create, raising=False)
    patch.setattr(EC2Response, "describe_placement_groups", describe, raising=False)
    patch.setattr(EC2Response, "delete_placement_group", delete, raising=False)
    patch.setattr(EC2Response, "cancel_spot_instance_requests", cancel)
    patch.setattr(EC2Response, "describe_spot_instance_requests", requests)
    patch.setattr(EC2Response, "run_instances", launch)
    patch.setattr(instances.InstanceBackend, "run_instances", machines)


def _rows(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
