"""What is left of a deployment in the world, asked for by tag, without a state and without the home that made it.

Two witnesses: the provider's own `observe`, in the regions that were used, and at AWS the tagging service, which knows every kind of
resource and not only those skyc looks for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from skyc.compiler.ir import DeploymentId
from skyc.providers.aws.client import Account, session_here
from skyc.providers.registry import load
from skyc.providers.rented.names import DEPLOYMENT_TAG
from skyc.providers.retry import Schedule, SourceFailure


def left(cloud: str, deployment: DeploymentId, regions: Iterable[str], say: Callable[[str], None]) -> tuple[str, ...]:
    """Everything that still carries the tag, in words. Raises SkycError when the provider cannot be asked: then nothing is proven."""
    places = sorted(set(regions))
    with tempfile.TemporaryDirectory(prefix="skyc-sweep-") as folder:
        # A provider looks where a home knows sites of the deployment.
        for region in places:
            (Path(folder) / "deployments" / deployment / "sites" / f"{deployment}.{cloud}-{region}").mkdir(parents=True)
        found = [f"{item.type} {item.name} ({item.id})" for item in load(cloud).observe(deployment, home=Path(folder))]
    if cloud == "aws":
        try:
            found += [f"{arn} (by the tagging service)" for region in places for arn in _tagged(deployment, region)]
        except SourceFailure as failure:
            say(f"the tagging service was not asked: {failure}")
    return tuple(found)


def _tagged(deployment: DeploymentId, region: str) -> Iterator[str]:
    session = session_here()
    if isinstance(session, str):
        raise SourceFailure(session)
    account = Account(session, Schedule(), endpoint=os.environ.get("AWS_ENDPOINT_URL"))
    chosen = [{"Key": DEPLOYMENT_TAG, "Values": [str(deployment)]}]
    token = ""
    while True:
        page = account.call(
            "resourcegroupstaggingapi",
            region,
            "get_resources",
            TagFilters=chosen,
            **({"PaginationToken": token} if token else {}),
        )
        for row in page["ResourceTagMappingList"]:
            if not _has_ended(account, region, str(row["ResourceARN"])):
                yield str(row["ResourceARN"])
        token = page.get("PaginationToken") or ""
        if not token:
            return


def _has_ended(account: Account, region: str, arn: str) -> bool:
    """A machine, its disk and its interface, and a NAT gateway, keep their tags for an hour after they ended."""
    kind, _, id_ = arn.rpartition(":")[2].partition("/")
    if kind not in _ENDING:
        return False
    operation, rows, states, parameter, name = _ENDING[kind]
    filters = [{"Name": name, "Values": [id_]}, *({"Name": name, "Values": list(values)} for name, values in states.items())]
    return not account.call("ec2", region, operation, **{parameter: filters})[rows]


_ENDING: dict[str, tuple[str, str, dict[str, tuple[str, ...]], str, str]] = {
    "instance": (
        "describe_instances",
        "Reservations",
        {"instance-state-name": ("pending", "running", "stopping", "stopped")},
        "Filters",
        "instance-id",
    ),
    "natgateway": (
        "describe_nat_gateways",
        "NatGateways",
        {"state": ("pending", "available", "deleting")},
        "Filter",
        "nat-gateway-id",
    ),
    # One in use is its machine's, which is asked about by itself.
    "network-interface": (
        "describe_network_interfaces",
        "NetworkInterfaces",
        {"status": ("available",)},
        "Filters",
        "network-interface-id",
    ),
    "volume": ("describe_volumes", "Volumes", {}, "Filters", "volume-id"),
}
"""Kind in an ARN → how to ask for those that are still there: operation, its rows, further filters, and what the filters and the one by id
are called."""
