"""The compiler as one list: from the user's text to `cdk.tf.json`.

Contract: `compile_source` is a function of the source text, the files it names, the catalog, the providers' code and the
options: no clock, no randomness. Each pass reads a `Compilation` and returns a new one; none changes what an earlier pass
made. The list is data, so `--emit=<stage>` and `--timings` need no code of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..providers.base import EVERY_ZONE, Access, Capability, NetworkChoice, Provider, ZoneNames, usual_addresses
from .buckets import MARK, Bucket, KnownBucket, following, place_buckets, settled
from .candidates import candidates, report
from .closed import closed_regions, passed_over, places_of_data
from .diagnostics import Diagnostic, SourceFile, SourceMap, has_errors
from .images import image_places
from .ir import (
    Addresses,
    CandidateReport,
    CandidateSet,
    Catalog,
    DeploymentId,
    FrozenMap,
    NodeRuntime,
    Objective,
    PlacementPlan,
    Quota,
    ResourceGraph,
    Secret,
    SiteId,
    SpecFile,
    SynthManifest,
    TaskGraph,
    TaskId,
    digest,
)
from .ir.catalog import CatalogPart
from .lower import Lowering, lower
from .makeable import only_priced
from .openable import not_openable
from .optimize import optimize
from .parse import parse
from .policy.load import PolicyFile, load
from .policy.rules import NO_POLICY, PolicySet
from .policy.scope import restriction_of
from .portable import portable
from .printer import print_ir
from .refused import Narrowing
from .resolve import EnvOverrides, resolve
from .resolve.storages import store_conflicts
from .synth import synth
from .zones import unknown_zones


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """Everything besides the source that the result depends on."""

    providers: Mapping[str, Provider]
    home: Path
    runtime: NodeRuntime
    overrides: EnvOverrides
    deployment: DeploymentId | None = None
    """None: the name the file gives itself."""
    objective: Objective = Objective.COST
    quotas: tuple[Quota, ...] = ()
    regions: tuple[str, ...] = ()
    """`<provider>/<region>`, sorted: regions that have to be asked for (`Provider.on_request`) and that the user's accounts have."""
    access: Callable[[DeploymentId], Access] = lambda deployment: Access()
    """Keys and SSH ranges of a deployment. Asked only when a target's machines are logged in to."""
    networks: Mapping[tuple[str, str], NetworkChoice] = field(default_factory=dict)
    """(provider, region) → the user's own network there, where machines go into one."""
    mark: Callable[[DeploymentId], str] = lambda deployment: MARK
    """A deployment's own id in names that are unique in the world. Asked only when a bucket is made, and not for offline plans."""
    known: Callable[[DeploymentId], tuple[KnownBucket, ...]] = lambda deployment: ()
    """The buckets a deployment has already: they stay where they are."""
    held: Callable[[DeploymentId], Mapping[SiteId, tuple[str, ...]]] = lambda deployment: {}
    """Site → addresses in its state, as an older skyc may have called them. Asked only where a target has renamed something."""
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    """Machine images the user's configuration names, by target and region (`LowerContext.images`)."""
    policies: tuple[PolicyFile, ...] = ()
    """Policy files that hold beside those the task file names."""
    offline: bool = False
    """The result is for a plan that asks nobody and is never applied."""
    parts: Mapping[str, CatalogPart] | None = None
    """The catalog, by provider; None: every provider is asked for its part."""
    versions: FrozenMap[str] = field(default_factory=FrozenMap)
    """Terraform provider source → version to use instead of the one skyc pins."""
    tried: dict[object, str] = field(default_factory=dict, compare=False, repr=False)
    """Whether a fallback can be made: empty if so, else why not. Filled by compilations, and shared by those of one command whose options
    are the same but for the file's own variables: it spares time and changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthFile:
    """A site's root module: what synth made, and its text."""

    manifest: SynthManifest
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What the passes so far have made. A field is None until its pass has run."""

    source: SourceFile
    options: CompileOptions
    spec: SpecFile | None = None
    sources: SourceMap
    graph: TaskGraph | None = None
    secrets: FrozenMap[Secret] = field(default_factory=FrozenMap)
    policy: PolicySet = NO_POLICY
    """Every rule that holds for the plan."""
    endless: tuple[TaskId, ...] = ()
    """Tasks that are services: they run until somebody stops them."""
    candidates: CandidateSet | None = None
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    """Machine images the catalog knows, as `CompileOptions.images` names them."""
    placement: PlacementPlan | None = None
    bound: TaskGraph | None = None
    """`graph` with every Storage that has a bucket bound to its place: what the choice is made for. What a task is, and whether it
    has changed, does not depend on it."""
    known: tuple[KnownBucket, ...] = ()
    """The buckets the deployment has already."""
    buckets: tuple[Bucket, ...] = ()
    """The Storages for which there is a bucket of ours, or will be."""
    chosen: PlacementPlan | None = None
    """What the optimizer chose, where failover has gone on from it and `placement` is another one of its envelope."""
    graphs: tuple[ResourceGraph, ...] | None = None
    synthesized: tuple[SynthFile, ...] | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    timings: tuple[tuple[str, float], ...] = ()
    """(stage, seconds). Shown by `--timings`; never part of anything that is compared."""

    @property
    def failed(self) -> bool:
        return has_errors(self.diagnostics)

    @property
    def reviewed(self) -> PlacementPlan:
        """The plan whose envelope holds. Only after optimize."""
        found = self.chosen or self.placement
        assert found is not None
        return found

    @property
    def deployment(self) -> DeploymentId:
        """The chosen name, else the file's own. Only after resolve."""
        if self.options.deployment is not None:
            return self.options.deployment
        assert self.graph is not None
        return DeploymentId(self.graph.name)


Pass = Callable[[Compilation], Compilation]


def _parse(state: Compilation) -> Compilation:
    spec, sources, said = parse(state.source)
    return dataclasses.replace(state, spec=spec, sources=sources, diagnostics=state.diagnostics + said)


def _resolve(state: Compilation) -> Compilation:
    spec = state.spec
    assert spec is not None
    path = Path(state.source.path)
    resolved, said = resolve(
        spec,
        state.sources,
        stem=path.stem,
        directory=path.resolve().parent,
        overrides=state.options.overrides,
    )
    state = dataclasses.replace(state, diagnostics=state.diagnostics + said)
    if resolved is None:
        return state
    policy, said = load((*state.options.policies, *_named_policies(state)))
    services = {document.origin for document in spec.documents if "service" in document.later}
    state = dataclasses.replace(
        state,
        graph=resolved.graph,
        secrets=resolved.secrets,
        policy=policy,
        endless=tuple(task.id for task in resolved.graph.tasks if task.origin in services),
        diagnostics=state.diagnostics + said,
    )
    known = state.options.known(state.deployment)
    graph, said = settled(resolved.graph, known, state.sources)
    return dataclasses.replace(state, bound=graph, known=known, diagnostics=state.diagnostics + said)


def _named_policies(state: Compilation) -> Iterator[PolicyFile]:
    """The policy files that the task file names, relative to it."""
    assert state.spec is not None
    directory = Path(state.source.path).parent
    records = (*((state.spec.header,) if state.spec.header else ()), *state.spec.documents)
    for record in records:
        for text in record.policy or ():
            span = state.sources.find(record.origin.child("policy"))
            yield PolicyFile(path=directory / Path(text).expanduser(), shown=str(directory / text), span=span)


def _candidates(state: Compilation) -> Compilation:
    assert state.graph is not None
    providers = state.options.providers
    given = state.options.parts
    parts = tuple(
        providers[name].catalog(home=state.options.home) if given is None else given[name]
        for name in sorted(providers if given is None else given)
    )
    networks = {f"{provider}/{region}": network for (provider, region), network in state.options.networks.items()}
    zones = {
        place: tuple(sorted(network.existing.subnets))
        for place, network in networks.items()
        if network.existing is not None and EVERY_ZONE not in network.existing.subnets
    }
    usually = ((name, usual_addresses(able)) for name, able in capabilities_of(providers).items())
    public: dict[str, Addresses] = {name: which for name, which in usually if which is not Addresses.ALL}
    # What holds anyway is left out: saying it is no other catalog.
    usual = {place: public.get(place.split("/")[0], Addresses.ALL) for place in networks}
    public |= {place: network.public for place, network in networks.items() if network.public is not usual[place]}
    catalog = Catalog(
        parts=parts,
        quotas=state.options.quotas,
        closed=closed_regions(parts, providers, {*state.options.regions, *places_of_data(state.bound or state.graph, parts)}),
        opened=state.options.regions,
        zones=FrozenMap(zones),
        addresses=FrozenMap(public),
        owned=tuple(
            sorted(place for place, network in networks.items() if network.existing and network.public is Addresses.HEAD)
        ),
    )
    schemes = {part.provider: part.rates.schemes for part in catalog.parts}
    said = store_conflicts(state.graph.tasks, schemes, state.sources)
    restrictions = {task.id: restriction_of(state.policy, task, state.deployment) for task in state.graph.tasks}
    places, about = image_places(state.graph, catalog, providers, state.sources)
    able, names = capabilities_of(providers), zone_names_of(providers)
    found, more = candidates(state.bound or state.graph, catalog, state.sources, able, restrictions, places, names)
    images = {f"{part.provider}/{place}": image for part in parts for place, image in part.images.items()}
    return dataclasses.replace(
        state, candidates=found, images=FrozenMap(images), diagnostics=(*state.diagnostics, *said, *about, *more)
    )


def capabilities_of(providers: Mapping[str, Provider]) -> dict[str, frozenset[Capability]]:
    """What each provider can do. One that is only priced yet is left out: what its machines can do is not asked of skyc."""
    return {name: p.capabilities for name, p in providers.items() if Capability.LOWER in p.capabilities}


def zone_names_of(providers: Mapping[str, Provider]) -> dict[str, ZoneNames]:
    """How each provider calls its zones, of those that know it apart from their catalog."""
    return {name: said for name, p in providers.items() if (said := p.zone_names) is not None}


def _optimize(state: Compilation) -> Compilation:
    assert state.graph is not None
    assert state.candidates is not None
    graph = state.bound or state.graph
    targets = capabilities_of(state.options.providers)
    narrowing = Narrowing(
        graph=state.graph,
        how=_lowering(state, access=lambda _: Access()),
        # Nothing is made here: neither keys nor the deployment's own mark.
        buckets=lambda choice: _buckets(state, choice, mark=MARK),
    )
    solved = functools.partial(
        optimize,
        sources=state.sources,
        objective=state.options.objective,
        targets=targets,
        priced=only_priced(state.candidates.catalog, targets),
    )
    placement, said = solved(graph, state.candidates, narrowed=narrowing, alone=narrowing.alone)
    found = narrowing.found or state.candidates
    if placement is not None:
        said = (*said, *narrowing.notes(placement))
        # A Storage goes where its task goes. What it costs there counts in the first plan as in every later one, which finds it there.
        followed = following(graph, placement, state.options.providers, state.sources)
        again, more = (None, ()) if followed is graph else solved(followed, found)
        if again is not None and again.places == placement.places:
            placement, said = again, (*more, *narrowing.notes(again))
        if state.options.objective is Objective.COST:
            said = (*said, *passed_over(state.graph, found, placement, targets))
    if placement is not None and state.policy.rules:
        from .policy.trim import trimmed

        placement = trimmed(placement, state.policy, state.graph, state.deployment)
    if placement is not None:
        # Of the task, and not of where its files lie on this machine.
        seen = portable(state.bound or state.graph, Path(state.source.path).resolve().parent)
        placement = dataclasses.replace(placement, spec_digest=digest(seen))
    return dataclasses.replace(state, candidates=found, placement=placement, diagnostics=state.diagnostics + said)


def _buckets(state: Compilation, placement: PlacementPlan, mark: str | Callable[[DeploymentId], str]) -> tuple[Bucket, ...]:
    assert state.graph is not None and state.candidates is not None
    return place_buckets(
        state.bound or state.graph,
        placement,
        state.options.providers,
        state.candidates.catalog,
        deployment=state.deployment,
        mark=mark,
        known=state.known,
    )


def _lowering(state: Compilation, access: Callable[[DeploymentId], Access]) -> Lowering:
    return Lowering(
        providers=state.options.providers,
        deployment=state.deployment,
        home=str(state.options.home),
        runtime=state.options.runtime,
        sources=state.sources,
        access=access,
        networks=state.options.networks,
        # What the user names counts for more than what the catalog knows.
        images=FrozenMap({**state.images, **state.options.images}),
        offline=state.options.offline,
        versions=state.options.versions,
    )


def _lower(state: Compilation) -> Compilation:
    assert state.graph is not None
    assert state.candidates is not None
    assert state.placement is not None
    buckets = _buckets(state, state.placement, MARK if state.options.offline else state.options.mark)
    how = _lowering(state, access=functools.cache(state.options.access))
    placement = state.placement
    notes: tuple[Diagnostic, ...] = ()
    if state.chosen is None:
        from .envelope import makeable

        # Before anything is lowered: which plan made a resource stands in its tags.
        placement, notes = makeable(state.graph, state.placement, how, buckets=buckets, known=state.options.tried)
        notes += tuple(unknown_zones(state.graph, placement, state.candidates.catalog, state.sources))
    graphs, said = lower(state.graph, placement, how, buckets=buckets)
    if has_errors(said):
        # Fallbacks of what cannot be made are mostly left out for the same reason, and count again when that is mended.
        notes = ()
    unopened = not_openable(state.graph, placement, buckets, state.options.providers, state.sources)
    diagnostics = (*state.diagnostics, *notes, *said, *unopened)
    return dataclasses.replace(
        state, placement=placement, buckets=buckets, graphs=_moved(state, graphs), diagnostics=diagnostics
    )


def _moved(state: Compilation, graphs: tuple[ResourceGraph, ...]) -> tuple[ResourceGraph, ...]:
    """With what the states hold under addresses of an older skyc."""
    renames = {graph.provider: state.options.providers[graph.provider].renames() for graph in graphs}
    if state.options.offline or not any(renames.values()):
        return graphs
    from .moves import with_moves

    held = state.options.held(state.deployment)
    return tuple(with_moves(graph, renames[graph.provider], held.get(graph.site, ())) for graph in graphs)


def _synth(state: Compilation) -> Compilation:
    assert state.graphs is not None
    made = []
    for graph in state.graphs:
        manifest, text = synth(graph, cache=state.options.home / "cache" / "synth")
        made.append(SynthFile(manifest=manifest, text=text))
    return dataclasses.replace(state, synthesized=tuple(made))


PASSES: tuple[tuple[str, Pass], ...] = (
    # The text alone: everything wrong with its form is said before anything else is looked at.
    ("parse", _parse),
    # Needs the whole file: defaults, units, names, what each task waits for, which secrets are there.
    # The policies are read here too, so that nothing is chosen without them.
    ("resolve", _resolve),
    # Needs fixed units; asks every target what it has, and keeps why each offer was left out.
    ("candidates", _candidates),
    # Needs all candidates of all groups: the choice is made once, here, and nowhere later.
    ("optimize", _optimize),
    # Needs the place: only now does a provider turn a machine into its resources.
    ("lower", _lower),
    # Last, and cached: the only pass that may start another program.
    ("synth", _synth),
)

STAGES: tuple[str, ...] = (*(name for name, _ in PASSES), "plan")
"""What `--emit` takes. `plan` is Terraform's part, which the runtime adds."""


def compile_source(source: SourceFile, options: CompileOptions, *, until: str = "synth") -> Compilation:
    """Run the passes up to and including `until`, stopping after the first one that reports an error."""
    state = Compilation(source=source, options=options, sources=SourceMap(source))
    for name, run in PASSES:
        started = time.perf_counter()
        state = run(state)
        state = dataclasses.replace(state, timings=(*state.timings, (name, time.perf_counter() - started)))
        if state.failed or name == until:
            break
    return state


def recompiled(state: Compilation, placement: PlacementPlan) -> Compilation:
    """A compilation with its groups at another placement of its envelope: what follows the optimizer is made again."""
    state = dataclasses.replace(state, placement=placement, chosen=state.reviewed, graphs=None, synthesized=None)
    for _, run in PASSES[[name for name, _ in PASSES].index("lower") :]:
        state = run(state)
        if state.failed:
            break
    return dataclasses.replace(state, diagnostics=tuple(dict.fromkeys(state.diagnostics)))


def emit(state: Compilation, stage: str) -> str:
    """A stage's output as text, stable and made for people. Raises KeyError for a stage that is not in `STAGES`."""
    values: dict[str, Callable[[], object]] = {
        "parse": lambda: state.spec,
        "resolve": lambda: state.graph,
        "candidates": lambda: _report(state),
        "optimize": lambda: state.placement,
        "lower": lambda: state.graphs,
    }
    if stage == "synth":
        return "".join(f"# {file.manifest.site}\n{file.text}" for file in state.synthesized or ())
    # Called here only: to report the candidates of a thousand tasks takes seconds.
    value = values[stage]()
    if isinstance(value, tuple):
        return "\n".join(print_ir(item) for item in value)
    return print_ir(value)


def _report(state: Compilation) -> CandidateReport | None:
    return None if state.candidates is None or state.graph is None else report(state.graph, state.candidates)
