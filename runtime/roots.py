"""The root modules of a compiled file as directories that Terraform takes as they are: `skyc plan --emit synth -o DIR`.

Contract
- `DIR/<site>/cdk.tf.json`, one folder per site, since a site is one root with a state of its own; with a lock also the file that holds
  Terraform to its packages. The bytes are those of synth: same input, same bytes.
- What Terraform itself keeps beside a root stays, so that a changed task is written over an earlier one. Anything else there is somebody's,
  and then nothing is written.
- These roots are of whoever runs Terraform in them: skyc keeps no word of them, and no state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import ResourceGraph, SiteId
from ..compiler.pipeline import Compilation
from ..compiler.synth import FILE_NAME
from .backend.marks import write_file
from .sites import PACKAGES_FILE

Roots = Mapping[SiteId, Mapping[str, bytes]]
"""Site → its files by name."""
_TERRAFORMS = (".terraform", "terraform.tfstate", ".terraform.tfstate")
"""What the names of Terraform's own files in a root begin with."""


def roots_of(compilation: Compilation, packages: Callable[[ResourceGraph], str] | None) -> Roots:
    """What each root needs. `packages`: the text that a lock holds a site's packages with."""
    found: dict[SiteId, Mapping[str, bytes]] = {}
    for graph, made in zip(compilation.graphs or (), compilation.synthesized or (), strict=True):
        locked = packages(graph) if packages is not None else ""
        found[graph.site] = {FILE_NAME: made.text.encode(), **({PACKAGES_FILE: locked.encode()} if locked else {})}
    return found


def write_roots(directory: Path, roots: Roots) -> None:
    """Each file appears whole, and only where it differs. Raises SkycError; then nothing was written, but for a full disk and its like."""
    try:
        strange = _strange(directory, roots)
    except OSError as failure:
        raise _refused(directory, f"It cannot be used as a directory: {failure.strerror or failure}.") from None
    if strange is not None:
        raise _refused(directory, f"It holds `{strange}`, which is no part of these roots.")
    try:
        for site, files in sorted(roots.items()):
            (directory / site).mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, content in sorted(files.items()):
                place = directory / site / name
                if not place.is_file() or place.read_bytes() != content:
                    write_file(place, content)
    except OSError as failure:
        why = f"{directory}: {failure.strerror or failure}."
        hint = "give a directory you may write in, then run the command again: it writes all of them anew"
        raise SkycError(error("roots-not-written", "The root modules cannot be written", why, hint=hint)) from failure


def _strange(directory: Path, roots: Roots) -> str | None:
    """The first name there that is neither of these roots nor Terraform's own. Raises OSError."""
    if not directory.exists():
        return None
    for name in sorted(os.listdir(directory)):  # noqa: PTH208 - iterdir fails only when it is read
        files = roots.get(SiteId(name))
        if files is None:
            return name
        for inside in sorted(os.listdir(directory / name)):  # noqa: PTH208
            if inside not in files and inside != FILE_NAME and not inside.startswith(_TERRAFORMS):
                return f"{name}/{inside}"
    return None


def _refused(directory: Path, why: str) -> SkycError:
    return SkycError(
        error(
            "directory-in-use",
            "The directory is in use",
            f"{directory}: {why} Nothing in it was touched.",
            hint="name a directory that is empty or does not exist yet, or the one of an earlier `--emit synth -o` of this task, whose"
            " sites are the same; where one has moved, destroy with its root, then remove it",
        )
    )
