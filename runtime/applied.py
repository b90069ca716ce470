"""The root module that was applied last, and the lines of the task file its resources came from: what drift is measured against.

A plan writes its module over the one in the site's folder and may never be applied. So an apply keeps a copy of what it does, before it
does it: killed in the middle, what was approved is still what is to be there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import SkycError, Span, error
from ..compiler.drift import AppliedResource
from ..compiler.ir import FrozenMap, ResourceGraph, SpecPath
from ..compiler.synth import FILE_NAME

FOLDER = "applied"
"""In the site's folder, where Terraform does not look for code."""
ORIGINS = "origins.json"
PLAIN = "plain.json"
"""The module as it was applied, while a repair goes on that names more in it."""
FORMAT_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedModule:
    """text: of the module. resources: by address."""

    text: str
    resources: FrozenMap[AppliedResource]

    @property
    def document(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded


def keep_applied(directory: Path, graph: ResourceGraph | None, origin_of: Callable[[str], Span | None] | None) -> None:
    """Keep the module in a site's folder as the one that is applied now. graph None: what it came from is as it was."""
    module = directory / FILE_NAME
    if not module.is_file():
        return
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder / FILE_NAME, module.read_text(encoding="utf-8"))
    (folder / PLAIN).unlink(missing_ok=True)
    if graph is None:
        return
    places = {}
    for node in graph.resources:
        span = origin_of(str(node.address)) if origin_of is not None else None
        place = "" if span is None else f"{Path(span.file).name}:{span.line}"
        places[str(node.address)] = {"path": list(node.origin.steps), "place": place}
    document = {"format_version": FORMAT_VERSION, "origins": places}
    _write(folder / ORIGINS, json.dumps(document, indent=1, sort_keys=True) + "\n")


def name_for_now(directory: Path, text: str) -> None:
    """Before a repair: this module, which names what the applied one leaves to the cloud, is the applied one until the repair has ended.
    Cut off, the repair is then still to be seen, though the state has taken over what it was about."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    source = next(file for file in (folder / FILE_NAME, directory / FILE_NAME) if file.is_file())
    if not (folder / PLAIN).is_file():
        _write(folder / PLAIN, source.read_text(encoding="utf-8"))
    _write(folder / FILE_NAME, text)


def name_no_more(directory: Path) -> None:
    """After a repair: the applied module is the plain one again."""
    plain = directory / FOLDER / PLAIN
    if plain.is_file():
        plain.replace(plain.with_name(FILE_NAME))


def read_applied(directory: Path, shared: str = "") -> AppliedModule | None:
    """None where nothing was applied. shared: SHA-256 of the module the backend calls the last one; another home may have applied it.

    Raises SkycError for one that cannot be read.
    """
    kept = directory / FOLDER / FILE_NAME
    candidates = [file.read_bytes() for file in (kept, directory / FILE_NAME) if file.is_file()]
    if not candidates:
        return None
    plain = directory / FOLDER / PLAIN
    if not (plain.is_file() and hashlib.sha256(plain.read_bytes()).hexdigest() == shared):
        candidates.sort(key=lambda data: hashlib.sha256(data).hexdigest() != shared)
    chosen = candidates[0]
    try:
        text = chosen.decode()
        document = json.loads(text)
        # The lines are those of the copy this home kept.
        origins = _origins(directory / FOLDER / ORIGINS) if kept.is_file() and chosen == kept.read_bytes() else {}
    except ValueError:
        raise SkycError(
            error(
                "module-damaged",
                "The Terraform code that was applied last cannot be read",
                f"`{kept}` is not what skyc wrote there, so nothing can be compared with it.",
                hint="apply the task file again, which writes it anew",
            )
        ) from None
    found = {}
    for type_, rows in (document.get("resource") or {}).items():
        for name, arguments in rows.items():
            address = f"{type_}.{name}"
            path, place = origins.get(address, (None, ""))
            found[address] = AppliedResource(arguments=arguments, origin=path, place=place)
    return AppliedModule(text=text, resources=FrozenMap(found))


def _origins(file: Path) -> Mapping[str, tuple[SpecPath, str]]:
    if not file.is_file():
        return {}
    document = json.loads(file.read_text(encoding="utf-8"))
    if document.get("format_version") != FORMAT_VERSION:
        return {}
    return {
        address: (SpecPath(tuple(row["path"])), str(row["place"])) for address, row in (document.get("origins") or {}).items()
    }


def _write(file: Path, text: str) -> None:
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
