"""A pretended S3 (moto), started once per process of tests, because that takes seconds. Tests that ask for it belong to the group
`moto-s3`."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from typing import Any

import pytest


@lru_cache(maxsize=1)
def moto_s3() -> str:
    """Its address. It heeds conditions, and asks nobody who they are."""
    from moto.server import ThreadedMotoServer

    heed_conditions_at_once()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@cache
def heed_conditions_at_once() -> None:
    """S3 looks at a condition and writes in one step; moto lets other requests in between, so that of two writers both may win."""
    from moto.s3.responses import S3Response

    lock = threading.RLock()

    def alone(answer: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(answer)
        def answered(*arguments: Any, **more: Any) -> Any:
            with lock:
                return answer(*arguments, **more)

        return answered

    for name in ("_key_response_put", "_key_response_post", "_key_response_delete"):
        setattr(S3Response, name, alone(getattr(S3Response, name)))


shares_moto = pytest.mark.xdist_group("moto-s3")
