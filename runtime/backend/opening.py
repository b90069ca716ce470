"""How commands meet the backend: with the lease for what works on a deployment, without for what only looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import Severity, SkycError
from ...compiler.ir import DeploymentId
from ...providers.base import MARK_FILE, Capability
from ..lock import deployment_lock
from ..session import Session
from ..state import deployment_directory, deployment_id
from ..storage.base import ConditionalStore, NotFound, StoreError, StoreFault
from . import faults
from .index import FILE as INDEX
from .index import NewerFormat, read_index
from .marks import read_marks, write_file
from .settings import configured

if TYPE_CHECKING:
    from .sync import Remote

# Who keeps states on this machine alone loads nothing of the lease and of carrying states.


@contextlib.contextmanager
def shared(
    session: Session, deployment: DeploymentId, *, command: str, wait: float | None, may_read: bool = False
) -> Iterator[None]:
    """With the home's lock held: the lease, the news of other homes, and afterwards what is new here. Nothing without a backend.

    may_read: go on without the lease where this home may not write to the backend; nothing is changed in the world then.
    Raises SkycError.
    """
    objects = configured(session.home)
    if objects is None:
        _refuse_left(session, deployment)
        yield
        return
    from .lease import hold

    with contextlib.ExitStack() as stack:
        remote = _remote(session, deployment, objects)
        try:
            with faults.explained(objects):
                remote.lease = stack.enter_context(
                    hold(
                        objects,
                        deployment,
                        lock=deployment_directory(session.home, deployment) / "lock",
                        command=command,
                        wait=wait,
                        on_wait=lambda text: session.note("lock", f"waiting for `{deployment}`: {text}"),
                    )
                )
        except faults.BackendUnavailable as failure:
            if (
                not may_read
                or not isinstance(failure.__context__, StoreError)
                or failure.__context__.kind is not StoreFault.DENIED
            ):
                raise
            session.remarks.append(faults.only_read(objects))
        remote.pull()
        if remote.reading and remote.index is not None and remote.index.intents:
            session.remarks.append(faults.under_way(deployment, remote.index.intents))
        session.remotes[deployment] = remote
        stack.callback(session.remotes.pop, deployment)
        try:
            yield
        except BaseException:
            try:
                remote.finish()
            except SkycError as later:
                session.note("state", f"{later.diagnostics[0].summary}: {later.diagnostics[0].detail}")
            raise
        remote.finish()


def _remote(session: Session, deployment: DeploymentId, objects: ConditionalStore) -> Remote:
    from .sync import Remote

    return Remote(
        home=session.home,
        deployment=deployment,
        store=session.store,
        objects=objects,
        lease=None,
        bound=lambda name: Capability.THIS_MACHINE in session.provider(name).capabilities,
        note=lambda text: session.note("state", text),
    )


def _refuse_left(session: Session, deployment: DeploymentId) -> None:
    """A deployment that was shared stays shared, even if the setting is gone. Raises SkycError."""
    marks = read_marks(deployment_directory(session.home, deployment))
    if marks is not None and marks.edition:
        raise faults.not_configured(deployment, marks.uri)


def look(session: Session, name: str) -> DeploymentId | None:
    """The deployment, with the news of other homes if there is a backend; None if the backend has none of this name.

    For commands that only look. What another command of this home is just doing comes with that one. Raises SkycError.
    """
    objects = configured(session.home)
    if objects is None:
        return None
    deployment = deployment_id(name)
    with faults.explained(objects):
        try:
            objects.read(f"{deployment}/{INDEX}")
        except NotFound:
            # Whether it should be there is asked by who works on it.
            return None
    try:
        with deployment_lock(session.home, deployment, command="skyc status", wait=0):
            _remote(session, deployment, objects).pull()
    except SkycError as failure:
        if failure.diagnostics[0].slug != "deployment-busy":
            raise
        if session.store.deployment(deployment) is None:
            return None
    return deployment


def known_here(session: Session) -> None:
    """The news of every deployment in the backend. One that cannot be had is a remark: the others are still to be shown."""
    try:
        objects = configured(session.home)
        for name in listed(objects) if objects is not None else ():
            try:
                look(session, name)
            except faults.BackendUnavailable:
                raise
            except SkycError as failure:
                session.remarks.extend(replace(said, severity=Severity.WARNING) for said in failure.diagnostics)
    except faults.BackendUnavailable as failure:
        session.remarks.append(faults.stale(failure))


def listed(objects: ConditionalStore) -> tuple[str, ...]:
    with faults.explained(objects):
        keys = tuple(objects.list(""))
    return tuple(sorted(key.removesuffix(f"/{INDEX}") for key in keys if key.count("/") == 1 and key.endswith(f"/{INDEX}")))


def tenant_of(session: Session, deployment: DeploymentId) -> str | None:
    """Who works on a deployment elsewhere, in words; None if nobody does, or nobody knows."""
    from .lease import who_holds

    with contextlib.suppress(SkycError):
        objects = configured(session.home)
        found = who_holds(objects, deployment) if objects is not None else None
        if found is not None and found[1] <= found[0].patience:
            return f"{found[0]} is working on it."
    return None


def fetch_keys(session: Session, deployment: DeploymentId) -> None:
    """Before something is compiled: the keys the deployment's machines were made with, and the mark of its buckets, if somebody made
    it already.

    Without them a plan would replace every machine. Where the backend does not answer, whoever compares with a state finds out.
    """
    directory = deployment_directory(session.home, deployment)

    def take(data: bytes, file: Path) -> None:
        if not file.is_file() or file.read_bytes() != data:
            write_file(file, data)

    with contextlib.suppress(StoreError):
        objects = configured(session.home)
        if objects is None:
            return
        from .sync import KEYS, SSH

        for name in KEYS:
            with contextlib.suppress(NotFound):
                take(objects.get(f"{deployment}/{SSH}/{name}"), directory / SSH / name)
        # An index that cannot be read is refused with its reason by whoever compares.
        with contextlib.suppress(NotFound, NewerFormat, ValueError):
            mark = read_index(objects.get(f"{deployment}/{INDEX}")).mark
            if mark:
                take(mark.encode(), directory / MARK_FILE)
