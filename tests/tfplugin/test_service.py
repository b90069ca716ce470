"""The provider's calls without a process around them: what ends when, and what an odd resource leads to."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skyc.providers.tfplugin import tfplugin6_pb2 as pb
from skyc.providers.tfplugin.codec import UNKNOWN, compile_block, pack, unpack
from skyc.providers.tfplugin.resource import CallContext, Cancelled, ProviderDefinition, ResourceBase, Values
from skyc.providers.tfplugin.schema import Attribute, Schema
from skyc.providers.tfplugin.service import Draining, ProviderService

SCHEMA = Schema(attributes={"name": Attribute(required=True), "id": Attribute(computed=True)})
TYPE = compile_block(SCHEMA)


class Slow(ResourceBase):
    """Its create begins, waits to be released, and says whether it was told to stop."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.home: Path | None = None
        self.cancel = False

    @property
    def schema(self) -> Schema:
        return SCHEMA

    @property
    def type_name(self) -> str:
        return "skyc_slow"

    def create(self, planned: Values, context: CallContext) -> Values:
        self.home = context.home
        self.begun.set()
        assert self.release.wait(30)
        if self.cancel and context.stopping.is_set():
            raise Cancelled
        return {"name": planned["name"], "id": str(context.stopping.is_set())}

    def read(self, state: Values, context: CallContext) -> Values | None:
        return state

    def delete(self, state: Values, context: CallContext) -> None:
        return None


def create_request(**planned: Any) -> pb.ApplyResourceChange.Request:
    return pb.ApplyResourceChange.Request(
        type_name="skyc_slow",
        prior_state=pb.DynamicValue(msgpack=pack(TYPE, None)),
        planned_state=pb.DynamicValue(msgpack=pack(TYPE, {"id": UNKNOWN, **planned})),
    )


def configure(service: ProviderService, config: Mapping[str, Any]) -> pb.ConfigureProvider.Response:
    type_ = compile_block(ProviderDefinition(resources=()).schema)
    return service.configure_provider(pb.ConfigureProvider.Request(config=pb.DynamicValue(msgpack=pack(type_, config))))


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def service(slow: Slow) -> ProviderService:
    return ProviderService(ProviderDefinition(resources=(slow,)))


def test_draining_waits_for_the_call_that_runs_and_refuses_the_next(slow: Slow, service: ProviderService) -> None:
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(service.apply_resource_change, create_request(name="a"))
        assert slow.begun.wait(30)
        drained = pool.submit(service.drain)
        with pytest.raises(TimeoutError):
            drained.result(0.1)
        slow.release.set()
        drained.result(30)
        assert unpack(TYPE, running.result(30).new_state.msgpack) == {"name": "a", "id": "True"}
    with pytest.raises(Draining):
        service.apply_resource_change(create_request(name="b"))


def test_a_stop_concerns_this_run_and_not_the_next(slow: Slow, service: ProviderService) -> None:
    slow.release.set()
    service.stop_provider(pb.Empty())
    assert unpack(TYPE, service.apply_resource_change(create_request(name="a")).new_state.msgpack)["id"] == "True"
    configure(service, {})
    assert unpack(TYPE, service.apply_resource_change(create_request(name="a")).new_state.msgpack)["id"] == "False"


def test_a_stop_reaches_calls_of_an_earlier_configuration(slow: Slow, service: ProviderService) -> None:
    """Two runs share an attached provider: the second one's configuration must not cut the first off from its interrupt."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(service.apply_resource_change, create_request(name="a"))
        assert slow.begun.wait(30)
        configure(service, {})
        service.stop_provider(pb.Empty())
        slow.release.set()
        assert unpack(TYPE, running.result(30).new_state.msgpack)["id"] == "True"


def test_a_cancelled_create_leaves_no_state(slow: Slow, service: ProviderService) -> None:
    slow.cancel = True
    slow.release.set()
    service.stop()
    response = service.apply_resource_change(create_request(name="a"))
    assert unpack(TYPE, response.new_state.msgpack) is None
    assert response.diagnostics[0].summary == "Stopped before it was done"


def test_where_home_comes_from(slow: Slow, service: ProviderService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow.release.set()
    monkeypatch.setenv("SKYC_HOME", str(tmp_path / "environment"))
    for config, expected in (
        ({}, "environment"),
        ({"home": str(tmp_path / "given")}, "given"),
        ({"home": UNKNOWN}, "environment"),
    ):
        assert not configure(service, config).diagnostics
        service.apply_resource_change(create_request(name="a"))
        assert slow.home == tmp_path / expected
    refused = configure(service, {"home": "relative/path"}).diagnostics[0]
    assert refused.attribute.steps[0].attribute_name == "home"


def test_an_unknown_resource_type_and_damaged_values_are_diagnostics(service: ProviderService) -> None:
    response = service.read_resource(pb.ReadResource.Request(type_name="skyc_other"))
    assert "no resource type skyc_other" in response.diagnostics[0].summary
    damaged = pb.ReadResource.Request(type_name="skyc_slow", current_state=pb.DynamicValue(msgpack=b"\xc1"))
    response = service.read_resource(damaged)
    assert response.diagnostics[0].summary == "A value does not fit its schema"
    assert response.new_state.msgpack == b"\xc1"


def test_the_schema_is_the_same_bytes_every_time(slow: Slow) -> None:
    definition = ProviderDefinition(resources=(slow,))
    first, second = (ProviderService(definition).get_provider_schema(pb.Empty()) for _ in range(2))
    assert first == second


def test_a_closing_server_answers_the_call_it_waited_for(slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the call takes: the time given to flush answers begins only when it has finished."""
    import grpc

    from skyc.providers.tfplugin import server as module

    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    monkeypatch.chdir(directory)
    # A relative address: the test's own directory can be too long for a socket.
    server = module.Server(ProviderDefinition(resources=(slow,)), credentials=None, directory=Path())
    with ThreadPoolExecutor(1) as pool, grpc.insecure_channel("unix:s") as channel:
        apply = channel.unary_unary(
            "/tfplugin6.Provider/ApplyResourceChange",
            request_serializer=pb.ApplyResourceChange.Request.SerializeToString,
            response_deserializer=pb.ApplyResourceChange.Response.FromString,
        )
        running = apply.future(create_request(name="a"))
        assert slow.begun.wait(30)
        closed = pool.submit(server.close)
        with pytest.raises(TimeoutError):
            closed.result(0.3)
        slow.release.set()
        response = running.result(30)
        closed.result(30)
    assert unpack(TYPE, response.new_state.msgpack) == {"name": "a", "id": "True"}
    assert not list(directory.iterdir())
