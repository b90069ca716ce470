"""Where moto 5.2 answers otherwise than EC2, put right, so that no test has to look away.

- A launch template's own tags end up in what it launches.
- A machine whose groups came with its network interface has none.
- Changing any other attribute of a machine takes its groups away.
- The description of a rule that names a group is forgotten.
- Tags call a NAT gateway otherwise, and a list of gateways looks at no tags.
- A NAT gateway that is deleted keeps its address, and one that is asked for twice by the same client token is made twice.
- An endpoint whose route went with its table, or that is gone already, cannot go any more.
- A machine that is gone keeps its private address, so that no other can be made there.
- A launch template's network interfaces are not made, and no machine has several network cards.
- An Elastic IP has another type among tags than EC2's.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest


def _attach(backend: Any, machine: Any, row: dict[str, Any]) -> None:
    """An interface of a template; the first is there already. moto tells interfaces by their device, which each card counts anew."""
    card = int(row.get("NetworkCardIndex", 0))
    made = machine.nics[0]
    if card:
        made = backend.create_network_interface(
            backend.get_subnet(row["SubnetId"]),
            None,
            group_ids=row["Groups"],
            delete_on_termination=row.get("DeleteOnTermination") is True,
        )
        machine.attach_eni(made, 100 * card)
        made.device_index = int(row["DeviceIndex"])
    made.interface_type = row.get("InterfaceType", "interface")
    tags = [spec for spec in row["TemplateTags"] if spec["ResourceType"] == "network-interface"]
    made.add_tags({tag["Key"]: tag["Value"] for spec in tags for tag in spec["Tags"]})


def repair(patch: pytest.MonkeyPatch) -> None:
    from moto.ec2 import exceptions, utils
    from moto.ec2.models import instances, launch_templates, nat_gateways, security_groups, vpcs
    from moto.ec2.responses import nat_gateways as responses

    made = launch_templates.LaunchTemplateVersion.__init__

    def version(self: Any, template: Any, number: int, data: dict[str, Any], description: str) -> None:
        kept = [row for row in data.get("TagSpecifications", []) if row["ResourceType"] != "launch-template"]
        made(self, template, number, {**data, "TagSpecifications": kept}, description)

    run = instances.InstanceBackend.run_instances

    def machines(self: Any, *given: Any, **named: Any) -> Any:
        template = named.get("launch_template")
        data = self._get_template_from_args(template).data if template else {}
        wanted = [{**row, "TemplateTags": data.get("TagSpecifications", [])} for row in data.get("NetworkInterfaces", [])]
        if wanted:
            refused = {"subnet_id", "private_ip", "security_group_ids", "nics"} & {
                name for name, value in named.items() if value
            }
            # EC2: "Network interfaces and an instance-level subnet ID may not be specified on the same request", and so on.
            assert not refused, f"beside a template's interfaces: {refused}"
            assert len(wanted) == 1 or not any("AssociatePublicIpAddress" in row for row in wanted), "an address for several"
            named["nics"] = [wanted[0]]
        reservation = run(self, *given, **named)
        for machine in reservation.instances:
            machine.security_groups = machine.security_groups or list(machine.nics[0].group_set)
            for row in wanted:
                _attach(self, machine, row)
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

    listed = nat_gateways.NatGatewayBackend.describe_nat_gateways

    def gateways(self: Any, filters: Any, nat_gateway_ids: Any) -> list[Any]:
        wanted = {name.removeprefix("tag:"): values for name, values in (filters or {}).items() if name.startswith("tag:")}
        tags = {item.id: {tag["key"]: tag["value"] for tag in item.get_tags()} for item in self.nat_gateways.values()}
        found = listed(self, filters, nat_gateway_ids)
        return [item for item in found if all(tags[item.id].get(name) in values for name, values in wanted.items())]

    ended_gateway, made_gateway = nat_gateways.NatGatewayBackend.delete_nat_gateway, responses.NatGateways.create_nat_gateway

    def gateway_gone(self: Any, nat_gateway_id: str) -> Any:
        found = self.nat_gateways.get(nat_gateway_id)
        for row in found.address_set if found is not None and found.state != "deleted" else ():
            # Somebody may have taken the address away before.
            with contextlib.suppress(exceptions.InvalidAssociationIdError):
                self.disassociate_address(association_id=row.get("associationId") or "none")
        return ended_gateway(self, nat_gateway_id)

    def gateway_once(self: Any) -> Any:
        by_token = self.ec2_backend.__dict__.setdefault("gateways_by_token", {})
        token = self._get_param("ClientToken")
        if token is None or token not in by_token:
            by_token[token] = made_gateway(self)
        return by_token[token]

    unlinked = vpcs.VPCBackend.delete_vpc_endpoints

    def endpoints(self: Any, vpce_ids: list[str] | None = None) -> None:
        for found in (self.vpc_end_points[id_] for id_ in vpce_ids or () if id_ in self.vpc_end_points):
            prefix = found.destination_prefix_list_id
            there = [self.route_tables[id_] for id_ in found.route_table_ids if id_ in self.route_tables]
            # Two endpoints have one route there.
            found.route_table_ids = [table.id for table in there if utils.generate_route_id(table.id, prefix) in table._routes]
        unlinked(self, vpce_ids)

    patch.setattr(vpcs.VPCBackend, "delete_vpc_endpoints", endpoints)
    patch.setattr(nat_gateways.NatGatewayBackend, "describe_nat_gateways", gateways)
    patch.setattr(nat_gateways.NatGatewayBackend, "delete_nat_gateway", gateway_gone)
    patch.setattr(responses.NatGateways, "create_nat_gateway", gateway_once)
    patch.setitem(utils.EC2_PREFIX_TO_RESOURCE, "nat", "natgateway")
    patch.setitem(utils.EC2_PREFIX_TO_RESOURCE, "eipalloc", "elastic-ip")
    patch.setattr(instances.Instance, "terminate", ended)
    patch.setattr(launch_templates.LaunchTemplateVersion, "__init__", version)
    patch.setattr(instances.InstanceBackend, "run_instances", machines)
    patch.setattr(instances.InstanceBackend, "modify_instance_security_groups", groups)
    patch.setattr(security_groups.SecurityGroupRule, "description", property(description))
