"""All that is wrong with config.yaml is said in one run, and what is wrong elsewhere stays alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError, error
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Provider
from skyc.providers.owned.provider import OwnedProvider
from skyc.runtime.calls import check
from skyc.runtime.catalog import offers
from skyc.runtime.configuration import all_mistakes
from skyc.runtime.images import read_images
from skyc.runtime.networks import read_networks

PROVIDERS: dict[str, Provider] = {"aws": AwsProvider(), "owned": OwnedProvider()}
CONFIG = """\
access: {ssh_from: [203.0.113.0/33]}
quotas:
  - infra: aws
networks:
  aws:
    us-east-9: {vpc: vpc-0aa, subnets: {use1-az1: subnet-0a1}}
    us-east-1: {vpc: vpc-0aa, subnets: {us-east-1a: subnet-0a1, b: subnet-0a1}, foo: 1, public: 7}
  gpc: {us-central1: {public: true}}
machines:
  - {name: x, cpus: 4}
state: ftp://x
"""


def test_every_mistake_of_the_file_is_said_by_whoever_stops_first(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(SkycError) as caught, all_mistakes(tmp_path, PROVIDERS):
        read_networks(tmp_path, PROVIDERS)
    lines = [(said.slug, said.span.line if said.span else 0) for said in caught.value.diagnostics]
    networks = [("bad-network", 6), *[("bad-network", 7)] * 4, ("bad-network", 8)]
    assert sorted(lines[:6]) == sorted(networks)
    assert lines[6:] == [("missing-field", 3), ("bad-ssh-range", 0), ("bad-state-setting", 0), ("missing-field", 10)]


def test_a_file_that_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [\n")
    with pytest.raises(SkycError) as caught, all_mistakes(tmp_path, PROVIDERS):
        read_images(tmp_path)
    assert [said.slug for said in caught.value.diagnostics] == ["bad-config"]


def test_what_is_wrong_elsewhere_is_said_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(SkycError) as caught, all_mistakes(tmp_path, PROVIDERS):
        raise SkycError(error("plan-stale", "Another matter"), exit_code=4)
    assert len(caught.value.diagnostics) == 1 and caught.value.exit_code == 4


@pytest.mark.parametrize("ask", [check, offers])
def test_calls_without_a_task_say_all_of_them_too(tmp_path: Path, ask: Callable[..., object]) -> None:
    (tmp_path / "config.yaml").write_text(
        "regions: {aws: [me-cntral-1]}\nmachines:\n  - {name: x, cpus: 4}\nquotas:\n  - infra: aws\n"
    )
    with pytest.raises(SkycError) as caught:
        ask(home=tmp_path)
    assert {said.span.line for said in caught.value.diagnostics if said.span} == {1, 3, 5}
