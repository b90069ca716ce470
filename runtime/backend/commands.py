"""`skyc backend`: make a place for states, and say what is in it."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import Diagnostic, Severity, SkycError, error
from ...compiler.ir import DeploymentId
from ...providers.base import BucketProperty
from ...providers.registry import buckets
from ..results import Backend, SharedDeployment
from ..session import open_session
from ..storage.base import Changed, ConditionalStore, NotFound, StoreError
from . import faults
from .index import FILE as INDEX
from .index import NewerFormat, read_index
from .lease import who_holds
from .opening import listed
from .settings import OPTIONS, conditional, configured

Home = Path | str | None
_READ_BY_MANY = frozenset({"http", "https"})
"""Schemes of servers whose readers are chosen for something else than states."""
_REGIONAL = frozenset({"s3"})
"""Schemes whose stores must know a region; others need one only to be made."""


def backend_create(uri: str, *, region: str | None = None, endpoint: str | None = None, key: str | None = None) -> Backend:
    """Make what holds states: a bucket that is private, encrypted, versioned and can be locked; or a directory. Made again, nothing
    changes. Raises SkycError for a bucket that is somebody else's, or not fit."""
    given = parse_qs(urlsplit(uri).query)
    options = {name: values[0] for name, values in given.items()}
    options |= {name: value for name, value in (("endpoint", endpoint), ("region", region)) if value}
    plain = uri.partition("?")[0].rstrip("/")
    maker, made = buckets(urlsplit(plain).scheme), False
    where = options.get("region")
    if urlsplit(plain).scheme not in _REGIONAL:
        options.pop("region", None)
    conditional(_uri(plain, options))  # A URI that cannot be used is refused before anything is made.
    if maker is not None:
        found, made = maker.create(_bucket(plain, maker.PARTS), region=where, endpoint=options.get("endpoint"), key=key)
        options |= {"region": found} if found else {}
    objects = conditional(_uri(plain, options))
    try:
        _prove_conditions(objects)
    except StoreError as failure:
        raise SkycError(faults.not_proven(objects, failure, seen=maker is not None)) from None
    said = (faults.readers(objects),) if urlsplit(plain).scheme in _READ_BY_MANY else ()
    properties = _properties(plain, options)
    return Backend(uri=plain, properties=properties, made=made, setting=_setting(plain, options), diagnostics=said)


def backend_show(*, home: Home = None) -> Backend | None:
    """The home's backend and every deployment in it; None when the home has none. Raises SkycError when it cannot be asked."""
    with open_session(home) as session:
        objects = configured(session.home)
    if objects is None:
        return None
    names = listed(objects)
    plain = faults.place(objects)
    options = {name: values[0] for name, values in parse_qs(urlsplit(objects.uri).query).items()}
    said: list[Diagnostic] = []
    found: tuple[BucketProperty, ...] = ()
    try:
        found = _properties(plain, options)
    except SkycError as failure:
        # States can be read and written without being allowed to look at the bucket itself.
        said = [replace(diagnostic, severity=Severity.WARNING) for diagnostic in failure.diagnostics]
    with faults.explained(objects):
        deployments = tuple(_deployment(objects, name) for name in names)
    return Backend(uri=plain, properties=found, deployments=deployments, diagnostics=tuple(said))


def _deployment(objects: ConditionalStore, name: str) -> SharedDeployment:
    holder = who_holds(objects, DeploymentId(name))
    working = None
    if holder is not None:
        tenant, age = holder
        working = f"{tenant}, last heard of {age:.0f} s ago"
        if age > tenant.patience:
            working += "; the next command takes it over"
    try:
        index = read_index(objects.get(f"{name}/{INDEX}"))
    except (NotFound, NewerFormat, ValueError) as failure:
        why = f"format {failure} is newer than this skyc" if isinstance(failure, NewerFormat) else str(failure)
        return SharedDeployment(name=name, working=working, problem=why)
    return SharedDeployment(
        name=name,
        state=index.state,
        sites=len(index.sites),
        resources=sum(site.memory.resources for site in index.sites if site.memory is not None),
        cut_off=len(index.intents),
        working=working,
    )


def _prove_conditions(objects: ConditionalStore) -> None:
    """Some servers speak S3 and ignore conditions; two writers would then overwrite each other. Raises SkycError."""
    key = f".skyc-probe/{secrets.token_hex(8)}"
    try:
        tag = objects.swap(key, b"one", None)
        for wrong in (None, tag):
            if wrong is not None:
                objects.swap(key, b"two", tag)
            with contextlib.suppress(Changed):
                objects.swap(key, b"three", wrong)
                raise SkycError(
                    error(
                        "backend-unlocked",
                        "The store ignores conditions",
                        f"{faults.place(objects)}: a conditional write went through that had to be refused. Two machines could overwrite"
                        " each other's state, so states are not kept there.",
                    )
                )
    finally:
        with contextlib.suppress(StoreError):
            objects.delete(key)


def _properties(plain: str, options: dict[str, str]) -> tuple[BucketProperty, ...]:
    scheme = urlsplit(plain).scheme
    maker = buckets(scheme)
    if maker is not None:
        return maker.properties(_bucket(plain, maker.PARTS), region=options.get("region"), endpoint=options.get("endpoint"))
    if scheme == "file":
        return (BucketProperty(name="versions", holds=False, detail="a directory keeps none"),)
    # A protocol that can be asked for objects and locks, and for nothing else. Locks were proven before the first write.
    return (
        BucketProperty(name="locks", holds=True, detail="kept, and heeded by writes"),
        BucketProperty(name="TLS only", holds=scheme == "https", detail="yes" if scheme == "https" else "this machine alone"),
        BucketProperty(name="versions", holds=None, detail="not told; GitLab keeps them"),
        BucketProperty(name="encryption", holds=None, detail="not told; GitLab encrypts"),
    )


def _bucket(plain: str, parts: int) -> str:
    """Of `az://account/container/prefix` and two parts: `account/container`."""
    return "/".join(plain.partition("://")[2].split("/")[:parts])


def _uri(plain: str, options: dict[str, str]) -> str:
    return f"{plain}?{urlencode(options, safe=':/')}" if options else plain


def _setting(plain: str, options: dict[str, str]) -> str:
    if not options:
        return f"state: {plain}\n"
    rows = {"uri": plain, **options}
    return "state:\n" + "".join(f"  {name}: {rows[name]}\n" for name in OPTIONS if name in rows)
