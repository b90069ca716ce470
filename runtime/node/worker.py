"""One rank of a job on its node: setup, restore, run, final snapshot. Knows nothing of Ray.

`RankRunner` is driven from outside (by the actor in `gang.py`): `begin(stage)` starts a stage and returns at once; what happens
comes out of `next_events`. Invariants:

- the user's processes belong to a keeper (`keeper.py`), which stops all of them when this process dies, however it dies;
- memory is bounded: when nobody takes the output, the user's process waits in `write`, as behind any pipe;
- an event is repeated until it is acknowledged, so a lost reply loses nothing;
- when nobody asked for events for `DRIVER_SILENCE` seconds, the driver is taken for dead and everything is stopped;
- values of variables are read from `env.json` once, and the file is deleted at that moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..job import JobFile, JobKind, JobNode, decode_job
from .checkpointing import Checkpointing, explained
from .environment import rank_environment
from .files import write_atomically
from .output import Scrubber, TextStream

STAGES = ("setup", "restore", "run", "finish")
DRIVER_SILENCE = 30.0
BUFFER_LIMIT = 1 << 20
PIECE_LIMIT = 64 * 1024
"""Characters per event: small enough for Ray to carry it inside the reply."""


@dataclass(frozen=True, slots=True)
class Output:
    text: str


@dataclass(frozen=True, slots=True)
class StageEnded:
    """`code` 0: done. `detail`: what a person should know, e.g. why it failed or that it was not needed.
    `generation`: after `restore`, the counted checkpoint gone back to, else 0."""

    stage: str
    code: int
    detail: str = ""
    generation: int = 0


Event = Output | StageEnded


class Outbox:
    """Events on their way to the driver, in order. Bounded by the size of the text in it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._events: list[Event] = []
        self._size = 0
        self._sent: tuple[Event, ...] = ()
        self._sequence = 0
        self._open = True
        self.asked = time.monotonic()

    def add_text(self, text: str) -> None:
        """Waits while the driver is behind; drops text once closed."""
        for start in range(0, len(text), PIECE_LIMIT):
            piece = text[start : start + PIECE_LIMIT]
            with self._condition:
                self._condition.wait_for(lambda: self._size < BUFFER_LIMIT or not self._open)
                if not self._open:
                    return
                last = self._events[-1] if self._events else None
                if isinstance(last, Output) and len(last.text) + len(piece) <= PIECE_LIMIT:
                    self._events[-1] = Output(last.text + piece)
                else:
                    self._events.append(Output(piece))
                self._size += len(piece)
                self._condition.notify_all()

    def add(self, event: Event) -> None:
        with self._condition:
            self._events.append(event)
            self._condition.notify_all()

    def take(self, acknowledged: int, wait: float) -> tuple[int, tuple[Event, ...]]:
        """The next events and their number. Unless that number is acknowledged in the next call, they come again."""
        with self._condition:
            self.asked = time.monotonic()
            if acknowledged != self._sequence:
                return self._sequence, self._sent
            self._condition.wait_for(lambda: bool(self._events), wait)
            self.asked = time.monotonic()
            batch: list[Event] = []
            size = 0
            while self._events and size < PIECE_LIMIT:
                event = self._events.pop(0)
                batch.append(event)
                size += len(event.text) if isinstance(event, Output) else 0
            self._size -= size
            self._sequence += 1
            self._sent = tuple(batch)
            self._condition.notify_all()
            return self._sequence, self._sent

    def close(self) -> None:
        with self._condition:
            self._open = False
            self._condition.notify_all()


class RankRunner:
    """See the module. `job_dir`: the job's directory on this node; `rank`: within the job."""

    def __init__(self, job_dir: str, rank: int) -> None:
        self._dir = Path(job_dir)
        self._job: JobFile = decode_job((self._dir / "job.json").read_bytes())
        self._node: JobNode = next(node for node in self._job.nodes if node.rank == rank)
        self._outbox = Outbox()
        envs, secrets = _take_values(self._dir / "env.json")
        self._scrubber = Scrubber(secrets.values())
        # A command on a running cluster neither restores nor saves.
        facts = self._job.request.checkpoint if self._job.request.kind is JobKind.RUN else None
        self._checkpoint = Checkpointing(facts, self._job, self._node, self._say) if facts else None
        self._env = rank_environment(self._job, self._node, str(self._dir), envs | secrets, self._checkpoint)
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self._exit = threading.Condition()
        self._exit_code: int | None = None
        self._gone = False
        self._keeper = self._start_keeper()
        threading.Thread(target=self._watch_driver, daemon=True).start()

    # --- called by the driver

    def begin(self, stage: str, *, success: bool = False, at_most: int | None = None) -> None:
        """Start a stage. `success`, for `finish`: every rank's `run` ended with 0. `at_most`, for `restore`: see there."""
        work: dict[str, Callable[[], StageEnded]] = {
            "setup": self._setup,
            "restore": lambda: self._restore(at_most),
            "run": self._run,
            "finish": lambda: self._finish(success),
        }
        threading.Thread(target=self._stage, args=(stage, work[stage]), daemon=True).start()

    def next_events(self, acknowledged: int, wait: float) -> tuple[int, tuple[Event, ...]]:
        return self._outbox.take(acknowledged, wait)

    def stop(self) -> None:
        """Stop every process of this rank: SIGTERM, the job's grace, SIGKILL. Returns at once."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._command("end", self._job.request.grace_seconds)

    # --- stages, each in its own thread

    def _stage(self, stage: str, work: Callable[[], StageEnded]) -> None:
        try:
            event = work()
        except Exception as error:  # whatever goes wrong must reach the driver, or the gang would wait for ever
            event = StageEnded(stage, 1, explained(error))
        if stage == "finish":
            self._finished.set()
        self._outbox.add(event)

    def _setup(self) -> StageEnded:
        request = self._job.request
        if not request.setup or request.kind is not JobKind.RUN:
            return StageEnded("setup", 0)
        marker = Path(self._node.directory, "setup", request.setup_key or "-")
        if request.setup_key and marker.exists():
            return StageEnded("setup", 0, "done before")
        code = self._execute("setup.sh", request.setup)
        if code == 0 and request.setup_key:
            marker.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomically(marker, f"{request.id}\n".encode())
        return StageEnded("setup", code)

    def _restore(self, at_most: int | None) -> StageEnded:
        if self._checkpoint is None:
            return StageEnded("restore", 0)
        generation, sentence = self._checkpoint.restore(at_most)
        return StageEnded("restore", 0, sentence, generation)

    def _run(self) -> StageEnded:
        if self._checkpoint:
            self._checkpoint.start()
        text = self._job.run_text(self._node)
        return StageEnded("run", self._execute("run.sh", text) if text else 0)

    def _finish(self, success: bool) -> StageEnded:
        self.stop()
        with self._exit:
            self._exit.wait_for(lambda: self._gone, self._job.request.grace_seconds + 30)
        detail = self._checkpoint.final(success) if self._checkpoint else ""
        with contextlib.suppress(FileNotFoundError):
            (self._dir / "env.json").unlink()
        return StageEnded("finish", 1 if detail else 0, detail)

    def _execute(self, name: str, text: str) -> int:
        script = self._dir / name
        write_atomically(script, text.encode())
        with self._exit:
            self._exit_code = None
            if not self._stopped.is_set():
                self._command("run", str(script))
            self._exit.wait_for(lambda: self._gone or self._script_code() is not None)
        code = self._script_code()
        return 137 if code is None else code

    def _script_code(self) -> int | None:
        return self._exit_code

    # --- the keeper

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        workdir = Path(self._node.directory, "workdir")
        for directory in (workdir, Path(self._node.directory, "home")):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status_read, status_write = os.pipe()
        program = str(Path(__file__).with_name("keeper.py"))
        try:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", program, str(status_write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(status_write,),
                start_new_session=True,
                env=self._env,
                cwd=workdir,
            )
        finally:
            os.close(status_write)
        keeper.wait()  # the keeper itself is this program's orphan and ends with its status pipe
        reader = threading.Thread(target=self._read_output, args=(keeper,), daemon=True)
        reader.start()
        threading.Thread(target=self._read_status, args=(keeper, status_read, reader), daemon=True).start()
        return keeper

    def _command(self, word: str, argument: str | float) -> None:
        assert self._keeper.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # a keeper that is gone says so through its status
            self._keeper.stdin.write(json.dumps([word, argument]).encode() + b"\n")
            self._keeper.stdin.flush()

    def _read_status(self, keeper: subprocess.Popen[bytes], status: int, reader: threading.Thread) -> None:
        said_gone = False
        with os.fdopen(status, "rb") as lines:
            for line in lines:
                said_gone |= line == b"gone\n"
                if line.startswith(b"exit "):
                    # What the script wrote before it ended is in the pipe now; it must reach the driver before the news.
                    # A process left behind may keep the pipe open, hence a short wait and not an end of file.
                    self._settle(reader)
                    with self._exit:
                        self._exit_code = int(line.split()[1])
                        self._exit.notify_all()
        if not said_gone:
            _kill_marked(self._env["SKYC_JOB_ID"], self._env["SKYC_NODE_RANK"])
            self._say("skyc: the process that keeps this rank's processes was killed; they were stopped")
        reader.join(5)
        for pipe in (keeper.stdin, keeper.stdout if not reader.is_alive() else None):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with self._exit:
            self._gone = True
            self._exit.notify_all()

    def _settle(self, reader: threading.Thread) -> None:
        import fcntl
        import termios

        assert self._keeper.stdout is not None
        count = bytearray(4)
        deadline = time.monotonic() + 600
        while reader.is_alive() and time.monotonic() < deadline and not self._stopped.is_set():
            try:
                fcntl.ioctl(self._keeper.stdout.fileno(), termios.FIONREAD, count)
            except (OSError, ValueError):
                return
            if count == bytearray(4) and not self._reading:
                return
            time.sleep(0.002)

    # --- output

    _reading = False

    def _read_output(self, keeper: subprocess.Popen[bytes]) -> None:
        assert keeper.stdout is not None
        text = TextStream()
        log = open(os.open(self._dir / f"rank-{self._node.rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")  # noqa: PTH123, SIM115
        with log:
            source = keeper.stdout.fileno()
            while True:
                # `_reading` is cleared only while nothing is in hand, so that `_settle` sees pipe and hand empty together.
                self._reading = False
                _wait_readable(source)
                self._reading = True
                data = os.read(source, PIECE_LIMIT)
                clean = self._scrubber.feed(data) if data else self._scrubber.finish()
                with contextlib.suppress(OSError):  # a full disk must not stop the job's pipe
                    log.write(clean)
                    log.flush()
                self._outbox.add_text(text.feed(clean, last=not data))
                if not data:
                    break
        self._reading = False

    def _say(self, message: str) -> None:
        self._outbox.add_text(f"{message}\n")

    # --- the driver

    def _watch_driver(self) -> None:
        while not self._finished.wait(1.0):
            if time.monotonic() - self._outbox.asked > DRIVER_SILENCE:
                self._outbox.close()
                self.stop()
                return


def _wait_readable(source: int) -> None:
    import select

    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.poll()


def _take_values(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(envs, secrets) from `env.json`, which is deleted. A missing file means that the job has been started before."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RuntimeError("the job's variables are gone: it was started before on this node") from None
    path.unlink()
    return data["envs"], data["secrets"]


def _kill_marked(job: str, rank: str) -> None:
    """Stop processes of a rank whose keeper died, found by the mark in their environment."""
    import signal

    wanted = {f"SKYC_JOB_ID={job}".encode(), f"SKYC_NODE_RANK={rank}".encode()}
    for _ in range(50):
        found = False
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                        found = True
                        os.kill(int(entry.name), signal.SIGKILL)
        if not found:
            return
        time.sleep(0.05)
