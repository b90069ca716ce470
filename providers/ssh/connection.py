"""One SSH connection to a node, with a pinned host key and the deployment's own login key.

Invariants: a host key that is not the pinned one is refused before anything is sent, and no key is ever learned here; no agent and no
key of the user's own is tried; a link that goes dead is noticed within `DEAD_SECONDS`.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import SkycError, error
from ..base import Node, TransportError
from .host_keys import accepted

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 15.0
DEAD_SECONDS = 30
_KEEPALIVE_SECONDS = 10
LOGIN_KEY = "login"
"""File name of the private key in `Login.directory`."""


class HostKeyRefused(TransportError):
    """The machine showed another key than the pinned one."""


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
    host, port = node.address or node.ip, node.login.port
    place = f"{host} port {port}"
    try:
        raw = socket.create_connection((host, port), timeout=timeout)
        # Data that is not acknowledged for so long means a dead link; TCP itself would go on for a quarter of an hour.
        with contextlib.suppress(AttributeError, OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)
        link = paramiko.Transport(raw)
    except (OSError, EOFError, paramiko.SSHException) as failure:
        raise TransportError(f"{place} does not answer: {_words(failure)}") from failure
    try:
        wanted = accepted(node)
        # Only keys of the kinds that are pinned: a machine that has others too would else show one nobody knows.
        kinds = [key.split()[0] for key in wanted]
        link.get_security_options().key_types = tuple(dict.fromkeys(kinds))
        link.start_client(timeout=timeout)
        shown = _checked(node, place, link.get_remote_server_key(), wanted)
        link.set_keepalive(_KEEPALIVE_SECONDS)
        link.auth_publickey(node.login.user, _login_key(Path(node.login.directory)))
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
