"""From AWS's refusal of a machine to the request for the next placement, with the released provider and a pretended account."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from skyc.runtime.mirror import mirrored
from tests.aws.conftest import pretended_account
from tests.aws.fault_proxy import proxied
from tests.aws.runnable import TASK, aws, no_capacity, zones_of
from tests.simulator.real_provider import MIRROR, SOURCE

from .child import Scratch
from .figures import Figure

TURNS = 3


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Nothing where no mirror has the provider."""
    if SOURCE not in mirrored(os.environ):
        print(f"failover at AWS is left out: {MIRROR} names no mirror with {SOURCE}", file=sys.stderr)
        return
    samples = []
    for turn in range(1 if quick else TURNS):
        with pytest.MonkeyPatch.context() as patch, pretended_account() as endpoint, proxied(endpoint) as proxy:
            with aws(scratch.home(f"failover-at-aws-{turn}"), proxy, patch) as home:
                first, second = zones_of(home)[:2]
                proxy.rule = no_capacity(first)
                home.up(TASK)
            # A zone's network is asked for long before its machines.
            calls = [call for call in proxy.calls if call.operation == "RunInstances"]
            asked = {zone: [call.seconds for call in calls if call.zone == zone] for zone in (first, second)}
            samples.append(asked[second][0] - asked[first][0])
            # What is pretended is this process's, so the next turn would find the machines.
            urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    yield Figure(
        what="capacity error at AWS to the next placement",
        unit="s",
        samples=tuple(samples),
        budget=20.0,
        peer="> 170 s (the provider's own retries)",
    )
