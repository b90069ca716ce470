"""Where moto 5.2 answers otherwise than EC2, put right, so that no test has to look away.

- A launch template's own tags end up in what it launches.
- A machine whose groups came with its network interface has none.
- Changing any other attribute of a machine takes its groups away.
- The description of a rule that names a group is forgotten.
- A machine that is gone keeps its private address, so that no other can be made there.
"""

from __future__ import annotations

from typing import Any

import pytest


def repair(patch: pytest.MonkeyPatch) -> None:
    from moto.ec2.models import instances, launch_templates, security_groups

    made = launch_templates.LaunchTemplateVersion.__init__

    def version(self: Any, template: Any, number: int, data: dict[str, Any], description: str) -> None:
        kept = [row for row in data.get("TagSpecifications", []) if row["ResourceType"] != "launch-template"]
        made(self, template, number, {**data, "TagSpecifications": kept}, description)

    run = instances.InstanceBackend.run_instances

    def machines(self: Any, *given: Any, **named: Any) -> Any:
        reservation = run(self, *given, **named)
        for machine in reservation.instances:
            machine.security_groups = machine.security_groups or list(machine.nics[0].group_set)
        return reservation

    regroup = instances.InstanceBackend.modify_instance_security_groups

    def groups(self: Any, instance_id: str, new_group_id_list: list[str]) -> Any:
        return regroup(self, instance_id, new_group_id_list) if new_group_id_list else self.get_instance(instance_id)

    def description(self: Any) -> str | None:
        found: str | None = self.ip_range.get("Description") or (self.source_group or {}).get("Description")
        return found

    terminate = instances.Instance.terminate

    def ended(self: Any, *given: Any, **named: Any) -> Any:
        before = terminate(self, *given, **named)
        subnet = self.ec2_backend.get_subnet(self.subnet_id)
        for address in self._private_ips:
            subnet.del_subnet_ip(address)
        return before

    patch.setattr(instances.Instance, "terminate", ended)
    patch.setattr(launch_templates.LaunchTemplateVersion, "__init__", version)
    patch.setattr(instances.InstanceBackend, "run_instances", machines)
    patch.setattr(instances.InstanceBackend, "modify_instance_security_groups", groups)
    patch.setattr(security_groups.SecurityGroupRule, "description", property(description))
