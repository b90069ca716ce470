"""A pretended AWS (moto), and graphs as the compiler makes them for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import DeploymentId, FrozenMap, NodeRuntime, ResourceGraph
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Access
from tests.aws.moto_gangs import add
from tests.aws.moto_iam import enforceable
from tests.aws.moto_repairs import repair

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
ACCESS = Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="the one-time key\n", host_key_public=KEY)
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def compiled(text: str, home: Path, *, deployment: str = "demo", **options: Any) -> ResourceGraph:
    """The one graph of a task at AWS. Machine and zone should be named: prices change."""
    (graph,) = lowered(text, home, deployment=deployment, **options)
    return graph


def lowered(text: str, home: Path, *, deployment: str = "demo", **options: Any) -> tuple[ResourceGraph, ...]:
    """All its graphs."""
    made = compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={"aws": AwsProvider()},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId(deployment),
            access=lambda _: ACCESS,
            **options,
        ),
        until="lower",
    )
    assert not has_errors(made.diagnostics), made.diagnostics
    assert made.graphs is not None
    return made.graphs


def at(graph: ResourceGraph) -> ResourceGraph:
    """The graph with its calls sent to a pretended account. Where that is, the environment says (`AWS_ENDPOINT_URL`): an `endpoints` block
    costs the provider six seconds of every plan, for the sake of the names of all its services."""
    (need,) = graph.requirements
    config = {
        **need.config,
        "access_key": "test",
        "secret_key": "test",
        "skip_metadata_api_check": True,
        # A bucket's name cannot stand before an address.
        "s3_use_path_style": True,
    }
    return replace(graph, requirements=(replace(need, config=FrozenMap(config)),))


@contextmanager
def pretended_account() -> Iterator[str]:
    """The address of an empty account that accepts everybody."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        repair(patch)
        add(patch)
        enforceable(patch)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with pretended_account() as address:
        yield address


def environment(address: str) -> dict[str, str]:
    """In which the provider's own code and Terraform's reach a pretended account."""
    return {**dict.fromkeys(NAMES, "test"), "AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_DISABLED": "true"}


def client(service: str, region: str = "us-east-1") -> Any:
    """Of whatever account the environment names."""
    import boto3

    return boto3.client(service, region_name=region)


@pytest.fixture
def account(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A boto3 client factory, and the environment in which the provider's own code reaches the same account."""
    for name, value in environment(moto).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return client
