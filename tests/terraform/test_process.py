"""How any one run is tailed, asked to stop and found again: with small shell programs, so that every signal can be counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skyc.compiler import terraform_process as process
from skyc.compiler.terraform_process import Ended, Launch, StopSwitch
from skyc.compiler.terraform_stream import Tail

STUBBORN = "trap 'echo INT' INT; echo ready; while [ -d /proc ]; do sleep 0.02; done"
POLITE = "trap 'echo saved; exit 3' INT; echo ready; while [ -d /proc ]; do sleep 0.02; done"


class Watched:
    """One run of a shell program, with what it said and what was said about it."""

    def __init__(self, root: Path, script: str, *, limit: float | None = None, grace: float = 60) -> None:
        self.stop = StopSwitch()
        self.said: list[str] = []
        self.notes: list[str] = []
        self.launch = Launch(
            command="apply",
            engine=("sh", "1"),
            argv=("/bin/sh", "-c", script),
            directory=root,
            environ={"PATH": os.environ["PATH"]},
            files=process.private_directory(root / "runs", "apply"),
            limit=limit,
            grace=grace,
        )

    def run(self) -> Ended:
        return process.run(self.launch, stop=self.stop, on_line=self.line, on_note=self.note)

    def line(self, line: bytes) -> None:
        self.said.append(line.decode())

    def note(self, text: str) -> None:
        self.notes.append(text)


class Impatient(Watched):
    """A person who presses Ctrl-C at the first sign of life, when asked to wait, and when told to wait again."""

    def line(self, line: bytes) -> None:
        super().line(line)
        if len(self.said) <= 2:
            self.stop.interrupt()

    def note(self, text: str) -> None:
        super().note(text)
        if text.startswith("still waiting"):
            self.stop.interrupt()


@pytest.mark.fault
def test_one_interrupt_then_a_word_then_a_kill(tmp_path: Path) -> None:
    watched = Impatient(tmp_path, STUBBORN)
    ended = watched.run()
    assert watched.said == ["ready", "INT"], "Terraform takes a second interrupt for `give up now`"
    assert [note.split()[0] for note in watched.notes] == ["asked", "still", "killing"]
    assert ended.killed and ended.interrupted and ended.returncode == -signal.SIGKILL


@pytest.mark.fault
def test_the_grace_ends_and_the_limit_begins_it(tmp_path: Path) -> None:
    stubborn = Watched(tmp_path, STUBBORN, limit=1.5, grace=0.2).run()
    assert stubborn.timed_out and stubborn.killed and not stubborn.interrupted
    polite = Watched(tmp_path, POLITE, limit=1.5, grace=60)
    ended = polite.run()
    assert ended.timed_out and not ended.killed and ended.returncode == 3 and polite.said == ["ready", "saved"]


@pytest.mark.fault
def test_it_can_be_interrupted_where_we_ignore_interrupts(tmp_path: Path) -> None:
    """As under `nohup` or in the background of a script: what is ignored is inherited, and Terraform must still save its state."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        polite = Watched(tmp_path, POLITE, limit=1.5, grace=60)
        ended = polite.run()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.timed_out and not ended.killed and polite.said == ["ready", "saved"]


def test_its_signals_files_and_descriptors_are_its_own(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "ps -o sid= -p $$ | tr -d ' '; echo $$; umask; cat; printf rest")
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    ended = watched.run()
    session, pid, mask, rest = watched.said
    assert session == pid and mask == "0077" and rest == "rest" and ended.returncode == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_foreign_handler_is_left_alone_and_its_ctrl_c_means_the_same(tmp_path: Path) -> None:
    """In a fresh process: a program that brings its own SIGINT handler, which raises KeyboardInterrupt anywhere."""
    script = tmp_path / "host.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from skyc.compiler.terraform_process import Launch, StopSwitch, private_directory, run\n"
        "def mine(number, frame): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, mine)\n"
        f"root = Path({str(tmp_path)!r})\n"
        "said = []\n"
        "def line(text):\n"
        "    said.append(text)\n"
        "    if text == b'ready': os.kill(os.getpid(), signal.SIGINT)\n"
        f"launch = Launch(command='apply', engine=('sh', '1'), argv=('/bin/sh', '-c', {POLITE!r}), directory=root,\n"
        "                environ=dict(os.environ), files=private_directory(root / 'runs', 'apply'))\n"
        "ended = run(launch, stop=StopSwitch(), on_line=line, on_note=print)\n"
        "assert signal.getsignal(signal.SIGINT) is mine\n"
        "assert (ended.returncode, ended.interrupted, said) == (3, True, [b'ready', b'saved']), (ended, said)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_is_found_by_its_lock_when_its_pid_was_never_written(tmp_path: Path) -> None:
    """skyc can die between starting the program and writing its pid down."""
    seen: list[bool] = []

    class Forgetful(Watched):
        def line(self, line: bytes) -> None:
            record = self.launch.files / process.RECORD
            facts = process.facts_of(self.launch.files)
            assert facts is not None and facts.pid is not None
            record.write_text(record.read_text().replace(f'"pid": {facts.pid}', '"pid": null'))
            seen.append(process.is_running(self.launch.files))

    watched = Forgetful(tmp_path, "echo ready")
    watched.run()
    assert seen == [True] and not process.is_running(watched.launch.files)


def test_another_process_with_the_same_pid_is_not_the_run(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "true")
    watched.run()
    record = watched.launch.files / process.RECORD
    facts = process.facts_of(watched.launch.files)
    assert facts is not None
    own = record.read_text().replace(f'"pid": {facts.pid}', f'"pid": {os.getpid()}')
    record.write_text(own.replace(f'"create_time": {json_number(facts.create_time)}', '"create_time": 1000.0'))
    assert not process.is_running(watched.launch.files) and process.running(tmp_path / "runs") is None


def json_number(value: float | None) -> str:
    return "null" if value is None else repr(value)


def test_only_what_is_a_run_is_ever_removed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    precious = runs / "000001-mine"
    precious.mkdir(parents=True)
    (precious / "thesis").write_text("years of work")
    for number in range(2, 40):
        (runs / f"{number:06d}-plan").mkdir()
        (runs / f"{number:06d}-plan" / process.RECORD).write_text("{}")
        (runs / f"{number:06d}-plan" / "plan").write_text("state in clear")
    files = process.private_directory(runs, "apply")
    assert files.name == "000040-apply" and (precious / "thesis").exists()
    assert len(list(runs.iterdir())) == 21


def test_a_tail_hands_out_whole_lines_once(tmp_path: Path) -> None:
    file = tmp_path / "growing"
    file.touch()
    tail = Tail(file)
    with file.open("ab", buffering=0) as writer:
        writer.write(b"one\ntw")
        assert list(tail.lines()) == [b"one"]
        writer.write(b"o\nthree\nfour")
        first = iter(tail.lines())
        assert next(first) == b"two"
        # Whoever reads may be interrupted between two lines; the others are still there.
        del first
        assert list(tail.lines()) == [b"three"] and list(tail.lines(end=True)) == [b"four"]
        assert list(tail.lines(end=True)) == []
    tail.close()
