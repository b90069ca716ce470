"""How the runtime reaches a local node: its files are here, so this is copying, with the guarantees the contract asks for.

Contract: see `providers.base.Transport`. Nothing is written through a symbolic link that leads out of the destination, nothing
shows under its final name before it is whole, and a command belongs to the node: it ends when the node is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ..base import Completed, Node, TransportError

_BLOCK = 1 << 20


class LocalTransport:
    """Files and commands of one local node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def put_file(self, content: bytes, destination: str, mode: int = 0o600) -> None:
        """Write atomically (temporary name, fsync, rename)."""
        target = self._absolute(destination)
        with self._reachable():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _draft(target) as handle:
                handle.write(content)
                os.fchmod(handle.fileno(), mode)

    def put_tree(self, source: Path, destination: str, entries: Collection[str] | None = None) -> None:
        """Make `destination` hold the files of `source` (those in `entries`), or be its copy when `source` is one file."""
        target = self._absolute(destination)
        with self._reachable():
            if source.is_dir():
                target.mkdir(mode=0o700, parents=True, exist_ok=True)
                _copy_directory(source, target, None if entries is None else frozenset(entries))
            else:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _copy_entry(source, target)

    def get_file(self, source: str) -> bytes:
        """Raises FileNotFoundError."""
        path = self._absolute(source)
        with self._reachable():
            return path.read_bytes()

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> Completed:
        """Run a program with exactly `env` added to a minimal environment. Raises TimeoutError."""
        directory = Path(self._node.directory)
        environment = {
            "PATH": os.defpath,
            "HOME": str(directory / "home"),
            "LANG": "C.UTF-8",
            "SKYC_NODE_LIFE": self._node.id,
            **(env or {}),
        }
        with self._reachable(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # Output goes to files: a process the program leaves behind would keep a pipe open, and us waiting.
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env=environment,
                start_new_session=True,
            )
            try:
                returncode = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s on the node {self._node.name}") from None
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            out.seek(0)
            err.seek(0)
            return Completed(
                returncode=returncode,
                stdout=out.read().decode(errors="replace"),
                stderr=err.read().decode(errors="replace"),
            )

    @contextlib.contextmanager
    def forward(self, port: int) -> Iterator[int]:
        """The port itself: a local node's loopback is ours."""
        yield port

    def _absolute(self, path: str) -> Path:
        target = Path(path)
        if not target.is_absolute() or ".." in target.parts:
            raise TransportError(f"{path!r} is not an absolute path without `..`")
        return target

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turn what the file system says into the contract's errors; FileNotFoundError keeps its own meaning."""
        if not Path(self._node.directory).is_dir():
            raise TransportError(f"the node {self._node.name} is gone: {self._node.directory} does not exist")
        try:
            yield
        except (FileNotFoundError, TimeoutError):
            raise
        except OSError as failure:
            raise TransportError(f"on the node {self._node.name}: {failure}") from failure


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[tempfile._TemporaryFileWrapper[bytes]]:
    """A new file beside the target that takes its name, complete and on disk, when the context ends well."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp", delete=False) as handle:
        draft = Path(handle.name)
        try:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_directory(source: Path, target: Path, wanted: frozenset[str] | None, below: str = "") -> None:
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        directory = entry.is_dir() and not entry.is_symlink()
        name = f"{below}{entry.name}/" if directory else f"{below}{entry.name}"
        if wanted is not None and name not in wanted:
            continue
        if directory:
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                # A job may have put a link here; writing below it would land anywhere.
                place.unlink()
            place.mkdir(mode=0o700, exist_ok=True)
            _copy_directory(entry, place, wanted, name)
            place.chmod(stat.S_IMODE(entry.stat().st_mode) | 0o700)
        else:
            _copy_entry(entry, place)


def _copy_entry(source: Path, target: Path) -> None:
    facts = source.lstat()
    if target.is_dir() and not target.is_symlink():
        raise TransportError(f"{target} is a directory, and {source} is not")
    if stat.S_ISLNK(facts.st_mode):
        _copy_link(source, target)
    elif not stat.S_ISREG(facts.st_mode):
        raise TransportError(f"{source} is neither a file, a directory nor a link, so it cannot be copied")
    elif not _same(source, facts, target):
        with source.open("rb") as reader, _draft(target) as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
            os.fchmod(writer.fileno(), stat.S_IMODE(facts.st_mode) & 0o777)


def _copy_link(source: Path, target: Path) -> None:
    text = source.readlink()
    with contextlib.suppress(OSError):
        if target.is_symlink() and target.readlink() == text:
            return
    # The directory is made by name only, so that the link can take the target's name in one step.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".skyc-link-") as folder:
        draft = Path(folder) / "link"
        draft.symlink_to(text)
        draft.replace(target)


def _same(source: Path, facts: os.stat_result, target: Path) -> bool:
    """Whether the target is a regular file with the same mode and content already."""
    try:
        there = target.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(there.st_mode) or there.st_size != facts.st_size:
        return False
    if stat.S_IMODE(there.st_mode) != stat.S_IMODE(facts.st_mode) & 0o777:
        return False
    return _digest(source) == _digest(target)


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
