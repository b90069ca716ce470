"""`skyc diff`: both revisions of every task file, compiled and compared per deployment.

Deployments pair by name: a file that moved is the same deployment. Only files whose inputs differ are compiled: those whose own bytes
differ, and of the others those that name a path which is on one side alone. What the job gets (its workdir, its local mounts) is
compared by blob ids alone: it changes the job, never the resources.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, SkycError, error, warning
from ...compiler.graph_diff import graph_changes
from ...compiler.ir import ChangeSet, Meanings, Objective, PlacementPlan
from ...compiler.report import environment_of
from ...compiler.report.cautions import cautions_of
from ...compiler.report.changes import change_rows
from ...compiler.report.model import Caution
from ...compiler.report.placement import group_rows
from ...compiler.revisions import DeploymentDiff, Kind, Revision, RevisionDiff, in_order, job_changes
from ...providers.registry import forces_new, meanings
from ..policy.files import policy_files
from ..state import home_directory
from .compiling import Compiled, Workshop, within
from .git import Repository, Snapshot, open_repository
from .task_files import Choice, Sketch, choice_of, sketch

Home = Path | str | None
IGNORE = ".skyignore"
LOCK = "skyc.lock"


def diff(
    base: str,
    head: str | None = None,
    *,
    paths: Sequence[str] = (),
    exact: bool = False,
    directory: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    objective: str = "cost",
    policies: Sequence[Path | str] = (),
    home: Home = None,
    environ: Mapping[str, str] | None = None,
) -> RevisionDiff:
    """What `head` makes of the deployments that `base` describes.

    head: None for the working tree, with what is not committed and what is not tracked. `base` is compared from where head's history left
    it, as a pull request is; `exact`: from itself. paths: files, folders and patterns below `directory` (default: here); `!pattern` leaves
    out. env: variables for every task, as `--env` gives them. policies: files with rules that hold beside those
    of the home, of SKYC_POLICY and of the task files. Needs no account, no state and no home. Raises SkycError.
    """
    around = os.environ if environ is None else environ
    repository = open_repository(Path(directory or "."), around)
    here = Path(home_directory(home))
    old, new, revisions = _sides(repository, base, head, exact)
    chosen = choice_of(paths, repository.prefix)
    before, after = _Side.of(repository, old, chosen), _Side.of(repository, new, chosen)
    _refuse_unknown(chosen, before, after)
    rules = policy_files(here, around, [Path(path) for path in policies])
    with Workshop(home=here, env=dict(env or {}), objective=Objective(objective), policies=rules, environ=around) as workshop:
        return _compared(workshop, before, after, revisions)


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A snapshot and its task files: path → content and sketch. `read`: contents of the other files that compilations read."""

    snapshot: Snapshot
    files: Mapping[str, tuple[bytes, Sketch]]
    read: Mapping[str, bytes] = field(default_factory=dict)
    ignored: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of every `.skyignore`."""

    @classmethod
    def of(cls, repository: Repository, snapshot: Snapshot, chosen: Choice) -> _Side:
        paths = [path for path in snapshot.entries if chosen.covers(path)]
        ignores = [path for path in snapshot.entries if posixpath.basename(path) == IGNORE]
        contents = repository.read(snapshot, (*paths, *ignores))
        files = {}
        for path in sorted(set(paths) & set(contents)):
            found = sketch(contents[path], path, named=path in chosen.exact)
            if found is not None:
                files[path] = (contents[path], found)
        wanted = {name for path, (_, found) in files.items() for name in _read_by(snapshot, path, found)}
        return cls(
            snapshot=snapshot,
            files=files,
            read=repository.read(snapshot, wanted),
            ignored={path: contents[path] for path in ignores},
        )

    @cached_property
    def folders(self) -> frozenset[str]:
        found: set[str] = set()
        for path in self.snapshot.entries:
            while path := posixpath.dirname(path):
                if path in found:
                    break
                found.add(path)
        return frozenset(found)

    def read_for(self, path: str) -> dict[str, bytes]:
        return {name: self.read[name] for name in _read_by(self.snapshot, path, self.files[path][1]) if name in self.read}

    def has(self, name: str) -> bool:
        return not name or name in self.snapshot.entries or name in self.folders


def _read_by(snapshot: Snapshot, path: str, known: Sketch) -> Iterator[str]:
    """Files of the repository that a compilation reads besides the task file: its policies, and the Rego below their folders."""
    for place in known.reads:
        name = within(posixpath.dirname(path), place)
        if name is None or name not in snapshot.entries:
            continue
        yield name
        folder = posixpath.dirname(name)
        below = f"{folder}/" if folder else ""
        yield from (entry for entry in snapshot.entries if entry.endswith(".rego") and entry.startswith(below))


def _sides(
    repository: Repository, base: str, head: str | None, exact: bool
) -> tuple[Snapshot, Snapshot, tuple[Revision, Revision]]:
    named = repository.commit(base)
    commit = named
    tip = repository.commit(head) if head is not None else repository.commit("HEAD")
    if not exact:
        commit = repository.merge_base(named, tip, shown=base)
    old = repository.snapshot(commit, label=base)
    new = repository.working_tree() if head is None else repository.snapshot(tip, label=head)
    return (
        old,
        new,
        (Revision(label=base, commit=commit, merge_base=commit != named), Revision(label=new.label, commit=new.commit)),
    )


def _refuse_unknown(chosen: Choice, before: _Side, after: _Side) -> None:
    missing = sorted(name for name in chosen.exact if not before.has(name) and not after.has(name))
    if missing:
        raise SkycError(
            error(
                "no-such-path",
                "A path is in neither revision",
                f"{', '.join(f'`{name}`' for name in missing)} is neither at {before.snapshot.label} nor at {after.snapshot.label}.",
                hint="check the path: it is relative to here",
            )
        )


@dataclass(frozen=True, kw_only=True)
class _Changes:
    """Paths that differ between the two snapshots, sorted. `meanings`: what changes of resources mean to a reviewer, asked once."""

    paths: tuple[str, ...]
    before: _Side
    after: _Side

    @cached_property
    def meanings(self) -> Meanings:
        return meanings()

    def below(self, name: str) -> tuple[str, ...]:
        """Those that are `name` or lie below it."""
        if not name:
            return self.paths
        first = bisect_left(self.paths, name)
        found = []
        for path in self.paths[first:]:
            if path == name or path.startswith(f"{name}/"):
                found.append(path)
            elif not path.startswith(name):
                break
        return tuple(found)

    def code(self, path: str, sketches: Iterable[Sketch]) -> tuple[str, ...]:
        """Files that the job of a task file gets and that differ. Task files are no code, although they may lie in a workdir: else a new
        task would change every job of a repository."""
        directory = posixpath.dirname(path)
        found: set[str] = set()
        for place in {place for known in sketches for place in known.places if "$" not in place}:
            name = within(directory, place)
            if name is not None:
                found.update(self._without_ignored(name, self.below(name)))
        return tuple(sorted(found - set(self.before.files) - set(self.after.files)))

    def locks(self, path: str) -> tuple[str, ...]:
        """A note, where what the task file is locked to differs."""
        lock = posixpath.join(posixpath.dirname(path), LOCK)
        return (f"{lock} differs: what the task is compiled with when it is locked",) if self.below(lock) else ()

    def _without_ignored(self, name: str, paths: tuple[str, ...]) -> Iterator[str]:
        ignore = posixpath.join(name, IGNORE)
        rules = self.after.ignored.get(ignore)
        if rules is None or ignore in paths:
            yield from paths
            return
        from pathspec import GitIgnoreSpec

        try:
            spec = GitIgnoreSpec.from_lines(rules.decode("utf-8", "replace").splitlines())
        except ValueError:
            yield from paths
            return
        yield from (path for path in paths if not spec.match_file(path.removeprefix(f"{name}/" if name else "")))


def _compared(workshop: Workshop, before: _Side, after: _Side, revisions: tuple[Revision, Revision]) -> RevisionDiff:
    old, new = before.snapshot.entries, after.snapshot.entries
    differing = tuple(sorted(path for path in {*old, *new} if old.get(path) != new.get(path)))
    changes = _Changes(paths=differing, before=before, after=after)
    same = {path for path in before.files if path in after.files and before.files[path] == after.files[path]}
    rows: list[DeploymentDiff] = []
    unchanged = 0
    for path in sorted(same):
        known = after.files[path][1]
        if _inputs_alike(path, known, changes):
            code, notes = changes.code(path, (known,)), changes.locks(path)
            if code or notes:
                rows.append(DeploymentDiff(deployment=known.name or path, kind=Kind.CHANGED, path=path, code=code, notes=notes))
            else:
                unchanged += 1
        else:
            same = same - {path}
    compiled = {
        side: {
            path: workshop.compile(side, files.snapshot, path, *files.files[path], files.read_for(path))
            for path in sorted(set(files.files) - same)
        }
        for side, files in (("base", before), ("head", after))
    }
    paired, alone = _paired(compiled["base"], compiled["head"])
    for was, becomes in paired:
        row = _row(was, becomes, changes)
        if row is None:
            unchanged += 1
        else:
            rows.append(row)
    rows += [row for was in alone if (row := _row(was, None, changes)) is not None]
    rows, said = _with_collisions(
        rows, {**{p: f[1].name or p for p, f in after.files.items()}, **_names(compiled["head"])}, same
    )
    catalogs = {made.placement.catalog_digest for made in compiled["head"].values() if made.placement is not None}
    return RevisionDiff(
        base=revisions[0],
        head=revisions[1],
        deployments=in_order(rows),
        unchanged=unchanged,
        catalog_digest=min(catalogs, default=""),
        diagnostics=said,
    )


def _inputs_alike(path: str, known: Sketch, changes: _Changes) -> bool:
    """Whether the compiler would find the same on both sides. A path with a variable in it may be any."""
    if known.open_ended:
        return not changes.paths
    sides = (changes.before.snapshot, changes.after.snapshot)
    if any(changes.below(name) for side in sides for name in _read_by(side, path, known)):
        return False
    names = (within(posixpath.dirname(path), place) for place in known.places)
    return all(changes.before.has(name) == changes.after.has(name) for name in names if name is not None)


def _paired(
    before: Mapping[str, Compiled], after: Mapping[str, Compiled]
) -> tuple[list[tuple[Compiled | None, Compiled]], list[Compiled]]:
    """Head's files with base's, by the deployment's name, and of several with one name by the path; and what base has left over."""
    left = dict(before)
    pairs: list[tuple[Compiled | None, Compiled]] = []
    waiting = []
    for path, made in after.items():
        was = left.get(path)
        # A file that does not compile may not tell its name: at the same path it is taken for the same deployment.
        if was is not None and (was.deployment == made.deployment or made.graph is None or was.graph is None):
            pairs.append((left.pop(path), made))
        else:
            waiting.append(made)
    for made in waiting:
        found = next((path for path in sorted(left) if left[path].deployment == made.deployment), None)
        pairs.append((None if found is None else left.pop(found), made))
    return pairs, [left[path] for path in sorted(left)]


def _row(was: Compiled | None, becomes: Compiled | None, changes: _Changes) -> DeploymentDiff | None:
    """What differs about one deployment; None for nothing."""
    here = becomes or was
    assert here is not None
    notes = list(changes.locks(here.path)) if was is not None and becomes is not None else []
    if becomes is not None and becomes.failed:
        return DeploymentDiff(
            deployment=here.deployment,
            kind=Kind.FAILED,
            path=here.path,
            diagnostics=becomes.diagnostics,
            after=becomes.placement,
        )
    usable = was if was is not None and not was.failed else None
    if was is not None and was.failed:
        if becomes is None:
            notes.append("its file does not compile at the base, so what it described is not known")
        else:
            notes.append("its file does not compile at the base, so all of it is shown")
    sketches = [
        side.files[made.path][1]
        for side, made in ((changes.before, was), (changes.after, becomes))
        if made is not None and made.path in side.files
    ]
    code = changes.code(here.path, sketches) if was is not None and becomes is not None else ()
    changed = graph_changes(usable.graphs if usable else (), becomes.graphs if becomes else (), forces=forces_new)
    row = DeploymentDiff(
        deployment=here.deployment,
        kind=Kind.REMOVED if becomes is None else Kind.ADDED if was is None else Kind.CHANGED,
        path=here.path,
        previous_path=was.path if was is not None and becomes is not None and was.path != becomes.path else None,
        before=usable.placement if usable else None,
        after=becomes.placement if becomes else None,
        changes=changed,
        jobs=job_changes(
            usable.graph if usable else None,
            becomes.graph if becomes else None,
            roots=(was.root if was else "", becomes.root if becomes else ""),
        ),
        code=code,
        cautions=_cautions(changed, usable, becomes, changes.meanings) if becomes is not None else (),
        policies=becomes.policies if becomes is not None else (),
        diagnostics=_new(becomes.diagnostics, was) if becomes is not None else (),
        notes=tuple(notes),
    )
    # What a rule says of it is a difference where it said something else before.
    judged = {result for result in row.policies if not result.met} - set(was.policies if was is not None else ())
    differs = judged or row.notes or row.changes or row.jobs or row.code or row.previous_path or row.kind is not Kind.CHANGED
    return row if differs or _choice(row.before) != _choice(row.after) else None


def _new(said: tuple[Diagnostic, ...], was: Compiled | None) -> tuple[Diagnostic, ...]:
    """What the base did not say already, and what is about the file: whether SSH is open is config.yaml's matter, on each machine."""
    known = {(item.slug, item.detail) for item in was.diagnostics} if was is not None else set()
    return tuple(item for item in said if (item.slug, item.detail) not in known and item.slug != "ssh-closed")


def _cautions(changed: tuple[ChangeSet, ...], was: Compiled | None, becomes: Compiled, known: Meanings) -> tuple[Caution, ...]:
    """As a plan's report has them. Of a deployment that goes there are none: nobody destroys it by merging."""
    assert becomes.graph is not None
    environment = environment_of(becomes.graph, becomes.deployment)
    groups = group_rows(becomes.placement, was.placement if was else None)
    return cautions_of(change_rows(changed), groups, known, environment=environment)


def _choice(plan: PlacementPlan | None) -> object:
    """What of a placement plan a reader would call another: places and money, not the digest of the text it was made from."""
    if plan is None:
        return None
    return plan.placements, plan.total, plan.worst_case, plan.storages, plan.transfers


def _names(compiled: Mapping[str, Compiled]) -> dict[str, str]:
    return {path: made.deployment for path, made in compiled.items()}


def _with_collisions(
    rows: list[DeploymentDiff], names: Mapping[str, str], same: set[str]
) -> tuple[list[DeploymentDiff], tuple[Diagnostic, ...]]:
    """Files at head that share a deployment. An error where one of them is new or changed; else it was so before, and a warning."""
    files: dict[str, list[str]] = {}
    for path, name in sorted(names.items()):
        files.setdefault(name, []).append(path)
    said = []
    for name, paths in sorted(files.items()):
        if len(paths) < 2:
            continue
        fresh = [path for path in paths if path not in same]
        detail = f"{' and '.join(f'`{path}`' for path in paths)} describe the deployment `{name}`: an apply of one would undo the other."
        hint = "give each a `name` of its own"
        if not fresh:
            said.append(warning("two-files", "Two task files describe one deployment", detail, hint=hint))
            continue
        found = error("two-files", "Two task files describe one deployment", detail, hint=hint)
        # What is wrong with the file itself stays said.
        own = [item for row in rows if row.path in fresh and row.kind is Kind.FAILED for item in row.diagnostics]
        rows = [row for row in rows if row.path not in fresh or row.kind is Kind.REMOVED]
        rows.append(DeploymentDiff(deployment=name, kind=Kind.FAILED, path=fresh[0], diagnostics=(found, *own)))
    return rows, tuple(said)
