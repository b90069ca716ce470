"""Saves a rank's checkpoint directory while its job runs.

Three sources, one thread: every `every_seconds` an unverified snapshot; after a rename into the directory one that counts; and
whatever `request` asks for. `final` ends the thread and takes the last one itself.

A rename counts only when the directory then comes to rest: nothing below it was half-written at that moment,
nothing is open for writing, and no event arrives for `QUIET` seconds (programs rename the old file away right before the
new one in). Otherwise the rename is passed over, which `on_error` is told once per cause. Each rank counts its own renames, so
when several ranks save, only `skyc.checkpoint()` keeps them in step.

Failures are reported, tried again with growing pauses, and never reach the job while it runs. Only `final(success=True)` raises:
a job has succeeded only when what it made is saved.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...compiler.diagnostics import SkycError
from .base import Store, StoreError, StoreFault, open_store, store_error
from .beside import Beside
from .collect import collect
from .facts import CheckpointFacts
from .manifest import list_generations
from .restore import EXIT_LABEL
from .snapshot import Generation, SnapshotSkipped, Watcher, snapshot
from .tree import walk
from .watch import Activity, TreeWatch
from .writers import open_for_writing

QUIET = 0.2
"""Seconds without any event after a rename."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_PASSING = (StoreFault.UNREACHABLE, StoreFault.DAMAGED, StoreFault.FULL, StoreFault.CHANGING)
"""Kinds of failure that may be gone at the next try."""


class Snapshotter:
    """See the module. `directory`: the checkpoint directory on this node. `on_error`: takes one sentence for the user; it is called
    from the thread. `world`: how many ranks the job has; rank 0 removes what `facts.keep` does not keep."""

    def __init__(
        self,
        facts: CheckpointFacts,
        directory: Path,
        rank: int,
        *,
        on_error: Callable[[str], None],
        world: int | None = None,
        store: Store | None = None,
    ) -> None:
        self._facts, self._directory, self._rank, self._world = facts, directory, rank, world
        self._report = on_error
        self._store = store if store is not None else open_store(facts.store, machine=facts.machine)
        self._real = Beside(directory).directory
        self._watch: TreeWatch | None = None
        self._wake_read, self._wake_write = -1, -1
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._requested = ""
        self._renamed, self._renamed_at = "", 0.0
        """A rename that has not been acted on, and when something last happened after it."""
        self._said: set[str] = set()
        self._collected = -1

    def start(self) -> None:
        """Make the directory if need be, and begin. Raises StoreError when the directory cannot be made."""
        try:
            self._real.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise store_error(failure, str(self._directory)) from failure
        try:
            self._watch = TreeWatch(self._real)
        except OSError as failure:
            self._report(f"renames into {self._directory} cannot be noticed here ({failure}); call skyc.checkpoint() instead")
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="skyc-snapshotter", daemon=True)
        self._thread.start()

    def request(self, label: str) -> None:
        """Take an unverified snapshot soon, e.g. on notice that the machine will go away. Returns at once."""
        self._requested = label
        self._wake()

    def final(self, success: bool, *, timeout: float = 600.0) -> Generation | None:
        """The last snapshot, after the job's processes have ended; it counts when the job succeeded. None: nothing to save.

        Raises SkycError when the job succeeded and its directory could not be saved within `timeout` seconds. After a failed
        job, failures are reported only.
        """
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                self._stop(timeout)
                if success and self._has_nothing():
                    return None
                label = EXIT_LABEL if success else "failed"
                last = snapshot(self._store, self._facts.prefix, self._directory, rank=self._rank, counted=success, label=label)
                break
            except SkycError as failure:
                over = time.monotonic() + pause > deadline or not _may_pass(failure)
                if over and success:
                    raise
                if over or not success:
                    self._complain("The last state of the checkpoint directory could not be saved", failure)
                    return None
                self._complain("The checkpoint could not be saved; trying again", failure)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._collect()
        return last

    # --- the thread

    def _run(self) -> None:
        failures = 0
        due = time.monotonic() + self._facts.every_seconds
        while not self._stopping.is_set():
            wait = due - time.monotonic()
            if self._renamed:
                wait = min(wait, self._renamed_at + QUIET - time.monotonic())
            if self._poll(wait):
                self._drain()
            if self._stopping.is_set():
                return
            saved: bool | None = None
            if self._renamed and time.monotonic() >= self._renamed_at + QUIET:
                saved = self._on_rename()
            elif self._requested or time.monotonic() >= due:
                label, self._requested = self._requested or "timer", ""
                saved = self._try(counted=False, label=label)
                self._collect()
            if saved is not None:
                failures = 0 if saved else failures + 1
                pause = min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE) if failures else self._facts.every_seconds
                due = time.monotonic() + min(pause, self._facts.every_seconds)

    def _poll(self, seconds: float) -> bool:
        """Wait until something happens in the directory (True), or the time is up or somebody woke us."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._watch is not None:
            poll.register(self._watch.descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        return self._watch is not None and self._watch.descriptor in ready

    def _drain(self) -> Activity:
        """Take note of what happened: a rename that may count waits in `_renamed`."""
        assert self._watch is not None
        activity = self._watch.drain()
        if activity.lost:
            self._say_once("so much happened in the checkpoint directory that a rename may have been missed")
        if activity.while_writing:
            self._not_counted(activity.renamed, activity.while_writing)
            self._renamed = ""
        elif activity.renamed:
            self._renamed = activity.renamed
        if activity.any:
            self._renamed_at = time.monotonic()
        return activity

    def _on_rename(self) -> bool:
        writing = self._half_written()
        if writing:
            self._not_counted(self._renamed, writing)
            self._renamed = ""
            return self._try(counted=False, label="rename")
        name = self._renamed
        saved = self._try(counted=True, label="rename")
        if not saved:
            self._renamed = self._renamed or name
            self._renamed_at = time.monotonic() + _FIRST_PAUSE
        return saved

    def _half_written(self) -> str:
        if self._watch is not None and self._watch.half_written:
            return min(self._watch.half_written)
        return min(open_for_writing(self._real) or {""})

    def _at_rest(self) -> bool:
        """Nothing happened since the last look, and nothing is half-written. Earlier renames are then in the listing."""
        if self._drain().any or self._half_written():
            return False
        self._renamed = ""
        return True

    def _settled(self) -> bool:
        """No rename since the listing. Writes to new files do not matter until those are renamed."""
        self._drain()
        return not self._renamed

    def _try(self, *, counted: bool, label: str) -> bool:
        """Whether all is well: saved, or skipped for a reason that is no failure."""
        watcher = Watcher(stop=self._stopping.is_set)
        if counted:
            watcher = Watcher(stop=self._stopping.is_set, at_rest=self._at_rest, settled=self._settled)
        try:
            snapshot(
                self._store, self._facts.prefix, self._directory, rank=self._rank, counted=counted, label=label, watcher=watcher
            )
        except SnapshotSkipped as skipped:
            if counted:
                self._renamed = self._renamed if self._renamed_at > time.monotonic() - QUIET else ""
                self._say_once(f"a rename was not counted as a checkpoint. {skipped.diagnostics[0].detail}")
        except SkycError as failure:
            self._complain("A snapshot failed; trying again later", failure)
            return False
        except Exception as failure:  # a thread that dies would end all snapshots without a word
            self._report(f"a snapshot failed: {type(failure).__name__}: {failure}")
            return False
        return True

    def _collect(self) -> None:
        if self._rank != 0:
            return
        try:
            newest = max(
                (n.number for n in list_generations(self._store, self._facts.prefix) if n.rank == 0 and n.counted), default=0
            )
            if newest != self._collected:
                done = collect(self._store, self._facts.prefix, self._facts.keep, world=self._world)
                self._collected = newest if done.swept else self._collected
        except SkycError as failure:
            self._complain("Old checkpoints could not be removed; trying again later", failure)

    # --- ends

    def _stop(self, timeout: float) -> None:
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise StoreError(
                    StoreFault.UNREACHABLE, f"{self._facts.store} has not answered a snapshot for {timeout:.0f} seconds."
                )
            self._thread = None
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _wake(self) -> None:
        if self._wake_write >= 0:
            with contextlib.suppress(BlockingIOError):  # so full that the thread wakes anyway
                os.write(self._wake_write, b"w")

    def _has_nothing(self) -> bool:
        """An empty directory of a rank that never saved: a rank for which another one saves."""
        try:
            if len(walk(self._real)) > 1:
                return False
        except StoreError as failure:
            if failure.kind is not StoreFault.NOT_FOUND:
                raise
            return True
        return not any(n.rank == self._rank and n.counted for n in list_generations(self._store, self._facts.prefix))

    def _not_counted(self, name: str, writing: str) -> None:
        self._say_once(f"renames such as that of {name} do not count as checkpoints while {writing} is being written")

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._report(message)

    def _complain(self, what: str, failure: SkycError) -> None:
        self._report(f"{what}. {failure.diagnostics[0].detail}")


def _may_pass(failure: SkycError) -> bool:
    if isinstance(failure, StoreError):
        return failure.kind in _PASSING
    return isinstance(failure, SnapshotSkipped)
