"""What the user asked for, and its compilation.

A module of its own, because a stage's output (`plan --emit`) needs neither Terraform nor a node: what plans and applies is not even
imported for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..compiler.buckets import KnownBucket
from ..compiler.diagnostics import SkycError
from ..compiler.ir import DeploymentId, Objective, Secret, SiteId
from ..compiler.ir.catalog import CatalogPart
from ..compiler.parse import read_source
from ..compiler.pipeline import Compilation, CompileOptions, compile_source
from ..compiler.resolve import EnvOverrides
from ..compiler.terraform_files import STATE_FILE, read_state
from ..providers.base import Access
from .access import access_of, bucket_keys, mark_of, ssh_ranges, storage_accounts
from .backend.opening import fetch_keys, look
from .buckets import known_buckets
from .configuration import all_mistakes
from .images import read_images
from .mirror import mirrored
from .networks import read_networks
from .policy.files import policy_files
from .quotas import read_quotas
from .regions import read_regions
from .session import Session
from .state import deployment_id

EXAMPLE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 example"
"""Nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for, besides the file."""

    path: Path
    deployment: str | None = None
    env: Mapping[str, str]
    secrets: Mapping[str, Secret]
    rerun: bool = False
    objective: Objective = Objective.COST
    offline: bool = False
    """Compile for a plan that asks nobody (`offline.py`)."""
    policies: tuple[Path, ...] = ()
    """Policy files of the command line. They hold beside the home's, SKYC_POLICY's and the task file's."""
    policies_alone: bool = False
    """Hold `policies` and what the task file names, and no others."""
    approve: tuple[str, ...] = ()
    """Rules that whoever runs the command approves."""
    fingerprint: str | None = None
    """The plan that was reviewed: nothing else is applied. The first digits of its name."""
    locked: bool = False
    """Hold an apply to `skyc.lock` beside the file, or not do it at all."""
    parts: Mapping[str, CatalogPart] | None = None
    """The catalog to compile with (`locking.py`); None: what is here. Offline, nothing of this home is in the result then."""


def compile_request(session: Session, request: Request, *, until: str = "synth") -> Compilation:
    """Compile the file. Raises SkycError for a file that cannot be read; other mistakes are in the result's diagnostics."""
    source, said = read_source(request.path)
    if source is None:
        raise SkycError(*said)
    session.step("compile", f"compiling {request.path}")
    with all_mistakes(session.home, session.providers):
        return compile_source(
            source,
            CompileOptions(
                providers=session.providers,
                home=session.home,
                runtime=session.runtime,
                overrides=EnvOverrides.of(
                    env=request.env,
                    secrets={name: secret.reveal() for name, secret in request.secrets.items()},
                    environ=session.environ,
                ),
                deployment=None if request.deployment is None else deployment_id(request.deployment),
                objective=request.objective,
                quotas=read_quotas(session.home),
                regions=read_regions(session.home, session.providers),
                access=_offline_access(session, request) if request.offline else partial(deployment_keys, session),
                networks=read_networks(session.home, session.providers),
                mark=partial(mark_of, session.home) if request.offline else partial(deployment_mark, session),
                known=_no_buckets if request.offline and request.parts is not None else partial(known_buckets, session),
                held=partial(_held, session),
                parts=request.parts,
                images=read_images(session.home),
                policies=policy_files(session.home, session.environ, request.policies, alone=request.policies_alone),
                offline=request.offline,
                versions=mirrored(session.environ),
            ),
            until=until,
        )


def _offline_access(session: Session, request: Request) -> Callable[[DeploymentId], Access]:
    """For a locked plan, keys that are the same everywhere: it is never applied."""
    if request.parts is None:
        return partial(access_of, session.home)
    return lambda _: Access(
        ssh_from=ssh_ranges(session.home),
        login_key=EXAMPLE_KEY,
        host_key="example\n",
        host_key_public=EXAMPLE_KEY,
        storage_accounts=storage_accounts(session.home),
        bucket_keys=bucket_keys(session.home),
    )


def _no_buckets(deployment: DeploymentId) -> tuple[KnownBucket, ...]:
    return ()


def deployment_keys(session: Session, deployment: DeploymentId) -> Access:
    """Keys are those of whoever made the deployment first, here or elsewhere."""
    fetch_keys(session, deployment)
    return access_of(session.home, deployment)


def _held(session: Session, deployment: DeploymentId) -> Mapping[SiteId, tuple[str, ...]]:
    """Site → addresses in its state, with the news of other homes. A state that cannot be read is refused by whoever plans on it."""
    with contextlib.suppress(SkycError):
        look(session, str(deployment))
    found: dict[SiteId, tuple[str, ...]] = {}
    for record in session.store.sites(deployment):
        with contextlib.suppress(SkycError):
            facts = read_state(Path(record.directory) / STATE_FILE)
            found[record.site] = facts.resources if facts is not None else ()
    return found


def deployment_mark(session: Session, deployment: DeploymentId) -> str:
    """What the names of its buckets end with, here and elsewhere."""
    fetch_keys(session, deployment)
    return mark_of(session.home, deployment)
