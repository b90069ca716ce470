"""The command line as a process: help, start-up, streams, terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from skyc import __version__
from skyc.cli.main import COMMANDS, main

SKYC = [sys.executable, "-m", "skyc.cli.main"]
TOO_HEAVY = {"rich", "yaml", "grpc", "ray", "cdktn", "pulp", "sqlite3", "psutil", "jinja2", "msgpack", "decimal", "asyncio"}

# `main` with the fake, for what needs a process of its own.
FAKED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from fakes import *
from skyc.cli.main import main
{setting}
sys.exit(main(sys.argv[1:], api=fake))
"""


def skyc(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SKYC, *argv], capture_output=True, text=True, timeout=60)


def faked(setting: str, *argv: str) -> list[str]:
    return [sys.executable, "-c", FAKED.format(setting=setting), str(Path(__file__).parent), *argv]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert COMMANDS[name] in " ".join(out.split())
    examples = out.partition("examples:\n")[2]
    assert f"skyc {name}" in examples
    assert len(examples.strip().splitlines()) in (2, 3, 4)
    assert "--home" in out


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "skyc.cli.main", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for name, purpose in COMMANDS.items():
        assert f"{name:<7}  {purpose}" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in TOO_HEAVY}
    assert not [name for name in loaded if name.startswith("skyc.") and not name.startswith("skyc.cli")]


def test_version_and_help_as_a_word() -> None:
    assert skyc("--version").stdout == f"skyc {__version__}\n"
    assert skyc("help", "plan").stdout == skyc("plan", "--help").stdout
    assert skyc("help").stdout == skyc("--help").stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    setting = "fake = FakeApi(lines=('x' * 1000,) * 10000)"
    # Unbuffered output would hide what Python says about a pipe it cannot flush at its end.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(faked(setting, "logs", "digits"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (141, b"")


def test_a_closed_standard_error_does_not_stop_an_apply() -> None:
    setting = """
from skyc.runtime.results import Progress, ProgressKind
steps = tuple(Progress(kind=ProgressKind.STEP, stage="apply", text=str(n)) for n in range(100))
last = Progress(kind=ProgressKind.OUTPUT, stage="job", text="done")
fake = FakeApi(progress=(*steps, last))
"""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        argv = faked(setting, "apply", "t.yaml", "-y")
        # As most people run it: unbuffered, nothing would be left to write at exit.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=write_end, timeout=60, env=environ)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_a_standard_output_that_was_never_open_is_no_error() -> None:
    """And its number is nobody else's: a state or a database that had it would get what children print."""
    setting = """
import os
from skyc.cli import main as entry
run = entry._main
def _main(words, api):
    with open("/dev/zero") as file:
        assert file.fileno() > 2, file.fileno()
    return run(words, api)
entry._main = _main
fake = FakeApi()
"""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *faked(setting, "plan", "t.yaml")], stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("argv", [("plan", "t.yaml"), ("--help",), ("status", "--json")])
def test_a_short_answer_nobody_reads_is_no_error(argv: tuple[str, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(faked("fake = FakeApi()", *argv), stdout=write_end, stderr=subprocess.PIPE, timeout=60, env=env)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_plain_locale_prints_all_the_same(locale: str) -> None:
    env = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(faked("fake = FakeApi()", "status"), capture_output=True, timeout=60, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"digits ? active")


def on_a_terminal(argv: list[str], **environ: str) -> tuple[int, str]:
    """Run with a terminal for all three streams; the exit code and what it showed."""
    main_end, child_end = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "120", **environ}
    process = subprocess.Popen(argv, stdin=child_end, stdout=child_end, stderr=child_end, env=env, start_new_session=True)
    os.close(child_end)
    os.write(main_end, b"y\n")
    shown = b""
    try:
        while True:
            part = os.read(main_end, 65536)
            if not part:
                break
            shown += part
    except OSError:  # Linux reports the end of a terminal this way
        pass
    finally:
        os.close(main_end)
        if process.poll() is None:
            process.wait(60)
    return process.returncode, shown.decode()


SLOW = """
import threading, time
from skyc.runtime.results import Progress, ProgressKind
from skyc.cli import screen
screen.LIVE_AFTER = 0.0
class Slow(FakeApi):
    def _report(self, on_progress):
        on_progress(Progress(kind=ProgressKind.STEP, stage="apply", text="Terraform [applies]", elapsed=0.0))
        deadline = time.monotonic() + 30
        while not live() and time.monotonic() < deadline:
            time.sleep(0.01)
        on_progress(Progress(kind=ProgressKind.RESOURCE, stage="apply", text="created", resource="skyc_node.a", elapsed=2.0))
        on_progress(Progress(kind=ProgressKind.OUTPUT, stage="job", text="line 1", elapsed=2.5))
lines = []
first = screen.LiveLine.__init__
def remembered(self, **given):
    first(self, **given); lines.append(self)
screen.LiveLine.__init__ = remembered
def live():
    return any(line._shown is not None for line in lines)
fake = Slow()
"""


def test_a_terminal_gets_colour_a_question_and_a_live_line() -> None:
    code, shown = on_a_terminal(faked(SLOW, "apply", "t.yaml"))
    assert code == 0, shown
    assert "\x1b[32m  + skyc_node.main-0\x1b[0m" in shown
    assert "Apply this plan? [y/N] " in shown
    assert "Terraform [applies]" in shown
    assert "  skyc_node.a: created\r\n" in shown
    assert "\x1b[32m✓ \x1b[0mTerraform [applies] \x1b[2m2.5 s\x1b[0m\r\n" in shown
    assert "line 1\r\n" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize(("argv", "environ"), [((), {"NO_COLOR": "1"}), (("--no-color",), {}), ((), {"TERM": "dumb"})])
def test_no_color_is_respected(argv: tuple[str, ...], environ: dict[str, str]) -> None:
    code, shown = on_a_terminal(faked("fake = FakeApi()", "status", *argv), **environ)
    assert code == 0, shown
    assert "main-0" in shown
    assert not [style for style in ("\x1b[3", "\x1b[9", "\x1b[4") if style in shown], repr(shown)
    code, shown = on_a_terminal(faked("fake = FakeApi()", "plan", "t.yaml", *argv), **environ)
    assert code == 0, shown
    assert "+ skyc_node.main-0" in shown
    assert "\x1b[3" not in shown


def test_a_table_on_a_terminal_wraps_nothing_away() -> None:
    code, shown = on_a_terminal(faked("fake = FakeApi()", "queue", "digits"), COLUMNS="60")
    assert code == 0, shown
    assert "digits-1-1" in shown
    assert "$0.24" in shown
