"""How the runtime reaches a node over SSH: files, commands and ports, with the guarantees of `providers.base.Transport`.

Each operation is one run of `far_end.py` on the node, by the image's own Python; its requests travel on stdin, so that no value is
ever in an argument list. Ports are SSH's own forwarding.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import socket
import stat
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base import Completed, Node, TransportError
from .connection import connected
from .host_keys import PINNED, remembered

if TYPE_CHECKING:
    import paramiko

_BLOCK = 1 << 16
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = "python3"
"""The image's own. The node's pinned environment may not be there yet."""
STALL_SECONDS = 300.0
"""The longest silence of a node that is sent something, or has said nothing of a time limit of its own: a machine without memory keeps
its connections and answers none of them."""
COMPARE_SECONDS = 3600.0
"""A node reads everything it has of a tree before it answers."""


@contextlib.contextmanager
def transport(node: Node) -> Iterator[SshTransport]:
    """Raises TransportError when the node cannot be logged in to, and for one whose first login has not been done: until then anybody
    who has read its user data can pass for it."""
    known = remembered(node)
    if known is None or known.state != PINNED:
        raise TransportError(f"{node.name} has not been brought up yet")
    with connected(node) as link:
        yield SshTransport(node, link)


@dataclass(frozen=True, slots=True)
class SshTransport:
    """Files, commands and ports of one node, over one connection."""

    node: Node
    link: paramiko.Transport

    def put_file(self, content: bytes, destination: str, mode: int = 0o600) -> None:
        """Write atomically (temporary name, fsync, rename)."""
        with self._operation({"do": "put", "path": _absolute(destination), "mode": mode, "size": len(content)}) as channel:
            channel.send(content)
            channel.answer()

    def put_tree(self, source: Path, destination: str, entries: Collection[str] | None = None) -> None:
        """Make `destination` hold the files of `source` (those in `entries`), or be its copy when `source` is one file."""
        root = _absolute(destination)
        single = not source.is_dir()
        rows = [_row(source, "")] if single else list(_rows(source, None if entries is None else frozenset(entries)))
        listed = [row.described(digest=True) for row in rows]
        compare = {"do": "compare", "root": root, "entries": listed, "base": self.node.directory}
        with self._operation(compare, COMPARE_SECONDS) as channel:
            missing = [rows[number] for number in channel.answer()["missing"]]
        if rows and not missing:
            return
        with self._operation({"do": "receive", "root": root, "single": single}) as channel:
            for row in missing:
                channel.line(row.described(digest=False))
                if row.kind == "file":
                    channel.send_file(row.place, row.size)
            channel.line({})
            channel.answer()

    def get_file(self, source: str) -> bytes:
        """Raises FileNotFoundError."""
        with self._operation({"do": "get", "path": _absolute(source)}) as channel:
            content = channel.read(int(channel.answer()["size"]))
            channel.answer()
            return content

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> Completed:
        """Run a program with exactly `env` added to a minimal environment. Raises TimeoutError."""
        directory = self.node.directory
        environment = {"HOME": f"{directory}/home", "SKYC_NODE_LIFE": self.node.id, **(env or {})}
        return self._run(argv, environment, timeout, cwd=directory, base=directory)

    def run_early(self, argv: Sequence[str], *, timeout: float = 60.0) -> Completed:
        """Run a program on a machine that need not be a node yet. Raises TimeoutError."""
        return self._run(argv, {}, timeout, cwd="/", base=None)

    def _run(self, argv: Sequence[str], env: Mapping[str, str], timeout: float, *, cwd: str, base: str | None) -> Completed:
        environment = {"PATH": _PATH, "LANG": "C.UTF-8", **env}
        request = {"do": "run", "argv": list(argv), "env": environment, "cwd": cwd, "timeout": timeout, "base": base}
        # The node keeps the time limit; when it cannot even do that, it is one that does not answer.
        with self._operation(request, timeout + STALL_SECONDS) as channel:
            try:
                answer = channel.answer()
            except TimeoutError:
                raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s on the node {self.node.name}") from None
        return Completed(returncode=answer["returncode"], stdout=answer["stdout"], stderr=answer["stderr"])

    @contextlib.contextmanager
    def forward(self, port: int) -> Iterator[int]:
        """A local port that reaches `port` on the node's loopback, for the length of the context."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=self._serve, args=(server, port), daemon=True, name=f"forward-{port}").start()
            try:
                yield int(server.getsockname()[1])
            finally:
                # Wakes the thread that waits in accept.
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)

    def _serve(self, server: socket.socket, port: int) -> None:
        while True:
            try:
                client, peer = server.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client, peer, port), daemon=True).start()

    def _join(self, client: socket.socket, peer: tuple[str, int], port: int) -> None:
        import paramiko

        with client:
            try:
                channel = self.link.open_channel("direct-tcpip", ("127.0.0.1", port), peer, timeout=15.0)
            except (paramiko.SSHException, OSError, EOFError):
                # Closing without an answer is what a port that nobody listens on looks like from here.
                return
            with channel:
                _pump(client, channel)

    @contextlib.contextmanager
    def _operation(self, request: dict[str, Any], patience: float = STALL_SECONDS) -> Iterator[_Channel]:
        """`far_end.py` with this request. What it says went wrong is raised by `answer`. patience: seconds of silence."""
        import paramiko

        try:
            with self.link.open_session(timeout=15.0) as session:
                session.settimeout(patience)
                session.exec_command(shlex.join([_PYTHON, "-I", "-S", "-c", _far_end()]))
                channel = _Channel(session, self.node.name)
                channel.line(request)
                yield channel
        except (paramiko.SSHException, EOFError) as failure:
            raise TransportError(
                f"the connection to {self.node.name} broke: {str(failure) or type(failure).__name__}"
            ) from failure


@dataclass(slots=True)
class _Channel:
    """One operation's stdin and stdout."""

    session: paramiko.Channel
    node: str
    held: bytes = b""

    def line(self, value: dict[str, Any]) -> None:
        self.send(json.dumps(value).encode() + b"\n")

    def send(self, content: bytes) -> None:
        try:
            self.session.sendall(content)
        except TimeoutError as failure:
            raise self._stalled() from failure
        except OSError as failure:
            # The far end stopped reading, and mostly has said why.
            self.answer()
            raise TransportError(f"the connection to {self.node} broke: {failure}") from failure

    def send_file(self, path: Path, size: int) -> None:
        with path.open("rb") as reader:
            left = size
            while left:
                block = reader.read(min(_BLOCK, left))
                if not block:
                    raise TransportError(f"{path} became shorter while it was sent")
                self.send(block)
                left -= len(block)

    def answer(self) -> dict[str, Any]:
        """The next line. Raises what it says: FileNotFoundError, TimeoutError, TransportError."""
        while b"\n" not in self.held:
            self._more()
        text, _, self.held = self.held.partition(b"\n")
        answer: dict[str, Any] = json.loads(text)
        match answer.get("error"):
            case None:
                return answer
            case "missing":
                raise FileNotFoundError(answer["message"])
            case "timeout":
                raise TimeoutError
            case "base":
                raise TransportError(f"the node {self.node} is gone: {answer['message']}")
            case _:
                raise TransportError(f"on the node {self.node}: {answer['message']}")

    def read(self, size: int) -> bytes:
        while len(self.held) < size:
            self._more()
        content, self.held = self.held[:size], self.held[size:]
        return content

    def _more(self) -> None:
        try:
            block = self.session.recv(_BLOCK)
        except TimeoutError as failure:
            raise self._stalled() from failure
        if not block:
            said = self.session.recv_stderr(_BLOCK).decode(errors="replace").strip()
            raise TransportError(f"the connection to {self.node} ended without an answer{': ' + said[-500:] if said else ''}")
        self.held += block

    def _stalled(self) -> TransportError:
        return TransportError(f"{self.node} keeps its connection and did nothing for {self.session.gettimeout():g} s")


@dataclass(frozen=True, slots=True)
class _Row:
    """One thing to be sent. `path`: below the root; empty for the root itself."""

    path: str
    kind: str
    mode: int
    place: Path
    size: int = 0
    link: str = ""

    def described(self, *, digest: bool) -> dict[str, Any]:
        row: dict[str, Any] = {"path": self.path, "kind": self.kind, "mode": self.mode}
        if self.kind == "link":
            row["link"] = self.link
        if self.kind == "file":
            row["size"] = self.size
            if digest:
                with self.place.open("rb") as stream:
                    row["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return row


def _rows(source: Path, wanted: frozenset[str] | None, below: str = "") -> Iterator[_Row]:
    """Directories before what is in them."""
    for entry in sorted(source.iterdir()):
        row = _row(entry, f"{below}{entry.name}")
        name = f"{row.path}/" if row.kind == "directory" else row.path
        if wanted is not None and name not in wanted:
            continue
        yield row
        if row.kind == "directory":
            yield from _rows(entry, wanted, name)


def _row(place: Path, path: str) -> _Row:
    facts = place.lstat()
    mode = stat.S_IMODE(facts.st_mode) & 0o777
    if stat.S_ISLNK(facts.st_mode):
        return _Row(path=path, kind="link", mode=mode, place=place, link=str(place.readlink()))
    if stat.S_ISDIR(facts.st_mode):
        return _Row(path=path, kind="directory", mode=mode, place=place)
    if not stat.S_ISREG(facts.st_mode):
        raise TransportError(f"{place} is neither a file, a directory nor a link, so it cannot be copied")
    return _Row(path=path, kind="file", mode=mode, place=place, size=facts.st_size)


def _absolute(path: str) -> str:
    target = Path(path)
    if not target.is_absolute() or ".." in target.parts:
        raise TransportError(f"{path!r} is not an absolute path without `..`")
    return str(target)


def _pump(client: socket.socket, channel: paramiko.Channel) -> None:
    """Both directions until both have ended."""

    def copy(read: Any, write: Any, end: Any) -> None:
        with contextlib.suppress(OSError, EOFError):
            while block := read(_BLOCK):
                write(block)
        with contextlib.suppress(OSError, EOFError):
            end()

    back = threading.Thread(
        target=copy, args=(channel.recv, client.sendall, lambda: client.shutdown(socket.SHUT_WR)), daemon=True
    )
    back.start()
    copy(client.recv, channel.sendall, channel.shutdown_write)
    back.join()


@cache
def _far_end() -> str:
    return Path(__file__).with_name("far_end.py").read_text(encoding="utf-8")
