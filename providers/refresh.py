"""Refreshing one provider's part of the catalog: what a cloud's `refresh.py` is given, what it gives back, and the checks.

Contract
- A cloud's `refresh(settings, before)` asks the cloud and returns rows; it writes nothing. What it could not ask for keeps its
  rows from `before` with their old dates, and is named in `failures`. It raises MissingCredentials when it can ask for nothing
  without a key, SourceFailure when nothing was answered.
- `completed` is pure: it holds the rows against rules no price list may break, and against the part before. The same answers
  on the same day give the same bytes, in whatever order they came.
- A price that is missing is unknown, never 0.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeVar

from ..compiler.ir import Accelerator, FrozenMap, Secret
from ..compiler.ir.accelerators import device, from_driver
from ..compiler.ir.catalog import CatalogPart, Quota, Rates
from .facts import span
from .http import Http
from .retry import BadAnswer, Refused, SourceFailure
from .snapshot import OfferRow, TypeRow, build_part, offer_rows, type_rows

T = TypeVar("T")

WORKERS = 4
"""Requests at once to one cloud: enough to hide latency, few enough for every documented rate limit."""
MOST_PAGES = 10_000
LARGEST_LOSS = Decimal("0.30")
"""A part that has lost a larger share of its offers, or of its known prices, than this is refused: far more often the source's
answer is broken than a cloud closes."""
ABOUT_RATES = ("disk", "storage", "internet", "address", "traffic")
HIGHEST_PRICE = Decimal(100_000)
"""US dollars per hour. No machine costs that; a unit was misread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshProgress:
    """`done` of `total` pieces of one provider's work. `text`: what is going on."""

    provider: str
    done: int
    total: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a refresh may use. `today`: ISO date that prices are dated with. `regions`: only these; None for all."""

    environ: Mapping[str, str]
    http: Http
    today: str
    regions: frozenset[str] | None = None
    on_progress: Callable[[RefreshProgress], None] | None = None

    def tell(self, provider: str, done: int, total: int, text: str) -> None:
        if self.on_progress is not None:
            self.on_progress(RefreshProgress(provider=provider, done=done, total=total, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that could not be asked for. `where`: a region, a type or a call. Rows concerned were kept as they were."""

    where: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """A cloud's answers as rows, those kept from before included. `gaps`: what this API does not tell, in full sentences. `images`:
    `CatalogPart.images`, as far as they are known anew; `zones`: `CatalogPart.zones`, the part before's where there are none."""

    types: tuple[TypeRow, ...]
    offers: tuple[OfferRow, ...]
    sells_spot: bool
    failures: tuple[Failure, ...] = ()
    gaps: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()
    """The account's, as far as they were told."""
    regions: tuple[str, ...] | None = None
    """Those the account has; None: not told."""
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    zones: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    zone_needed: bool = False


class Refresh(Protocol):
    """`providers/<cloud>/refresh.py: refresh`."""

    def __call__(self, settings: Settings, before: CatalogPart | None) -> Refreshed: ...


class MissingCredentials(Exception):
    """Nothing can be asked without a key. In sentences: what is missing, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class NoSuchRegion(Exception):
    """None of the regions asked for is one of this cloud's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """More is gone than may go unseen. Counts of offers, and of offers whose on-demand price is known."""

    offers_before: int
    offers_after: int
    priced_before: int
    priced_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The part of a refresh that has been checked. `oddities`: what the checks put right, in full sentences."""

    part: CatalogPart
    oddities: tuple[str, ...]
    loss: Loss | None


def completed(provider: str, refreshed: Refreshed, before: CatalogPart | None) -> Completed:
    """Check the rows and make the part. Raises BadAnswer for rows no part can be made of."""
    oddities: list[str] = []
    old = {_key(row): row for row in offer_rows(before)} if before else {}
    offers = _sane(_distinct(refreshed.offers, old, oddities), oddities)
    types = _described(refreshed.types, before)
    known = {row.key for row in types}
    strangers = {row.type[0] for row in offers if row.type not in known}
    if strangers:
        offers = [row for row in offers if row.type in known]
        oddities.append(f"{len(strangers)} machine types are offered and described nowhere; left out: {_some(strangers)}.")
    if not offers:
        raise BadAnswer("it offers nothing at all")
    try:
        part = build_part(
            provider,
            types,
            offers,
            before.rates if before else Rates(),
            sells_spot=refreshed.sells_spot,
            as_of=span(offers),
            notes=(*refreshed.gaps, *_still_true(before)),
            images={**(before.images if before else {}), **refreshed.images},
            zones=refreshed.zones or (before.zones if before else {}),
            zone_needed=refreshed.zone_needed or (before is not None and before.zone_needed),
        )
    except (ValueError, OverflowError) as failure:
        raise BadAnswer(f"its rows contradict each other ({failure})") from failure
    return Completed(part=part, oddities=tuple(oddities), loss=_loss(old.values(), offers))


def _key(row: OfferRow) -> tuple[object, ...]:
    return row.region, row.zone, row.type


def _distinct(rows: Iterable[OfferRow], old: Mapping[tuple[object, ...], OfferRow], oddities: list[str]) -> list[OfferRow]:
    """One row per type and place. Where rows disagree nobody knows the price, so the row before stands, if there is one."""
    groups: dict[tuple[object, ...], set[OfferRow]] = defaultdict(set)
    for row in rows:
        groups[_key(row)].add(row)
    kept: list[OfferRow] = []
    disagree: set[str] = set()
    for key, group in groups.items():
        if len(group) == 1:
            kept.extend(group)
            continue
        first = min(group, key=repr)
        disagree.add(first.type[0])
        kept.append(old.get(key) or replace(first, on_demand=None, spot=None))
    if disagree:
        oddities.append(
            f"{len(disagree)} machine types have two prices at one place; the price before is kept: {_some(disagree)}."
        )
    return kept


def _sane(rows: Iterable[OfferRow], oddities: list[str]) -> list[OfferRow]:
    kept: list[OfferRow] = []
    nonsense: set[str] = set()
    above: set[str] = set()
    for row in rows:
        on_demand, spot = row.on_demand, row.spot
        if on_demand is not None and not 0 < on_demand <= HIGHEST_PRICE:
            nonsense.add(row.type[0])
            on_demand = None
        if spot is not None and not 0 < spot <= HIGHEST_PRICE:
            nonsense.add(row.type[0])
            spot = None
        if on_demand is not None and spot is not None and spot > on_demand:
            above.add(row.type[0])
            spot = None
        same = (on_demand, spot) == (row.on_demand, row.spot)
        kept.append(row if same else replace(row, on_demand=on_demand, spot=spot))
    if nonsense:
        oddities.append(
            f"{len(nonsense)} machine types had a price that cannot be one; it counts as unknown: {_some(nonsense)}."
        )
    if above:
        oddities.append(f"{len(above)} machine types had a spot price above on-demand; it counts as unknown: {_some(above)}.")
    return kept


def _described(fresh: Iterable[TypeRow], before: CatalogPart | None) -> list[TypeRow]:
    """Every type once. A type the part before knows keeps its description: a name does not change its meaning, accelerators
    have their canonical names there, and a plan's types stay comparable."""
    found = {row.key: row for row in sorted(fresh, key=repr, reverse=True)}
    names = {row.name for row in type_rows(before)} if before else set()
    found = {key: row for key, row in found.items() if row.name not in names}
    if before:
        found |= {row.key: row for row in type_rows(before)}
    return list(found.values())


def _still_true(before: CatalogPart | None) -> tuple[str, ...]:
    """What the part before says about rates, which a refresh takes over. Its words on prices of machines are out of date."""
    return tuple(note for note in (before.notes if before else ()) if any(word in note.lower() for word in ABOUT_RATES))


def _loss(before: Iterable[OfferRow], after: Sequence[OfferRow]) -> Loss | None:
    old = list(before)
    counts = Loss(
        offers_before=len(old),
        offers_after=len(after),
        priced_before=sum(row.on_demand is not None for row in old),
        priced_after=sum(row.on_demand is not None for row in after),
    )
    left = 1 - LARGEST_LOSS
    fine = counts.offers_after >= left * counts.offers_before and counts.priced_after >= left * counts.priced_before
    return None if fine else counts


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")


# What the clouds' modules share


def by_piece(
    settings: Settings, provider: str, pieces: Iterable[str], ask: Callable[[str], T]
) -> tuple[dict[str, T], tuple[Failure, ...]]:
    """`ask` for every piece (a region, a type), a few at once. Results and failures in the order of the pieces."""
    listed = sorted(set(pieces))
    answers: dict[str, T] = {}
    failed: dict[str, Failure] = {}
    mutex = threading.Lock()
    settings.tell(provider, 0, len(listed), "asking")

    def one(piece: str) -> None:
        try:
            answer = ask(piece)
        except SourceFailure as failure:
            with mutex:
                failed[piece] = failure_of(piece, failure)
        else:
            with mutex:
                answers[piece] = answer
        with mutex:
            settings.tell(provider, len(answers) + len(failed), len(listed), piece)

    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix=f"refresh-{provider}")
    try:
        for done in [pool.submit(one, piece) for piece in listed]:
            done.result()
    finally:
        # After Ctrl-C nothing new is begun; what is under way ends by its time limit.
        pool.shutdown(wait=True, cancel_futures=True)
    return {piece: answers[piece] for piece in listed if piece in answers}, tuple(
        failed[piece] for piece in listed if piece in failed
    )


def failure_of(where: str, failure: SourceFailure) -> Failure:
    if isinstance(failure, Refused):
        remedy = "Check that the key is valid and has the permissions docs/catalog-refresh.md lists."
    elif isinstance(failure, BadAnswer):
        remedy = "The API may have changed; report it if it stays so."
    else:
        remedy = "Run the refresh again later."
    return Failure(where=where, reason=str(failure), remedy=remedy)


def wanted(settings: Settings, known: Iterable[str]) -> tuple[str, ...]:
    """The regions to ask about, sorted. Raises NoSuchRegion when none of those asked for is known."""
    found = {region for region in known if region and (settings.regions is None or region in settings.regions)}
    if not found and settings.regions is not None:
        raise NoSuchRegion
    return tuple(sorted(found))


def needed(before: CatalogPart | None, provider: str) -> CatalogPart:
    """The part before, for a cloud whose API tells prices and not what the machines are. Raises SourceFailure without one."""
    if before is None:
        raise SourceFailure(f"{provider} tells prices and not machine types, and there is no catalog of it to begin with")
    return before


def key_from(environ: Mapping[str, str], *names: str) -> Secret | None:
    """A key from the first of these variables that is set. One that cannot be sent in a header counts as not set: the library
    would repeat it in its error."""
    for name in names:
        value = environ.get(name, "").strip()
        if value and value.isascii() and value.isprintable() and " " not in value:
            return Secret(value)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars per hour for a whole machine; None: the source names none."""

    on_demand: Decimal | None
    spot: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class Repricing:
    """Rows of the part before with new prices, for clouds whose API tells prices only. Grows row by row."""

    source: str
    today: str
    rows: list[OfferRow] = field(default_factory=list)

    def keep(self, row: OfferRow) -> None:
        self.rows.append(row)

    def price(self, row: OfferRow, prices: Prices) -> None:
        self.rows.append(
            replace(
                row,
                on_demand=prices.on_demand,
                spot=prices.spot,
                source=self.source,
                as_of=self.today,
                estimated=False,
            )
        )


def accelerator(product: str, count: Decimal, memory_gb: Decimal | None) -> Accelerator:
    """An accelerator as a source names it, under its canonical name and with the memory it is sold with (GiB reported are
    fewer)."""
    known = device(product)
    if known is None or (memory_gb or 0) > known.memory_gb * Decimal("1.2"):
        # Not a spelling of ours, or one name for two chips: the memory tells which.
        product = from_driver(product, memory_gb or Decimal(0))
        known = device(product)
    return Accelerator(name=known.name if known else product, count=count, memory_gb=known.memory_gb if known else memory_gb)


def part_of(answer: object, name: str, kind: type[T]) -> T:
    """A field of a JSON object. Raises BadAnswer when it is missing or of another type."""
    value = answer.get(name) if isinstance(answer, dict) else None
    # bool is an int to Python and to no price list.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadAnswer(f"the answer's `{name}` is missing or of another type than documented")
    return value


def objects(answer: object, name: str) -> list[dict[str, Any]]:
    """A field that is a list of JSON objects. Raises BadAnswer."""
    rows = part_of(answer, name, list)
    if not all(isinstance(row, dict) for row in rows):
        raise BadAnswer(f"the answer's `{name}` holds something else than objects")
    return rows


def money(value: object) -> Decimal | None:
    """A price as a source writes it; None for a blank or what is no number."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
