"""`skyc catalog refresh`: ask the clouds for today's offers and put them into `<home>/catalog`.

Contract
- One refresh at a time per home: an flock on `catalog/refresh.lock`, which the kernel frees when its holder dies. A second one
  waits, and says so.
- A part is written whole or not at all: to a file of another name, to the disk, then renamed. Killed at any moment, the old part
  stands. What a killed refresh left over goes at the next one.
- A part that has lost much of what the one before had is not written, unless `accept_loss`.
- Clouds fail alone. A cloud that needs a key nobody gave is skipped; asked for by name, that is an error.
"""

from __future__ import annotations

import enum
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, SkycError, error, warning
from ..compiler.ir.catalog import CatalogPart
from ..compiler.parse.nearest import nearest
from ..providers.http import Http
from ..providers.refresh import (
    Completed,
    Failure,
    Loss,
    MissingCredentials,
    NoSuchRegion,
    RefreshProgress,
    Settings,
    completed,
    failure_of,
)
from ..providers.registry import CLOUDS, refresher, shipped_catalog
from ..providers.retry import Schedule, SourceFailure
from ..providers.snapshot import OfferRow, encode, offer_rows, read_part
from ..providers.stored import refreshed_path, stored_part
from .quotas import encode_quotas, told_quotas
from .regions import encode_regions, told_regions
from .state import home_directory, prepare_home
from .state_failures import cannot_use_home

POLL_SECONDS = 0.1
MOVES_KEPT = 10
OnProgress = Callable[[RefreshProgress], None]


class RefreshState(enum.Enum):
    """How the refresh of one cloud ended."""

    REFRESHED = "refreshed"
    PARTIAL = "partial"
    """Written; some regions or calls failed and kept their rows."""
    SKIPPED = "skipped"
    """Not asked: no credentials, or none of its regions was named."""
    REFUSED = "refused"
    """Answered, with so much less than before that it was not written."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """Counts of one part. `priced`: offers with a known on-demand price."""

    offers: int
    types: int
    priced: int
    spot_priced: int
    as_of: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMove:
    """An on-demand price that changed; one for all zones of a region."""

    instance_type: str
    region: str
    before: Decimal
    after: Decimal

    @property
    def change(self) -> Decimal:
        """0.25: a quarter dearer."""
        return self.after / self.before - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRefresh:
    """What became of one cloud. `changed`: prices, on-demand and spot, that differ from before. `moves`: the largest changes."""

    provider: str
    state: RefreshState
    before: PartFacts | None = None
    after: PartFacts | None = None
    changed: int = 0
    moves: tuple[PriceMove, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def failed(self) -> bool:
        return self.state in (RefreshState.FAILED, RefreshState.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to refresh, and with what. `today`: ISO date."""

    home: Path
    clouds: tuple[str, ...]
    named: bool
    """The user named the clouds, so one that cannot be asked is an error."""
    settings: Settings
    accept_loss: bool = False


def catalog_refresh(
    clouds: Sequence[str] | None = None,
    *,
    regions: Sequence[str] | None = None,
    accept_loss: bool = False,
    home: Path | str | None = None,
    wait: float | None = None,
    on_progress: OnProgress | None = None,
    environ: Mapping[str, str] | None = None,
    schedule: Schedule | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[CloudRefresh, ...]:
    """Refresh the catalog of these clouds (None: all), of these regions only if given. `wait`: seconds to wait for another
    refresh (None: as long as it takes). Raises SkycError for an unknown cloud, a bad endpoint, a busy or unusable home."""
    chosen = _chosen(clouds)
    place = home_directory(home)
    prepare_home(place)
    stop = threading.Event()
    plan = schedule or Schedule(sleep=stop.wait)
    with _lock(place / "catalog", wait, on_progress), Http(schedule=replace(plan, stopped=stop.is_set)) as http:
        settings = Settings(
            environ=dict(os.environ if environ is None else environ),
            http=http,
            today=now().date().isoformat(),
            regions=None if regions is None else frozenset(regions),
            on_progress=on_progress,
        )
        order = Order(home=place, clouds=chosen, named=clouds is not None, settings=settings, accept_loss=accept_loss)
        return _refresh_all(order, stop)


def _chosen(clouds: Sequence[str] | None) -> tuple[str, ...]:
    chosen = tuple(sorted(CLOUDS if clouds is None else set(clouds)))
    for name in chosen:
        if name not in CLOUDS:
            guess = nearest(name, list(CLOUDS))
            raise SkycError(
                error(
                    "unknown-cloud",
                    "There is no price list of this name.",
                    f"`{name}` has no catalog that can be refreshed. Those that have one: {', '.join(sorted(CLOUDS))}.",
                    hint=f"did you mean `{guess}`?" if guess else None,
                )
            )
    return chosen


def _refresh_all(order: Order, stop: threading.Event) -> tuple[CloudRefresh, ...]:
    pool = ThreadPoolExecutor(max(1, len(order.clouds)), thread_name_prefix="refresh")
    try:
        results = tuple(pool.map(lambda name: _refresh_one(order, name), order.clouds))
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if order.settings.regions is not None and all(result.state is RefreshState.SKIPPED for result in results):
        return tuple(replace(result, state=RefreshState.FAILED) for result in results)
    return results


def _refresh_one(order: Order, name: str) -> CloudRefresh:
    before, said = _part_before(order.home, name)
    start = CloudRefresh(provider=name, state=RefreshState.FAILED, before=_facts(before) if before else None, diagnostics=said)
    try:
        refreshed = refresher(name)(order.settings, before)
        order.settings.tell(name, 1, 1, "checking the answers")
        made = completed(name, refreshed, before)
    except MissingCredentials as missing:
        return _skipped(start, order, _no_credentials(name, missing, order.named))
    except NoSuchRegion:
        return _skipped(start, order, _no_region(name))
    except SourceFailure as failure:
        return _said(start, error("catalog-not-refreshed", "A cloud's price list could not be read.", _sentence(name, failure)))
    except SkycError as wrong:
        return _said(start, *wrong.diagnostics)
    if refreshed.failures and before is not None and set(offer_rows(made.part)) == set(offer_rows(before)):
        return replace(_said(start, _nothing_answered(name, refreshed.failures)), failures=refreshed.failures)
    result = _compared(start, made, before, refreshed.failures)
    if made.loss is not None and not order.accept_loss:
        return _said(replace(result, state=RefreshState.REFUSED), _much_lost(name, made.loss))
    try:
        _write(refreshed_path(order.home, name), encode(made.part))
        if refreshed.quotas:
            _write(told_quotas(order.home, name), encode_quotas(refreshed.quotas))
        if refreshed.regions is not None:
            _write(told_regions(order.home, name), encode_regions(refreshed.regions))
    except SkycError as wrong:
        return _said(replace(result, state=RefreshState.FAILED), *wrong.diagnostics)
    return result


def _compared(start: CloudRefresh, made: Completed, before: CatalogPart | None, failures: tuple[Failure, ...]) -> CloudRefresh:
    old = {(row.type, row.region, row.zone): row for row in offer_rows(before)} if before else {}
    changed = 0
    moves: dict[tuple[str, str], PriceMove] = {}
    for row in offer_rows(made.part):
        was = old.get((row.type, row.region, row.zone))
        if was is None:
            continue
        changed += (row.on_demand != was.on_demand) + (row.spot != was.spot)
        move = _move(row, was)
        if move is not None:
            moves.setdefault((move.instance_type, move.region), move)
    largest = sorted(moves.values(), key=lambda move: (-abs(move.change), move.instance_type, move.region))
    result = replace(
        start,
        state=RefreshState.PARTIAL if failures else RefreshState.REFRESHED,
        after=_facts(made.part),
        changed=changed,
        moves=tuple(largest[:MOVES_KEPT]),
        failures=failures,
        notes=made.part.notes,
    )
    if failures:
        result = _said(result, _kept(start.provider, failures))
    for oddity in made.oddities:
        result = _said(result, warning("odd-prices", "A price list contradicts itself.", f"{start.provider}: {oddity}"))
    return result


def _move(row: OfferRow, was: OfferRow) -> PriceMove | None:
    if row.on_demand is None or not was.on_demand or row.on_demand == was.on_demand:
        return None
    return PriceMove(instance_type=row.type[0], region=row.region, before=was.on_demand, after=row.on_demand)


def _facts(part: CatalogPart) -> PartFacts:
    offers = part.offers
    return PartFacts(
        offers=len(offers.type),
        types=len(offers.types.names),
        priced=int((offers.on_demand >= 0).sum()),
        spot_priced=int((offers.spot >= 0).sum()),
        as_of=part.as_of,
        digest=part.digest,
    )


# Files


def _part_before(home: Path, name: str) -> tuple[CatalogPart | None, tuple[Diagnostic, ...]]:
    """The part that counts now. A damaged one is said and passed over: a refresh is what mends it."""
    shipped = shipped_catalog(name)
    try:
        return stored_part(name, shipped, home=home), ()
    except FileNotFoundError:
        return None, ()
    except SkycError as failure:
        said = warning(
            "catalog-passed-over",
            "A catalog file was passed over.",
            f"{failure.diagnostics[0].detail} The refresh begins with the catalog that came with skyc.",
        )
    return read_part(shipped) if shipped.exists() else None, (said,)


@contextmanager
def _lock(directory: Path, wait: float | None, on_progress: OnProgress | None) -> Iterator[None]:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(directory / "refresh.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise SkycError(cannot_use_home(directory, failure)) from failure
    try:
        _take(fd, wait, on_progress)
        for left in directory.glob(".*.skyc.*"):
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(fd)


def _take(fd: int, wait: float | None, on_progress: OnProgress | None) -> None:
    began = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if wait is not None and time.monotonic() - began >= wait:
            raise SkycError(
                error(
                    "catalog-busy",
                    "Another refresh of the catalog is at work.",
                    "Two at once would ask the clouds for the same answers. Wait until it is done (without --no-wait skyc waits "
                    "for it), or stop it with Ctrl-C where it runs.",
                )
            )
        if not told and on_progress is not None:
            told = True
            on_progress(RefreshProgress(provider="", done=0, total=0, text="another refresh is at work; waiting for it"))
        time.sleep(POLL_SECONDS)


def _write(place: Path, content: bytes) -> None:
    directory = place.parent
    temporary = directory / f".{place.name}.{secrets.token_hex(4)}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(at)
        finally:
            os.close(at)
    except OSError as failure:
        temporary.unlink(missing_ok=True)
        raise SkycError(cannot_use_home(directory, failure)) from failure


# What is said


def _said(result: CloudRefresh, *diagnostics: Diagnostic) -> CloudRefresh:
    return replace(result, diagnostics=(*result.diagnostics, *diagnostics))


def _skipped(start: CloudRefresh, order: Order, diagnostic: Diagnostic) -> CloudRefresh:
    state = RefreshState.FAILED if order.named and diagnostic.slug == "no-credentials" else RefreshState.SKIPPED
    return replace(_said(start, diagnostic), state=state)


def _no_credentials(name: str, missing: MissingCredentials, named: bool) -> Diagnostic:
    make = error if named else warning
    return make("no-credentials", "A cloud's price list needs credentials.", f"{name}: {missing.what} {missing.remedy}")


def _no_region(name: str) -> Diagnostic:
    return warning(
        "no-such-region",
        "A cloud has none of the regions named.",
        f"{name} was not asked. Regions are written as the cloud itself writes them.",
    )


def _sentence(name: str, failure: SourceFailure) -> str:
    return f"{name}: {failure}. The catalog of {name} is as it was. {failure_of(name, failure).remedy}"


def _nothing_answered(name: str, failures: Sequence[Failure]) -> Diagnostic:
    return error(
        "catalog-not-refreshed",
        "A cloud's price list could not be read.",
        f"{name}: nothing was answered, so its catalog is as it was.\n{_lines(failures)}",
    )


def _kept(name: str, failures: Sequence[Failure]) -> Diagnostic:
    return warning(
        "catalog-partly-refreshed",
        "A part of a cloud's catalog could not be refreshed.",
        f"{name}: what follows keeps its earlier prices, with their dates.\n{_lines(failures)}",
    )


def _lines(failures: Iterable[Failure], most: int = 10) -> str:
    """One line for each reason, with everything it holds for: when a network is down, all regions fail alike."""
    places: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        reason = failure.reason.replace(failure.where, "…") if len(failure.where) > 2 else failure.reason
        places.setdefault((reason, failure.remedy), []).append(failure.where)
    lines = []
    for (reason, remedy), where in list(places.items())[:most]:
        listed = ", ".join(where[:6]) + (f" and {len(where) - 6} more" if len(where) > 6 else "")
        lines.append(f"{listed}: {reason}. {remedy}".rstrip())
    return "\n".join([*lines, *([f"… and {len(places) - most} other reasons"] if len(places) > most else [])])


def _much_lost(name: str, loss: Loss) -> Diagnostic:
    return error(
        "catalog-loss",
        "A refreshed catalog has lost too much.",
        f"{name}: there were {loss.offers_before} offers, {loss.priced_before} of them with a price, and now there are "
        f"{loss.offers_after} and {loss.priced_after}. Answers that are broken look like this, so the catalog is as it was. "
        "If the cloud really offers that much less, accept it.",
        commands=(f"skyc catalog refresh --cloud {name} --accept-loss",),
    )
