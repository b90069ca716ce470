"""A pretended S3 (moto), started once per process of tests, because that takes seconds. Tests that ask for it belong to the group
`moto-s3`."""

from __future__ import annotations

import atexit
from functools import lru_cache

import pytest


@lru_cache(maxsize=1)
def moto_s3() -> str:
    """Its address. It heeds conditions, and asks nobody who they are."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


shares_moto = pytest.mark.xdist_group("moto-s3")
