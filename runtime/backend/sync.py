"""A deployment that several homes share: what is read from the backend before a command, and written to it after.

Terraform always works on the local file in the site's directory; its own remote backends save a state at the end of a run only, and a
kill would leave everything it made in no state at all. So skyc carries states itself:

1. with the home's lock and the lease held, `pull` brings news of other homes here, and notices what of this home is not there yet;
2. before Terraform changes anything, `intend` writes into the index that it will, which sites there are, and the SSH keys;
3. after every run, also a failed one, `push` replaces the state object, if it is still the one that was read;
4. `finish` writes the index: sites, what their states hold, runs and jobs, what is still open.

Killed anywhere, the local file differs from its mark (`marks.py`), and the next command of this home pushes it. Another home sees the
open intent, and removes by tag what no state knows, as after any crash.

Objects, below `<prefix>/<deployment>/`: `<site>.tfstate`, a Terraform state as plain Terraform reads it; `<site>.tf.json`, the root
module applied last; `deployment.json`, the index; `ssh/…`, the deployment's private keys and pinned host keys; `lease.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...compiler.diagnostics import SkycError
from ...compiler.ir import DeploymentId, SiteId
from ...compiler.synth import FILE_NAME
from ...compiler.terraform import StateFacts
from ...compiler.terraform_files import STATE_FILE, parsed_state, read_state, state_facts
from ...providers.base import MARK_FILE
from ..records import DeploymentState, SiteRecord
from ..state import StateStore, deployment_directory
from ..state_memory import memory_of, problem
from ..storage.base import Changed, ConditionalStore, NotFound, StoreError, Version
from . import faults
from .index import FILE as INDEX
from .index import Index, Intent, NewerFormat, SiteEntry, index_text, read_index
from .lease import Lease
from .machine import home_label
from .marks import Mark, Marks, read_marks, write_file, write_marks
from .states import Move, decide

SSH = "ssh"
KEYS = ("host", "login")
"""Files below `ssh/` that machines were made with. Others there (pinned host keys) may change."""
_LOOKS = 3
"""Times a reader without the lease begins again because a writer was faster."""


@dataclass(kw_only=True)
class Remote:
    """One deployment, for the length of one command. `lease` None: it is only looked at, and nothing is written to the backend."""

    home: Path
    deployment: DeploymentId
    store: StateStore
    objects: ConditionalStore
    lease: Lease | None
    bound: Callable[[str], bool]
    """Whether the nodes of a target are part of one machine."""
    note: Callable[[str], None]
    index: Index | None = None
    refused: dict[SiteId, SkycError] = field(default_factory=dict)
    """Sites whose shared state nothing may be built on, with the reason. Their local files are as they were."""
    keys_replaced: bool = False
    """The backend's keys have taken the place of others: what was compiled with those must not be applied."""
    _tag: str | None = None
    _shared: bool = False
    _foreign: tuple[Intent, ...] = ()
    _modules: dict[SiteId, str] = field(default_factory=dict)
    """Digests of the modules this command applies."""
    _marks: Marks = field(default_factory=lambda: Marks(uri=""))

    @property
    def reading(self) -> bool:
        return self.lease is None

    @property
    def directory(self) -> Path:
        return deployment_directory(self.home, self.deployment)

    def refuse_plans(self, *, compiled: bool) -> None:
        """Before anything is planned here. Raises SkycError where a plan of this home would be wrong."""
        mine = home_label(self.home)
        others = sorted({site.machine for site in self.index.sites if site.machine not in ("", mine)} if self.index else ())
        if others:
            raise faults.elsewhere(self.deployment, ", ".join(others))
        if compiled and self.keys_replaced:
            raise faults.keys_differ(self.objects, self.deployment)

    # From the backend

    def pull(self) -> bool:
        """Bring the news of other homes here. Whether the backend knows the deployment. Raises SkycError where it cannot be read; a
        state that must not be used is in `refused`."""
        with faults.explained(self.objects):
            for _ in range(_LOOKS):
                self._open()
                if self.index is None:
                    return False
                seen = self._tag
                self._take(self.index)
                if not self.refused or not self.reading:
                    break
                # Without the lease a writer may have been half way; then the index is another one by now.
                self._read_index()
                if self._tag == seen:
                    break
        return True

    def _open(self) -> None:
        found = read_marks(self.directory)
        uri = faults.place(self.objects)
        if found is not None and found.uri != uri:
            raise faults.moved(self.objects, self.deployment, found.uri)
        self._shared = found is not None
        self._marks = found or Marks(uri=uri)
        self.index = self._read_index()
        if self.index is None and self._marks.edition:
            raise faults.lost(self.objects, self.deployment, self.directory)
        if self.index is not None and self.index.edition < self._marks.edition:
            raise faults.rolled_back(self.objects, self.deployment, self.index.edition, self._marks.edition)

    def _read_index(self) -> Index | None:
        found = self._read(INDEX)
        self._tag = found.tag if found else None
        if found is None:
            return None
        try:
            return read_index(found.data)
        except NewerFormat as failure:
            raise faults.newer(self.objects, self.deployment, str(failure)) from None
        except ValueError as failure:
            raise faults.damaged(self.objects, self.deployment, str(failure)) from None

    def _take(self, index: Index) -> None:
        self.refused = {}
        known = self.store.deployment(self.deployment)
        if known is None or index.edition > self._marks.edition:
            self.store.save_deployment(
                self.deployment,
                spec_path=index.spec_path,
                spec_digest=index.spec_digest,
                plan_digest=index.plan_digest,
                state=index.state,
            )
            self.store.save_placement_text(self.deployment, index.placement)
        for entry in index.sites:
            self._take_site(entry)
        self._drop_sites({entry.site for entry in index.sites})
        self._take_ssh(index)
        self._take_mark(index)
        self.store.absorb(self.deployment, index.runs, index.jobs)
        self._foreign = tuple(intent for intent in index.intents if not self._is_mine(intent))
        for intent in self._foreign:
            self.note(
                f"a {intent.action} of {intent.site} by {intent.home}, begun {intent.started:%Y-%m-%d %H:%M:%S} UTC, was cut off"
            )
        self._marks.edition = index.edition
        write_marks(self.directory, self._marks)

    def _is_mine(self, intent: Intent) -> bool:
        if intent.home != home_label(self.home):
            return False
        return any(
            (entry.site, entry.started) == (intent.site, intent.started) for entry in self.store.open_entries(self.deployment)
        )

    def _take_site(self, entry: SiteEntry) -> None:
        name, path = _object(entry.site), self._state_path(entry.site)
        directory = path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.store.save_site(
            SiteRecord(
                deployment=self.deployment,
                site=entry.site,
                provider=entry.provider,
                directory=str(directory),
                graph_digest=entry.graph_digest,
            )
        )
        self._take_module(entry, directory / FILE_NAME)
        found = self._read(name)
        mark = self._marks.objects.get(name)
        local = self._local(entry.site)
        try:
            remote = self._checked(entry, found)
            move = decide(local, mark.digest if mark else None, remote, shared=self._shared)
            if move is Move.FOREIGN:
                raise faults.two_deployments(self.objects, self.deployment, entry.site)
        except SkycError as failure:
            self.refused[entry.site] = failure
            return
        if found is not None and remote is not None and move in (Move.TAKE, Move.REPLACE):
            if move is Move.REPLACE:
                aside = directory / "states" / f"set-aside-{local.serial if local else 0:08d}"
                write_file(aside, path.read_bytes())
                self.note(f"another home went on with {entry.site}; this home's state is kept as {aside}")
            elif path.exists() and local is None:
                write_file(directory / "states" / "damaged", path.read_bytes())
            write_file(directory / "states" / f"{remote.serial:08d}.tfstate", found.data)
            write_file(path, found.data)
            self.store.remember(self.deployment, entry.site, memory_of(remote))
        if found is not None and remote is not None and move is not Move.SEND:
            self._marks.objects[name] = Mark(digest=remote.sha256, tag=found.tag)

    def _take_module(self, entry: SiteEntry, file: Path) -> None:
        if not entry.module or (file.is_file() and _digest(file.read_bytes()) == entry.module):
            return
        name = _module_object(entry.site)
        found = self._read(name)
        if found is not None:
            # Of a newer edition where another home is just writing; the next command has it.
            write_file(file, found.data)
            self._marks.objects[name] = Mark(digest=_digest(found.data), tag=found.tag)

    def _checked(self, entry: SiteEntry, found: Version | None) -> StateFacts | None:
        """What the state object holds. Raises SkycError for one nothing may be built on."""
        facts, why = None, None
        if found is not None:
            try:
                facts = state_facts(parsed_state(found.data, "it"), "it")
            except SkycError as failure:
                why = "It is empty." if not found.data.strip() else f"It cannot be read: {failure.diagnostics[0].detail}"
        why = why or (problem(facts, entry.memory) if entry.memory else None)
        if why is None:
            return facts
        path, local = self._state_path(entry.site), self._local(entry.site)
        # Offered only if it is the one the index speaks of, or came after it.
        good = local is not None and entry.memory is not None and problem(local, entry.memory) is None
        raise faults.state_refused(self.objects, self.deployment, entry.site, why, path if good else None)

    def _local(self, site: SiteId) -> StateFacts | None:
        """A local file that is damaged counts as none: the backend's takes its place."""
        try:
            return read_state(self._state_path(site))
        except SkycError:
            return None

    def _drop_sites(self, wanted: set[SiteId]) -> None:
        """What another home has removed is removed here; what this one has not sent yet stays."""
        for record in self.store.sites(self.deployment):
            name = _object(record.site)
            if record.site in wanted or name not in self._marks.objects:
                continue
            directory = self._state_path(record.site).parent
            if not directory.is_symlink():
                shutil.rmtree(directory, ignore_errors=True)
            self.store.remove_site(self.deployment, record.site)
            del self._marks.objects[name]
            self._marks.objects.pop(_module_object(record.site), None)

    def _take_ssh(self, index: Index) -> None:
        for name, remote in index.ssh:
            key, file = f"{SSH}/{name}", self.directory / SSH / name
            mark = self._marks.objects.get(key)
            local = _digest(file.read_bytes()) if file.is_file() else None
            if mark is not None and mark.digest == remote and local is not None:
                continue  # Nothing new, or news of this home, which `finish` sends.
            found = self._read(key)
            if found is None:
                continue
            if local != _digest(found.data):
                self.keys_replaced |= local is not None and name in KEYS
                write_file(file, found.data)
            self._marks.objects[key] = Mark(digest=_digest(found.data), tag=found.tag)
        gone = [key for key in self._marks.objects if key.startswith(f"{SSH}/") and key[4:] not in dict(index.ssh)]
        for key in gone:
            # Keys of machines that do not exist any more: who makes the deployment again makes new ones.
            (self.directory / key).unlink(missing_ok=True)
            del self._marks.objects[key]

    def _take_mark(self, index: Index) -> None:
        local = self._mark()
        if index.mark and index.mark != local:
            self.keys_replaced |= bool(local)
            write_file(self.directory / MARK_FILE, index.mark.encode())

    def _mark(self) -> str:
        file = self.directory / MARK_FILE
        return file.read_text(encoding="ascii").strip() if file.is_file() else ""

    # To the backend

    def module_of(self, site: SiteId) -> str:
        """SHA-256 of the module of a site that was applied last, by whichever home; empty where the backend does not know."""
        return next((entry.module for entry in self.index.sites if entry.site == site), "") if self.index else ""

    def intend(self) -> None:
        """Say that Terraform is about to change something. When this returns, every other home can know. Raises SkycError."""
        if self.lease is None:
            return
        with faults.explained(self.objects):
            self.lease.applying()
            self._send_ssh()
            for record in self.store.sites(self.deployment):
                self._send_module(record.site)
            self._write_index()

    def push(self, site: SiteId) -> None:
        """Write the site's state, if the backend has not got it. Raises SkycError `state-not-pushed`: the next command does it."""
        if self.lease is None:
            return
        with self._or_later():
            self.lease.check()
            self._send_state(site)

    def settle(self) -> None:
        """The world was compared with the states: what others left open is closed by `finish`."""
        self._foreign = ()

    def finish(self) -> None:
        """Write everything the backend has not got. Raises SkycError `state-not-pushed`: the next command does it."""
        if self.lease is None:
            return
        with self._or_later():
            self.lease.check()
            for record in self.store.sites(self.deployment):
                self._send_state(record.site)
            self._send_ssh()
            if self._write_index():
                self._remove_unlisted()

    @contextlib.contextmanager
    def _or_later(self) -> Iterator[None]:
        """A store that fails here fails after something was done: the message says that nothing is lost."""
        try:
            yield
        except StoreError as failure:
            raise SkycError(faults.not_pushed(self.objects, self.deployment, failure.message)) from None

    def _send_state(self, site: SiteId) -> None:
        name = _object(site)
        facts = self._local(site)
        mark = self._marks.objects.get(name)
        if facts is None or site in self.refused or (mark is not None and mark.digest == facts.sha256):
            return
        self._swap(name, self._state_path(site).read_bytes(), facts.sha256)

    def _send_module(self, site: SiteId) -> None:
        file = self._state_path(site).with_name(FILE_NAME)
        if file.is_file():
            data = file.read_bytes()
            mark = self._marks.objects.get(_module_object(site))
            if mark is None or mark.digest != _digest(data):
                self._swap(_module_object(site), data, _digest(data))
            self._modules[site] = _digest(data)

    def _send_ssh(self) -> None:
        if self.store.deployment(self.deployment) is None:
            return  # Nothing was made with these keys yet.
        for name in self._ssh_files():
            data = (self.directory / SSH / name).read_bytes()
            mark = self._marks.objects.get(f"{SSH}/{name}")
            if mark is None or mark.digest != _digest(data):
                self._swap(f"{SSH}/{name}", data, _digest(data))

    def _ssh_files(self) -> tuple[str, ...]:
        folder = self.directory / SSH
        found = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
        return tuple(file.name for file in found if file.is_file() and not file.is_symlink() and file.name[0] != ".")

    def _swap(self, name: str, data: bytes, digest: str) -> None:
        """Replace an object that this home knows. Raises SkycError when somebody else has written it meanwhile."""
        mark = self._marks.objects.get(name)
        tag = mark.tag if mark else None
        if mark is None and (there := self._read(name)) is not None:
            # Of a site that was removed, or what this home wrote and could not note.
            tag = there.tag
        try:
            tag = self.objects.swap(self._key(name), data, tag)
        except Changed:
            there = self._read(name)
            if there is None or there.data != data:
                raise faults.lease_lost(self.deployment, "another command") from None
            tag = there.tag
        self._marks.objects[name] = Mark(digest=digest, tag=tag)
        write_marks(self.directory, self._marks)

    def _write_index(self) -> bool:
        """Whether there was anything to write."""
        fresh = self._current()
        if fresh is None or fresh == self.index:
            return False
        edition = max(self._marks.edition, fresh.edition) + 1
        fresh = replace(fresh, edition=edition)
        try:
            self._tag = self.objects.swap(self._key(INDEX), index_text(fresh), self._tag)
        except Changed:
            raise faults.lease_lost(self.deployment, "another command") from None
        self.index = fresh
        self._marks.edition = edition
        if self.directory.exists():
            write_marks(self.directory, self._marks)
        return True

    def _current(self) -> Index | None:
        """The index as this home would write it; None where there is nothing to say."""
        record = self.store.deployment(self.deployment)
        if record is None:
            if self.index is None:
                return None
            # Purged: what is left says so, or another home would miss the deployment and think it lost.
            return replace(
                self.index,
                state=DeploymentState.DESTROYED,
                sites=(),
                intents=(),
                ssh=(),
                mark="",
                placement="",
                runs=(),
                jobs=(),
            )
        before = {entry.site: entry for entry in self.index.sites} if self.index else {}
        return Index(
            deployment=self.deployment,
            state=record.state,
            spec_path=record.spec_path,
            spec_digest=record.spec_digest,
            plan_digest=record.plan_digest,
            created=self.index.created if self.index else record.created,
            edition=self.index.edition if self.index else 0,
            sites=tuple(self._entry(site, before.get(site.site)) for site in self.store.sites(self.deployment)),
            intents=(*self._foreign, *self._intents()),
            ssh=tuple((name, mark.digest) for name in self._ssh_files() if (mark := self._marks.objects.get(f"{SSH}/{name}"))),
            mark=self._mark() or (self.index.mark if self.index else ""),
            placement=self.store.placement_text(self.deployment),
            runs=self.store.runs(self.deployment),
            jobs=self.store.jobs(self.deployment),
        )

    def _entry(self, record: SiteRecord, before: SiteEntry | None) -> SiteEntry:
        facts = self._local(record.site)
        mark = self._marks.objects.get(_object(record.site))
        # The index says of a state only what the object has got already.
        sent = facts is not None and mark is not None and mark.digest == facts.sha256
        machine = home_label(self.home) if self.bound(record.provider) else ""
        return SiteEntry(
            site=record.site,
            provider=record.provider,
            graph_digest=record.graph_digest,
            module=self._modules.get(record.site, before.module if before else ""),
            memory=memory_of(facts) if facts is not None and sent else before.memory if before else None,
            machine=before.machine if before else machine,
        )

    def _intents(self) -> Iterator[Intent]:
        for entry in self.store.open_entries(self.deployment):
            yield Intent(
                home=home_label(self.home),
                site=entry.site,
                action=entry.action,
                plan_digest=entry.plan_digest,
                started=entry.started,
            )

    def _remove_unlisted(self) -> None:
        """States of sites that are gone, and keys nobody has any more. The bucket keeps versions."""
        assert self.index is not None
        wanted = {name for entry in self.index.sites for name in (_object(entry.site), _module_object(entry.site))}
        wanted |= {f"{SSH}/{name}" for name, _ in self.index.ssh}
        for key in tuple(self.objects.list(f"{self.deployment}/")):
            name = key.removeprefix(f"{self.deployment}/")
            if name not in wanted and (name.endswith((".tfstate", ".tf.json")) or name.startswith(f"{SSH}/")):
                self.objects.delete(key)
                self._marks.objects.pop(name, None)
        if self.directory.exists():
            write_marks(self.directory, self._marks)

    def _read(self, name: str) -> Version | None:
        try:
            return self.objects.read(self._key(name))
        except NotFound:
            return None

    def _key(self, name: str) -> str:
        return f"{self.deployment}/{name}"

    def _state_path(self, site: SiteId) -> Path:
        return self.directory / "sites" / site / STATE_FILE


def _object(site: SiteId) -> str:
    return f"{site}.tfstate"


def _module_object(site: SiteId) -> str:
    return f"{site}.tf.json"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
