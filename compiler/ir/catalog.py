"""What the catalog holds: machine types and offers as columns, and the rates of everything beside machines.

Contract: one `CatalogPart` per provider, immutable once made. Money is whole nano-dollars in columns and Decimal US dollars
elsewhere; `UNKNOWN` (-1) in a column means "not known", never zero. Rows are sorted in the written order (region, zone, type), so
a stable sort on a price breaks ties by that order. numpy is named in annotations only: code that runs on a node imports this package
with nothing but the standard library.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from .addresses import GroupName, SpecPath, TaskId
from .frozen import FrozenMap, canonical
from .placement import Accelerator, InstanceType, Offering, Rejection
from .restriction import Restriction
from .task import ImageByPlace, Market

if TYPE_CHECKING:
    from typing import Any

    import numpy
    from numpy.typing import NDArray

    Column: TypeAlias = "NDArray[numpy.integer[Any]]"
    Flags: TypeAlias = "NDArray[numpy.bool_]"

UNKNOWN = -1
"""In a column: nobody has said."""
NANO = Decimal(10) ** -9
"""US dollars per unit of a price column."""
RATE = Decimal(10) ** -6
"""Interruptions per node-hour, per unit of their column."""
MILLI = Decimal("0.001")
"""CPUs, GiB or devices per unit of an amount column."""
ANY_REGION = "*"
ImagePlaces: TypeAlias = Mapping[str | ImageByPlace, Mapping[str, frozenset[str] | None]]
"""An image as a request names it → provider → the regions where machines can start from it, None for all of them. At a provider that is
not named none can. Of an image that is not named nothing is known."""
NO_IMAGES: ImagePlaces = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an offer is. `zone` None: the provider chooses, has no zones, or nobody has said (`CatalogPart.zone_needed`)."""

    region: str
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypeTable:
    """Machine types. Row i of every column is about `names[i]`; a name can stand twice, with other accelerators.

    cpus, memory: thousandths of a CPU and of a GiB. local_disk: GiB of disks inside the machine, 0 for none.
    The four `device_` columns are a relation: type `device_type[j]` has `device_count[j]` thousandths of accelerator
    `accelerators[device_name[j]]` with `device_memory[j]` thousandths of a GiB each.
    """

    names: tuple[str, ...]
    cpus: Column
    memory: Column
    arch: Column
    """Index into `archs`."""
    local_disk: Column
    divisible: Flags
    archs: tuple[str, ...]
    accelerators: tuple[str, ...]
    """Canonical names, sorted."""
    device_type: Column
    device_name: Column
    device_count: Column
    device_memory: Column
    labels: tuple[FrozenMap[str], ...] | None = None
    """What the owner says of each type's machines, and tasks may ask for. None: machines here get a task's labels when they are made."""

    def devices(self, row: int) -> tuple[Accelerator, ...]:
        """The accelerators of one type, in canonical order."""
        found = [int(j) for j in (self.device_type == row).nonzero()[0]]
        return tuple(
            Accelerator(
                name=self.accelerators[int(self.device_name[j])],
                count=amount(int(self.device_count[j])) or Decimal(0),
                memory_gb=amount(int(self.device_memory[j])),
            )
            for j in found
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OfferTable:
    """Offers of one provider: row i offers `types` row `type[i]` at `places[place[i]]`.

    on_demand, spot: nano-dollars per hour for the whole machine. Rows are sorted by place, then type name, then accelerators.
    """

    types: TypeTable
    places: tuple[Place, ...]
    """Sorted by (region, zone)."""
    type: Column
    place: Column
    on_demand: Column
    spot: Column
    source: Column
    """Index into `sources`."""
    estimated: Flags
    """The price is derived or old enough to be doubted; shown wherever it is used."""
    interruptions: Column
    """Expected spot interruptions per million node-hours."""
    capacity: Column
    """How many such machines exist; UNKNOWN where nobody counts them."""
    sources: tuple[tuple[str, str], ...]
    """(who says so, date as given)."""
    sells_spot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceStep:
    """From `above` units on, each further unit costs `price` US dollars (None: unknown)."""

    above: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRule:
    """The price of moving data, per GB, by volume. The first rule that matches a pair of places is its price.

    source: a region, `continent:<name>` or `*`.
    destination: `other-zone` (another zone of the region), a region of the same provider, `same-continent`, `other-region`
    (both at the same provider), `internet:<continent>` or `internet` (another provider, or a user).
    both_ways: charged where it leaves and again where it arrives.
    """

    source: str
    destination: str
    steps: tuple[PriceStep, ...]
    price_source: str
    as_of: str
    both_ways: bool = False
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRate:
    """A disk by tier (`low`, `medium`, `high`, `ultra`, `best`), per month.

    Either `per_gb`, or a ladder of whole disks: `ladder` holds (size in GiB, US dollars per month), ascending; a size takes the
    first that is large enough.
    """

    region: str
    tier: str
    name: str
    per_gb: Decimal | None
    ladder: tuple[tuple[Decimal, Decimal], ...] = ()
    price_source: str
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageRate:
    """Object storage, US dollars per GB-month by volume."""

    region: str
    name: str
    steps: tuple[PriceStep, ...]
    price_source: str
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRate:
    """A public IPv4 address, US dollars per hour."""

    region: str
    hourly: Decimal | None
    price_source: str
    as_of: str
    spot_hourly: Decimal | None = None
    """Of a spot machine's, where that is another price."""

    def at(self, market: Market) -> Decimal | None:
        """US dollars per hour for a machine of this market; None where nobody has said it."""
        return self.spot_hourly if market is Market.SPOT and self.spot_hourly is not None else self.hourly


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRate:
    """A NAT gateway, through which machines without a public address reach out, with the public address it has itself. US dollars.

    hourly: of a gateway that serves a site, or its address alone where machines are charged. `per_machine_hourly`: on top, for each
    machine that uses it, up to `most_machines` of them; where there are more, `many_hourly` for all together. per_gb: of data through
    it, both ways.
    """

    region: str
    hourly: Decimal | None
    per_gb: Decimal | None
    price_source: str
    as_of: str
    per_machine_hourly: Decimal | None = None
    most_machines: int | None = None
    many_hourly: Decimal | None = None

    def of(self, machines: int) -> Decimal | None:
        """US dollars per hour when so many machines use it; None where nobody has said it."""
        if self.hourly is None or self.per_machine_hourly is None:
            return self.hourly
        if self.most_machines is not None and machines > self.most_machines:
            return None if self.many_hourly is None else self.hourly + self.many_hourly
        return self.hourly + self.per_machine_hourly * machines


class Addresses(enum.Enum):
    """Which machines of a site get an address outside of their network."""

    ALL = "all"
    HEAD = "head"
    """The first node alone. The others are logged in to through it, and reach out through a NAT gateway."""
    NONE = "none"
    """All are reached, and reach out, through what the user's own network has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a provider charges beside machines. A rate for region `*` stands for every region without one of its own.

    reference_region: where a `*` price was taken from; elsewhere it is an estimate. None: the price is the same everywhere.
    """

    continents: FrozenMap[str] = field(default_factory=FrozenMap)
    """Region → `africa`, `asia`, `china`, `europe`, `middle-east`, `north-america`, `oceania` or `south-america`."""
    transfers: tuple[TransferRule, ...] = ()
    disks: tuple[DiskRate, ...] = ()
    storages: tuple[StorageRate, ...] = ()
    addresses: tuple[AddressRate, ...] = ()
    gateways: tuple[GatewayRate, ...] = ()
    disk_gb: Decimal | None = None
    """GiB of disk a node gets when the task asks for none. None: the machine has its own, and nothing is charged."""
    schemes: tuple[str, ...] = ()
    """URI schemes of this provider's object storage."""
    reachable: bool = True
    """Machines of other providers can read and write its storage. A directory on somebody's machine is not."""
    reference_region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CatalogPart:
    """One provider's part of the catalog. Equal digests mean equal parts."""

    provider: str
    offers: OfferTable
    rates: Rates
    digest: str
    """SHA-256 of the part's bytes as stored."""
    as_of: str
    """Oldest and newest date of its prices, `2021-02 … 2026-08-17`; for the machine itself, `now`."""
    notes: tuple[str, ...] = ()
    """What is known to be missing, in full sentences."""
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    """Region → id of the image its machines start from, where it is another in every region; `<region>/gpu` for machines with
    devices."""
    zones: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    """Region → its zones. An offer there that names none can be asked for in each of them, and may be missing from some."""
    zone_needed: bool = False
    """A machine is made in a zone that is named: where an offer names none, one of the region's is taken. Elsewhere the provider
    chooses."""

    def instance_type(self, row: int) -> InstanceType:
        """The type of `types` row `row`. Unknown CPUs or memory read as zero: no requirement can be met by them."""
        types = self.offers.types
        return InstanceType(
            name=types.names[row],
            provider=self.provider,
            cpus=amount(int(types.cpus[row])) or Decimal(0),
            memory_gb=amount(int(types.memory[row])) or Decimal(0),
            accelerators=types.devices(row),
            arch=types.archs[int(types.arch[row])],
            divisible=bool(types.divisible[row]),
        )

    def offering(self, row: int, market: Market) -> Offering:
        """The offer of `offers` row `row` in a market (not AUTO)."""
        offers = self.offers
        place = offers.places[int(offers.place[row])]
        source, as_of = offers.sources[int(offers.source[row])]
        capacity, interruptions = int(offers.capacity[row]), int(offers.interruptions[row])
        return Offering(
            instance_type=offers.types.names[int(offers.type[row])],
            provider=self.provider,
            region=place.region,
            zone=place.zone,
            market=market,
            hourly=dollars(int((offers.spot if market is Market.SPOT else offers.on_demand)[row])),
            price_source=source,
            as_of=as_of,
            capacity=None if capacity == UNKNOWN else capacity,
            estimated=bool(offers.estimated[row]),
            interruption_rate=None if interruptions == UNKNOWN else interruptions * RATE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that the user's account may have at once at a place. region None: in each region; market AUTO: in both together.

    accelerator: a canonical name or a spelling of one; None: the limit is on CPUs.
    families: only machine types of these count: `g` is every type whose letters before the first digit are `g`, `p5` every type
    that begins so. None given: every type counts.
    """

    provider: str
    region: str | None
    market: Market
    accelerator: str | None
    limit: Decimal
    families: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalog:
    """Everything on offer to this user, sorted by provider. Its digest is part of every plan."""

    parts: tuple[CatalogPart, ...]
    quotas: tuple[Quota, ...] = ()
    zones: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    """`<provider>/<region>` → the only zones machines can be in: those in which the user's own network there has a subnet."""
    addresses: FrozenMap[Addresses] = field(default_factory=FrozenMap)
    """`<provider>/<region>` or `<provider>` → which machines have a public address there; the region's own word wins. Where nothing is
    said, all of them."""
    owned: tuple[str, ...] = ()
    """`<provider>/<region>`, sorted: those of them where machines go into a network of the user's, in which no gateway is made."""
    closed: tuple[str, ...] = ()
    """`<provider>/<region>`, sorted: regions that accounts have only where they asked for them, and that nobody has said the user's have.
    They follow from the targets and `opened`, so they are no part of the digest."""
    opened: tuple[str, ...] = ()
    """`<provider>/<region>`, sorted: such regions that the user's accounts have."""

    def public(self, provider: str, region: str) -> Addresses:
        """Which machines have a public address there."""
        return self.addresses.get(f"{provider}/{region}", self.addresses.get(provider, Addresses.ALL))

    @property
    def digest(self) -> str:
        rows = "".join(f"{part.provider} {part.digest}\n" for part in self.parts)
        more = b"".join(canonical(item) for item in (self.quotas, self.zones, self.addresses, self.owned, self.opened) if item)
        return hashlib.sha256(rows.encode() + more).hexdigest()

    def part(self, provider: str) -> CatalogPart:
        """Raises KeyError for a provider that is not in the catalog."""
        for part in self.parts:
            if part.provider == provider:
                return part
        raise KeyError(provider)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """The candidates of one group as columns, in the written order: request, provider, region, zone, type, market.

    part: index into the catalog's parts; row: into that part's offers; hourly: nano-dollars per node-hour, UNKNOWN last.
    """

    task: TaskId
    group: GroupName
    request: Column
    part: Column
    row: Column
    spot: Flags
    hourly: Column

    def __len__(self) -> int:
        return len(self.row)

    def at(self, rows: Flags) -> Options:
        """Those for which a mask is true."""
        return replace(
            self,
            request=self.request[rows],
            part=self.part[rows],
            row=self.row[rows],
            spot=self.spot[rows],
            hourly=self.hourly[rows],
        )


CANNOT_BE_MADE = "cannot-be-made"
"""Why an offer was left out after all: its target refuses to make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Machine types that a target refuses to make for a group, and why. part: number of its part of the catalog; types: numbers of
    the types there."""

    task: TaskId
    group: GroupName
    part: int
    types: tuple[int, ...]
    detail: str
    requirement: SpecPath


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateSet:
    """Every group's candidates, and why the other offers are none."""

    catalog: Catalog
    options: tuple[Options, ...]
    """One per group, in task order."""
    rejections: tuple[Rejection, ...]
    restrictions: FrozenMap[Restriction] = field(default_factory=FrozenMap)
    """What a policy leaves of the offers, for the tasks that it limits."""
    images: ImagePlaces = field(default_factory=dict)
    """Where machines can start from the images that requests name."""
    refusals: tuple[Refusal, ...] = ()
    """What was found, after the choice, to be of no use: see `compiler/refused.py`."""

    @property
    def catalog_digest(self) -> str:
        return self.catalog.digest


def dollars(nano: int) -> Decimal | None:
    """A price column's value in US dollars; None for UNKNOWN."""
    return None if nano == UNKNOWN else nano * NANO


def amount(milli: int) -> Decimal | None:
    """An amount column's value; None for UNKNOWN."""
    return None if milli == UNKNOWN else milli * MILLI
