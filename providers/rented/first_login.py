"""From machines that a cloud has just started to nodes whose Ray answers: first login, first boot, token.

Contract: can be cut off anywhere and repeated; what is done is not done again. Before a secret is sent to a machine it has a host key
that was made on it and that only this deployment knows (`providers/ssh/host_keys.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event

from ...compiler.diagnostics import SkycError, error
from .. import doors
from ..base import Node, TransportError
from ..ssh.connection import HeadNotKnown, HostKeyRefused, connect, connected
from ..ssh.host_keys import PENDING, PINNED, Remembered, first_login, plain, remember, remembered
from ..ssh.transport import SshTransport
from .cloud_init import BOOT_LOG, BOOTED, UNIT

LOGIN_SECONDS = 600.0
"""Large GPU machines take minutes until they answer at all."""
BOOT_SECONDS = 1800.0
TOKEN_SECONDS = 120.0
RAY_SECONDS = 300.0
PAUSE = 2.0
TOLD_SECONDS = 30.0

# The old key goes only when the new one is in place under its name; sshd reads it anew, and connections that are up stay.
_MAKE_KEY = """set -eu; umask 077; cd /etc/ssh; rm -f skyc_next skyc_next.pub
ssh-keygen -q -t ed25519 -N '' -C skyc -f skyc_next; sync -f .; cat skyc_next.pub"""
_USE_KEY = """set -eu; cd /etc/ssh; chmod 644 skyc_next.pub
mv -f skyc_next.pub ssh_host_ed25519_key.pub; mv -f skyc_next ssh_host_ed25519_key; sync -f .
systemctl reload ssh 2>/dev/null || systemctl reload sshd"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLogin:
    """One bringing-up of several nodes. `exists`: whether the cloud still has a node's machine, as far as it can be asked. `pause`: between
    looks, in seconds; `stop` ends all waiting."""

    token: str
    tell: Callable[[str], None]
    stop: Event
    exists: Callable[[Node], bool]
    pause: float = PAUSE

    def machine(self, node: Node) -> None:
        """Log in, rotate the host key, wait for the first boot, bring the token. Raises SkycError."""
        self._log_in(node)
        self._booted(node)
        began = time.monotonic()
        while True:
            try:
                with connected(node) as link:
                    _bring_token(SshTransport(node, link), self.token)
                return
            except HostKeyRefused as failure:
                raise _refused(node, failure) from failure
            except TransportError as failure:
                if time.monotonic() - began > TOKEN_SECONDS:
                    raise _silent(node, failure) from failure
            self._wait()

    def ray(self, node: Node) -> None:
        """Wait until Ray refuses who has no token, as it must. Raises SkycError."""
        asked = [(node.agent_port, doors.AGENT)]
        if node.rank == 0:
            asked.append((node.dashboard_port, doors.DASHBOARD))
        began = time.monotonic()
        said = began
        while True:
            try:
                with connected(node) as link:
                    transport = SshTransport(node, link)
                    while not all(_answers(transport, port, door) for port, door in asked):
                        said = self._say(node, said, f"node {node.name}: waiting for its Ray")
                        if time.monotonic() - began > RAY_SECONDS:
                            raise _ray_silent(node, transport)
                        self._wait()
                    return
            except HostKeyRefused as failure:
                raise _refused(node, failure) from failure
            except TransportError as failure:
                if time.monotonic() - began > RAY_SECONDS:
                    raise _silent(node, failure) from failure
                said = self._say(node, said, f"node {node.name} does not answer: {failure}")
            self._wait()

    def _log_in(self, node: Node) -> None:
        began = said = time.monotonic()
        while True:
            try:
                _log_in_once(node, self._wait)
            except HeadNotKnown as failure:
                # The head has its own time, and ends all waiting when that is over.
                began = time.monotonic()
                said = self._say(node, said, f"node {node.name} cannot be logged in to yet: {failure}")
            except TransportError as failure:
                known = remembered(node)
                if isinstance(failure, HostKeyRefused) and known is not None and known.state == PINNED:
                    raise _refused(node, failure) from failure
                if time.monotonic() - began > LOGIN_SECONDS:
                    raise _silent(node, failure) from failure
                said = self._say(node, said, f"node {node.name} cannot be logged in to yet: {failure}")
            else:
                return
            self._wait()

    def _booted(self, node: Node) -> None:
        began = said = time.monotonic()
        while True:
            try:
                with connected(node) as link:
                    transport = SshTransport(node, link)
                    status = transport.get_file(BOOTED).decode().strip()
                    # Empty for the instant between its creation and its content.
                    if status == "0":
                        return
                    if status:
                        raise _boot_failed(node, transport, status)
            except HostKeyRefused as failure:
                raise _refused(node, failure) from failure
            except (TransportError, FileNotFoundError) as failure:
                if time.monotonic() - began > BOOT_SECONDS:
                    raise _boot_late(node, failure) from failure
            said = self._say(node, said, f"node {node.name} is installing its Python and Ray")
            self._wait()

    def _say(self, node: Node, said: float, text: str) -> float:
        """Tell at most every half minute, and see that there is still something to wait for: a spot machine can be taken as it boots."""
        now = time.monotonic()
        if now - said < TOLD_SECONDS:
            return said
        if not self.exists(node):
            raise _gone(node)
        self.tell(text)
        return now

    def _wait(self) -> None:
        if self.stop.wait(self.pause):
            raise _Stopped


class _Stopped(Exception):
    """Another node failed, or the user gave up."""


def bring_up(
    nodes: Sequence[Node],
    *,
    token: str,
    tell: Callable[[str], None],
    exists: Callable[[Node], bool] = lambda node: True,
    pause: float = PAUSE,
) -> None:
    """All nodes at the same time, then their Ray. Nodes that have been up are not asked. Raises SkycError."""
    new = [node for node in nodes if not _is_ready(node)]
    if not new:
        # Their Ray was there once. Whether it is now, the probe before a job finds out.
        return
    work = FirstLogin(token=token, tell=tell, stop=Event(), exists=exists, pause=pause)
    tell(f"logging in to {len(new)} new machine{'s' if len(new) != 1 else ''}")
    _at_once(work, work.machine, new)
    # All of them: where a head was made anew, the others' Ray ended with the old one and starts again.
    _at_once(work, work.ray, nodes)
    for node in new:
        known = remembered(node)
        assert known is not None, "a node that was logged in to has a host key"
        remember(node, replace(known, ready=True))


def _is_ready(node: Node) -> bool:
    known = remembered(node)
    return known is not None and known.state == PINNED and known.ready


def _at_once(work: FirstLogin, do: Callable[[Node], None], nodes: Sequence[Node]) -> None:
    """The first failure ends the waiting for all others."""

    def one(node: Node) -> None:
        try:
            do(node)
        except BaseException:
            work.stop.set()
            raise

    with ThreadPoolExecutor(max_workers=min(32, len(nodes))) as pool:
        done = [pool.submit(one, node) for node in nodes]
        try:
            failures = [failure for future in done if (failure := future.exception()) is not None]
        except BaseException:
            work.stop.set()
            raise
    real = [failure for failure in failures if not isinstance(failure, _Stopped)]
    if real:
        raise real[0]


def _log_in_once(node: Node, wait: Callable[[], None]) -> None:
    with first_login(node):
        known = remembered(node)
        link, shown = connect(node)
        with link:
            if known is not None and shown == known.key:
                if known.state == PENDING:
                    remember(node, replace(known, state=PINNED))
                return
            transport = SshTransport(node, link)
            made = _root(transport, _MAKE_KEY)
            key = plain(made)
            if not key.startswith("ssh-ed25519 "):
                raise TransportError(f"{node.name} answered {made[:80]!r} where a host key was due")
            remember(node, Remembered(state=PENDING, key=key))
            _root(transport, _USE_KEY)
        problem = f"{node.name} goes on showing the host key it was made with"
        for _ in range(10):
            # An sshd that reads its configuration anew takes no connections for a moment.
            try:
                link, shown = connect(node)
                link.close()
            except HostKeyRefused:
                raise
            except TransportError as failure:
                problem = str(failure)
            else:
                if shown == key:
                    remember(node, Remembered(state=PINNED, key=key))
                    return
            wait()
        raise TransportError(problem)


def _bring_token(transport: SshTransport, token: str) -> None:
    path = f"{transport.node.directory}/token"
    try:
        if transport.get_file(path).decode() == token:
            return
    except FileNotFoundError:
        pass
    transport.put_file(token.encode(), path)


def _root(transport: SshTransport, script: str) -> str:
    try:
        done = transport.run_early(["sudo", "-n", "bash", "-c", script])
    except TimeoutError as failure:
        raise TransportError(str(failure)) from failure
    if done.returncode != 0:
        raise TransportError(f"{transport.node.name} could not change its host key: {done.stderr.strip()[-300:]}")
    return done.stdout


def _answers(transport: SshTransport, port: int, door: tuple[str, str]) -> bool:
    with transport.forward(port) as local:
        return doors.http_status(local, *door) == 401


def _tail(transport: SshTransport, argv: Sequence[str]) -> str:
    try:
        return transport.run_early(argv).stdout.strip()[-1500:]
    except (TransportError, TimeoutError) as failure:
        return f"(its log cannot be read: {failure})"


def _silent(node: Node, failure: TransportError) -> SkycError:
    return SkycError(
        error(
            "machine-unreachable",
            "A machine that was made cannot be logged in to",
            f"Node {node.name}: {failure}. It costs money all the same.",
            hint="see that `access.ssh_from` in config.yaml holds the address you are at; then apply again, or destroy",
        )
    )


def _gone(node: Node) -> SkycError:
    return SkycError(
        error(
            "machine-gone",
            "A machine that was made does not exist any more",
            f"Node {node.name} was taken back, or removed by somebody, before it was up.",
            hint="apply again: a new one is made",
        )
    )


def _refused(node: Node, failure: HostKeyRefused) -> SkycError:
    return SkycError(
        error(
            "host-key-refused",
            "A machine shows another host key than the pinned one",
            f"Node {node.name}: {failure}. Either something else has its address now, or somebody is between you and it.",
            hint="`skyc status` tells whether the machine still exists; destroy and apply again for a new one",
        )
    )


_NO_WAY_OUT = (
    "a machine needs to reach PyPI, and this one has no public address: in a network of yours it wants a way out such as a NAT gateway,"
    " or `public: true` beside it in config.yaml; destroy and apply again when the cause is gone"
)


def _boot_failed(node: Node, transport: SshTransport, status: str) -> SkycError:
    return SkycError(
        error(
            "first-boot-failed",
            "A machine could not install what a node needs",
            f"On node {node.name} the first boot ended with status {status}. The end of {BOOT_LOG} there:\n"
            + _tail(transport, ["tail", "-n", "15", BOOT_LOG]),
            hint=_NO_WAY_OUT
            if node.via is not None
            else "a machine needs to reach PyPI; destroy and apply again when the cause is gone",
        )
    )


def _boot_late(node: Node, failure: Exception) -> SkycError:
    return SkycError(
        error(
            "first-boot-failed",
            "A machine did not finish its first boot",
            f"Node {node.name} was waited for for {BOOT_SECONDS / 60:.0f} minutes ({failure}).",
            hint="look at it with `skyc ssh`, or destroy and apply again",
        )
    )


def _ray_silent(node: Node, transport: SshTransport) -> SkycError:
    return SkycError(
        error(
            "ray-not-up",
            "Ray does not answer on a node",
            f"Node {node.name} has its token for {RAY_SECONDS / 60:.0f} minutes, and its Ray refuses nobody. The end of its log:\n"
            + _tail(transport, ["sudo", "-n", "journalctl", "-u", UNIT, "-n", "15", "--no-pager", "-o", "cat"]),
            hint="look at it with `skyc ssh`, or destroy and apply again",
        )
    )
