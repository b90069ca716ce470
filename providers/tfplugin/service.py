"""The provider's calls: from protocol messages to a `ResourceType` and back. Knows nothing of sockets or processes.

Invariants:
- No call raises: whatever fails becomes a diagnostic of its response, so Terraform never sees a broken connection for it.
- Whatever a create or update made is in the response, even when what the resource returned does not fit its schema.
- A call that has begun runs to its end. `stop` tells running calls; `drain` waits for them and lets no other begin.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tfplugin6_pb2 as pb
from .codec import CodecError, ObjectType, Unknown, compile_block, is_unknown, pack, parse_state, path_text, unpack
from .messages import attribute_path, error, schema_message
from .planning import set_facts, with_defaults
from .resource import CallContext, Cancelled, ProviderDefinition, ResourceError, ResourceType, Values

LOG = logging.getLogger("skyc.tfplugin")


class Draining(Exception):
    """The provider is ending and takes no more calls."""


@dataclass(frozen=True, slots=True)
class Served:
    """A resource type with what its schema was compiled to."""

    resource: ResourceType
    type: ObjectType


class RunningCalls:
    """The calls now running, each with its context."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._contexts: dict[int, CallContext] = {}
        self._closed = False

    @contextmanager
    def entered(self, context: CallContext) -> Iterator[None]:
        """Raises Draining once `close_when_idle` has returned."""
        key = threading.get_ident()
        with self._changed:
            if self._closed:
                raise Draining
            self._contexts[key] = context
        try:
            yield
        finally:
            with self._changed:
                del self._contexts[key]
                self._changed.notify_all()

    def contexts(self) -> tuple[CallContext, ...]:
        with self._changed:
            return tuple(self._contexts.values())

    def close_when_idle(self) -> None:
        """Wait until nothing runs, then refuse what comes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._contexts)
            self._closed = True


class ProviderService:
    """One provider as Terraform calls it. Methods are named as in the protocol and are safe to call from many threads.

    Every call that starts sees the context of the latest configuration. Terraform runs that share one attached provider
    therefore share its interrupts too: stopping one run is a hint to the calls of the others.
    """

    def __init__(self, definition: ProviderDefinition) -> None:
        self._definition = definition
        self._config_type = compile_block(definition.schema)
        self._served = {
            resource.type_name: Served(resource, compile_block(resource.schema)) for resource in definition.resources
        }
        self._calls = RunningCalls()
        self._context = CallContext(stopping=threading.Event(), home=default_home())
        self._schema: bytes | None = None

    def methods(self) -> Mapping[str, tuple[Any, Callable[[Any], Any]]]:
        """Protocol method name → request class and handler. A handler returns a message or its bytes, or raises Draining."""
        return {
            "GetMetadata": (pb.Empty, self.get_metadata),
            "GetProviderSchema": (pb.Empty, self.get_provider_schema),
            "GetResourceIdentitySchemas": (pb.Empty, lambda _: pb.GetResourceIdentitySchemas.Response()),
            "GetFunctions": (pb.Empty, lambda _: pb.GetFunctions.Response()),
            "ValidateProviderConfig": (pb.ValidateProviderConfig.Request, self.validate_provider_config),
            "ConfigureProvider": (pb.ConfigureProvider.Request, self.configure_provider),
            "ValidateResourceConfig": (pb.ValidateResourceConfig.Request, self.validate_resource_config),
            "UpgradeResourceState": (pb.UpgradeResourceState.Request, self.upgrade_resource_state),
            "ReadResource": (pb.ReadResource.Request, self.read_resource),
            "PlanResourceChange": (pb.PlanResourceChange.Request, self.plan_resource_change),
            "ApplyResourceChange": (pb.ApplyResourceChange.Request, self.apply_resource_change),
            "ImportResourceState": (pb.ImportResourceState.Request, self.import_resource_state),
            "StopProvider": (pb.Empty, self.stop_provider),
        }

    def stop(self) -> None:
        """Tell running calls, and those still to come under this configuration, that the user wants to stop."""
        self._context.stopping.set()
        for context in self._calls.contexts():
            context.stopping.set()

    def drain(self) -> None:
        """Stop, then wait for running calls, however long they take. Afterwards every call raises Draining."""
        self.stop()
        self._calls.close_when_idle()

    # Calls about the provider itself.

    def get_metadata(self, _request: Any) -> pb.GetMetadata.Response:
        return pb.GetMetadata.Response(
            server_capabilities=_capabilities(),
            resources=(pb.GetMetadata.ResourceMetadata(type_name=name) for name in self._served),
        )

    def get_provider_schema(self, _request: Any) -> bytes:
        if self._schema is None:
            message = pb.GetProviderSchema.Response(
                provider=schema_message(self._definition.schema),
                resource_schemas={name: schema_message(served.resource.schema) for name, served in self._served.items()},
                server_capabilities=_capabilities(),
            )
            self._schema = message.SerializeToString(deterministic=True)
        return self._schema

    def validate_provider_config(self, request: pb.ValidateProviderConfig.Request) -> pb.ValidateProviderConfig.Response:
        response = pb.ValidateProviderConfig.Response()
        with _reported(response.diagnostics):
            unpack(self._config_type, request.config.msgpack)
        return response

    def configure_provider(self, request: pb.ConfigureProvider.Request) -> pb.ConfigureProvider.Response:
        """A new run of Terraform: a fresh context, which an earlier interrupt does not touch."""
        response = pb.ConfigureProvider.Response()
        with _reported(response.diagnostics):
            config = unpack(self._config_type, request.config.msgpack) or {}
            home = config.get("home")
            chosen = default_home() if home is None or is_unknown(home) else Path(home).expanduser()
            if not chosen.is_absolute():
                raise ResourceError("The provider's home is not an absolute path", f"It is {str(chosen)!r}.", "home")
            self._context = CallContext(stopping=threading.Event(), home=chosen, config=config)
        return response

    def stop_provider(self, _request: Any) -> pb.StopProvider.Response:
        LOG.info("stopping: Terraform was interrupted")
        self.stop()
        return pb.StopProvider.Response()

    # Calls about resources.

    def validate_resource_config(self, request: pb.ValidateResourceConfig.Request) -> pb.ValidateResourceConfig.Response:
        response = pb.ValidateResourceConfig.Response()
        with self._call(response.diagnostics):
            served = self._find(request.type_name)
            config = unpack(served.type, request.config.msgpack)
            for path in set_facts(served.resource.schema, config):
                text = path_text(path)
                detail = f"{text} is decided by the resource and reported; a configuration cannot set it. Remove it."
                response.diagnostics.append(error("Value for an attribute that cannot be set", detail, text))
            for message, attribute in served.resource.validate(config):
                response.diagnostics.append(error(f"Invalid {request.type_name}", message, attribute))
        return response

    def upgrade_resource_state(self, request: pb.UpgradeResourceState.Request) -> pb.UpgradeResourceState.Response:
        response = pb.UpgradeResourceState.Response()
        with self._call(response.diagnostics):
            served = self._find(request.type_name)
            if not request.raw_state.json:
                raise ResourceError(
                    "The stored state is in a form this provider never wrote", "It is older than Terraform 0.12."
                )
            response.upgraded_state.msgpack = pack(served.type, parse_state(served.type, request.raw_state.json))
        return response

    def read_resource(self, request: pb.ReadResource.Request) -> pb.ReadResource.Response:
        response = pb.ReadResource.Response(new_state=request.current_state, private=request.private)
        with self._call(response.diagnostics) as context:
            served = self._find(request.type_name)
            state = unpack(served.type, request.current_state.msgpack)
            if state is not None:
                response.new_state.msgpack = pack(served.type, served.resource.read(state, context))
        return response

    def plan_resource_change(self, request: pb.PlanResourceChange.Request) -> pb.PlanResourceChange.Response:
        response = pb.PlanResourceChange.Response(
            planned_private=request.prior_private, legacy_type_system=self._definition.legacy_type_system
        )
        with self._call(response.diagnostics):
            served = self._find(request.type_name)
            prior = unpack(served.type, request.prior_state.msgpack)
            proposed = unpack(served.type, request.proposed_new_state.msgpack)
            if proposed is None:
                response.planned_state.CopyFrom(request.proposed_new_state)
                return response
            config = unpack(served.type, request.config.msgpack)
            planned = served.resource.plan(prior, with_defaults(served.resource.schema, config, proposed))
            response.planned_state.msgpack = pack(served.type, planned.values)
            if prior is not None:
                for text in planned.requires_replace:
                    path = attribute_path(text)
                    if path is None:
                        raise ResourceError(f"{request.type_name} asked for a replacement on {text!r}, which is no path")
                    response.requires_replace.append(path)
        return response

    def apply_resource_change(self, request: pb.ApplyResourceChange.Request) -> pb.ApplyResourceChange.Response:
        # Until something is known to have changed, the answer is the prior state: null for a create.
        response = pb.ApplyResourceChange.Response(
            new_state=request.prior_state,
            private=request.planned_private,
            legacy_type_system=self._definition.legacy_type_system,
        )
        with self._call(response.diagnostics) as context:
            served = self._find(request.type_name)
            prior = unpack(served.type, request.prior_state.msgpack)
            planned = unpack(served.type, request.planned_state.msgpack)
            try:
                result = _change(served.resource, prior, planned, context)
            except ResourceError as failure:
                if failure.partial is not None:
                    response.new_state.msgpack = pack(served.type, _fitting(served.type, failure.partial, prior or {}))
                raise
            try:
                response.new_state.msgpack = pack(served.type, result)
            except CodecError:
                # The resource exists: losing it over a wrong attribute would orphan it. Terraform taints what comes with an error.
                response.new_state.msgpack = pack(served.type, _fitting(served.type, result, planned or {}))
                raise
        return response

    def import_resource_state(self, request: pb.ImportResourceState.Request) -> pb.ImportResourceState.Response:
        response = pb.ImportResourceState.Response()
        with self._call(response.diagnostics) as context:
            served = self._find(request.type_name)
            state = served.resource.import_state(request.id, context)
            packed = pack(served.type, _fitting(served.type, state, {}))
            imported = pb.ImportResourceState.ImportedResource(
                type_name=request.type_name, state=pb.DynamicValue(msgpack=packed)
            )
            response.imported_resources.append(imported)
        return response

    @contextmanager
    def _call(self, diagnostics: Any) -> Iterator[CallContext]:
        context = self._context
        with self._calls.entered(context), _reported(diagnostics):
            yield context

    def _find(self, type_name: str) -> Served:
        served = self._served.get(type_name)
        if served is None:
            raise ResourceError(f"This provider has no resource type {type_name}")
        return served


def default_home() -> Path:
    """SKYC_HOME of the environment, or ~/.skyc."""
    configured = os.environ.get("SKYC_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".skyc"


@contextmanager
def _reported(diagnostics: Any) -> Iterator[None]:
    """Turn what the block raises into an error diagnostic."""
    try:
        yield
    except ResourceError as failure:
        diagnostics.append(error(failure.summary, failure.detail, failure.attribute))
    except Cancelled as stopped:
        diagnostics.append(
            error("Stopped before it was done", str(stopped) or "Terraform was interrupted; nothing was left behind.")
        )
    except CodecError as misfit:
        LOG.exception("a value does not fit its schema")
        diagnostics.append(
            error(
                "A value does not fit its schema",
                f"{misfit}. This is a defect of the provider or damage to the state.",
                path_text(misfit.path) or None,
            )
        )
    except Exception as defect:
        LOG.exception("a call failed for a reason nobody foresaw")
        detail = f"{type(defect).__name__}: {defect}\n\nThis is a defect of the provider. Its log holds the traceback."
        diagnostics.append(error("The provider failed unexpectedly", detail))


def _change(resource: ResourceType, prior: Values | None, planned: Values | None, context: CallContext) -> Values | None:
    """Make the world as planned; the new state, None when there is nothing any more."""
    if planned is not None:
        return resource.create(planned, context) if prior is None else resource.update(prior, planned, context)
    if prior is not None:
        resource.delete(prior, context)
    return None


def _fitting(type_: ObjectType, values: object, otherwise: Values) -> dict[str, Any]:
    """What of `values` fits the type, attribute by attribute, else `otherwise`'s; unknown is null, since a state knows all."""
    fitting: dict[str, Any] = {}
    for name, member in type_.attributes.items():
        for source in (values, otherwise):
            candidate = _known(source.get(name)) if isinstance(source, Mapping) else None
            if candidate is None:
                continue
            try:
                member.encode(candidate, (name,))
            except CodecError:
                continue
            fitting[name] = candidate
            break
    return fitting


def _known(value: Any) -> Any:
    if isinstance(value, Unknown):
        return None
    if isinstance(value, Mapping):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return value


def _capabilities() -> pb.ServerCapabilities:
    return pb.ServerCapabilities(get_provider_schema_optional=True)
