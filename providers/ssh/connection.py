"""One SSH connection to a node, with a pinned host key and the deployment's own login key.

Invariants: a host key that is not the pinned one is refused before anything is sent, and no key is ever learned here; no agent and no
key of the user's own is tried; a link that goes dead is noticed within `DEAD_SECONDS`. A node that has no address of its own outside is
reached through another (`Node.via`, `through.py`): both must show their pinned keys, and the way there ends with the link.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...compiler.diagnostics import SkycError, error
from ..base import Node, TransportError
from .host_keys import PINNED, accepted, remembered
from .through import Through

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 15.0
DEAD_SECONDS = 30
KEEPALIVE_SECONDS = 10
LOGIN_KEY = "login"
"""File name of the private key in `Login.directory`."""


HANDSHAKES = threading.BoundedSemaphore(8)
"""Logins to nodes that others are reached through: an sshd drops some of more than ten that are not logged in yet (MaxStartups)."""


class HostKeyRefused(TransportError):
    """The machine showed another key than the pinned one."""


class HeadNotKnown(TransportError):
    """The node on the way there has not been brought up, so that it could be anybody."""


@contextlib.contextmanager
def connected(node: Node, *, timeout: float = CONNECT_SECONDS) -> Iterator[paramiko.Transport]:
    """A logged-in connection. Raises TransportError, HostKeyRefused, and SkycError when paramiko is not installed."""
    link, _ = connect(node, timeout=timeout)
    try:
        yield link
    finally:
        link.close()


def connect(node: Node, *, timeout: float = CONNECT_SECONDS) -> tuple[paramiko.Transport, str]:
    """The connection, which the caller closes, and the host key the machine showed (OpenSSH form, without comment)."""
    _require_paramiko()
    import paramiko

    # Whatever goes wrong is raised here, in our words; paramiko would say it on stderr too.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    assert node.login is not None, f"node {node.name} is not one that is logged in to"
    host, port = address(node), node.login.port
    place = f"{host} port {port}"
    try:
        raw = _direct(host, port, timeout) if node.via is None else _through(node.via, host, port, timeout)
        # What it asks of a socket is what `Through` has.
        link = paramiko.Transport(cast("socket.socket", raw))
    except (OSError, EOFError, paramiko.SSHException) as failure:
        way = "" if node.via is None else f" through {node.via.name}"
        raise TransportError(f"{place} does not answer{way}: {_words(failure)}") from failure
    try:
        wanted = accepted(node)
        # Only keys of the kinds that are pinned: a machine that has others too would else show one nobody knows.
        kinds = [key.split()[0] for key in wanted]
        link.get_security_options().key_types = tuple(dict.fromkeys(kinds))
        link.start_client(timeout=timeout)
        shown = _checked(node, place, link.get_remote_server_key(), wanted)
        link.set_keepalive(KEEPALIVE_SECONDS)
        link.auth_publickey(node.login.user, _login_key(Path(node.login.directory)))
        if isinstance(raw, Through):
            raw.watch(link, every=KEEPALIVE_SECONDS, dead=DEAD_SECONDS)
    except paramiko.AuthenticationException as failure:
        link.close()
        raise TransportError(f"{place} refused the deployment's login key: {_words(failure)}") from failure
    except (OSError, EOFError, paramiko.SSHException) as failure:
        link.close()
        raise TransportError(f"{place} does not answer as an SSH server does: {_words(failure)}") from failure
    except BaseException:
        link.close()
        raise
    return link, shown


def address(node: Node) -> str:
    """Where it is reached: from within its network at its address there."""
    return node.ip if node.via is not None else node.address or node.ip


def _direct(host: str, port: int, timeout: float) -> socket.socket:
    raw = socket.create_connection((host, port), timeout=timeout)
    # Data that is not acknowledged for so long means a dead link; TCP itself would go on for a quarter of an hour.
    with contextlib.suppress(AttributeError, OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)
    return raw


def _through(near: Node, host: str, port: int, timeout: float) -> Through:
    """A way to a node through another one, which must have shown its own key before: until then it could be anybody."""
    known = remembered(near)
    if known is None or known.state != PINNED:
        raise HeadNotKnown(f"the way there is through {near.name}, which is waited for: it has not been brought up yet")
    with HANDSHAKES:
        link, _ = connect(near, timeout=timeout)
    try:
        return Through(link, link.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout))
    except BaseException:
        link.close()
        raise


def _checked(node: Node, place: str, key: paramiko.PKey, wanted: tuple[str, ...]) -> str:
    shown = f"{key.get_name()} {key.get_base64()}"
    if not any(hmac.compare_digest(shown.encode(), one.encode()) for one in wanted):
        raise HostKeyRefused(
            f"what answers at {place} is not {node.name}: it showed the host key {fingerprint(shown)}, and {fingerprint(wanted[0])} is "
            "pinned. Nothing was sent to it"
        )
    return shown


def fingerprint(key: str) -> str:
    """As `ssh-keygen -l` prints it."""
    import base64
    import hashlib

    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _login_key(directory: Path) -> paramiko.PKey:
    import paramiko

    try:
        return paramiko.Ed25519Key.from_private_key_file(str(directory / LOGIN_KEY))
    except FileNotFoundError:
        raise SkycError(
            error(
                "no-login-key",
                "The key that logs in to the machines is not here",
                f"{directory / LOGIN_KEY} does not exist. Machines of this deployment accept no other.",
                hint="copy the file from where the deployment was applied, or destroy the deployment, which does not need it",
            )
        ) from None


def _words(failure: BaseException) -> str:
    return str(failure) or type(failure).__name__


def _require_paramiko() -> None:
    if find_spec("paramiko") is None:
        raise SkycError(
            error(
                "no-paramiko",
                "The library that speaks SSH is not installed",
                "Machines are reached over SSH, for which skyc uses paramiko.",
                commands=("pip install 'skyc[ssh]'",),
            )
        )
