"""Attaching skyc's own provider to the Terraform runs of one command.

Contract: the provider runs in its own session, so an interrupt at the terminal does not reach it. It lives as long as somebody
holds its lifeline: this process, and every Terraform run that inherits the descriptor. So it outlives a killed skyc while
Terraform works, and leaves nothing running afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from ..base import Attachment
from .definitions import load_definition

START_SECONDS = 20.0
"""A busy machine can take long to start Python; a broken installation fails at once, not by this limit."""

FINISH_SECONDS = 300.0
"""For calls still running when the lifeline is let go. A call is never cut short while it may still finish."""

POLL_SECONDS = 0.005


@contextmanager
def attach(definition: str, *, home: Path, source: str | None = None) -> Iterator[Attachment]:
    """Start the provider defined at `definition` (`module:name`) and serve until the context ends.

    `source` spares loading the definition here when the caller knows its address. Give `Attachment.lifeline` to each Terraform
    run (`pass_fds`). At the end the lifeline is let go and the provider's end awaited; only one that hangs is killed.
    Raises SkycError when it does not start, with the tail of its log.
    """
    address = source if source is not None else load_definition(definition).source
    log = home / "logs" / "provider.log"
    with tempfile.TemporaryDirectory(prefix="skyc-attach-") as scratch:
        ready_file = Path(scratch) / "ready.json"
        reader, lifeline = os.pipe()
        try:
            process, log_start = _start(definition, home=home, ready_file=ready_file, reader=reader, log=log)
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(reader)
        socket: Path | None = None
        try:
            ready = _await_ready(process, ready_file, log, log_start)
            socket = Path(ready["socket"])
            yield Attachment(
                source=address,
                protocol_version=ready["protocol_version"],
                pid=ready["pid"],
                socket=str(socket),
                lifeline=lifeline,
            )
        finally:
            os.close(lifeline)
            _finish(process)
            # A provider that was killed could not clean up after itself.
            if socket is not None and socket.parent.name.startswith("skyc-tf-"):
                shutil.rmtree(socket.parent, ignore_errors=True)


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
    from .logfile import open_log

    descriptor = open_log(log)
    try:
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
        return process, os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
