"""A way to a node through another one: a channel of one SSH connection that another runs over, in the place of a socket.

Invariants: it ends as a whole, whichever side ends; and a far machine that went silent is noticed although the near one still answers,
which TCP does not do here, because its acknowledgements end at the near one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko

_QUESTION = "keepalive@openssh.com"
"""A request that no server knows, and every one therefore refuses at once (RFC 4254, section 4)."""


class Through:
    """What paramiko asks of a socket."""

    def __init__(self, near: paramiko.Transport, channel: paramiko.Channel) -> None:
        self._near, self._channel = near, channel
        self._heard = time.monotonic()
        self._dead: float | None = None
        self._ended = threading.Event()

    def watch(self, link: paramiko.Transport, *, every: float, dead: float) -> None:
        """Ask the far side something `every` so many seconds from now on, and give up what says nothing for `dead` seconds. link: what
        runs over this."""
        self._heard, self._dead = time.monotonic(), dead

        def ask() -> None:
            import paramiko

            # Without an answer the question waits until the link has ended, which is what `recv` sees to.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                while link.is_active() and not self._ended.wait(every):
                    link.global_request(_QUESTION, wait=True)

        threading.Thread(target=ask, daemon=True, name="skyc-ssh-question").start()

    @property
    def _closed(self) -> bool:
        """By the name under which paramiko asks a socket for it."""
        return self._ended.is_set()

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def send(self, data: bytes) -> int:
        return self._channel.send(data)

    def recv(self, size: int) -> bytes:
        """Nothing when the way has ended. Raises TimeoutError when nothing came in the time that was set."""
        try:
            data = self._channel.recv(size)
        except TimeoutError:
            if self._dead is not None and time.monotonic() - self._heard > self._dead:
                return b""
            raise
        self._heard = time.monotonic()
        return data

    def close(self) -> None:
        """With the connection that it runs over, which is for nothing else."""
        self._ended.set()
        self._near.close()
