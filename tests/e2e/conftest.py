"""The command line as a user runs it: a process of its own, a home of its own, real Terraform, real Ray."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        return f"--- exit {self.code}\n{self.out}\n--- stderr\n{self.err}"


class Background:
    """A skyc command that is going on, its output in one file."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._file = file

    @property
    def text(self) -> str:
        return self._file.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None


class Skyc:
    """`skyc` with one home."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        dropped = ("SKYC_", "TF_", "RAY_", "PYTHONDONTWRITEBYTECODE")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(dropped)},
            "SKYC_HOME": str(home),
            "NO_COLOR": "1",
        }
        self.background: list[Background] = []

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "skyc.cli.main", *arguments]

    def __call__(
        self, *arguments: str, code: int | None = 0, timeout: float = 300, env: Mapping[str, str] | None = None
    ) -> Finished:
        done = subprocess.run(
            self.argv(*arguments),
            env={**self.environ, **(env or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        finished = Finished(done.returncode, done.stdout, done.stderr)
        assert code is None or finished.code == code, finished.both
        return finished

    def start(self, *arguments: str) -> Background:
        """In the background, in a session of its own."""
        place = self.folder / f"out-{len(self.background)}"
        with place.open("wb") as file:
            process = subprocess.Popen(
                self.argv(*arguments),
                env=self.environ,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.background.append(Background(process, place))
        return self.background[-1]

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").out)

    def task(self, name: str, text: str) -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Every living process below this home: its command line or working directory names the home or the temporary
        directory of one of its nodes. `word`: only those whose command line has it."""
        names = [str(self.home), *(str(place) for place in self.temporary_directories())]
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                where = f"{words} {process.cwd()}"
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if alive and process.pid != os.getpid() and word in words and any(name in where for name in names):
                found.append(process)
        return found

    def wait_for(self, what: str, seconds: float, condition: Callable[[], T]) -> T:
        """Poll until `condition()` is true and give its value; fail after so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s for {what}; output: {[b.text for b in self.background[-1:]]}")

    def temporary_directories(self) -> set[Path]:
        """Temporary directories of nodes of this home, from their records."""
        found = set()
        for record in self.home.glob("deployments/*/nodes/*/node.json"):
            # It may go between the listing and the reading, as another test's may.
            with contextlib.suppress(OSError):
                place = json.loads(record.read_text()).get("temp_dir")
                if place:
                    found.add(Path(place))
        for owner in Path(tempfile.gettempdir()).glob("skyc-*/owner.json"):
            with contextlib.suppress(OSError):
                if str(self.home) in owner.read_text():
                    found.add(owner.parent)
        return {place for place in found if place.exists()}


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture
def skyc(tmp_path: Path, runtimes: Path) -> Iterator[Skyc]:
    """A fresh home. Whatever a test leaves is destroyed by skyc, and what that leaves is killed."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    # Ray is unpacked once for all tests; a home of its own is what each test is about, a copy of Ray is not.
    (home / "runtimes").symlink_to(runtimes)
    command = Skyc(home, tmp_path)
    yield command
    for background in command.background:
        if background.process.poll() is None:
            background.process.kill()
            background.process.wait()
    for name in {record.parent.parent.name for record in home.glob("deployments/*/nodes/*")}:
        command("destroy", name, "-y", "--purge", code=None)
    for process in command.processes():
        process.send_signal(signal.SIGKILL)
    shutil.rmtree(home, ignore_errors=True)
