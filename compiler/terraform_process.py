"""One run of a Terraform program, from its start to its very end, whatever happens to the process that started it.

Contract
- Output goes to private files in a run directory, never into a pipe: a pipe whose reader dies kills Terraform in the middle of
  a create and leaves an orphan. The files are tailed while it runs.
- The program has a session of its own, so a terminal's Ctrl-C reaches only us. It gets exactly one SIGINT: Terraform takes a
  second one for "give up now" and loses what it was making. Only a kill follows, after a bounded grace.
- A run outlives a killed skyc. `run.json` and a locked file, which the program inherits, tell a later skyc that it is still
  going on (`running`), and that one can wait for its end (`wait_for`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from .diagnostics import SkycError, error
from .ir import JsonObject
from .terraform_stream import Tail

TICK = 0.015
"""Seconds between two looks at the event file: the most an event is late."""

RELEASE = 2.0
"""Seconds to wait for an ended process to let go of what it inherited."""

OUTPUT, ERRORS, RECORD, LOCK, PLAN = "stdout", "stderr", "run.json", "lock", "plan"
FILES = (OUTPUT, ERRORS, RECORD, f"{RECORD}.new", LOCK, PLAN)
"""Everything a run directory can hold."""


class StopSwitch:
    """How often a run was asked to stop. Safe from any thread and from a signal handler."""

    __slots__ = ("_forced", "_interrupts", "_stopped")

    def __init__(self) -> None:
        self._interrupts = 0
        self._stopped = threading.Event()
        self._forced = False

    def interrupt(self) -> None:
        """A person's Ctrl-C: the first asks, the second asks again, the third insists."""
        self._interrupts += 1
        self._stopped.set()

    def stop(self, *, force: bool = False) -> None:
        """Ask once; asking again changes nothing. `force` kills, as a third Ctrl-C does."""
        self._forced = self._forced or force
        self._stopped.set()

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked, and not another thread."""
        return self._interrupts > 0

    @property
    def requests(self) -> int:
        """0 none, 1 stop, 2 asked again, 3 kill."""
        if self._forced:
            return 3
        return min(max(self._interrupts, int(self._stopped.is_set())), 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run and how long to wait. `limit` seconds until it is asked to stop (None: never), `grace` until it is killed."""

    command: str
    """Terraform's own name of it: `apply`."""
    engine: tuple[str, str]
    argv: tuple[str, ...]
    directory: Path
    environ: Mapping[str, str]
    files: Path
    """The run directory."""
    inherit: tuple[int, ...] = ()
    limit: float | None = None
    grace: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended. `interrupted`: it was asked to stop. `killed`: it was killed, so the state may lack resources."""

    returncode: int
    interrupted: bool
    killed: bool
    timed_out: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as its `run.json` tells it. `pid` None: skyc died in the instant between starting it and writing that down."""

    command: str
    engine: str
    engine_version: str
    pid: int | None
    create_time: float | None
    started: float
    """Seconds since the epoch."""
    files: Path


def private_directory(parent: Path, command: str, *, keep: int = 20) -> Path:
    """A new run directory below `parent`, numbered; the oldest ones beyond `keep` go, but none whose run is still going on.

    Old plans hold state in clear, so they are not kept forever. Raises SkycError when it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = _directories(parent)
        for old in known[: max(0, len(known) - keep + 1)]:
            if facts_of(old) is None or not is_running(old):
                discard(old)
        number = int(known[-1].name.partition("-")[0]) + 1 if known else 1
        while True:
            files = parent / f"{number:06d}-{command}"
            number += 1
            with contextlib.suppress(FileExistsError):
                files.mkdir(mode=0o700)
                return files
    except OSError as problem:
        raise unwritable(parent, problem) from problem


def unwritable(place: Path, problem: OSError) -> SkycError:
    """An OSError on a place of ours as an error a person can act on."""
    return SkycError(
        error(
            "cannot-write",
            "A directory of skyc's cannot be written",
            f"`{place}`: {problem.strerror or problem}. Terraform was not run, because its result could not be kept.",
            hint="free space or correct its permissions, then run the command again",
        )
    )


_NUMBERED = re.compile(r"\d{6,}-[a-z-]+")


def _directories(parent: Path) -> list[Path]:
    found = [
        entry for entry in parent.iterdir() if _NUMBERED.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
    ]
    return sorted(found, key=lambda entry: (int(entry.name.partition("-")[0]), entry.name))


def discard(directory: Path) -> None:
    """Remove a run directory. Only files a run leaves are removed, by name; with anything else in it, it stays."""
    with contextlib.suppress(OSError):
        for name in FILES:
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def run(
    launch: Launch,
    *,
    stop: StopSwitch,
    on_line: Callable[[bytes], None],
    on_note: Callable[[str], None],
) -> Ended:
    """Run it to its end. Ctrl-C while it runs becomes its one interrupt and is not raised: look at `interrupted`.

    An exception from `on_line` or `on_note` never cuts the run short: it is raised when the run is over.
    """
    began = time.monotonic()
    with _signals(stop), _run_lock(launch.files) as lock, contextlib.ExitStack() as opened:
        _record(launch, None)
        out, errors = (opened.enter_context(_private(launch.files / name)) for name in (OUTPUT, ERRORS))
        tail = Tail(launch.files / OUTPUT)
        opened.callback(tail.close)
        quiet = _Quiet(on_line, on_note)
        try:
            process = subprocess.Popen(
                launch.argv,
                cwd=launch.directory,
                env=dict(launch.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lock, *launch.inherit),
                umask=0o077,
            )
        except OSError as problem:
            raise SkycError(
                error(
                    "engine-not-usable",
                    "Terraform could not be started",
                    f"`{launch.argv[0]}`: {problem.strerror or problem}.",
                    hint="check that the program is still there and may be run",
                )
            ) from problem
        # From here on nothing may leave this function before the program has ended.
        killed, timed_out = _to_the_end(process, launch, stop, tail, quiet)
    quiet.reraise()
    return Ended(
        returncode=process.returncode,
        interrupted=stop.requests > 0,
        killed=killed,
        timed_out=timed_out,
        seconds=time.monotonic() - began,
    )


class _Quiet:
    """Calls the caller's functions; keeps their first exception for later and then calls no more."""

    def __init__(self, on_line: Callable[[bytes], None], on_note: Callable[[str], None]) -> None:
        self._on_line, self._on_note = on_line, on_note
        self._failure: BaseException | None = None

    def guard(self, action: Callable[[], None]) -> None:
        if self._failure is None:
            try:
                action()
            except KeyboardInterrupt:
                raise
            except BaseException as failure:
                self._failure = failure

    def line(self, line: bytes) -> None:
        self.guard(lambda: self._on_line(line))

    def note(self, text: str) -> None:
        self.guard(lambda: self._on_note(text))

    def reraise(self) -> None:
        if self._failure is not None:
            raise self._failure


def _to_the_end(
    process: subprocess.Popen[bytes], launch: Launch, stop: StopSwitch, tail: Tail, quiet: _Quiet
) -> tuple[bool, bool]:
    """Tail and wait; interrupt once, kill last. Returns (killed, timed out)."""
    ending = _Ending(process, launch, stop, quiet)
    recorded = over = False
    with contextlib.closing(_Waiter(process)) as waiter:
        while not over:
            # Where Ctrl-C has another handler than ours it is raised here, and means the same.
            try:
                if not recorded:
                    # On a full disk the record stays without a pid; the run's lock then tells that it is alive.
                    with contextlib.suppress(SkycError):
                        _record(launch, process.pid)
                    recorded = True
                ended = waiter.ended(TICK)
                for line in tail.lines(end=ended):
                    quiet.line(line)
                over = ended
                if not ended:
                    ending.step()
            except KeyboardInterrupt:
                stop.interrupt()
    return ending.killed, ending.timed_out


class _Ending:
    """What is done to a run so far to end it. Moves on by itself with the switch and the clock."""

    def __init__(self, process: subprocess.Popen[bytes], launch: Launch, stop: StopSwitch, quiet: _Quiet) -> None:
        self._process, self._launch, self._stop, self._quiet = process, launch, stop, quiet
        self._limit = time.monotonic() + launch.limit if launch.limit is not None else None
        self._deadline: float | None = None
        self._told = 0
        self.killed = False
        self.timed_out = False

    def step(self) -> None:
        now = time.monotonic()
        if self._limit is not None and now > self._limit and self._deadline is None:
            self.timed_out = True
            self._quiet.note(f"terraform {self._launch.command} has taken too long; asking it to stop")
            self._interrupt(now)
        requests = self._stop.requests
        if requests >= 1 and self._deadline is None:
            self._interrupt(now)
        if requests == 2 and self._told < 2:
            self._told = 2
            self._quiet.note("still waiting for Terraform to save its state; one more Ctrl-C kills it and may lose resources")
        if not self.killed and (requests >= 3 or (self._deadline is not None and now > self._deadline)):
            self.killed = True
            self._quiet.note("killing Terraform: its state may lack resources that exist")
            _signal_group(self._process.pid)

    def _interrupt(self, now: float) -> None:
        self._deadline = now + self._launch.grace
        self._told = 1
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        self._quiet.note("asked Terraform to stop; it finishes what it has begun and saves its state")


def _signal_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class _Waiter:
    """Waits for a process without burning time: woken by its end where the system can do that, else by the clock."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._poll: select.poll | None = None
        self._descriptor = -1
        with contextlib.suppress(OSError, AttributeError):
            self._descriptor = os.pidfd_open(process.pid)
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, after waiting at most `seconds` for that."""
        if self._poll is None:
            time.sleep(seconds)
        else:
            self._poll.poll(seconds * 1000)
        return self._process.poll() is not None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


@contextlib.contextmanager
def _signals(stop: StopSwitch) -> Iterator[None]:
    """Ctrl-C and SIGTERM turn the switch while we wait. Handlers somebody else has set are left alone, and so is being ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        stop.interrupt()

    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in ours if signal.getsignal(number) == ours[number]}
    for number in before:
        signal.signal(number, asked)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts `skyc … &` of a script with SIGINT ignored, and a program inherits that, so that the one interrupt we
        # send would be lost on it. A handler that does nothing still ignores it here, and is not inherited.
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _ignored)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignored(number: int, frame: FrameType | None) -> None:
    """Ctrl-C in a process that was started to ignore it."""


@contextlib.contextmanager
def _private(file: Path) -> Iterator[int]:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise unwritable(file.parent, problem) from problem
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _run_lock(files: Path) -> Iterator[int]:
    """A locked file that the program inherits: held for as long as we or it are alive."""
    with _private(files / LOCK) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


def _record(launch: Launch, pid: int | None) -> None:
    value: JsonObject = {
        "format_version": "1",
        "command": launch.command,
        "engine": launch.engine[0],
        "engine_version": launch.engine[1],
        "argv": list(launch.argv),
        "pid": pid,
        "create_time": _create_time(pid) if pid is not None else None,
        "started": time.time(),
    }
    target, new = launch.files / RECORD, launch.files / f"{RECORD}.new"
    try:
        with _private(new) as descriptor:
            os.write(descriptor, json.dumps(value, indent=1).encode())
        new.replace(target)
    except OSError as problem:
        raise unwritable(launch.files, problem) from problem


def _create_time(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def facts_of(files: Path) -> RunFacts | None:
    """What `run.json` of a run directory says, or None when there is none that can be read."""
    try:
        value = json.loads((files / RECORD).read_text())
        pid, created = value["pid"], value["create_time"]
        return RunFacts(
            command=str(value["command"]),
            engine=str(value["engine"]),
            engine_version=str(value["engine_version"]),
            pid=int(pid) if pid is not None else None,
            create_time=float(created) if created is not None else None,
            started=float(value["started"]),
            files=files,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_running(files: Path) -> bool:
    """Whether the run of this directory is still going on, in this process or in one that nobody waits for."""
    facts = facts_of(files)
    if facts is None:
        return False
    if facts.pid is not None:
        created = _create_time(facts.pid)
        # A corrected clock moves all create times a little; a pid is not given out twice that fast.
        return created is not None and facts.create_time is not None and abs(created - facts.create_time) < 2
    return _lock_held(files)


def _lock_held(files: Path) -> bool:
    try:
        with (files / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def running(parent: Path) -> RunFacts | None:
    """The newest run below `parent` that is still going on."""
    try:
        known = _directories(parent)
    except OSError:
        return None
    for files in reversed(known):
        if is_running(files):
            return facts_of(files)
    return None


def wait_for(run: RunFacts, timeout: float | None, on_line: Callable[[bytes], None]) -> bool:
    """Wait for a run somebody else started, passing on its lines from the first. False: it still runs after `timeout` seconds."""
    until = time.monotonic() + timeout if timeout is not None else None
    tail = Tail(run.files / OUTPUT)
    try:
        while True:
            over = not is_running(run.files)
            for line in tail.lines(end=over):
                on_line(line)
            if over:
                _until_released(run.files)
                return True
            if until is not None and time.monotonic() > until:
                return False
            time.sleep(TICK)
    finally:
        tail.close()


def _until_released(files: Path) -> None:
    """A process that has ended may still hold its descriptors for a moment, and with them the locks it inherited.

    Bounded, because something Terraform started may hold them for as long as it lives.
    """
    until = time.monotonic() + RELEASE
    while _lock_held(files) and time.monotonic() < until:
        time.sleep(TICK)
