"""The provider's log. Never a pipe: a pipe breaks when its reader is killed, in the middle of a create."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

MOST_BYTES = 2**20


def open_log(path: Path) -> int:
    """Descriptor of a log file of mode 0600 to append to; of /dev/null when there can be none. Starts over at 1 MiB."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def start_logging() -> None:
    """Log to stderr, which is the log file by then."""
    line = f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=line)
