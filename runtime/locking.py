"""`skyc lock`, `plan --locked` and `apply --locked`: the same task compiled with the same things, on every machine, or not at all.

Contract
- A locked compilation takes its inputs from the lock and from nothing of this machine's: the parts of the catalog by their digests, no
  buckets or keys of this home's for a plan that asks nobody, and this machine's own hardware only where the task may run on it.
- What cannot be had as it was locked is named, each thing by itself, and nothing is compiled to be used (exit code 4).
- The parts a lock names are kept below the home by their digests, so an older catalog is still there after a refresh.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..compiler.artifact.plan_file import PlanFile
from ..compiler.diagnostics import Diagnostic, SkycError, error, warning
from ..compiler.ir import RAY_VERSION, Addresses, FrozenMap, ResourceGraph, TaskGraph, Value, canonical
from ..compiler.ir.catalog import CatalogPart
from ..compiler.pipeline import Compilation
from ..providers.base import Capability, NetworkChoice, chosen_network
from ..providers.registry import CLOUDS, host_keys, uv_version
from ..providers.snapshot import decode, encode
from .access import bucket_keys, ssh_ranges, storage_accounts
from .backend.marks import write_file
from .bundle import bundle
from .lockfile import NAME, Lock, LockedProvider, lock_path, lock_text, read_lock
from .networks import read_networks
from .provider_hashes import package_text, recorded_hashes
from .quotas import read_quotas
from .regions import read_regions
from .request import Request, compile_request
from .session import Session

STALE = 4
"""Exit code of what was reviewed, or locked, and is no longer so."""
_IMAGES = frozenset({"ami", "image", "image_id", "source_image_id", "source_image_reference"})
"""Arguments that name a machine image, at any provider."""
NOTHING = "none"
MACHINE, HOST_KEY = "machine.", "host_key."
"""What the names of facts about this machine, and of machines of the user's, begin with."""
_TERRAFORMS_WORDS = "dependency lock file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact that is not as it was locked. `remedy`: what to do about this one; empty where locking anew is all there is."""

    name: str
    locked: str
    here: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.name}: locked {self.locked}, here {self.here}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """`changed`: facts that are other ones than before; none in a new file."""

    path: str
    tasks: tuple[str, ...]
    changed: tuple[Difference, ...]
    written: bool
    diagnostics: tuple[Diagnostic, ...] = ()


def lock(session: Session, requests: tuple[Request, ...], *, hashes: bool) -> LockResult:
    """Write what these task files, of one directory, are compiled with here. `hashes`: fetch the Terraform providers for theirs.

    Raises SkycError.
    """
    path = lock_path(requests[0].path)
    if any(lock_path(request.path) != path for request in requests):
        raise SkycError(
            error(
                "lock-one-directory",
                "The task files lie in different directories",
                f"A {NAME} lies beside the task files it is for.",
                hint="lock each directory by itself",
            )
        )
    old = read_lock(path) or Lock()
    facts: dict[str, str] = {}
    providers = dict(old.providers)
    tasks = dict(old.tasks)
    said: list[Diagnostic] = []
    for request in requests:
        made = _compiled_to_lock(session, request)
        assert made.graphs is not None
        facts |= _facts(session, made)
        tasks[request.path.name] = FrozenMap(_chosen(session, made))
        found = {need.source: need.version for graph in made.graphs for need in graph.requirements}
        for source, needed in found.items():
            before = providers.get(source)
            kept = before.hashes if before is not None and before.version == needed else ()
            providers[source] = LockedProvider(version=needed, hashes=kept)
        if hashes:
            fetched, problems = recorded_hashes(session, made)
            said += problems
            for source, texts in fetched.items():
                known = providers[source]
                providers[source] = replace(known, hashes=tuple(sorted({*known.hashes, *texts})))
    new = Lock(facts=FrozenMap(facts), providers=FrozenMap(providers), tasks=FrozenMap(tasks))
    text = lock_text(new)
    written = not path.exists() or path.read_text(encoding="utf-8") != text
    if written:
        write_file(path, text.encode())
        path.chmod(0o644)  # It is for the repository.
    return LockResult(
        path=str(path),
        tasks=tuple(request.path.name for request in requests),
        changed=tuple(_between(_flat(old), _flat(new))) if old != Lock() else (),
        written=written,
        diagnostics=tuple(said),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A request as its lock wants it compiled."""

    request: Request
    lock: Lock

    def refuse_differences(self, session: Session, made: Compilation, *, engine: bool) -> None:
        """Raises SkycError (exit code 4) that names everything that is not as it was locked. `engine`: whether Terraform is to run."""
        found = _differences(session, self.request, self.lock, made, engine=engine)
        if found:
            raise _refused(lock_path(self.request.path), found)

    @property
    def facts(self) -> FrozenMap[str]:
        """What the lock says for this task."""
        return _facts_for(self.lock, self.request.path.name)

    def packages(self, graph: ResourceGraph) -> str:
        """The packages of a site's providers as Terraform's own lock file: Terraform refuses any other. Empty where none is known."""
        known = self.lock.providers
        named = {need.source: known[need.source] for need in graph.requirements if need.source in known}
        return package_text({source: provider for source, provider in named.items() if provider.hashes})

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Terraform's refusal of a package that is not the locked one, as what it means here."""
        try:
            yield
        except SkycError as failure:
            said = next((found for found in failure.diagnostics if _TERRAFORMS_WORDS in found.detail), None)
            if said is None:
                raise
            raise SkycError(
                error(
                    "not-locked-so",
                    "A Terraform provider's package is not the locked one",
                    f"{lock_path(self.request.path)}: {said.detail}",
                    hint="on another platform, add its packages with `skyc lock`; else find out where this package comes from",
                ),
                exit_code=STALE,
            ) from failure


def held(session: Session, request: Request) -> Hold:
    """Raises SkycError (exit code 4) without a lock, and for parts of the catalog that are not to be had."""
    path, found = _lock_of(request.path)
    mine = found.tasks.get(request.path.name)
    if mine is None:
        raise _refused(
            path, [Difference(name=f"tasks.{request.path.name}", locked=NOTHING, here="a task", remedy="lock it too")]
        )
    parts: dict[str, CatalogPart] = {}
    missing: list[Difference] = []
    for name, part in _parts(session, _resolved(session, request)).items():
        wanted = found.facts.get(f"catalog.{name}") if name in CLOUDS else mine.get(f"{MACHINE}{name}")
        usable = part if wanted == part.digest else _kept(session.home, wanted) if wanted is not None else None
        if usable is not None:
            parts[name] = usable
        else:
            missing.append(
                Difference(name=f"catalog.{name}", locked=wanted or NOTHING, here=part.digest, remedy=_remedy(name, wanted))
            )
    if missing:
        raise _refused(path, missing)
    return Hold(request=replace(request, parts=parts), lock=found)


def refuse_another_lock(plan: PlanFile) -> None:
    """Raises SkycError (exit code 4) unless the plan file was held to the lock file that lies beside its task now. Only packages may
    have been added: the file has its own."""
    task = Path(plan.task.path)
    if not plan.locked:
        raise SkycError(
            error(
                "plan-not-locked",
                "The plan was not held to a lock file",
                "It was made without `--locked`, and `--locked` asks for one that was. Nothing was changed.",
                hint="make one with `skyc plan TASK --locked -o FILE`, or apply this one without `--locked`",
            ),
            exit_code=STALE,
        )
    path, now = _lock_of(task)
    rows = [f"{row.name}: {row.locked} → {row.here}" for row in _between(plan.locked, _facts_for(now, task.name))]
    if rows:
        raise SkycError(
            error(
                "not-locked-so",
                "The lock file is not the one that the plan was held to",
                f"{path}: {'; '.join(rows)}. Nothing was changed.",
                hint="plan again, and have the new plan reviewed; without `--locked` the plan is applied as it was reviewed",
            ),
            exit_code=STALE,
        )


def _facts_for(lock: Lock, task: str) -> FrozenMap[str]:
    rows = dict(lock.facts) | {f"providers.{source}": row.version for source, row in lock.providers.items()}
    rows |= {f"tasks.{task}.{name}": value for name, value in lock.tasks.get(task, FrozenMap()).items()}
    return FrozenMap(rows)


def _lock_of(task: Path) -> tuple[Path, Lock]:
    """Raises SkycError (exit code 4) without one."""
    path = lock_path(task)
    found = read_lock(path)
    if found is not None:
        return path, found
    detail = f"{path} does not exist, so there is nothing to hold to."
    raise SkycError(error("no-lock", "There is no lock file", detail, commands=(f"skyc lock {task}",)), exit_code=STALE)


def differences_warned(session: Session, request: Request, made: Compilation) -> tuple[Diagnostic, ...]:
    """One warning where a lock is there, is not held to, and says something else."""
    path = lock_path(request.path)
    found = read_lock(path)
    if found is None or request.parts is not None or request.path.name not in found.tasks:
        return ()
    differ = _differences(session, request, found, made, engine=False)
    if not differ:
        return ()
    return (
        warning(
            "not-as-locked",
            "This is compiled with other things than the lock file says",
            f"{path}: {'; '.join(map(str, differ))}.",
            hint="hold to it with `skyc plan --locked`, or write it anew with `skyc lock`",
        ),
    )


def _resolved(session: Session, request: Request) -> TaskGraph:
    from .refusals import refused

    made = compile_request(session, replace(request, offline=True), until="resolve")
    if made.failed or made.graph is None:
        raise refused(made)
    return made.graph


def _compiled_to_lock(session: Session, request: Request) -> Compilation:
    """Compiled as a locked plan that asks nobody would be, with the parts that are here. They are kept."""
    from .refusals import refused

    parts = _parts(session, _resolved(session, request))
    for name, part in parts.items():
        if name in CLOUDS:
            kept = _kept_path(session.home, part.digest)
            if not kept.exists():
                write_file(kept, encode(part))
    made = compile_request(session, replace(request, offline=True, parts=parts), until="lower")
    if made.failed:
        raise refused(made)
    return made


def _parts(session: Session, graph: TaskGraph) -> dict[str, CatalogPart]:
    """The catalog for a file: every cloud's, since data lies there and prices of moving it are theirs; of what is tied to this home only
    where the task may go."""
    asked = {request.infra.provider for task in graph.tasks for group in task.groups for request in group.requests}
    places = {storage.infra.provider for task in graph.tasks for storage in task.storages}
    texts = canonical(graph).decode()
    found = {}
    for name, provider in sorted(session.providers.items()):
        bound = name not in CLOUDS
        files = "file" in provider.opens and '"file://' in texts
        if not bound or None in asked or name in asked or name in places or files:
            found[name] = provider.catalog(home=session.home)
    return found


def _kept_path(home: Path, digest: str) -> Path:
    return home / "catalog" / "kept" / f"{digest}.skyc"


def _kept(home: Path, digest: str) -> CatalogPart | None:
    path = _kept_path(home, digest)
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == digest:
            return decode(content, name=str(path))
    return None


def _remedy(name: str, wanted: str | None) -> str:
    if wanted is None:
        return "the lock does not name it; lock anew"
    if name not in CLOUDS:
        return "this machine is part of what the task may run on: name another place with `infra`"
    return f"copy catalog/kept/{wanted[:12]}….skyc from a home that has it, such as where it was locked, or install the skyc it came with"


def _facts(session: Session, made: Compilation) -> dict[str, str]:
    """What every task of the directory is compiled with."""
    assert made.candidates is not None
    parts = {part.provider: part.digest for part in made.candidates.catalog.parts if part.provider in CLOUDS}
    quotas, regions = read_quotas(session.home), read_regions(session.home, session.providers)
    engine = _engine(session)
    return {
        "skyc.version": __version__,
        "skyc.bundle": bundle().digest,
        "tools.python": session.runtime.python,
        "tools.ray": RAY_VERSION,
        "tools.uv": uv_version(),
        "tools.cdktn": _version("cdktn"),
        "engine.name": engine[0],
        "engine.version": engine[1],
        "catalog.quotas": hashlib.sha256(canonical(quotas)).hexdigest() if quotas else NOTHING,
        "catalog.regions": ", ".join(regions) or NOTHING,
        **{f"catalog.{name}": digest for name, digest in parts.items()},
    }


def _engine(session: Session) -> tuple[str, str]:
    try:
        return session.engine.name, session.engine.version
    except SkycError:
        return NOTHING, NOTHING


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOTHING


def _chosen(session: Session, made: Compilation) -> dict[str, str]:
    """What was chosen for one file, and what of this home it depends on."""
    assert made.placement is not None and made.graphs is not None and made.candidates is not None
    found = {"objective": made.placement.objective.value}
    for placement in made.placement.placements:
        found[f"place.{placement.task}.{placement.group}"] = (
            f"{placement.location} · {placement.num_nodes} × {placement.instance_type} · {placement.market.value}"
        )
    for part in made.candidates.catalog.parts:
        if part.provider not in CLOUDS:
            found[f"{MACHINE}{part.provider}"] = part.digest
            for machine, keys in host_keys(part.provider, home=session.home).items():
                found[f"{HOST_KEY}{part.provider}.{machine}"] = ", ".join(keys)
    networks = read_networks(session.home, session.providers)
    for graph in made.graphs:
        images = sorted({image for node in graph.resources for image in _images(node.arguments)})
        for number, image in enumerate(images):
            found[f"image.{graph.site}{f'.{number}' if number else ''}"] = image
        if Capability.LOGIN in session.provider(graph.provider).capabilities:
            found["access.ssh_from"] = ", ".join(ssh_ranges(session.home)) or NOTHING
            accounts = storage_accounts(session.home)
            if accounts:
                found["access.storage_accounts"] = hashlib.sha256(canonical(accounts)).hexdigest()
            sealed = bucket_keys(session.home)
            if sealed:
                found["access.bucket_keys"] = hashlib.sha256(canonical(sealed)).hexdigest()
    for placement in made.placement.placements:
        provider = session.provider(placement.provider)
        if Capability.OWN_NETWORK in provider.capabilities:
            network = chosen_network(networks, provider, placement.region)
            found[f"network.{placement.provider}/{placement.region}"] = _network(network)
    return found


def _network(choice: NetworkChoice) -> str:
    """Its id, and which machines have a public address, in the configuration's words."""
    word = {Addresses.ALL: "true", Addresses.HEAD: "head", Addresses.NONE: "false"}[choice.public]
    return ", ".join((*((choice.existing.id,) if choice.existing is not None else ()), f"public: {word}"))


def _images(value: Value) -> Iterator[str]:
    for name, item in value.items() if isinstance(value, FrozenMap) else ():
        if name in _IMAGES and isinstance(item, str):
            yield item
        elif name in _IMAGES and isinstance(item, FrozenMap):
            yield ":".join(str(part) for _, part in sorted(item.items()))
        else:
            for inner in item if isinstance(item, tuple) else (item,):
                yield from _images(inner)


def _differences(session: Session, request: Request, locked: Lock, made: Compilation, *, engine: bool) -> list[Difference]:
    """Facts of this compilation that are not those of the lock. What a stage has not made yet is not compared."""
    facts = _facts(session, made) if made.candidates is not None else {}
    here = {name: value for name, value in facts.items() if engine or not name.startswith("engine.")}
    wanted = {name: locked.facts.get(name, NOTHING) for name in here}
    if made.placement is not None and made.graphs is not None:
        chosen, old = _chosen(session, made), dict(locked.tasks[request.path.name])
        if request.parts is None:
            # Compiled with everything that is here: what only a locked compilation leaves out is no difference.
            bound = tuple(f"{HOST_KEY}{name.removeprefix(MACHINE)}." for name in old if name.startswith(MACHINE))
            chosen = {name: value for name, value in chosen.items() if not name.startswith(HOST_KEY) or name.startswith(bound)}
            chosen, old = (
                {name: value for name, value in rows.items() if not name.startswith(MACHINE)} for rows in (chosen, old)
            )
        names = {*chosen, *old}
        here |= {f"tasks.{request.path.name}.{name}": chosen.get(name, NOTHING) for name in names}
        wanted |= {f"tasks.{request.path.name}.{name}": old.get(name, NOTHING) for name in names}
        for source, needed in _requirements(made.graphs).items():
            known = locked.providers.get(source)
            here[f"providers.{source}"] = needed
            wanted[f"providers.{source}"] = known.version if known is not None else NOTHING
    return list(_between(wanted, here))


def _requirements(graphs: tuple[ResourceGraph, ...]) -> Mapping[str, str]:
    return {need.source: need.version for graph in graphs for need in graph.requirements}


def _flat(held: Lock) -> dict[str, str]:
    rows = dict(held.facts)
    rows |= {
        f"providers.{source}": f"{row.version} {' '.join(sorted(row.hashes))}".strip() for source, row in held.providers.items()
    }
    rows |= {f"tasks.{task}.{name}": value for task, chosen in held.tasks.items() for name, value in chosen.items()}
    return rows


def _between(locked: Mapping[str, str], here: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*locked, *here}):
        one, other = locked.get(name, NOTHING), here.get(name, NOTHING)
        if one != other:
            yield Difference(name=name, locked=one, here=other)


def _refused(path: Path, differences: list[Difference]) -> SkycError:
    return SkycError(
        *(
            error("not-locked-so", "Something is not as it was locked", f"{path}: {difference}.")
            for difference in differences[:-1]
        ),
        error(
            "not-locked-so",
            "Something is not as it was locked",
            f"{path}: {differences[-1]}. Nothing was compiled.",
            hint="install or copy what was locked, or review the change and write the file anew with `skyc lock`",
        ),
        exit_code=STALE,
    )
