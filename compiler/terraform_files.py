"""What lies in a site's directory: the root module, read for what `init` would have to do, and the local state.

Contract: reading only. A module with no backend block keeps its state beside it and, when every provider it needs is built in or
attached, needs no `init` at all (measured: plan, apply, import and destroy run without one).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .diagnostics import SkycError, error
from .ir import FrozenMap, JsonObject

STATE_FILE = "terraform.tfstate"
BUILT_IN = "terraform"
"""The provider every engine brings: `terraform_data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleNeeds:
    """What a root module asks of `init`. `remote_state`: its state is not the file beside it."""

    remote_state: bool
    must_init: bool
    digest: str
    """Of everything `init` looks at: with the same digest it need not run again."""
    packages: str
    """The same of the provider packages it installs alone; empty where it installs none, or what it installs is not read here."""


def module_needs(directory: Path, *, registry: str, attached: Collection[str], engine: str) -> ModuleNeeds:
    """Read the root module in `directory`. `attached`: sources of providers that need no installation."""
    modules = [module for file in sorted(directory.glob("*.tf.json")) if (module := _module(file)) is not None]
    # Terraform's own language is not read here (a person's module, or an ejected one): `init` finds out by itself.
    foreign = sorted(path.name for path in directory.glob("*.tf"))
    backends = [block for module in modules for block in _blocks(module, "terraform")]
    remote = bool(foreign) or any(block.get("backend") or block.get("cloud") for block in backends)
    sources = _sources(modules, registry)
    wanted = sources - {_full(source, registry) for source in attached}
    facts = {
        "engine": engine,
        "terraform": [json.dumps(block, sort_keys=True) for block in backends],
        "sources": sorted(sources),
        "modules": [json.dumps(module["module"], sort_keys=True) for module in modules if module.get("module")],
        "foreign": [hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in foreign],
    }
    return ModuleNeeds(
        remote_state=remote,
        must_init=remote or bool(wanted) or bool(facts["modules"]),
        digest=_digest(facts),
        packages="" if not wanted or foreign or facts["modules"] else _digest([engine, sorted(wanted), _required(backends)]),
    )


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _required(blocks: list[JsonObject]) -> list[str]:
    """Which version of which provider the modules ask for."""
    return sorted(json.dumps(needs, sort_keys=True) for block in blocks for needs in _blocks(block, "required_providers"))


def _module(file: Path) -> JsonObject | None:
    """A module that is no JSON is Terraform's to complain about, with its line."""
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _blocks(owner: JsonObject, name: str) -> Iterator[JsonObject]:
    """The blocks called `name`: Terraform JSON allows one object or a list of them."""
    value = owner.get(name)
    for block in value if isinstance(value, list) else [value]:
        if isinstance(block, dict):
            yield block


def _sources(modules: list[JsonObject], registry: str) -> set[str]:
    """Full sources of every provider the modules need, the built-in one left out."""
    named: dict[str, str] = {}
    for module in modules:
        for block in _blocks(module, "terraform"):
            for needs in _blocks(block, "required_providers"):
                for name, need in needs.items():
                    source = need.get("source") if isinstance(need, dict) else None
                    named[name] = _full(source if isinstance(source, str) else f"hashicorp/{name}", registry)
    used = set(named)
    for module in modules:
        used |= {name for block in _blocks(module, "provider") for name in block}
        for kind in ("resource", "data", "ephemeral"):
            used |= {type_name.partition("_")[0] for block in _blocks(module, kind) for type_name in block}
    sources = {named.get(name, _full(f"hashicorp/{name}", registry)) for name in used if name in named or name != BUILT_IN}
    return {source for source in sources if not source.startswith("terraform.io/builtin/")}


def _full(source: str, registry: str) -> str:
    parts = source.lower().split("/")
    return "/".join([registry, "hashicorp", *parts][-3:] if len(parts) == 1 else [registry, *parts][-3:])


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """A state by its identity. An older or empty one is noticed by (lineage, serial, sha256), which Terraform would accept."""

    lineage: str
    serial: int
    sha256: str
    """Of the state's content, the same wherever it is kept."""
    resources: tuple[str, ...]
    """Addresses of the managed resources in it, sorted."""


def read_state(file: Path) -> StateFacts | None:
    """The identity of a state file, None when there is none. Raises SkycError `state-damaged`."""
    state = local_state(file)
    return None if state is None else state_facts(state, str(file))


def state_outputs(file: Path) -> Mapping[str, Any] | None:
    """Output values in a state file, None when there is none. Raises SkycError `state-damaged`."""
    state = local_state(file)
    return None if state is None else FrozenMap(output_values(state))


def state_ids(file: Path) -> frozenset[str]:
    """The `id` of every managed resource in a state file, what is still to be deleted included.

    Empty when the file cannot be read: whoever takes what is not in it for an orphan must have looked at that before.
    """
    return frozenset(id_ for _, id_ in state_identities(file))


def state_identities(file: Path) -> frozenset[tuple[str, str]]:
    """(type, `id`) of every managed resource in a state file: names are ids too, and a role may be called as its profile is.

    Empty when the file cannot be read, as for `state_ids`.
    """
    try:
        state = local_state(file)
    except SkycError:
        return frozenset()
    found: set[tuple[str, str]] = set()
    for block in (state or {}).get("resources") or ():
        for instance in block.get("instances") or () if block.get("mode") == "managed" else ():
            identity = (instance.get("attributes") or {}).get("id")
            if identity is not None:
                found.add((str(block.get("type")), str(identity)))
    return frozenset(found)


def local_state(file: Path) -> JsonObject | None:
    """A state file's content, None when there is none (or an empty one, as a killed run may leave). Raises SkycError."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise _damaged(str(file), str(problem.strerror)) from problem
    return parsed_state(text, str(file)) if text.strip() else None


def parsed_state(text: bytes, place: str) -> JsonObject:
    """A state's JSON. Raises SkycError `state-damaged`."""
    try:
        value = json.loads(text)
    except ValueError as problem:
        raise _damaged(place, "it is not JSON") from problem
    if not isinstance(value, dict):
        raise _damaged(place, "it is not an object")
    return value


def is_encrypted(state: JsonObject) -> bool:
    """True for a state OpenTofu has encrypted: only the engine can read that."""
    return "encrypted_data" in state


def _damaged(place: str, why: str) -> SkycError:
    return SkycError(
        error(
            "state-damaged",
            "The Terraform state cannot be read",
            f"`{place}`: {why}. Without it Terraform would take everything that exists for new, so nothing was run.",
            hint="put the backup beside it (`terraform.tfstate.backup`) in its place, or restore the file from a backup of yours",
        )
    )


def state_facts(state: JsonObject, place: str) -> StateFacts:
    """Raises SkycError `state-damaged` when it is no state."""
    try:
        return StateFacts(
            lineage=str(state["lineage"]),
            serial=int(state["serial"]),
            sha256=hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest(),
            resources=tuple(sorted({address for block in state.get("resources") or () for address in _addresses(block)})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise _damaged(place, "it lacks what every state has") from problem


def _addresses(block: JsonObject) -> Iterator[str]:
    if block.get("mode") != "managed":
        return
    prefix = f"{block['module']}." if block.get("module") else ""
    for instance in block.get("instances") or ():
        key = instance.get("index_key")
        index = "" if key is None else f"[{json.dumps(key, ensure_ascii=False)}]"
        yield f"{prefix}{block['type']}.{block['name']}{index}"


def output_values(state: JsonObject) -> dict[str, Any]:
    """Output values by name, from a state or from `output -json`."""
    outputs = state.get("outputs", state)
    return {name: outputs[name].get("value") for name in sorted(outputs)} if isinstance(outputs, dict) else {}
