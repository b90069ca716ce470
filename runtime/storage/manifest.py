"""What a checkpoint looks like in a store: manifests, chunks, and where they lie.

Below `<task>/`, the parent of a run's prefix `<task>/run-<n>`:

- `run-<n>/rank-<r>/manifest-<generation>.json`   a generation that counts: the job said that its state was complete;
- `run-<n>/rank-<r>/unverified-<number>.json`     a snapshot taken at some moment; has a sequence of its own;
- `chunks/<aa>/<sha256>`                          file content, shared by all runs and ranks of the task;
- `pins/…`, `sweeping.json`                       see `lease.py`.

Invariants: objects are immutable; a manifest is written after every chunk it names; its bytes are canonical and hold their own
SHA-256, so any changed byte is noticed; paths in it are relative and stay inside.

Chunks are cut every 4 MiB. Cutting by content (a rolling hash) would find shifted data again, but in pure Python it runs at
9 MiB/s here against 1,900 MiB/s for SHA-256, and training checkpoints are rewritten in place or anew, not shifted. Content is
not compressed: floating-point weights hardly shrink.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .base import Store, StoreError, StoreFault
from .tree import EntryKind, stays_inside

FORMAT_VERSION = 1
CHUNK_BYTES = 4 << 20

_NAME = re.compile(r"(?:^|/)rank-(\d{1,6})/(manifest|unverified)-(\d{10})\.json$")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedEntry:
    """One thing in a checkpoint. `path` is `.` for the directory itself. `chunks`: SHA-256 of each 4 MiB piece, in order."""

    path: str
    kind: EntryKind
    mode: int
    size: int = 0
    modified_ns: int = 0
    target: str = ""
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One generation of one rank. `step`: the job's own count, if it gave one. `label`: why it was taken (`exit`, `rename`, …).
    `writer`: names the attempt that wrote it. `created`: Unix seconds, for people only; nothing is decided by it."""

    generation: int
    counted: bool
    rank: int
    step: int | None
    label: str
    writer: str
    created: int
    entries: tuple[SavedEntry, ...]

    @property
    def chunks(self) -> frozenset[str]:
        return frozenset(chunk for entry in self.entries for chunk in entry.chunks)

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        return sum(entry.kind is EntryKind.FILE for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class GenerationName:
    """A manifest that exists in the store, whether or not it is whole."""

    rank: int
    counted: bool
    number: int
    key: str


def task_prefix(prefix: str) -> str:
    """What all runs of the task share, with its closing `/` (or empty)."""
    above = prefix.rstrip("/").rpartition("/")[0]
    return f"{above}/" if above else ""


def chunk_key(prefix: str, digest: str) -> str:
    return f"{task_prefix(prefix)}chunks/{digest[:2]}/{digest}"


def manifest_key(prefix: str, rank: int, *, counted: bool, number: int) -> str:
    return f"{prefix.rstrip('/')}/rank-{rank}/{'manifest' if counted else 'unverified'}-{number:010d}.json"


def parse_name(key: str) -> GenerationName | None:
    found = _NAME.search(key)
    if found is None:
        return None
    return GenerationName(rank=int(found[1]), counted=found[2] == "manifest", number=int(found[3]), key=key)


def list_generations(store: Store, prefix: str) -> tuple[GenerationName, ...]:
    """Every manifest of a run, by rank, unverified ones first, oldest first. Reads names only."""
    names = (parse_name(key) for key in store.list(f"{prefix.rstrip('/')}/rank-"))
    return tuple(sorted(name for name in names if name is not None))


def chunk_sizes(entry: SavedEntry) -> Iterable[tuple[str, int, int]]:
    """(digest, offset, length) of each chunk of a file."""
    for number, digest in enumerate(entry.chunks):
        offset = number * CHUNK_BYTES
        yield digest, offset, min(CHUNK_BYTES, entry.size - offset)


def entries_digest(entries: tuple[SavedEntry, ...]) -> str:
    return hashlib.sha256(_canonical([_entry_json(entry) for entry in entries])).hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    body = {
        "format_version": FORMAT_VERSION,
        "generation": manifest.generation,
        "counted": manifest.counted,
        "rank": manifest.rank,
        "step": manifest.step,
        "label": manifest.label,
        "writer": manifest.writer,
        "created": manifest.created,
        "chunk_bytes": CHUNK_BYTES,
        "entries": [_entry_json(entry) for entry in manifest.entries],
    }
    return _canonical({"body": body, "sha256": hashlib.sha256(_canonical(body)).hexdigest()})


def decode_manifest(content: bytes, name: GenerationName) -> Manifest:
    """Raises StoreError (DAMAGED) unless the content is exactly what `encode_manifest` wrote for this name."""
    try:
        outer = json.loads(content)
        body = outer["body"]
        if outer["sha256"] != hashlib.sha256(_canonical(body)).hexdigest():
            raise ValueError("its checksum does not match")
        if body["format_version"] != FORMAT_VERSION or body["chunk_bytes"] != CHUNK_BYTES:
            raise ValueError(f"this skyc reads format {FORMAT_VERSION} only")
        manifest = Manifest(
            generation=body["generation"],
            counted=body["counted"],
            rank=body["rank"],
            step=body["step"],
            label=body["label"],
            writer=body["writer"],
            created=body["created"],
            entries=tuple(_entry(item) for item in body["entries"]),
        )
        if encode_manifest(manifest) != content:
            raise ValueError("it is not in the form it was written in")
        if (manifest.rank, manifest.counted, manifest.generation) != (name.rank, name.counted, name.number):
            raise ValueError("it belongs under another name")
        _check_entries(manifest.entries)
    except (ValueError, KeyError, TypeError, RecursionError) as failure:
        raise StoreError(StoreFault.DAMAGED, f"The checkpoint manifest {name.key} is damaged: {failure}.") from failure
    return manifest


def read_manifest(store: Store, name: GenerationName) -> Manifest:
    """Raises NotFound, or StoreError (DAMAGED)."""
    return decode_manifest(store.get(name.key), name)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _entry_json(entry: SavedEntry) -> list[Any]:
    return [entry.path, entry.kind.value, entry.mode, entry.size, entry.modified_ns, entry.target, list(entry.chunks)]


def _entry(item: list[Any]) -> SavedEntry:
    path, kind, mode, size, modified_ns, target, chunks = item
    return SavedEntry(
        path=path,
        kind=EntryKind(kind),
        mode=mode,
        size=size,
        modified_ns=modified_ns,
        target=target,
        chunks=tuple(chunks),
    )


def _check_entries(entries: tuple[SavedEntry, ...]) -> None:
    """Whoever can write to the store must still not be able to write outside the directory that is restored."""
    directories: set[str] = set()
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        parts = entry.path.split("/")
        above = "/".join(parts[:-1]) or "."
        if number == 0:
            if entry.path != "." or entry.kind is not EntryKind.DIRECTORY:
                raise ValueError("it does not begin with the directory itself")
        elif any(part in ("", ".", "..") or "\0" in part for part in parts) or above not in directories or entry.path in seen:
            raise ValueError(f"it holds the path {entry.path!r}")
        seen.add(entry.path)
        if entry.kind is EntryKind.DIRECTORY:
            directories.add(entry.path)
        if entry.kind is EntryKind.LINK and (not entry.target or not stays_inside("" if above == "." else above, entry.target)):
            raise ValueError(f"it holds the link {entry.path!r} to {entry.target!r}")
        wanted = -(-entry.size // CHUNK_BYTES) if entry.kind is EntryKind.FILE else 0
        if entry.size < 0 or len(entry.chunks) != wanted or not all(_DIGEST.fullmatch(chunk) for chunk in entry.chunks):
            raise ValueError(f"the chunks of {entry.path!r} do not fit its size")
        if not 0 <= entry.mode <= 0o7777:
            raise ValueError(f"the mode of {entry.path!r} is {entry.mode}")
