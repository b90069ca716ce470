"""Runs one command as a fresh process and times it.

A command that takes longer than `LIMIT_SECONDS` is interrupted once, as a user would, and killed when that does not end it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .figures import NotMeasured

LIMIT_SECONDS = 300.0
GRACE_SECONDS = 30.0
SKYC = (sys.executable, "-P", "-m", "skyc.cli.main")
PEAK = Path(__file__).with_name("peak.py")

_DROPPED = ("PYTHONDONTWRITEBYTECODE", "TF_CLI_CONFIG_FILE", "SKYC_HOME", "SKYC_ENGINE")
"""Settings of the machine that would be measured instead of skyc. Without bytecode, every start compiles everything anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A directory of the benchmark's own: homes, task files and the children's bytecode lie below it."""

    root: Path

    def home(self, name: str) -> Path:
        """A directory for a skyc home; skyc makes it. Short, for Ray's socket paths."""
        return self.root / name

    def task(self, name: str, text: str) -> Path:
        path = self.root / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def environment(self, home: Path | None = None) -> dict[str, str]:
        """Of the children. Their bytecode is kept below the scratch directory, so that warm means the same everywhere."""
        chosen = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        chosen["PYTHONPYCACHEPREFIX"] = str(self.root / "bytecode")
        if home is not None:
            chosen["SKYC_HOME"] = str(home)
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command went. `seconds`: the whole process. `first_line`: until the awaited line, None when none was awaited.
    `cpu`: processor seconds of the process and all it waited for. `peak_mb`, `child_peak_mb`: of the process and its largest child,
    0 unless asked for."""

    seconds: float
    stderr: str
    first_line: float | None = None
    cpu: float = 0.0
    peak_mb: float = 0.0
    child_peak_mb: float = 0.0


def run(
    scratch: Scratch,
    argv: Sequence[str],
    *,
    home: Path | None = None,
    awaited: str | None = None,
    accept: Sequence[int] = (0,),
) -> Done:
    """Run `argv` to its end. `awaited`: a line of standard output whose arrival is timed.

    Raises NotMeasured for an exit code that is not accepted, a line that does not come, and a command that takes too long.
    """
    before = _children_cpu()
    with started(scratch, argv, home=home) as (process, log):
        done = _finish(process, log, argv, awaited, accept)
    return replace(done, cpu=_children_cpu() - before)


def _children_cpu() -> float:
    """Processor seconds of all children so far. Commands run one at a time, so the growth is the last one's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def skyc(scratch: Scratch, *arguments: str, home: Path, awaited: str | None = None) -> Done:
    """Run one skyc command, its memory included. Raises NotMeasured."""
    place = scratch.root / "peak.txt"
    place.unlink(missing_ok=True)
    argv = (sys.executable, "-P", str(PEAK), str(place), *arguments)
    done = run(scratch, argv, home=home, awaited=awaited)
    own, child = (int(text) * 1024 / 1e6 for text in place.read_text().split())
    return replace(done, peak_mb=own, child_peak_mb=child)


@contextmanager
def started(scratch: Scratch, argv: Sequence[str], *, home: Path | None) -> Iterator[tuple[subprocess.Popen[str], Log]]:
    """The running command, ended at the latest when the context is left."""
    log = Log(path=scratch.root / "stderr.txt", began=time.perf_counter())
    with log.path.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            env=scratch.environment(home),
            cwd=scratch.root,
            start_new_session=True,
        )
    timer = threading.Timer(LIMIT_SECONDS, process.send_signal, [signal.SIGINT])
    timer.daemon = True
    timer.start()
    try:
        yield process, log
    finally:
        timer.cancel()
        end(process)
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Where a command's standard error goes, and when the command began."""

    path: Path
    began: float

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """The last line that says something, short enough for a table."""
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        return (lines[-1] if lines else "it said nothing")[:160]


def end(process: subprocess.Popen[str]) -> None:
    """Interrupt a command that still runs, then kill it. Its own children are skyc's to end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_line(process: subprocess.Popen[str], log: Log, wanted: str) -> float:
    """Seconds from the command's begin until it prints exactly this line. Raises NotMeasured when it ends without."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.rstrip("\n") == wanted:
            return time.perf_counter() - log.began
    raise NotMeasured(f"`{wanted}` was never printed: {log.last_words()}")


def _finish(process: subprocess.Popen[str], log: Log, argv: Sequence[str], awaited: str | None, accept: Sequence[int]) -> Done:
    assert process.stdout is not None
    first_line = await_line(process, log, awaited) if awaited is not None else None
    for _ in process.stdout:
        pass
    code = process.wait()
    seconds = time.perf_counter() - log.began
    if code not in accept:
        what = " ".join(argv[-3:])
        raise NotMeasured(f"`{Path(what).name}` ended with {code} after {seconds:.0f} s: {log.last_words()}")
    return Done(seconds=seconds, stderr=log.text(), first_line=first_line)
