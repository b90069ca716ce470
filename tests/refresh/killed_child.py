"""A refresh that is killed while it writes: `python killed_child.py URL MOMENT`. MOMENT: `write`, `sync` or `rename`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import skyc
from skyc.providers.retry import Schedule


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    url, moment = sys.argv[1:]
    if moment == "write":
        real = os.fdopen

        def half(fd: int, *arguments: Any, **named: Any) -> Any:
            os.write(fd, b"skyc-catalog 1\nhalf of it")
            die()
            return real(fd, *arguments, **named)

        os.fdopen = half
    elif moment == "sync":
        os.fsync = die
    else:
        Path.replace = die  # type: ignore[method-assign]
    environ = {"SKYC_LAMBDA_URL": url, "LAMBDA_API_KEY": "k"}
    skyc.catalog_refresh(["lambda"], environ=environ, schedule=Schedule(pauses=()))


if __name__ == "__main__":
    main()
