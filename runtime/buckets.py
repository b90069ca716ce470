"""The buckets of a deployment, as the states of their sites have them: where they are, what stays, what goes.

A bucket is told from the output `storages` of its site, which says nothing of one that was not made. So the list is never older
than the state, and a destroy, which has no task file, knows from it what to keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ..compiler.buckets import KnownBucket, gb_month
from ..compiler.diagnostics import SkycError
from ..compiler.ir import Catalog, DeploymentId, Location, SiteId, holds_storage, site_place, storage_label
from ..compiler.terraform_files import STATE_FILE
from .clusters import site_outputs
from .results import KeptStorage
from .session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBucket:
    """A bucket that exists, as far as its state knows."""

    name: str
    """Of its Storage."""
    uri: str
    persistent: bool
    site: SiteId
    provider: str
    region: str


def made_buckets(session: Session, deployment: DeploymentId, *, skip_damaged: bool = False) -> tuple[MadeBucket, ...]:
    """Every bucket of the deployment, by site and name. Raises SkycError for a state that cannot be read, without `skip_damaged`."""
    found = []
    for record in session.store.sites(deployment):
        if not holds_storage(record.site):
            continue
        try:
            outputs = site_outputs(Path(record.directory) / STATE_FILE)
        except SkycError:
            if skip_damaged:
                continue
            raise
        for name, facts in sorted((outputs.get("storages") or {}).items()):
            found.append(
                MadeBucket(
                    name=name,
                    uri=facts["uri"],
                    persistent=facts["persistent"],
                    site=record.site,
                    provider=record.provider,
                    region=region_of(record.site, record.provider),
                )
            )
    return tuple(found)


def region_of(site: SiteId, provider: str) -> str:
    """The region in the name of a site."""
    place = site.partition(".")[2]
    return provider if place == site_place(provider, provider) else place.removeprefix(f"{provider}-")


def known_buckets(session: Session, deployment: DeploymentId) -> tuple[KnownBucket, ...]:
    """For the compiler: what is there stays where it is."""
    return tuple(
        KnownBucket(name=made.name, provider=made.provider, region=made.region, persistent=made.persistent)
        for made in made_buckets(session, deployment, skip_damaged=True)
    )


def kept_buckets(session: Session, buckets: tuple[MadeBucket, ...]) -> tuple[KeptStorage, ...]:
    """As they are shown, with today's price of keeping them."""
    return tuple(KeptStorage(name=made.name, uri=made.uri, gb_month=_price(session, made)) for made in buckets)


def _price(session: Session, made: MadeBucket) -> Decimal | None:
    try:
        part = session.provider(made.provider).catalog(home=session.home)
    except SkycError:
        return None
    return gb_month(Catalog(parts=(part,)), Location(provider=made.provider, region=made.region))


def without(text: str, names: frozenset[str]) -> str:
    """A site's root module without the Storages of these names: what is left of it is a plan of their removal."""
    module = json.loads(text)
    labels = {storage_label(name) for name in names}
    module["resource"] = {
        type_: left
        for type_, rows in module["resource"].items()
        if (left := {label: row for label, row in rows.items() if label not in labels})
    }
    storages = module["output"]["storages"]["value"]
    module["output"]["storages"]["value"] = {name: row for name, row in storages.items() if name not in names}
    return json.dumps(module, indent=2) + "\n"


def unprotected(text: str) -> str:
    """A root module that Terraform may destroy: the protection of its buckets is for everybody but who asked for a purge."""
    module = json.loads(text)
    for rows in module["resource"].values():
        for row in rows.values():
            row.get("lifecycle", {}).pop("prevent_destroy", None)
    return json.dumps(module, indent=2) + "\n"
