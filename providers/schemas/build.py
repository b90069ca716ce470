"""Making the shipped schema files anew: from a wheel of PyPI, or from what was written by hand.

The wheel is downloaded by the package installer into a temporary directory and read as data; none of its code runs, and skyc
does not depend on it. The same wheel gives the same bytes on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import SkycError, error
from .emitted import SchemaOrigin
from .handwritten import read_handwritten
from .load import FORMAT_VERSION
from .wheel import read_archive

FOLDER = Path(__file__).parent
DOWNLOAD_SECONDS = 600


def build(origin: SchemaOrigin, folder: Path = FOLDER) -> Path:
    """Write `<name>.json.gz` into `folder`; its path. Raises SkycError when the wheel cannot be had."""
    if origin.wheel:
        with tempfile.TemporaryDirectory(prefix="skyc-schemas-") as scratch:
            document = from_archive(origin, _archive(origin, Path(scratch)))
    else:
        document = from_documentation(origin)
    target = folder / f"{origin.name}.json.gz"
    target.write_bytes(packed(document))
    return target


def from_archive(origin: SchemaOrigin, archive: Path) -> dict[str, Any]:
    """The document of a provider whose wheel holds `archive`."""
    version, provider, types = read_archive(archive, origin.type_names, prefix=origin.name)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    made_from = f"{origin.wheel} {origin.wheel_version}, {archive.name}, sha256 {digest}"
    return _document(origin, version, made_from, provider, types)


def from_documentation(origin: SchemaOrigin) -> dict[str, Any]:
    written = (FOLDER / f"{origin.name}.schema.yaml").read_bytes()
    provider, types = read_handwritten(written)
    if tuple(types) != origin.type_names:
        raise ValueError(f"{origin.name}: what is written and what is emitted differ")
    digest = hashlib.sha256(written).hexdigest()
    return _document(origin, origin.documented, f"the provider's documentation, sha256 {digest}", provider, types)


def packed(document: dict[str, Any]) -> bytes:
    """Canonical JSON, compressed without a name or a time in the header."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _document(
    origin: SchemaOrigin, version: str, made_from: str, provider: dict[str, Any], types: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "source": origin.source,
        "provider_version": version,
        "made_from": made_from,
        "provider": provider,
        "types": types,
    }


def _archive(origin: SchemaOrigin, scratch: Path) -> Path:
    """The tarball inside the wheel."""
    pinned = f"{origin.wheel}=={origin.wheel_version}"
    command = [_uv(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(scratch), pinned]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        problem = done.stderr.strip() if done.returncode != 0 else ""
    except (OSError, subprocess.TimeoutExpired) as failure:
        problem = str(failure)
    found = sorted(scratch.glob("*/_jsii/*.tgz"))
    if problem or len(found) != 1:
        raise SkycError(
            error(
                "schema-not-built",
                "The provider's wheel cannot be had",
                f"{pinned}: {problem or 'it holds no tarball'}",
            )
        )
    return found[0]


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"
