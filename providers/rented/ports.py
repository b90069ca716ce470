"""Ports of rented machines: what Ray uses inside the cluster, what a task may open, and what must never be open.

Invariant: no port of Ray's is reachable from outside the cluster, whatever the task says. An open agent port executes commands for
anybody (ShadowRay), and Ray's metrics answer without a token.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, error, warning
from ...compiler.ir import ResourceRequest

SSH = 22


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """TCP ports from `first` to `last`, both included."""

    first: int
    last: int

    def meets(self, other: PortRange) -> bool:
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


GCS = 6379
NODE_MANAGER = 6380
OBJECT_MANAGER = 6381
RUNTIME_ENV_AGENT = 6382
AGENT_GRPC = 6383
METRICS = 6384
DASHBOARD = 8265
CLIENT = 10001
WORKERS = PortRange(10002, 10999)
AGENT = 52365

RAY = (PortRange(GCS, METRICS), PortRange(DASHBOARD, DASHBOARD), PortRange(CLIENT, WORKERS.last), PortRange(AGENT, AGENT))
"""Every port a node's Ray listens on."""


def read(port: str) -> PortRange:
    """`8080` or `8000-8010`, as resolve gives them."""
    first, _, last = port.partition("-")
    return PortRange(int(first), int(last or first))


def declared(requests: Iterable[ResourceRequest]) -> tuple[PortRange, ...]:
    """What the requests open, sorted, each once."""
    return tuple(sorted({read(port) for request in requests for port in request.ports}))


def is_rays(ports: PortRange) -> bool:
    return any(ports.meets(range_) for range_ in RAY)


def refused(request: ResourceRequest) -> tuple[Diagnostic, ...]:
    """Ports a request opens and must not."""
    found = [port for port in map(read, request.ports) if is_rays(port)]
    return tuple(
        error(
            "port-of-ray",
            "A port that must stay closed",
            f"`{request.origin.child('ports')}` opens {port}, and Ray listens there: whoever reaches Ray runs commands on the "
            f"machines. Its ports are {', '.join(map(str, RAY))}.",
            hint="have the task listen on another port; skyc reaches Ray itself through SSH",
            subject=request.origin.child("ports"),
        )
        for port in found
    )


def inside(groups: Iterable[tuple[str, ResourceRequest]]) -> tuple[Diagnostic, ...]:
    """Of groups (name, request) that have no machine with a public address, though the head has one."""
    return tuple(
        warning(
            "ports-inside",
            "Ports are opened where nobody outside comes",
            f"`{request.origin.child('ports')}` opens {', '.join(request.ports)}, and of the task's machines only the head has a public"
            f" address, which is in another group than `{name}`: they are reached within the network alone.",
            hint="write `public: true` under `networks` in config.yaml, or have the first group serve",
            subject=request.origin.child("ports"),
        )
        for name, request in groups
        if request.ports
    )


def about(request: ResourceRequest) -> tuple[Diagnostic, ...]:
    """What is wrong with the ports a request opens, and what a reviewer should know about them."""
    field = request.origin.child("ports")
    wide = [port for port in map(read, request.ports) if port.first <= SSH <= port.last]
    return (
        *refused(request),
        *(
            warning(
                "ssh-open",
                "SSH is open to the whole internet",
                f"`{field}` opens {port}, and a task's ports are open to every address, whatever `access.ssh_from` says. Logins"
                " still need the deployment's key.",
                hint="leave 22 out: skyc itself and `skyc ssh` come in by `access.ssh_from`",
                subject=field,
            )
            for port in wide
        ),
    )


def ipv4(ssh_from: Iterable[str]) -> tuple[str, ...]:
    """The declared ranges that reach machines, each once: skyc comes to their IPv4 addresses."""
    return tuple(dict.fromkeys(text for text in ssh_from if ipaddress.ip_network(text).version == 4))


def said_of_ssh(ssh_from: tuple[str, ...], target: str) -> tuple[Diagnostic, ...]:
    """What a reviewer should know about who can log in: `access.ssh_from` of config.yaml, which has no line in the task."""
    reaching = ipv4(ssh_from)
    lost = [text for text in ssh_from if text not in reaching]
    if not lost:
        return _about_ssh(reaching, target)
    detail = f"`access.ssh_from` in config.yaml holds {', '.join(lost)}; skyc reaches machines at `{target}` over IPv4 only."
    hint = "name the IPv4 address you come from too, where it is not there yet"
    left_out = warning("ignored-here", "The target ignores this field", detail, hint=hint)
    return (left_out, *_about_ssh(reaching, target))


def _about_ssh(ssh_from: tuple[str, ...], target: str) -> tuple[Diagnostic, ...]:
    """Of ranges that all reach the machines."""
    if not ssh_from:
        return (
            warning(
                "ssh-closed",
                "Nobody can log in to the machines",
                f"No address may reach SSH at `{target}`, because `access.ssh_from` in config.yaml below skyc's home names none."
                " skyc itself starts jobs over SSH.",
                hint="write your own address there, as `access: {ssh_from: [203.0.113.7/32]}`",
            ),
        )
    together = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, ssh_from))
    wide = [str(range_) for range_ in together if range_.prefixlen == 0]
    return tuple(
        warning(
            "ssh-open",
            "SSH is open to the whole internet",
            f"`access.ssh_from` in config.yaml holds {text}. Logins still need the deployment's key.",
            hint="name the addresses you work from",
        )
        for text in wide
    )
