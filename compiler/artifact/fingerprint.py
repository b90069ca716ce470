"""Fingerprints: names of what is reviewed, equal for equal plans and for nothing else.

Contract: pure, and independent of the engine, of the clock, of the order in which anything is written, and of the machine: where skyc's
home is, which keys a deployment has got, which random id stands in the names of its buckets. Two of them, each SHA-256 in hexadecimal:

- `compiled`: the tasks (their texts, variables, names of secrets), the envelope (every placement that may be tried, with the most it may
  cost an hour), where data lies, and the Terraform code. It needs no state and no account.
- `changes`: that, and what Terraform would do to the state there is; the values of secrets enter as keyed hashes.

What a price does to them: the ceiling is in it, the price of the moment is not. So an on-demand price that rises is another plan, because
the reviewer approved an amount; a spot price that moves below it, and changes no choice, is the same plan. What a workdir holds is in
neither: it is reviewed where it is written, and a plan file keeps its digest.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from ...providers.base import Access
from ..buckets import MARK, place_buckets
from ..failover import envelope
from ..ir import (
    Action,
    AttributeChange,
    ChangeSet,
    FileMount,
    FrozenMap,
    GroupPlacement,
    ResourceChange,
    ResourceGraph,
    Secret,
    SpecFile,
    SpecPath,
    Storage,
    Task,
    ValueKind,
    canonical,
    plain,
)
from ..lower import Lowering, lower
from ..pipeline import Compilation

VERSION = 1
"""Of what the fingerprints are made of: other versions of skyc may make others."""
SHOWN = 16
"""Digits people see, out of 64."""
SHORTEST = 12
"""The fewest digits that name a plan."""
_HOME = "/skyc-home"
_LONG = 16
"""Characters from which on a line of a machine's own text (a key) is told from others."""
_QUIET = (Action.NO_OP, Action.READ)


def ceiling(placement: GroupPlacement) -> Decimal | None:
    """The most a node-hour of the placement may cost: what a reviewer approves. None: nobody knows a price."""
    return placement.hourly if placement.worst_hourly is None else max(placement.worst_hourly, placement.hourly or Decimal(0))


def compiled_fingerprint(compilation: Compilation) -> str | None:
    """The name of what a compilation puts up for review; None where it has no code to review."""
    if compilation.graph is None or compilation.placement is None or compilation.graphs is None or compilation.spec is None:
        return None
    reviewed = compilation.reviewed
    named = _Written(compilation.spec)
    facts = {
        "version": VERSION,
        "deployment": str(compilation.deployment),
        "objective": reviewed.objective.value,
        "tasks": [plain(named.task(task)) for task in compilation.graph.tasks],
        "envelope": [
            [_entry(place) for place in envelope(reviewed, item.task, item.group)]
            for item in sorted(reviewed.placements, key=lambda item: (item.task, item.group))
        ],
        "storages": [
            [item.name, item.uri, plain(item.location), item.chosen]
            for item in sorted(reviewed.storages, key=lambda item: item.name)
        ],
        "code": sorted(_code(compilation)),
    }
    return _sha256(facts)


def changes_fingerprint(
    compiled: str,
    changes: Iterable[ChangeSet],
    *,
    own: Iterable[str] = (),
    secrets: Mapping[str, str] | None = None,
) -> str:
    """The name of a plan that was compared with its state.

    own: texts of this machine's and this deployment's own that stand in values and tell nothing (`own_texts`). secrets: name → what
    `keyed` gives for the value.
    """
    veil = _Veil(own)
    facts = {
        "version": VERSION,
        "compiled": compiled,
        "secrets": dict(secrets or {}),
        "sites": {
            str(made.site): {
                "outputs": sorted(made.outputs),
                "changes": sorted(
                    (_change(change, veil) for change in made.changes if _counts(change)), key=lambda row: json.dumps(row)
                ),
            }
            for made in changes
            if made.has_changes
        },
    }
    return _sha256(facts)


def keyed(key: bytes, secrets: Mapping[str, Secret]) -> FrozenMap[str]:
    """Name → a hash of the secret's value that only who has the key can compare with a guess."""
    return FrozenMap(
        {
            name: hmac.new(key, f"{name}\0{secret.reveal()}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
            for name, secret in secrets.items()
        }
    )


def own_texts(compilation: Compilation) -> tuple[str, ...]:
    """What stands in a compilation's code and is another text on another machine: the home, keys, the bucket's mark, the plan's tag."""
    options = compilation.options
    access = options.access(compilation.deployment) if _logs_in(compilation) else Access()
    mark = options.mark(compilation.deployment) if compilation.buckets else ""
    plan = compilation.placement.digest[:12] if compilation.placement is not None else ""
    return tuple(filter(None, (str(options.home), access.login_key, access.host_key, access.host_key_public, mark, plan)))


def matches(fingerprint: str, wanted: str) -> bool:
    """Whether `wanted`, at least SHORTEST digits of it, names the fingerprint."""
    return len(wanted) >= SHORTEST and fingerprint.startswith(wanted.lower())


def _sha256(facts: object) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(placement: GroupPlacement) -> Any:
    """A placement of the envelope, without the price of the moment and what follows from it."""
    bare = dataclasses.replace(placement, hourly=None, hours=Decimal(0), lines=(), worst_hourly=ceiling(placement))
    return plain(bare)


class _Written:
    """Tasks as the user wrote them: paths before they became absolute, no places in the file."""

    def __init__(self, spec: SpecFile) -> None:
        self._workdirs: dict[SpecPath, Any] = {}
        self._sources: dict[SpecPath, Any] = {}
        for document in spec.documents:
            self._workdirs[document.origin] = document.workdir
            for mount in document.file_mounts or ():
                self._sources[mount.origin] = mount.source
                if mount.storage is not None:
                    self._sources[mount.storage.origin] = mount.storage.source
            for storage in document.storage or ():
                self._sources[storage.origin] = storage.source

    def task(self, task: Task) -> Any:
        wrote = self._workdirs.get(task.origin)
        workdir = None if task.workdir is None else wrote if isinstance(wrote, str) else task.workdir
        found = dataclasses.replace(
            task,
            workdir=workdir,
            file_mounts=tuple(self._placed(mount) for mount in task.file_mounts),
            storages=tuple(self._placed(storage) for storage in task.storages),
        )
        return _without_origins(found)

    def _placed(self, item: Any) -> Any:
        assert isinstance(item, FileMount | Storage)
        wrote = self._sources.get(item.origin)
        if item.source is None or "://" in item.source or not isinstance(wrote, str):
            return item
        return dataclasses.replace(item, source=wrote)


def _without_origins(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_without_origins(item) for item in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type | SpecPath):
        return value
    changed = {
        field.name: SpecPath() if field.name == "origin" else _without_origins(getattr(value, field.name))
        for field in dataclasses.fields(value)
    }
    return dataclasses.replace(value, **changed)


def _logs_in(compilation: Compilation) -> bool:
    from ...providers.base import Capability

    providers = compilation.options.providers
    names = {graph.provider for graph in compilation.graphs or ()}
    return any(Capability.LOGIN in providers[name].capabilities for name in names if name in providers)


def _code(compilation: Compilation) -> Iterator[str]:
    """The Terraform code of every site, compiled once more for nobody's home in particular, as an offline plan compiles it."""
    options, graph, placement = compilation.options, compilation.graph, compilation.reviewed
    assert graph is not None and compilation.candidates is not None

    def access(deployment: Any) -> Access:
        found = options.access(deployment)
        return dataclasses.replace(found, login_key="login", host_key="host", host_key_public="host.pub")

    buckets = place_buckets(
        compilation.bound or graph,
        placement,
        options.providers,
        compilation.candidates.catalog,
        deployment=compilation.deployment,
        mark=MARK,
    )
    how = Lowering(
        providers=options.providers,
        deployment=compilation.deployment,
        home=_HOME,
        runtime=options.runtime,
        sources=compilation.sources,
        access=access,
        networks=options.networks,
        images=FrozenMap({**compilation.images, **options.images}),
        offline=True,
    )
    graphs, _ = lower(graph, placement, how, buckets=buckets)
    for made in graphs:
        # The plan's id is a tag, and is made of prices too.
        yield canonical(_bare(made)).decode().replace(placement.digest[:12], "plan")


def _bare(graph: ResourceGraph) -> ResourceGraph:
    return dataclasses.replace(graph, resources=tuple(dataclasses.replace(node, origin=SpecPath()) for node in graph.resources))


def _counts(change: ResourceChange) -> bool:
    return change.action not in _QUIET or bool(change.previous_address) or bool(change.importing)


def _change(change: ResourceChange, veil: _Veil) -> list[Any]:
    # What a replaced object was goes with it, and holds what changes by itself (addresses, how long it has been dead).
    attributes = [] if change.action is Action.DELETE else [_attribute(row, change.action, veil) for row in change.attributes]
    return [change.address, change.action.value, change.previous_address, change.importing, sorted(attributes, key=str)]


def _attribute(row: AttributeChange, action: Action, veil: _Veil) -> list[Any]:
    before = veil(row.before) if action is Action.UPDATE and row.kind is not ValueKind.SECRET else None
    after = veil(row.after) if row.kind is ValueKind.KNOWN else None
    return [row.path, row.kind.value, before, after]


class _Veil:
    """Takes what is a machine's own out of values, in base64 too."""

    def __init__(self, own: Iterable[str]) -> None:
        lines = {line for text in own for line in (text, *text.splitlines()) if len(line) >= _LONG or line == text}
        self._lines = sorted(lines, key=lambda line: (-len(line), line))

    def __call__(self, text: str | None) -> str | None:
        if text is None or not self._lines:
            return text
        inner = _from_base64(text)
        if inner is not None:
            return "base64:" + self._taken(inner)
        return self._taken(text)

    def _taken(self, text: str) -> str:
        for line in self._lines:
            text = text.replace(line, "~").replace(json.dumps(line)[1:-1], "~")
        return text


def _from_base64(text: str) -> str | None:
    """A JSON text that is base64 of readable text; None otherwise."""
    if len(text) < 4 * _LONG:
        return None
    try:
        return base64.b64decode(json.loads(text), validate=True).decode()
    except (ValueError, TypeError, binascii.Error):
        return None
