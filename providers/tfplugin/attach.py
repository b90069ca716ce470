"""Attaching skyc's own provider to the Terraform runs of one command.

Contract: the provider runs in its own session, so an interrupt at the terminal does not reach it. It lives as long as somebody
holds its lifeline: this process, and every Terraform run that inherits the descriptor. So it outlives a killed skyc while
Terraform works, and leaves nothing running afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import Diagnostic, SkycError, error
from ..base import Attachment
from .definitions import SOCKET_NAME, load_definition
from .logfile import open_log

START_SECONDS = 20.0
"""A busy machine can take long to start Python; a broken installation fails at once, not by this limit."""

FINISH_SECONDS = 300.0
"""For calls still running when the lifeline is let go. A call is never cut short while it may still finish."""

POLL_SECONDS = 0.005
LOG_LINES = 15


@contextmanager
def attach(definition: str, *, home: Path, source: str | None = None) -> Iterator[Attachment]:
    """Start the provider defined at `definition` (`module:name`) and serve until the context ends.

    `source` spares loading the definition here when the caller knows its address. Give `Attachment.lifeline` to each Terraform
    run (`pass_fds`). At the end the lifeline is let go and the provider's end awaited; only one that hangs is killed.
    Raises SkycError when it does not start, with the tail of its log.
    """
    address = source if source is not None else load_definition(definition).source
    # The server works in a directory of its own, where a relative path would lead elsewhere.
    home = home.absolute()
    log = home / "logs" / "provider.log"
    reader, lifeline = os.pipe()
    process: subprocess.Popen[bytes] | None = None
    socket_directory: Path | None = None
    try:
        try:
            with tempfile.TemporaryDirectory(prefix="skyc-attach-") as scratch:
                ready_file = Path(scratch) / "ready.json"
                process, log_start = _start(definition, home=home, ready_file=ready_file, reader=reader, log=log)
                ready = _await_ready(process, ready_file, log, log_start)
        finally:
            os.close(reader)
        socket_directory = Path(ready["socket"]).parent
        yield Attachment(
            source=address,
            protocol_version=ready["protocol_version"],
            pid=ready["pid"],
            socket=ready["socket"],
            lifeline=lifeline,
        )
    finally:
        os.close(lifeline)
        if process is not None:
            _finish(process)
        if socket_directory is not None:
            _remove_socket(socket_directory)


def reattach_env(attachments: Iterable[Attachment]) -> str:
    """The value of TF_REATTACH_PROVIDERS."""
    entries = {
        attachment.source: {
            "Protocol": "grpc",
            "ProtocolVersion": attachment.protocol_version,
            "Pid": attachment.pid,
            # Terraform neither shuts down nor kills a provider under test.
            "Test": True,
            "Addr": {"Network": "unix", "String": attachment.socket},
        }
        for attachment in attachments
    }
    return json.dumps(entries, sort_keys=True, separators=(",", ":"))


def _start(definition: str, *, home: Path, ready_file: Path, reader: int, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and where in the log its output begins."""
    descriptor = open_log(log)
    try:
        # The server appends. What is there now is of earlier ones.
        log_start = os.fstat(descriptor).st_size
        command = [sys.executable, "-P", "-m", "skyc.providers.tfplugin", "serve", "--resources", definition]
        command += ["--ready-file", str(ready_file), "--lifeline", str(reader)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env={**os.environ, "SKYC_HOME": str(home)},
            pass_fds=(reader,),
            start_new_session=True,
        )
        return process, log_start
    finally:
        os.close(descriptor)


def _await_ready(process: subprocess.Popen[bytes], ready_file: Path, log: Path, log_start: int) -> dict[str, Any]:
    """What the server wrote when it began to serve."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll()
        # Written under another name and renamed: what is there is whole.
        with suppress(FileNotFoundError):
            ready: dict[str, Any] = json.loads(ready_file.read_text())
            return ready
        if ended is not None:
            raise SkycError(_not_started(f"It ended with code {ended}.", log, log_start))
        time.sleep(POLL_SECONDS)
    process.kill()
    raise SkycError(_not_started(f"It was not ready after {START_SECONDS:.0f} s.", log, log_start))


def _not_started(what: str, log: Path, log_start: int) -> Diagnostic:
    tail = ""
    with suppress(OSError), log.open("rb") as file:
        file.seek(log_start)
        tail = "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_LINES:])
    detail = f"{what} Its log is {log}." + (f" It ends with:\n\n{tail}" if tail else " It is empty.")
    return error("provider-not-started", "skyc's Terraform provider did not start", detail)


def _finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for the server to end. Nobody holds its lifeline any more, so one that is still there hangs."""
    try:
        process.wait(FINISH_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_socket(directory: Path) -> None:
    """What a killed server left: its socket and the directory made for it. Never a tree: the path came from a file."""
    with suppress(OSError):
        (directory / SOCKET_NAME).unlink(missing_ok=True)
        directory.rmdir()
