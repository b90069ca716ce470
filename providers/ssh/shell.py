"""OpenSSH's own client, for a person: the same pinned key and the same login as skyc's connections."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from ..base import Node
from .connection import LOGIN_KEY, address
from .host_keys import PINNED, remembered


def shell(node: Node, command: str | None) -> tuple[str, ...]:
    """`ssh` with everything it needs in its arguments, and nothing of the user's configuration. Writes `known_hosts` beside the key.

    Raises SkycError for a node that was never logged in to: it has no key yet that could be checked.
    """
    assert node.login is not None, "only nodes that are logged in to have a shell"
    program = shutil.which("ssh")
    if program is None:
        raise SkycError(
            error(
                "no-ssh",
                "OpenSSH's client is not installed",
                "`ssh` was not found on PATH. skyc itself does without; a shell for you does not.",
                hint="install it: on Debian and Ubuntu it is the package `openssh-client`",
            )
        )
    place = f"cd {shlex.quote(f'{node.directory}/workdir')}; PATH={shlex.quote(node.user_bin)}:$PATH; export PATH; "
    far = place + ("exec bash -l" if command is None else f"exec bash -c {shlex.quote(command)}")
    terminal = ("-t",) if command is None else ()
    return (program, *_to(program, node, *terminal), far)


def _to(program: str, node: Node, *more: str) -> tuple[str, ...]:
    """The arguments that lead to a node. Raises SkycError for one without a pinned key."""
    assert node.login is not None, "only nodes that are logged in to have a shell"
    known = remembered(node)
    if known is None or known.state != PINNED:
        raise SkycError(
            error(
                "not-logged-in-yet",
                "The machine has no key of its own yet",
                f"Node {node.name} gets one at skyc's first login, which has not happened, so nobody could tell it from another.",
                hint="apply again: that finishes the first login",
            )
        )
    directory = Path(node.login.directory)
    hosts = directory / f".{node.name}.hosts"
    hosts.write_text(f"{node.name} {known.key}\n", encoding="utf-8")
    options = {
        "HostKeyAlias": node.name,
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": _path(hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": _path(directory / LOGIN_KEY),
        "PreferredAuthentications": "publickey",
        "ServerAliveInterval": "10",
        "LogLevel": "ERROR",
    }
    if node.via is not None:
        # Not ProxyJump: the ssh that this starts would read the user's configuration. Here `%` begins a token too.
        near = shlex.join((program, *_to(program, node.via, "-W", _FAR))).replace("%", "%%")
        options["ProxyCommand"] = near.replace(_FAR, "[%h]:%p")
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ("-F", "none", *flags, *more, "-p", str(node.login.port), f"{node.login.user}@{address(node)}")


_FAR = "far-side"
"""Stands for what ssh puts in itself: the other node's address and port."""


def _path(path: Path) -> str:
    """As ssh reads a value: split at spaces, and `%` begins a token."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
