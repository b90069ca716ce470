"""One writer at a time per deployment, whatever machine it is on: an object `lease.json` that is replaced conditionally.

Contract
- Whoever takes the lease holds the home's own lock already (`runtime/lock.py`), and lets go of the lease first.
- A lease is taken over only when its holder is proven to have ended (`machine.is_over`), or has not renewed it for `PATIENCE`
  seconds by the store's own clock; ten minutes more while it was applying, because a Terraform run outlives a killed skyc.
- A holder that was paused for too long finds out before it writes: `check` renews, and every write of a state is
  conditional, so a state of a new holder is never overwritten by an old one.

What is not promised: a machine that sleeps in the middle of an apply and is taken over may go on making things when it wakes. They
carry the deployment's tag, and the next command removes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from ...compiler.ir import DeploymentId
from ..state import utc_now
from ..storage.base import Changed, ConditionalStore, NotFound, StoreError, Version
from . import faults
from .machine import Place, here, is_over

FILE = "lease.json"
PATIENCE = 60.0
APPLYING_PATIENCE = 660.0
RENEWAL = 15.0
POLL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who has the lease. `beat` counts renewals, so that each has other bytes. `released`: nobody has it any more."""

    token: str
    place: Place
    pid: int
    command: str
    since: datetime
    beat: int = 0
    applying: bool = False
    released: bool = False

    @property
    def patience(self) -> float:
        return APPLYING_PATIENCE if self.applying else PATIENCE

    def __str__(self) -> str:
        since = self.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"`{self.command}` (process {self.pid} on {self.place.host}, since {since})"


def tenant_text(tenant: Tenant) -> bytes:
    return json.dumps({**asdict(tenant), "since": tenant.since.astimezone(UTC).isoformat()}, indent=1).encode()


def read_tenant(data: bytes) -> Tenant | None:
    """None for what nobody can have written: then only its age counts."""
    try:
        row = json.loads(data)
        return Tenant(**{**row, "place": Place(**row["place"]), "since": datetime.fromisoformat(row["since"])})
    except (ValueError, KeyError, TypeError):
        return None


def who_holds(objects: ConditionalStore, deployment: DeploymentId) -> tuple[Tenant, float] | None:
    """The holder of a lease and the seconds since it last said so; None when nobody holds it. For people: it may have died."""
    try:
        found = objects.read(f"{deployment}/{FILE}")
    except NotFound:
        return None
    tenant = read_tenant(found.data)
    return None if tenant is None or tenant.released else (tenant, found.age)


class Lease:
    """A held lease. Made by `hold`."""

    def __init__(self, objects: ConditionalStore, deployment: DeploymentId, tenant: Tenant, tag: str, renewed: float) -> None:
        self._objects = objects
        self._deployment = deployment
        self._key = f"{deployment}/{FILE}"
        self._tenant = tenant
        self._tag = tag
        self._renewed = renewed
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._taken = False

    def check(self) -> None:
        """To be called before anything is changed. Raises SkycError `lease-lost`, or that the backend cannot be reached."""
        with self._mutex:
            if not self._taken and _clock() - self._renewed < RENEWAL:
                return
            self._renew(self._tenant.applying)

    def applying(self) -> None:
        """From here on a killed skyc may leave a Terraform run behind, so others are to wait longer."""
        with self._mutex:
            self._renew(True)

    def _renew(self, applying: bool) -> None:
        fresh = replace(self._tenant, beat=self._tenant.beat + 1, applying=applying)
        began = _clock()
        try:
            self._tag = self._objects.swap(self._key, tenant_text(fresh), self._tag)
        except Changed:
            self._taken = True
            raise self._lost() from None
        self._tenant, self._renewed = fresh, began

    def _lost(self) -> SkycError:
        holder = None
        with contextlib.suppress(StoreError):
            holder = who_holds(self._objects, self._deployment)
        return faults.lease_lost(self._deployment, str(holder[0]) if holder else "another command")

    def keep(self) -> None:
        """Renew until it is over. In a thread; a failure is tried again, and found by `check` if it lasts."""
        while not self._over.wait(RENEWAL):
            with self._mutex:
                if self._taken or self._over.is_set():
                    return
                with contextlib.suppress(SkycError):
                    self._renew(self._tenant.applying)

    def release(self) -> None:
        """Nobody has it. What cannot be said is found out: the lock of this home is free, or the lease runs out."""
        self._over.set()
        with self._mutex:
            if self._taken:
                return
            gone = replace(self._tenant, beat=self._tenant.beat + 1, applying=False, released=True)
            with contextlib.suppress(StoreError):
                self._objects.swap(self._key, tenant_text(gone), self._tag)


@contextlib.contextmanager
def hold(
    objects: ConditionalStore,
    deployment: DeploymentId,
    *,
    lock: Path,
    command: str,
    wait: float | None = None,
    on_wait: Callable[[str], None] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Iterator[Lease]:
    """Hold the lease for the length of the context. `lock`: the home's lock, which is held. `wait` as for the lock.

    Raises SkycError `deployment-busy` when the wait is over, StoreError when the store cannot be used.
    """
    tenant = Tenant(token=secrets.token_hex(16), place=here(lock), pid=os.getpid(), command=command, since=now())
    tag, taken = _take(objects, deployment, tenant, wait, on_wait)
    lease = Lease(objects, deployment, tenant, tag, taken)
    threading.Thread(target=lease.keep, daemon=True, name="lease").start()
    try:
        yield lease
    finally:
        lease.release()


def _take(
    objects: ConditionalStore,
    deployment: DeploymentId,
    tenant: Tenant,
    wait: float | None,
    on_wait: Callable[[str], None] | None,
) -> tuple[str, float]:
    """The lease's tag, and when it was asked for."""
    key = f"{deployment}/{FILE}"
    began = time.monotonic()
    told = ""
    while True:
        there: Version | None = None
        with contextlib.suppress(NotFound):
            there = objects.read(key)
        holder = read_tenant(there.data) if there else None
        if there is None or _may_take(holder, there.age, tenant.place):
            asked = _clock()
            try:
                return objects.swap(key, tenant_text(tenant), there.tag if there else None), asked
            except Changed:
                continue  # Another was quicker: look again who it is.
        waited = time.monotonic() - began
        said = _waiting(holder, there.age)
        if wait is not None and waited >= wait:
            raise SkycError(
                error(
                    "deployment-busy",
                    "Another command is working on this deployment.",
                    f"{deployment}: {said} Two at once would destroy each other's work.",
                    commands=("skyc backend show",),
                )
            )
        if on_wait is not None and told != str(holder):
            told = str(holder)
            on_wait(said)
        time.sleep(POLL if wait is None else max(0.01, min(POLL, wait - waited)))


def _may_take(holder: Tenant | None, age: float, mine: Place) -> bool:
    if holder is None:
        return age > APPLYING_PATIENCE
    return holder.released or age > holder.patience or is_over(holder.place, mine)


def _waiting(holder: Tenant | None, age: float) -> str:
    if holder is None:
        return f"A lease nobody can read was written {age:.0f} s ago; it counts for {APPLYING_PATIENCE:.0f} s."
    silent = f" It last said so {age:.0f} s ago, and is taken over after {holder.patience:.0f} s." if age > RENEWAL * 2 else ""
    return f"{holder} is working on it.{silent}"


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


__all__ = ["FILE", "Lease", "Tenant", "hold", "read_tenant", "tenant_text", "who_holds"]
