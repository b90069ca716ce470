"""eject: a deployment as plain Terraform, for those who go on without skyc; and the way back.

Contract
- What is written has been planned by Terraform, against the world, and found to change nothing; otherwise nothing is written.
- The directory appears whole or not at all, and is its owner's alone: states are as secret as they are at home.
- From then on the states belong to Terraform in that directory. skyc's own stay as they were and nothing is built on them: what
  would plan or change refuses (`refuse_ejected`). Jobs, logs and logins need no Terraform and go on.
- With a backend that Terraform knows too the states go on in it, as objects of their own: two owners never share one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..compiler.diagnostics import SkycError, error
from ..compiler.hcl import UnknownSchema, hcl_files
from ..compiler.ir import Action, DeploymentId, FrozenMap, JsonObject, SiteId
from ..compiler.synth import FILE_NAME
from ..compiler.terraform import checked
from ..compiler.terraform_files import STATE_FILE, parsed_state, state_facts
from ..providers.registry import blocks_of, write_mirror
from .apply import locked, site_context
from .backend.marks import write_file
from .backend.settings import configured
from .eject_words import BackendBlock, backend_block, environment_script, readme
from .records import DeploymentState, SiteRecord
from .session import Session, known_deployment
from .sites import SiteContext, check_state, remember_state, terraform_at
from .state import deployment_directory
from .storage.base import ConditionalStore, NotFound

RECORD = "ejected.json"
"""In a deployment's directory below the home: where it was ejected to."""
OWN = "skyc"
"""The local name of skyc's own Terraform provider in a module."""
MIRROR = "mirror"
_IGNORED = f".terraform/\n*.tfstate\n*.tfstate.*\nfiles/\n{MIRROR}/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectedSite:
    """One folder of the directory. `resources`: how many its state holds. `state`: where that is."""

    site: SiteId
    provider: str
    resources: int
    files: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectResult:
    """`engine`: what planned it and found no change. `recorded` False: a dry run; the deployment is skyc's as before."""

    deployment: DeploymentId
    directory: str
    engine: str
    sites: tuple[EjectedSite, ...]
    recorded: bool


def eject(session: Session, name: str, directory: Path, *, dry_run: bool, wait: float | None) -> EjectResult:
    """Write a deployment to a directory that is empty or not there yet. Raises SkycError."""
    deployment = known_deployment(session, name)
    directory = directory.expanduser().absolute()
    _refuse_used(directory)
    with locked(session, deployment, command=f"skyc eject {deployment}", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        records = _ready(session, deployment)
        objects = configured(session.home)
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700)
        try:
            sites = tuple(_write_site(session, context, record, draft / record.site, objects) for record in records)
            own = any(OWN in _needs(_module(record)) for record in records)
            _write_around(draft, directory, deployment, sites, home=session.home, own=own)
            if directory.is_dir():
                directory.rmdir()  # Empty; a rename does not replace it everywhere.
            draft.rename(directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        if own:
            write_mirror(directory / MIRROR)
        if not dry_run:
            _hand_over(session, deployment, directory, records, objects)
    return EjectResult(
        deployment=deployment, directory=str(directory), engine=str(context.engine), sites=sites, recorded=not dry_run
    )


def come_back(session: Session, name: str, *, wait: float | None) -> EjectResult:
    """Take the states back from where they were ejected to; skyc plans and applies again. Raises SkycError."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc eject {deployment} --undo", wait=wait) as lock_fd:
        record = session.store.deployment(deployment)
        if record is None or record.state is not DeploymentState.EJECTED:
            raise SkycError(
                error(
                    "not-ejected",
                    "The deployment was not ejected",
                    f"`{deployment}` is skyc's already; nothing was changed.",
                    commands=(f"skyc status {deployment}",),
                )
            )
        directory = ejected_to(session.home, deployment)
        if directory is None:
            raise SkycError(
                error(
                    "ejected-elsewhere",
                    "The deployment was ejected from another machine",
                    f"Where `{deployment}` was ejected to is on record there, and its states may be too.",
                    hint="run the command where `skyc eject` was run",
                )
            )
        objects = configured(session.home)
        fresh = {
            site.site: _fresh_state(session, deployment, site, directory, objects) for site in session.store.sites(deployment)
        }
        context = site_context(session, deployment, lock_fd, taking_back=True)
        sites = []
        for site in session.store.sites(deployment):
            write_file(Path(site.directory) / STATE_FILE, fresh[site.site])
            remember_state(context, site.site)
            if context.remote is not None:
                context.remote.push(site.site)
            facts = check_state(context, site.site)
            count = len(facts.resources) if facts is not None else 0
            sites.append(EjectedSite(site=site.site, provider=site.provider, resources=count, files=(), state="at home"))
        # Last: until here a killed command leaves the deployment ejected, and the same command takes it back.
        session.store.set_deployment_state(deployment, DeploymentState.ACTIVE)
        (deployment_directory(session.home, deployment) / RECORD).unlink(missing_ok=True)
        session.store.record("eject-undone", str(directory), deployment=deployment)
    return EjectResult(
        deployment=deployment, directory=str(directory), engine=str(context.engine), sites=tuple(sites), recorded=True
    )


def ejected_to(home: Path, deployment: DeploymentId) -> Path | None:
    """Where the deployment was ejected to from this home."""
    try:
        held = json.loads((deployment_directory(home, deployment) / RECORD).read_text(encoding="utf-8"))
        return Path(held["directory"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def module_files(module: JsonObject, text: str, *, head: str, backend: BackendBlock | None = None) -> FrozenMap[bytes]:
    """A site's root module as the files a person would write; as JSON where it has a type whose schema is not known here."""
    try:
        made = dict(hcl_files(module, blocks_of, head=head))
    except UnknownSchema:
        made = {"main.tf.json": text.encode()}
    if backend is not None:
        made["backend.tf"] = backend.text.encode()
    return FrozenMap(made)


def _ready(session: Session, deployment: DeploymentId) -> tuple[SiteRecord, ...]:
    """The sites of a deployment that stands as it was applied. Raises SkycError for any other."""
    record = session.store.deployment(deployment)
    state = record.state if record is not None else None
    if state is not DeploymentState.ACTIVE or session.store.open_entries(deployment):
        word = state.value if state is not None else "unknown"
        raise SkycError(
            error(
                "cannot-eject",
                "The deployment is not in a state to be ejected",
                f"`{deployment}` is {word}"
                + (", and a Terraform run of it was cut off" if state is DeploymentState.ACTIVE else "")
                + ". What its states do not know, plain Terraform would never find.",
                hint="apply it first; a destroyed one has nothing to eject",
                commands=(f"skyc status {deployment}",),
            )
        )
    # One that was never made, as after a task without nodes there, has nothing to hand over.
    return tuple(site for site in session.store.sites(deployment) if (Path(site.directory) / STATE_FILE).exists())


def _write_site(
    session: Session, context: SiteContext, record: SiteRecord, folder: Path, objects: ConditionalStore | None
) -> EjectedSite:
    session.step("eject", f"writing {record.site}")
    folder.mkdir(mode=0o700)
    facts = check_state(context, record.site)
    module = _module(record)
    head = f"Ejected by skyc {__version__}: deployment {context.deployment}, site {record.site}.\nREADME.md above says more."
    backend = None if objects is None else backend_block(objects.uri, context.deployment, record.site)
    text = (Path(record.directory) / FILE_NAME).read_text(encoding="utf-8")
    for name, content in module_files(module, text, head=head).items():
        write_file(folder / name, content)
    shutil.copyfile(Path(record.directory) / STATE_FILE, folder / STATE_FILE)
    (folder / STATE_FILE).chmod(0o600)
    _must_change_nothing(session, context, record, folder)
    if backend is not None:
        # After the plan: there is no object yet that it could have read.
        write_file(folder / "backend.tf", backend.text.encode())
        (folder / STATE_FILE).unlink()
    files = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
    return EjectedSite(
        site=record.site,
        provider=record.provider,
        resources=len(facts.resources) if facts is not None else 0,
        files=files,
        state=STATE_FILE if backend is None else backend.place,
    )


def _must_change_nothing(session: Session, context: SiteContext, record: SiteRecord, folder: Path) -> None:
    """Terraform plans what was written, looking at the world. Raises SkycError where it finds anything to change."""
    session.step("eject", f"planning {record.site} with {context.engine}")
    with terraform_at(context, record.site, session.provider(record.provider), directory=folder) as terraform:
        run = checked(terraform.plan())
        assert run.plan_file is not None
        shown = terraform.show(run.plan_file)
    for leftover in ("runs", ".terraform"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    if run.has_changes:
        rows = (row for row in shown["resource_changes"] if row["change"]["actions"] != [Action.NO_OP.value])
        names = ", ".join(f"{row['address']} ({' and '.join(row['change']['actions'])})" for row in rows) or "its outputs"
        raise SkycError(
            error(
                "eject-would-change",
                "Terraform would change something",
                f"Site {record.site}: {names}. The code that was planned last and what exists differ, so plain Terraform would begin "
                "with a change. Nothing was written.",
                hint="apply first, then eject",
                commands=(f"skyc status {context.deployment}",),
            )
        )


def _write_around(
    draft: Path, directory: Path, deployment: DeploymentId, sites: tuple[EjectedSite, ...], *, home: Path, own: bool
) -> None:
    rows = tuple((site.site, site.provider, site.resources, site.state) for site in sites)
    write_file(draft / "README.md", readme(deployment, directory, rows, own=own, version=__version__).encode())
    write_file(draft / ".gitignore", _IGNORED.encode())
    if own:
        script = environment_script(directory / MIRROR, python=sys.executable, home=home)
        write_file(draft / "environment.sh", script.encode())


def _hand_over(
    session: Session,
    deployment: DeploymentId,
    directory: Path,
    records: tuple[SiteRecord, ...],
    objects: ConditionalStore | None,
) -> None:
    """Whose the states are changes with the record: the last thing that is written."""
    for record in records:
        backend = None if objects is None else backend_block(objects.uri, deployment, record.site)
        if objects is not None and backend is not None:
            objects.put(backend.key, (Path(record.directory) / STATE_FILE).read_bytes())
    text = json.dumps({"directory": str(directory), "format": 1}, ensure_ascii=False) + "\n"
    write_file(deployment_directory(session.home, deployment) / RECORD, text.encode())
    session.store.set_deployment_state(deployment, DeploymentState.EJECTED)
    session.store.record("ejected", str(directory), deployment=deployment)


def _fresh_state(
    session: Session, deployment: DeploymentId, record: SiteRecord, directory: Path, objects: ConditionalStore | None
) -> bytes:
    """A site's state as Terraform left it. Raises SkycError for one that does not follow the one that was ejected."""
    backend = None if objects is None else backend_block(objects.uri, deployment, record.site)
    place = str(directory / record.site / STATE_FILE) if backend is None else backend.place
    try:
        data = Path(place).read_bytes() if backend is None or objects is None else objects.get(backend.key)
    except (FileNotFoundError, NotFound):
        raise _not_taken(deployment, place, "There is no state.") from None
    parsed = parsed_state(data, place)
    memory = session.store.recall(deployment, record.site)
    facts = state_facts(parsed, place)
    if memory is not None and (facts.lineage != memory.lineage or facts.serial < memory.serial):
        raise _not_taken(deployment, place, "It does not go on from the state that was ejected.")
    return data


def _not_taken(deployment: DeploymentId, place: str, why: str) -> SkycError:
    return SkycError(
        error(
            "state-not-taken-back",
            "A state cannot be taken back",
            f"{place}: {why} `{deployment}` stays ejected.",
            hint="put the state there that Terraform works on now",
        )
    )


def _module(record: SiteRecord) -> JsonObject:
    found: JsonObject = json.loads((Path(record.directory) / FILE_NAME).read_text(encoding="utf-8"))
    return found


def _needs(module: JsonObject) -> Iterator[str]:
    yield from module.get("terraform", {}).get("required_providers", {})


def _refuse_used(directory: Path) -> None:
    try:
        used = os.listdir(directory)  # noqa: PTH208 - iterdir fails only when it is read
    except FileNotFoundError:
        return
    except OSError as failure:
        why = "It is a file." if isinstance(failure, NotADirectoryError) else f"It cannot be read: {failure.strerror}."
    else:
        if not used:
            return
        why = "It is not empty."
    raise SkycError(
        error(
            "directory-in-use",
            "The directory is in use",
            f"{directory}: {why} Nothing in it was touched.",
            hint="name a directory that is empty or does not exist yet",
        )
    )
