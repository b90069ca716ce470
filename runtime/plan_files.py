"""Plan files on disk, and what goes into one: everything that must still hold when it is applied."""

from __future__ import annotations

import hashlib
import os
import secrets as randomness
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import __version__
from ..compiler.artifact.plan_file import (
    LARGEST,
    EngineName,
    LocalTree,
    NetworkRow,
    NotAPlan,
    PlanFile,
    PlanKind,
    PlannedJob,
    PlannedSite,
    Settings,
    SiteState,
    TaskSource,
    looks_like_one,
    read,
    written,
)
from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId, FrozenMap, SiteId, Task
from ..compiler.pipeline import Compilation
from ..compiler.scrub import Scrubber
from ..compiler.synth import FILE_NAME
from ..compiler.terraform_files import STATE_FILE, read_state
from ..providers.base import STOPPED, Capability, is_lost
from .backend.keys import share_keys
from .backend.machine import home_label
from .clusters import clusters, healths
from .fingerprints import hashed_secrets
from .planning import Planned, last_run, newest_attempt
from .results import Plan
from .session import Session
from .sites import PACKAGES_FILE, SitePlan
from .workdir import Tree, source_tree, workdir_tree

MOVED = 4
"""Exit code of a reviewed plan that is no longer valid."""
HEAD = 4096
MOST_FILES = 500
"""A tree with no more files than this is kept file by file, so that a change can be named."""
UP, LOST = "up", "lost"


# Files


def is_plan_file(path: Path) -> bool:
    """Told by what is in it, never by its name."""
    try:
        with path.open("rb") as file:
            return looks_like_one(file.read(HEAD))
    except OSError:
        return False


def read_plan_file(path: Path) -> tuple[PlanFile, str]:
    """A plan file and its digest. Raises SkycError, with exit code 4 for one that is not what was reviewed."""
    try:
        with path.open("rb") as file:
            return read(file.read(LARGEST + 1))
    except OSError as failure:
        raise SkycError(error("plan-file-unreadable", "The plan file cannot be read", f"{path}: {failure.strerror}.")) from None
    except NotAPlan as failure:
        raise SkycError(_not_a_plan(path, failure), exit_code=MOVED) from None


def _not_a_plan(path: Path, failure: NotAPlan) -> Diagnostic:
    if failure.newer:
        return error(
            "plan-file-newer",
            "The plan file is of another version",
            f"{path} was written by another version of skyc: {failure}.",
            hint="apply it with the skyc that made it",
        )
    return error(
        "plan-file-damaged",
        "The plan file is not as skyc wrote it",
        f"{path} was not used: {failure}.",
        hint="copy it again as it was written, or make a new plan with `skyc plan TASK -o FILE`",
    )


def write_plan_file(path: Path, plan: PlanFile) -> str:
    """For the owner alone, whole or not at all. Its digest. Raises SkycError."""
    data, digest = written(plan)
    fresh = path.with_name(f".{path.name}.{randomness.token_hex(6)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            # Whatever the umask says, and whatever mode the file it replaces had.
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as failure:
        fresh.unlink(missing_ok=True)
        raise _not_written(path, failure.strerror or str(failure)) from failure
    return digest


def writable(path: Path, task_file: Path) -> None:
    """Before anything is planned. Raises SkycError where a plan file would replace what nobody meant to lose: a device, a pipe, or
    the task file itself."""
    if path.exists() and not path.is_file():
        raise _not_written(path, "it is no file")
    if path.exists() and task_file.exists() and path.samefile(task_file):
        raise _not_written(path, "it is the task file")


def _not_written(path: Path, why: str) -> SkycError:
    return SkycError(
        error(
            "plan-file-not-written",
            "The plan file could not be written",
            f"{path}: {why}.",
            hint="name a place you may write to",
        )
    )


# What goes into one


def compared_file(
    session: Session, plan: Planned, shown: Plan, *, out: Path | None = None, locked: FrozenMap[str] | None = None
) -> PlanFile:
    """Of a plan that was held against the deployment's states. With its lock held, while `planned` lasts. out: where it will lie, which
    may be in a workdir. locked: the facts of the lock file it was held to."""
    compilation = plan.compilation
    assert compilation.graph is not None
    remote = session.remotes.get(plan.deployment)
    if remote is not None and logs_in(compilation):
        # Another home may be the one that applies it.
        share_keys(remote)
    made = {graph.site: file for graph, file in zip(compilation.graphs or (), compilation.synthesized or (), strict=True)}
    health = site_healths(session, plan.deployment)
    return _file(
        session,
        compilation,
        shown,
        kind=PlanKind.COMPARED,
        sites=tuple(
            _site(session, site, made[site.site].manifest if site.site in made else None, health.get(site.site, FrozenMap()))
            for site, _ in plan.sites
        ),
        jobs=tuple(_jobs(session, plan)),
        engine=EngineName(name=session.engine.name, version=session.engine.version),
        trees=tuple(local_trees(compilation.graph.tasks, (*not_sent(session, compilation.source.path), *filter(None, (out,))))),
        secrets=hashed_secrets(session, plan.deployment, compilation),
        keys=keys_digest(compilation),
        mark=compilation.options.mark(plan.deployment) if compilation.buckets else "",
        locked=locked,
    )


def compiled_file(session: Session, compilation: Compilation, shown: Plan, *, locked: FrozenMap[str] | None = None) -> PlanFile:
    """Of a plan that was compared with nothing: it can be reviewed, and not applied."""
    sites = tuple(
        PlannedSite(site=graph.site, provider=graph.provider, graph=graph, manifest=made.manifest, module=made.text)
        for graph, made in zip(compilation.graphs or (), compilation.synthesized or (), strict=True)
    )
    return _file(session, compilation, shown, kind=PlanKind.COMPILED, sites=sites, jobs=(), engine=None, locked=locked)


def _file(
    session: Session,
    compilation: Compilation,
    shown: Plan,
    *,
    kind: PlanKind,
    sites: tuple[PlannedSite, ...],
    jobs: tuple[PlannedJob, ...],
    engine: EngineName | None,
    trees: tuple[LocalTree, ...] = (),
    secrets: FrozenMap[str] | None = None,
    keys: str = "",
    mark: str = "",
    locked: FrozenMap[str] | None = None,
) -> PlanFile:
    assert compilation.graph is not None and compilation.placement is not None
    return PlanFile(
        kind=kind,
        skyc=__version__,
        deployment=compilation.deployment,
        home=home_label(session.home),
        engine=engine,
        task=_task_source(compilation),
        objective=compilation.options.objective,
        graph=compilation.graph,
        placement=compilation.placement,
        chosen=compilation.chosen,
        before=shown.before,
        sites=sites,
        jobs=jobs,
        settings=_settings(compilation),
        buckets=compilation.buckets,
        known=compilation.known,
        trees=trees,
        secrets=secrets or FrozenMap(),
        keys=keys,
        mark=mark,
        policies=shown.policies,
        policy_digest=shown.policy_digest,
        locked=locked or FrozenMap(),
        endless=compilation.endless,
        fingerprints=shown.fingerprints,
    )


def _task_source(compilation: Compilation) -> TaskSource:
    source = compilation.source
    hidden = [secret.reveal() for secret in compilation.secrets.values()]
    for document in compilation.spec.documents if compilation.spec else ():
        # One that the command line has overridden stands in the file all the same.
        hidden += [secret.reveal() for secret in (document.secrets or {}).values() if secret is not None]
    return TaskSource(
        path=str(Path(source.path).resolve()),
        text=Scrubber(hidden).crossed(source.shown),
        digest=hashlib.sha256(source.text.encode()).hexdigest(),
    )


def _settings(compilation: Compilation) -> Settings:
    options = compilation.options
    login = logs_in(compilation)
    access = options.access(compilation.deployment) if login else None
    return Settings(
        runtime=options.runtime,
        ssh_from=access.ssh_from if access else (),
        storage_accounts=access.storage_accounts if access else FrozenMap(),
        bucket_keys=access.bucket_keys if access else FrozenMap(),
        networks=tuple(
            NetworkRow(provider=provider, region=region, network=options.networks[provider, region])
            for provider, region in sorted(options.networks)
        ),
        images=FrozenMap({**compilation.images, **options.images}),
        versions=options.versions,
    )


def _site(session: Session, site: SitePlan, manifest: object, health: FrozenMap[str]) -> PlannedSite:
    from ..compiler.ir import SynthManifest

    assert manifest is None or isinstance(manifest, SynthManifest)
    return PlannedSite(
        site=site.site,
        provider=site.provider.name,
        graph=site.graph,
        manifest=manifest,
        module=(site.directory / FILE_NAME).read_text(encoding="utf-8"),
        changes=site.changes,
        plan=site.plan_file.read_bytes() if site.changes.has_changes else None,
        state=site_state(site.directory),
        lock=lock_text(site.directory),
        health=health,
    )


def _jobs(session: Session, plan: Planned) -> Iterator[PlannedJob]:
    for job in plan.jobs:
        run, attempt = newest_work(session, plan.deployment, job.task)
        yield PlannedJob(plan=job, task_digest=plan.task_digests[job.task], last_run=run, last_attempt=attempt)


# Facts that are compared when it is applied


def newest_work(session: Session, deployment: DeploymentId, task: str) -> tuple[int, int]:
    """The newest run of a task and the newest attempt of it; 0 for none."""
    from ..compiler.ir import TaskId

    last = last_run(session, deployment, TaskId(task))
    if last is None:
        return 0, 0
    job = newest_attempt(session, deployment, TaskId(task), last.number)
    return last.number, job.attempt if job is not None else 0


def site_state(directory: Path) -> SiteState | None:
    """Which Terraform state is there. Raises SkycError for one that cannot be read."""
    facts = read_state(directory / STATE_FILE)
    return None if facts is None else SiteState(lineage=facts.lineage, serial=facts.serial, sha256=facts.sha256)


def lock_text(directory: Path) -> str:
    """Terraform's dependency lock; empty where it needs none."""
    try:
        return (directory / PACKAGES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def site_healths(session: Session, deployment: DeploymentId) -> Mapping[SiteId, FrozenMap[str]]:
    """Site → node → `up`, `stopped` or `lost`. A node that does not answer may well be up. Raises SkycError."""
    found = {}
    for cluster in clusters(session, deployment):
        said = {}
        for node, health in zip(cluster.nodes, healths(session, cluster.provider, cluster.nodes), strict=True):
            if isinstance(health, SkycError):
                raise health
            said[node.name] = STOPPED if health == STOPPED else LOST if is_lost(health) else UP
        found[cluster.site] = FrozenMap(said)
    return found


def not_sent(session: Session, task: str) -> tuple[Path, ...]:
    """What in a workdir changes nothing of a plan: skyc's own home, and the task file, of which the plan holds what counts."""
    return (session.home, Path(task))


def local_trees(tasks: tuple[Task, ...], avoid: Sequence[Path]) -> Iterator[LocalTree]:
    """Every local file or directory that tasks send, once. avoid: what does not count. Raises SkycError for one that cannot be read."""
    seen: set[tuple[str, bool]] = set()
    for task in tasks:
        places = [(task.workdir, True)] if task.workdir else []
        places += [(mount.source, False) for mount in task.file_mounts if mount.source and "://" not in mount.source]
        for path, workdir in places:
            assert path is not None
            if (path, workdir) not in seen:
                seen.add((path, workdir))
                yield local_tree(path, workdir, avoid)


def local_tree(path: str, workdir: bool, avoid: Sequence[Path]) -> LocalTree:
    """Raises SkycError."""
    tree = workdir_tree(Path(path), avoid) if workdir else source_tree(Path(path))
    return LocalTree(path=path, workdir=workdir, digest=tree.digest, files=_files(tree))


def _files(tree: Tree) -> FrozenMap[str]:
    # The same ones that count for the digest.
    rows = {entry: what for entry, what in tree.contents.items() if not entry.endswith("/") and entry.split("/")[0] != ".git"}
    if len(rows) > MOST_FILES:
        return FrozenMap()
    return FrozenMap({os.fsencode(name).decode(errors="replace"): _short(what) for name, what in rows.items()})


def _short(what: str) -> str:
    return hashlib.sha256(os.fsencode(what)).hexdigest()[:16]


def logs_in(compilation: Compilation) -> bool:
    """Whether machines of the plan, or of its envelope, are logged in to."""
    placement = compilation.placement
    names = {item.provider for item in (*placement.placements, *placement.fallbacks)} if placement is not None else set()
    known = compilation.options.providers
    return any(Capability.LOGIN in known[name].capabilities for name in names if name in known)


def keys_digest(compilation: Compilation) -> str:
    """Of the deployment's public keys, and of the mark in the names of its buckets: what its code holds of them. Empty without any."""
    options, deployment = compilation.options, compilation.deployment
    parts = []
    if logs_in(compilation):
        access = options.access(deployment)
        parts += [access.login_key, access.host_key_public]
    if compilation.buckets:
        parts.append(options.mark(deployment))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest() if parts else ""
