"""What is carried between a home and its backend, step by step: killed anywhere, damaged anywhere. Without Terraform: a state is
written as Terraform would write it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId, SiteId, TaskId
from skyc.compiler.terraform import StateFacts
from skyc.compiler.terraform_files import STATE_FILE, read_state
from skyc.runtime.backend.index import NewerFormat, index_text, read_index
from skyc.runtime.backend.lease import hold
from skyc.runtime.backend.marks import read_marks
from skyc.runtime.backend.states import Move, decide
from skyc.runtime.backend.sync import Remote
from skyc.runtime.job import JobState, JobStatus
from skyc.runtime.lock import deployment_lock
from skyc.runtime.records import DeploymentState, RunState, SiteRecord
from skyc.runtime.state import StateStore
from skyc.runtime.storage.base import ConditionalStore, Version
from skyc.runtime.storage.file import FileStore

DEMO = DeploymentId("demo")
SITE = SiteId("train.cloud-east")
TASK = TaskId("train")
STATE = f"demo/{SITE}.tfstate"
INDEX = "demo/deployment.json"


class Killed(BaseException):
    """The process ends here. Nothing catches it, as nothing catches SIGKILL."""


class Objects(FileStore):
    """A store that is left alone after so many writes: the one after them has no effect, or has one and no answer."""

    def __init__(self, root: Path, writes: int | None = None, *, late: bool = False) -> None:
        super().__init__(root)
        self.writes, self.late = writes, late

    def swap(self, key: str, data: bytes, tag: str | None) -> str:
        if self.writes == 0 and not self.late:
            raise Killed
        made = super().swap(key, data, tag)
        if self.writes == 0:
            raise Killed
        if self.writes is not None:
            self.writes -= 1
        return made

    def delete(self, key: str) -> None:
        if self.writes == 0:
            raise Killed
        super().delete(key)


class Home:
    def __init__(self, path: Path, shared: Path) -> None:
        self.path, self.shared = path, shared
        self.notes: list[str] = []

    @contextmanager
    def command(self, objects: ConditionalStore | None = None, *, bound: bool = False) -> Iterator[Remote]:
        """What `locked` does. A killed one releases nothing."""
        store = objects or Objects(self.shared)
        with StateStore(self.path) as records, deployment_lock(self.path, DEMO, command="skyc apply", wait=0):
            holding = hold(store, DEMO, lock=self.path / "deployments/demo/lock", command="skyc apply", wait=0)
            lease = holding.__enter__()
            remote = Remote(
                home=self.path,
                deployment=DEMO,
                store=records,
                objects=store,
                lease=lease,
                bound=lambda _: bound,
                note=self.notes.append,
            )
            try:
                remote.pull()
                yield remote
                remote.finish()
            except Killed:
                lease._taken = True  # so that the end of this context says nothing to the store
                holding.__exit__(None, None, None)
                raise
            except BaseException:
                holding.__exit__(None, None, None)
                raise
            holding.__exit__(None, None, None)

    def apply(self, objects: ConditionalStore | None = None, resources: int = 3, **options: Any) -> None:
        """A whole apply: written down, told, made, pushed."""
        with self.command(objects, **options) as remote:
            records = remote.store
            key = self.path / "deployments/demo/ssh/login"
            if not key.exists():
                key.parent.mkdir(parents=True)
                key.write_text(f"key of {self.path.name}")
            records.save_deployment(DEMO, spec_path="/t.yaml", spec_digest="s", plan_digest="p", state=DeploymentState.APPLYING)
            directory = self.state.parent
            directory.mkdir(parents=True, exist_ok=True)
            records.save_site(
                SiteRecord(deployment=DEMO, site=SITE, provider="cloud", directory=str(directory), graph_digest="g")
            )
            for old in records.open_entries(DEMO):
                records.finish(old, "reconciled")
            remote.settle()
            entry = records.begin(DEMO, SITE, plan_digest="p", action="apply")
            remote.intend()
            self.terraform(resources)
            records.finish(entry, "done")
            remote.push(SITE)
            records.save_deployment(DEMO, spec_path="/t.yaml", spec_digest="s", plan_digest="p", state=DeploymentState.ACTIVE)

    def terraform(self, resources: int) -> None:
        """As Terraform does, a home that begins without a state begins a lineage of its own."""
        there = read_state(self.state)
        state = state_of((there.serial if there else 0) + 1, resources, there.lineage if there else self.path.name)
        self.state.write_bytes(state)

    @property
    def state(self) -> Path:
        return self.path / "deployments/demo/sites" / SITE / STATE_FILE

    def serial(self) -> int:
        facts = read_state(self.state)
        assert facts is not None
        return facts.serial


_salt = itertools.count()


def state_of(serial: int, resources: int = 3, lineage: str = "a") -> bytes:
    rows = [
        {"mode": "managed", "type": "x", "name": f"r{number}", "instances": [{"attributes": {"id": f"i{number}"}}]}
        for number in range(resources)
    ]
    state = {"version": 4, "serial": serial, "lineage": lineage, "resources": rows, "outputs": {}, "salt": next(_salt)}
    return json.dumps(state).encode()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def homes(tmp_path: Path, shared: Path) -> tuple[Home, Home]:
    return Home(tmp_path / "a", shared), Home(tmp_path / "b", shared)


# Which copy counts


def facts(lineage: str, serial: int, sha: str) -> StateFacts:
    return StateFacts(lineage=lineage, serial=serial, sha256=sha, resources=("x.y",))


STATES = st.none() | st.builds(facts, st.sampled_from("LM"), st.integers(1, 4), st.sampled_from("abcd"))


@given(STATES, st.none() | st.sampled_from("abcd"), STATES, st.booleans())
def test_news_of_either_side_are_never_lost(
    local: StateFacts | None, mark: str | None, remote: StateFacts | None, shared: bool
) -> None:
    move = decide(local, mark, remote, shared=shared)
    if move is Move.SEND:
        # Only what is newer, or alone, replaces the backend's; and never what another home has written since.
        assert local is not None
        assert remote is None or (
            remote.serial < local.serial and remote.lineage == local.lineage and mark in (None, remote.sha256)
        )
    if move is Move.TAKE:
        assert remote is not None
        assert local is None or local.sha256 == mark
    if move is Move.NOTHING and local is not None:
        assert remote is not None and local.sha256 == remote.sha256
    if move is Move.REPLACE:
        assert local is not None and remote is not None and local.sha256 not in (remote.sha256, mark)
    if move is Move.FOREIGN:
        assert local is not None and remote is not None and local.lineage != remote.lineage and not shared


# The index


def test_the_index_comes_back_as_it_was(homes: tuple[Home, Home], shared: Path) -> None:
    first, _ = homes
    first.apply()
    with first.command() as remote:
        remote.store.begin_run(DEMO, TASK, task_digest="t")
        job = remote.store.begin_job(DEMO, TASK, run=1, hourly=Decimal("1.250"))
        remote.store.update_job(DEMO, job.id, JobStatus(state=JobState.FAILED, exit_code=3, started=datetime.now(UTC)))
        remote.store.begin(DEMO, SITE, plan_digest="p", action="destroy")
    data = FileStore(shared).get(INDEX)
    index = read_index(data)
    assert index_text(index) == data
    assert index.jobs[0].hourly == Decimal("1.250") and index.jobs[0].paid is not None
    assert [intent.action for intent in index.intents] == ["destroy"]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.pop("sites"),
        lambda row: row["sites"][0].update(site="../../x"),
        lambda row: row["sites"][0].update(site=".ssh"),
        lambda row: row["sites"][0].update(site=7),
        lambda row: row["ssh"].append(["../login", "x"]),
        lambda row: row.update(state="odd"),
        lambda row: row.update(created="yesterday"),
        lambda row: row.update(format_version="terraform"),
        lambda row: row.update(jobs=[{}]),
    ],
)
def test_what_is_no_index_is_refused(homes: tuple[Home, Home], shared: Path, change: Callable[[Any], None]) -> None:
    first, second = homes
    first.apply()
    row = json.loads(FileStore(shared).get(INDEX))
    change(row)
    FileStore(shared).put(INDEX, json.dumps(row).encode())
    for home in (first, second):
        with pytest.raises(SkycError) as caught, home.command():
            pass
        assert caught.value.diagnostics[0].slug == "backend-damaged"
    assert not (second.path / "deployments/demo/sites").exists()


def test_a_newer_format_is_not_written_over(homes: tuple[Home, Home], shared: Path) -> None:
    homes[0].apply()
    row = json.loads(FileStore(shared).get(INDEX))
    minor = json.dumps({**row, "format_version": "skyc.backend/1.7", "more": 1}).encode()
    assert read_index(minor).sites
    row["format_version"] = "skyc.backend/2"
    FileStore(shared).put(INDEX, json.dumps(row).encode())
    with pytest.raises(NewerFormat):
        read_index(FileStore(shared).get(INDEX))
    with pytest.raises(SkycError) as caught, homes[1].command():
        pass
    assert caught.value.diagnostics[0].slug == "backend-newer"


# Killed at every write


def writes_of_an_apply(tmp_path: Path, second: bool) -> int:
    home = Home(tmp_path / "counted", tmp_path / "counted-shared")
    if second:
        home.apply()
    objects = Objects(home.shared, 1000)
    home.apply(objects)
    assert objects.writes is not None
    return 1000 - objects.writes


@pytest.mark.parametrize("again", [False, True], ids=["first apply", "second apply"])
@pytest.mark.parametrize("late", [False, True], ids=["before it", "after it"])
def test_killed_at_every_write_and_gone_on_with_here(tmp_path: Path, again: bool, late: bool) -> None:
    count = writes_of_an_apply(tmp_path, again)
    assert count >= 5
    for step in range(count):
        home = Home(tmp_path / f"a{step}", tmp_path / f"shared{step}")
        if again:
            home.apply()
        with pytest.raises(Killed):
            home.apply(Objects(home.shared, step, late=late))
        here = home.state.read_bytes() if home.state.exists() else None
        with home.command() as remote:
            assert not remote.refused
            # What Terraform made before the kill is still known here.
            assert (home.state.read_bytes() if home.state.exists() else None) == here
        if here is not None:
            assert FileStore(home.shared).get(STATE) == here
            (entry,) = read_index(FileStore(home.shared).get(INDEX)).sites
            assert entry.memory is not None and entry.memory.serial == home.serial()
        home.apply()
        assert FileStore(home.shared).get(STATE) == home.state.read_bytes()
        assert read_index(FileStore(home.shared).get(INDEX)).intents == ()


@pytest.mark.parametrize("again", [False, True], ids=["first apply", "second apply"])
@pytest.mark.parametrize("late", [False, True], ids=["before it", "after it"])
def test_killed_at_every_write_and_gone_on_with_elsewhere(tmp_path: Path, again: bool, late: bool) -> None:
    for step in range(writes_of_an_apply(tmp_path, again)):
        first = Home(tmp_path / f"a{step}", tmp_path / f"shared{step}")
        second = Home(tmp_path / f"b{step}", first.shared)
        if again:
            first.apply()
        with pytest.raises(Killed):
            first.apply(Objects(first.shared, step, late=late))
        made = first.state.exists()
        with second.command() as remote:
            assert not remote.refused
            pushed = second.state.exists() and made and second.state.read_bytes() == first.state.read_bytes()
            # Whoever does not see the new state sees that something was under way, and where.
            told = remote.index is not None and bool(remote.index.intents)
            assert pushed or told or not made or (again and first.serial() == second.serial())
            if told:
                assert any("was cut off" in note for note in second.notes)
                assert [site.site for site in remote.store.sites(DEMO)] == [SITE]
        second.apply()
        # The first one comes back, and goes on from what is true now.
        with first.command() as remote:
            assert not remote.refused
        assert first.state.read_bytes() == second.state.read_bytes() == FileStore(first.shared).get(STATE)
        first.apply()
        with second.command():
            assert second.state.read_bytes() == first.state.read_bytes()


# Damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (b"", "It is empty."),
        (b'{"version": 4, "ser', "it is not JSON"),
        (b"[]", "it is not an object"),
        (b"{}", "lacks what every state has"),
        (state_of(1), "older than the remembered 2"),
        (state_of(9, lineage="other"), "belongs to something else"),
        (state_of(2, 1), "was edited"),
        (None, "It is missing, but 3 resources"),
    ],
)
def test_a_damaged_state_is_refused_and_left(homes: tuple[Home, Home], shared: Path, damage: bytes | None, words: str) -> None:
    first, second = homes
    first.apply()
    first.apply()
    good = first.state.read_bytes()
    objects = FileStore(shared)
    objects.delete(STATE) if damage is None else objects.put(STATE, damage)
    for home in (first, second):
        with home.command() as remote:
            (refusal,) = remote.refused.values()
            (said,) = refusal.diagnostics
            assert said.slug == "backend-state-refused"
            assert words in said.detail
            assert SITE in [site.site for site in remote.store.sites(DEMO)], "its tags could not be looked for"
        # What is done about the rest of the deployment does not touch it.
        assert (objects.get(STATE) if damage is not None else None) == damage
    assert first.state.read_bytes() == good
    # The printed command mends it.
    with first.command() as remote:
        (command,) = remote.refused[SITE].diagnostics[0].commands
    program, source, target = command.split()
    assert program == "cp"
    Path(target).write_bytes(Path(source).read_bytes())
    with first.command() as remote:
        assert not remote.refused


def test_an_earlier_edition_is_noticed(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()
    kept = {key: FileStore(shared).get(key) for key in (INDEX, STATE)}
    second.apply()
    for key, data in kept.items():
        FileStore(shared).put(key, data)
    with pytest.raises(SkycError) as caught, second.command():
        pass
    assert caught.value.diagnostics[0].slug == "backend-older"


def test_an_emptied_backend_is_noticed_and_can_be_filled_again(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()
    for key in tuple(FileStore(shared).list("")):
        FileStore(shared).delete(key)
    with pytest.raises(SkycError) as caught, first.command():
        pass
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-lost"
    (command,) = said.commands
    Path(command.removeprefix("rm ")).unlink()
    with first.command():
        pass
    with second.command():
        assert second.state.read_bytes() == first.state.read_bytes()


def test_two_deployments_of_one_name(homes: tuple[Home, Home]) -> None:
    first, second = homes
    first.apply()
    second.state.parent.mkdir(parents=True)
    second.state.write_bytes(state_of(1, lineage="another"))
    mine = second.state.read_bytes()
    with second.command() as remote:
        assert remote.refused[SITE].diagnostics[0].slug == "backend-other-deployment"
    assert second.state.read_bytes() == mine


def test_a_home_comes_to_a_backend_with_what_it_has(homes: tuple[Home, Home], tmp_path: Path) -> None:
    first, second = homes
    alone = Home(first.path, tmp_path / "unused")
    alone.apply()
    (first.path / "deployments/demo/remote.json").unlink()
    with first.command():
        pass
    with second.command() as remote:
        assert second.state.read_bytes() == first.state.read_bytes()
        assert remote.store.deployment(DEMO) is not None
        assert (second.path / "deployments/demo/ssh/login").read_text() == "key of a"


def test_another_backend_is_another_truth(homes: tuple[Home, Home], tmp_path: Path) -> None:
    first, _ = homes
    first.apply()
    with pytest.raises(SkycError) as caught, Home(first.path, tmp_path / "elsewhere").command():
        pass
    assert caught.value.diagnostics[0].slug == "backend-moved"


# Records


def test_what_has_ended_here_stays_ended(homes: tuple[Home, Home]) -> None:
    first, second = homes
    first.apply()
    with first.command() as remote:
        remote.store.begin_run(DEMO, TASK, task_digest="t")
        job = remote.store.begin_job(DEMO, TASK, run=1)
    with StateStore(first.path) as records:
        # Seen without the lock, as `logs -f` does: nobody else knows yet.
        records.update_job(DEMO, job.id, JobStatus(state=JobState.SUCCEEDED))
        records.set_run_state(DEMO, TASK, 1, RunState.SUCCEEDED)
    with second.command() as remote:
        assert [(found.id, found.state) for found in remote.store.jobs(DEMO)] == [(job.id, JobState.PENDING)]
        remote.store.update_job(DEMO, job.id, JobStatus(state=JobState.RUNNING))
    with first.command() as remote:
        assert [found.state for found in remote.store.jobs(DEMO)] == [JobState.SUCCEEDED]
        assert [found.state for found in remote.store.runs(DEMO)] == [RunState.SUCCEEDED]
    with second.command() as remote:
        assert [found.state for found in remote.store.jobs(DEMO)] == [JobState.SUCCEEDED]
        # The run is opened again by a job the first does not know.
        remote.store.set_run_state(DEMO, TASK, 1, RunState.OPEN)
        remote.store.begin_job(DEMO, TASK, run=1)
    with first.command() as remote:
        assert [found.id for found in remote.store.jobs(DEMO)] == ["train-1-1", "train-1-2"]
        assert [found.state for found in remote.store.runs(DEMO)] == [RunState.OPEN]


def test_a_removed_site_goes_from_the_other_home(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()
    with second.command():
        pass
    with first.command() as remote:
        first.terraform(0)
        remote.push(SITE)
        remote.store.remove_site(DEMO, SITE)
        (first.path / "deployments/demo/ssh/login").unlink()
    assert sorted(FileStore(shared).list("")) == [INDEX, "demo/lease.json"]
    with second.command() as remote:
        assert remote.store.sites(DEMO) == ()
    assert not second.state.exists()
    assert not (second.path / "deployments/demo/ssh/login").exists()


def test_a_purge_is_no_loss(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()
    with second.command():
        pass
    with first.command() as remote:
        remote.store.forget_deployment(DEMO)
    with second.command() as remote:
        found = remote.store.deployment(DEMO)
        assert found is not None and found.state is DeploymentState.DESTROYED
        assert remote.store.sites(DEMO) == ()
    assert read_index(FileStore(shared).get(INDEX)).sites == ()


def test_nodes_of_one_machine_are_only_seen_from_another(homes: tuple[Home, Home]) -> None:
    first, second = homes
    first.apply(bound=True)
    with first.command(bound=True) as remote:
        remote.refuse_plans(compiled=True)
    with second.command(bound=True) as remote:
        assert second.state.exists()
        with pytest.raises(SkycError) as caught:
            remote.refuse_plans(compiled=False)
        assert caught.value.diagnostics[0].slug == "other-machine"
        assert str(first.path) in caught.value.diagnostics[0].detail


def test_keys_that_somebody_else_made_first(homes: tuple[Home, Home]) -> None:
    first, second = homes
    key = second.path / "deployments/demo/ssh/login"
    key.parent.mkdir(parents=True)
    key.write_text("compiled with this one")
    first.apply()
    with second.command() as remote:
        assert key.read_text() == "key of a"
        with pytest.raises(SkycError) as caught:
            remote.refuse_plans(compiled=True)
        assert caught.value.diagnostics[0].slug == "backend-keys-changed"
        remote.refuse_plans(compiled=False)
    with second.command() as remote:
        remote.refuse_plans(compiled=True)


def test_who_only_looks_writes_nothing(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()
    before = {key: FileStore(shared).get(key) for key in FileStore(shared).list("")}
    with StateStore(second.path) as records:
        remote = Remote(
            home=second.path,
            deployment=DEMO,
            store=records,
            objects=Objects(shared, 0),
            lease=None,
            bound=lambda _: False,
            note=second.notes.append,
        )
        assert remote.pull()
        remote.push(SITE)
        remote.intend()
        remote.finish()
    assert second.state.read_bytes() == first.state.read_bytes()
    assert {key: FileStore(shared).get(key) for key in FileStore(shared).list("")} == before


class Moving(Objects):
    """A writer is half way whenever somebody looks, and done when they look again."""

    def __init__(self, root: Path, done: Callable[[], None]) -> None:
        super().__init__(root)
        self.done = done

    def read(self, key: str) -> Version:
        if key == STATE and self.done is not None:
            done, self.done = self.done, lambda: None
            done()
        return super().read(key)


def test_who_looks_while_another_removes_a_site_looks_again(homes: tuple[Home, Home], shared: Path) -> None:
    first, second = homes
    first.apply()

    def remove() -> None:
        with first.command() as remote:
            remote.store.remove_site(DEMO, SITE)

    with StateStore(second.path) as records:
        remote = Remote(
            home=second.path,
            deployment=DEMO,
            store=records,
            objects=Moving(shared, remove),
            lease=None,
            bound=lambda _: False,
            note=second.notes.append,
        )
        assert remote.pull()
        assert not remote.refused
        assert remote.index is not None and remote.index.sites == ()


def test_marks_that_cannot_be_read_cost_nothing(homes: tuple[Home, Home]) -> None:
    first, second = homes
    first.apply()
    second.apply()
    path = second.path / "deployments/demo/remote.json"
    path.write_text("{")
    assert read_marks(path.parent) is None
    first.apply()
    with second.command() as remote:
        assert not remote.refused
    assert second.state.read_bytes() == first.state.read_bytes()
