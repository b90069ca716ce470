"""What must hold of the Terraform skyc writes for IBM, as a policy over the JSON a reviewer reads. checkov has no check for IBM.

`findings` takes a root module as `cdk.tf.json` holds it, and knows nothing of how skyc makes one. A rule that is not sure refuses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

RAY = ((6379, 6384), (8265, 8265), (10001, 10999), (52365, 52365))
EPHEMERAL = 1024
NEEDED = ("ibm_is_vpc", "ibm_is_network_acl", "ibm_is_security_group", "ibm_is_subnet", "ibm_is_instance")


def findings(module: Mapping[str, Any], ssh_from: tuple[str, ...] = (), ports: tuple[tuple[int, int], ...] = ()) -> set[str]:
    """Rules that are broken, as `rule: address`. ssh_from, ports: what the user asked to be open."""
    resources: Mapping[str, Mapping[str, Any]] = module["resource"]
    found = {f"missing: {type_}" for type_ in NEEDED if not resources.get(type_)}
    if "data" in module:
        found.add("look-up: data")
    for config in module["provider"]["ibm"]:
        if config.get("ibmcloud_api_key", "offline") != "offline":
            found.add("key-in-code: provider")
    for type_, named in resources.items():
        for name, body in named.items():
            found |= {f"{rule}: {type_}.{name}" for rule in _broken(type_, body, ssh_from, ports)}
    return found


def _broken(
    type_: str, body: Mapping[str, Any], ssh_from: tuple[str, ...], ports: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    match type_:
        case "ibm_is_vpc":
            if body.get("no_sg_acl_rules") is not True:
                yield "default-rules"
        case "ibm_is_subnet":
            if not str(body.get("network_acl", "")).startswith("${ibm_is_network_acl."):
                yield "default-acl"
        case "ibm_is_security_group_rule" if body["direction"] != "outbound":
            yield from _inbound(body, ssh_from, ports)
        case "ibm_is_network_acl":
            for row in body["rules"]:
                if row["action"] == "allow" and row["direction"] != "outbound" and not _packet_may_pass(row, ssh_from, ports):
                    yield f"acl-open-{row['name']}"
        case "ibm_is_virtual_network_interface":
            yield from _interface(body)
        case "ibm_is_instance":
            yield from _machine(body)
        case "ibm_iam_trusted_profile_policy":
            yield from _rights(body)
        case "ibm_cos_bucket":
            # The provider's default is true.
            if body.get("force_delete") is not False:
                yield "removed-with-data"
            if not str(body.get("resource_instance_id", "")).startswith("${ibm_resource_instance."):
                yield "bucket-among-others"


def _inbound(body: Mapping[str, Any], ssh_from: tuple[str, ...], ports: tuple[tuple[int, int], ...]) -> Iterator[str]:
    remote = body.get("remote")
    if isinstance(remote, str) and remote == body["group"]:
        return
    first, last = body.get("port_min"), body.get("port_max")
    if body.get("protocol") != "tcp" or not isinstance(first, int) or not isinstance(last, int):
        yield "open-to-everything"
        return
    if any(first <= high and low <= last for low, high in RAY):
        yield "open-ray"
    if (first, last) in ports:
        return
    if (first, last) != (22, 22):
        yield "open-port"
    elif remote not in ssh_from:
        yield "open-ssh"


def _packet_may_pass(row: Mapping[str, Any], ssh_from: tuple[str, ...], ports: tuple[tuple[int, int], ...]) -> bool:
    """Of an ACL, which sees no connections: answers, what the group admits too, and what comes from within."""
    if ipaddress.ip_network(row["source"]).is_private and row["source"] != "0.0.0.0/0":
        return True
    first, last = row.get("port_min"), row.get("port_max")
    if row["protocol"] == "icmp":
        return row.get("type") == 3
    if row["protocol"] not in ("tcp", "udp") or first is None or last is None:
        return False
    if first >= EPHEMERAL or (row["protocol"] == "tcp" and (first, last) in ports):
        return True
    return (row["protocol"], first, last) == ("tcp", 22, 22) and row["source"] in ssh_from


def _interface(body: Mapping[str, Any]) -> Iterator[str]:
    groups = body.get("security_groups")
    if not groups or not all(str(group).startswith("${ibm_is_security_group.") for group in groups):
        yield "default-group"
    if body.get("allow_ip_spoofing") is not False:
        yield "spoofing"


def _machine(body: Mapping[str, Any]) -> Iterator[str]:
    metadata = body.get("metadata_service")
    if metadata != {"enabled": True, "protocol": "https", "response_hop_limit": 1}:
        yield "metadata"
    volume = body.get("boot_volume") or {}
    # Every volume is encrypted; the only thing to be said is with whose key, as a CRN.
    if "encryption" in volume and not re.match(r"crn:v1:|\$\{", str(volume["encryption"])):
        yield "encryption"
    if volume.get("auto_delete_volume") is not True:
        yield "left-over-disk"
    attached = (body.get("primary_network_attachment") or {}).get("virtual_network_interface") or {}
    # An interface described in place would get the network's default group unless it says otherwise.
    if set(attached) != {"id"} or "primary_network_interface" in body or "network_interfaces" in body:
        yield "interface-in-place"
    # An `ibm_is_ssh_key` may exist once in a region, whatever it is called.
    login = re.search(r"^ssh_authorized_keys: (.*)$", str(body.get("user_data")), re.MULTILINE)
    if login is None:
        yield "no-key"
    elif not login[1].startswith('["ssh-ed25519 '):
        yield "weak-key"
    if "keys" in body:
        yield "key-of-the-region"


def _rights(body: Mapping[str, Any]) -> Iterator[str]:
    attributes = {row["name"]: (row.get("operator", "stringEquals"), row["value"]) for row in body["resource_attributes"]}
    if attributes.get("serviceName") != ("stringEquals", "cloud-object-storage"):
        yield "rights-of-another-service"
    operator, bucket = attributes.get("resource", ("", "*"))
    if attributes.get("resourceType") != ("stringEquals", "bucket") or operator != "stringEquals" or "*" in bucket:
        yield "rights-to-any-bucket"
    if not set(body["roles"]) <= {"Object Lister", "Object Reader", "Object Writer", "Object Deleter"}:
        yield "rights-beyond-objects"
    conditions = body.get("rule_conditions")
    if conditions is not None:
        keys = {row["key"] for row in conditions}
        if keys != {"{{resource.attributes.path}}", "{{resource.attributes.prefix}}"} or body.get("rule_operator") != "or":
            yield "rights-to-any-prefix"
        if any(text.startswith("*") for row in conditions for text in row["value"]):
            yield "rights-to-any-prefix"
