"""Random small worlds: a catalog as plain rows, and a graph of tasks over it.

Everything is drawn through one `random.Random`, whose seed Hypothesis supplies. Rows are kept beside the
catalog that is built from them, so that the reference (`reference.py`) never reads a column the optimizer reads.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import SourceFile, SourceMap
from skyc.compiler.ir import (
    Accelerator,
    AcceleratorRequest,
    Addresses,
    Affinity,
    AffinityLevel,
    Bound,
    CandidateSet,
    Catalog,
    CheckpointPolicy,
    DataFlow,
    FrozenMap,
    GroupName,
    HoursOn,
    Infra,
    Market,
    NodeGroup,
    Quota,
    ResourceRequest,
    SpecPath,
    Storage,
    Task,
    TaskGraph,
    TaskId,
)
from skyc.compiler.ir.catalog import AddressRate, DiskRate, GatewayRate, PriceStep, Rates, StorageRate, TransferRule
from skyc.providers.snapshot import OfferRow, TypeRow, build_part

D = Decimal
SOURCES = SourceMap(source=SourceFile(path="tasks.yaml", text=""))
LIST, DATE = "list", "2026-11-01"


@dataclass(frozen=True, kw_only=True)
class PartRows:
    """One provider as rows."""

    provider: str
    types: tuple[TypeRow, ...]
    offers: tuple[OfferRow, ...]
    rates: Rates
    sells_spot: bool

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted({*(row.region for row in self.offers), *self.rates.continents}))


@dataclass(frozen=True, kw_only=True)
class World:
    parts: tuple[PartRows, ...]
    graph: TaskGraph
    quotas: tuple[Quota, ...] = ()
    public: FrozenMap[Addresses] = field(default_factory=FrozenMap)
    """`<provider>/<region>` → which machines have a public address, where that is not all of them."""
    owned: tuple[str, ...] = ()

    @property
    def catalog(self) -> Catalog:
        return Catalog(
            parts=tuple(
                build_part(p.provider, p.types, p.offers, p.rates, sells_spot=p.sells_spot, as_of="2026-11-01")
                for p in self.parts
            ),
            quotas=self.quotas,
            addresses=self.public,
            owned=self.owned,
        )

    def found(self) -> CandidateSet:
        """What the candidates stage finds; groups may be left without any."""
        return candidates(self.graph, self.catalog, SOURCES)[0]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a world may contain, and how large it may grow."""

    tasks: int = 3
    groups: int = 2
    storages: int = 2
    offers: int = 4
    limits: bool = False
    unknown: bool = True
    ordered: bool = True
    affinities: bool = True
    data: bool = True
    spot: bool = True


def money(rng: Random, low: int = 1, high: int = 400) -> Decimal:
    """A price with few digits, so that ties happen, or with nano-dollars."""
    amount = D(rng.randint(low, high)) / 100
    return amount + D(rng.randint(1, 999)) / 10**9 if rng.random() < 0.2 else amount


def _steps(rng: Random, low: int, high: int, unknown: bool) -> tuple[PriceStep, ...]:
    edges = [D(0), *sorted({D(rng.choice((10, 50, 100, 1024))) for _ in range(rng.randint(0, 2))})]
    prices: list[Decimal | None] = [D(rng.randint(low, high)) / 1000 for _ in edges]
    if unknown and rng.random() < 0.1:
        prices[-1] = None
    return tuple(PriceStep(above=edge, price=price) for edge, price in zip(edges, prices, strict=True))


def _rates(rng: Random, provider: str, regions: list[str], shape: Shape) -> Rates:
    continents = {region: rng.choice(("europe", "asia")) for region in regions}
    rules: list[TransferRule] = []

    def rule(source: str, destination: str, low: int, high: int, *, both_ways: bool = False) -> None:
        rules.append(
            TransferRule(
                source=source,
                destination=destination,
                steps=_steps(rng, low, high, shape.unknown),
                both_ways=both_ways,
                price_source=LIST,
                as_of=DATE,
            )
        )

    if rng.random() < 0.3:
        rule(rng.choice(regions), rng.choice(regions), 0, 30)
    if rng.random() < 0.8:
        rule("*", "other-zone", 0, 20, both_ways=rng.random() < 0.5)
    if rng.random() < 0.4:
        rule("*", "same-continent", 0, 30)
    if rng.random() < 0.3:
        rule(f"continent:{rng.choice(('europe', 'asia'))}", "other-region", 10, 90)
    if rng.random() < 0.9:
        rule("*", "other-region", 5, 60)
    if rng.random() < 0.3:
        rule(rng.choice(("*", rng.choice(regions))), f"internet:{rng.choice(('europe', 'asia'))}", 20, 90)
    if rng.random() < 0.9:
        rule("*", "internet", 40, 150)
    disks = []
    for tier in ("medium", "best"):
        if rng.random() < 0.7:
            ladder = () if rng.random() < 0.5 else ((D(64), D(3)), (D(256), D("9.5")), (D(512), D(30)))
            per_gb = None if ladder else D(rng.randint(2, 40)) / 100
            region = rng.choice(("*", rng.choice(regions)))
            disks.append(
                DiskRate(region=region, tier=tier, name=tier, per_gb=per_gb, ladder=ladder, price_source=LIST, as_of=DATE)
            )
    addresses = []
    if rng.random() < 0.5:
        hourly = None if shape.unknown and rng.random() < 0.1 else D("0.005")
        halved = D("0.0025") if hourly is not None and rng.random() < 0.5 else None
        region = rng.choice(("*", rng.choice(regions)))
        addresses.append(AddressRate(region=region, hourly=hourly, spot_hourly=halved, price_source=LIST, as_of=DATE))
    gateways = []
    for region in (rng.choice(regions), "*"):
        if rng.random() < 0.5:
            each = rng.random() < 0.5
            gateways.append(
                GatewayRate(
                    region=region,
                    hourly=None if shape.unknown and rng.random() < 0.2 else D("0.0431"),
                    per_gb=D("0.045"),
                    per_machine_hourly=D("0.0014") if each else None,
                    most_machines=2 if each else None,
                    many_hourly=D("0.0029") if each else None,
                    price_source=LIST,
                    as_of=DATE,
                )
            )
    storages = []
    for region in [*regions, "*"]:
        if rng.random() < 0.6:
            storages.append(
                StorageRate(
                    region=region, name="standard", steps=_steps(rng, 5, 60, shape.unknown), price_source=LIST, as_of=DATE
                )
            )
    if rng.random() < 0.3:
        continents["far"] = "asia"
    return Rates(
        continents=FrozenMap(continents),
        transfers=tuple(rules),
        disks=tuple(disks),
        storages=tuple(storages),
        addresses=tuple(addresses),
        gateways=tuple(gateways),
        disk_gb=rng.choice((None, D(64), D(100))),
        schemes=(provider,),
        reference_region=rng.choice((None, regions[0])),
    )


TYPES = (
    TypeRow(name="cpu4", cpus=D(4), memory_gb=D(16)),
    TypeRow(name="cpu8", cpus=D(8), memory_gb=D(32)),
    TypeRow(name="l4", cpus=D(8), memory_gb=D(32), accelerators=(Accelerator(name="L4", count=D(1), memory_gb=D(24)),)),
    TypeRow(name="t4", cpus=D(4), memory_gb=D(16), accelerators=(Accelerator(name="T4", count=D(1), memory_gb=D(16)),)),
    TypeRow(name="h100", cpus=D(16), memory_gb=D(99), accelerators=(Accelerator(name="H100-SXM", count=D(1)),)),
)


def _offers(rng: Random, types: tuple[TypeRow, ...], regions: list[str], shape: Shape) -> tuple[OfferRow, ...]:
    rows: dict[tuple[str, str, str], OfferRow] = {}
    for _ in range(rng.randint(1, shape.offers)):
        kind, region = rng.choice(types), rng.choice(regions)
        zone = rng.choice((None, f"{region}-a", f"{region}-b", f"{region}-b"))
        on_demand: Decimal | None = money(rng)
        spot: Decimal | None = None
        if rng.random() < 0.6:
            spot = (on_demand or D(1)) * D(rng.choice(("0.3", "0.5", "1")))
        if shape.unknown and rng.random() < 0.12:
            on_demand = None
        rows[region, zone or "", kind.name] = OfferRow(
            type=kind.key,
            region=region,
            zone=zone,
            on_demand=on_demand,
            spot=spot,
            source="list",
            as_of="2026-11-01",
            interruption_rate=rng.choice((None, D("0.01"), D("0.2"))),
        )
    return tuple(rows.values())


def _part(rng: Random, provider: str, shape: Shape) -> PartRows:
    regions = ["north", "south", "west"][: rng.randint(1, 3)]
    types = tuple(kind for kind in TYPES if rng.random() < 0.7) or TYPES[:1]
    if rng.random() < 0.25:
        # As machines of one's own: what tasks may ask for by label is declared with them.
        types = tuple(replace(kind, labels=_labels(rng)) for kind in types)
    return PartRows(
        provider=provider,
        types=types,
        offers=_offers(rng, types, regions, shape),
        rates=_rates(rng, provider, regions, shape),
        sells_spot=shape.spot and rng.random() < 0.6,
    )


def _labels(rng: Random) -> FrozenMap[str]:
    return FrozenMap({name: rng.choice(("one", "two")) for name in ("rack", "team") if rng.random() < 0.5})


def _request(rng: Random, parts: tuple[PartRows, ...], shape: Shape) -> ResourceRequest:
    infra = Infra()
    if rng.random() < 0.25:
        part = rng.choice(parts)
        infra = Infra(provider=part.provider, region=rng.choice((None, *part.regions)))
    accelerators = None
    if rng.random() < 0.4:
        wanted = rng.sample(("L4", "T4", "H100"), rng.randint(1, 3))
        accelerators = tuple(AcceleratorRequest(name=name, count=D(1)) for name in wanted)
    return ResourceRequest(
        origin=SpecPath(("resources",)),
        infra=infra,
        cpus=None if accelerators else Bound(amount=D(rng.choice((1, 4, 5)))),
        accelerators=accelerators,
        accelerators_ordered=shape.ordered and rng.random() < 0.4,
        market=rng.choice((Market.ON_DEMAND, Market.AUTO, Market.AUTO, Market.SPOT) if shape.spot else (Market.ON_DEMAND,)),
        disk_gb=rng.choice((None, D(30), D(200), D(600))),
        disk_tier=rng.choice((None, None, "best")),
        ports=rng.choice(((), (), ("80",))),
        max_hourly_cost=rng.choice((None, None, None, D(2))),
        interruption_rate=rng.choice((None, None, D("0.05"))),
        labels=_labels(rng) if rng.random() < 0.3 else FrozenMap(),
    )


def _task(rng: Random, number: int, before: list[Task], parts: tuple[PartRows, ...], shape: Shape) -> Task:
    name = f"t{number}"
    origin = SpecPath(("tasks", number))
    groups = []
    for index in range(1 if rng.random() < 0.7 else rng.randint(1, shape.groups)):
        requests = tuple(_request(rng, parts, shape) for _ in range(1 if rng.random() < 0.7 else 2))
        groups.append(
            NodeGroup(
                name=GroupName(f"g{index}"),
                origin=origin.child("groups").child(index),
                num_nodes=rng.choice((1, 1, 2, 3)),
                requests=requests,
                ordered=shape.ordered and rng.random() < 0.5,
                run="true",
            )
        )
    needs = tuple(task.id for task in before if rng.random() < 0.5)
    affinities: list[Affinity] = []
    if shape.affinities and before and rng.random() < 0.35:
        level, other = rng.choice(tuple(AffinityLevel)), rng.choice(before)
        affinities.append(Affinity(level=level, same=rng.random() < 0.5, task=other.id, origin=origin.child("affinity")))
    hours = D(rng.choice(("0.5", "1", "2", "7.25")))
    hours_on = tuple(
        HoursOn(accelerator=AcceleratorRequest(name=name_, count=D(1)), hours=D(rng.choice(("0.25", "1", "3", "9"))))
        for name_ in ("L4", "H100")
        if rng.random() < 0.3
    )
    checkpoint = None
    if rng.random() < 0.3:
        checkpoint = CheckpointPolicy(origin=origin, path="out", storage="s", every_seconds=rng.choice((600, 7200)), keep=1)
    return Task(
        id=TaskId(name),
        origin=origin,
        groups=tuple(groups),
        setup="",
        envs=FrozenMap(),
        secrets=(),
        workdir=None,
        checkpoint=checkpoint,
        hours=hours,
        hours_assumed=False,
        hours_on=hours_on,
        needs=needs,
        affinities=tuple(affinities),
        traffic_gb=rng.choice((None, D(20), D("150.5"))) if len(groups) > 1 else None,
    )


def _gb(rng: Random) -> Decimal:
    return D(rng.choice(("0", "0.5", "10", "49.9", "120", "3000")))


def _with_data(rng: Random, tasks: list[Task], parts: tuple[PartRows, ...], shape: Shape) -> tuple[Task, ...]:
    """Straight flows along needs, and Storages at known and at free places."""
    made = list(tasks)
    index = {task.id: number for number, task in enumerate(tasks)}
    for number, task in enumerate(tasks):
        for need in task.needs:
            if rng.random() < 0.6:
                key, gb = f"d-{need}-{task.id}", _gb(rng)
                source = made[index[need]]
                out = DataFlow(key=key, storage=None, gb=gb, origin=source.origin)
                made[index[need]] = replace(source, outputs=(*source.outputs, out))
                if rng.random() < 0.7:
                    mine = DataFlow(key=key, storage=None, gb=gb, origin=task.origin)
                    made[number] = replace(made[number], inputs=(*made[number].inputs, mine))
    for count in range(rng.randint(0, shape.storages)):
        part = rng.choice(parts)
        infra = rng.choice(
            (Infra(), Infra(provider=part.provider), Infra(provider=part.provider, region=rng.choice(part.regions)))
        )
        auto = rng.random() < 0.5
        storage = Storage(
            name=f"s{count}",
            origin=SpecPath(("storage", count)),
            uri=None if auto else f"{part.provider}://bucket",
            size_gb=rng.choice((None, D(20), D(300))),
            infra=infra,
            auto=auto,
            keep_days=rng.choice((None, D(30))),
        )
        for number, task in enumerate(made):
            if rng.random() < 0.6:
                flow = DataFlow(key=storage.name, storage=storage.name, gb=_gb(rng), origin=task.origin)
                inputs = (*task.inputs, flow) if rng.random() < 0.6 else task.inputs
                outputs = (*task.outputs, flow) if rng.random() < 0.4 else task.outputs
                made[number] = replace(task, storages=(*task.storages, storage), inputs=inputs, outputs=outputs)
    return tuple(made)


def world(rng: Random, shape: Shape) -> World:
    """One world. Limits are set by the tests, which know what is reachable."""
    parts = tuple(_part(rng, name, shape) for name in ("aa", "bb", "cc")[: rng.randint(2, 3)])
    tasks: list[Task] = []
    for number in range(rng.randint(1, shape.tasks)):
        tasks.append(_task(rng, number, tasks, parts, shape))
    made = _with_data(rng, tasks, parts, shape) if shape.data else tuple(tasks)
    public, owned = _public(rng, parts) if rng.random() < 0.4 else (FrozenMap[Addresses](), ())
    return World(parts=parts, graph=TaskGraph(name="world", tasks=made), public=public, owned=owned)


def _public(rng: Random, parts: tuple[PartRows, ...]) -> tuple[FrozenMap[Addresses], tuple[str, ...]]:
    public = {
        f"{part.provider}/{region}": rng.choice((Addresses.HEAD, Addresses.HEAD, Addresses.NONE))
        for part in parts
        for region in part.regions
        if rng.random() < 0.6
    }
    owned = [place for place, found in public.items() if found is Addresses.HEAD and rng.random() < 0.3]
    return FrozenMap(public), tuple(sorted(owned))
