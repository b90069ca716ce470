"""One key of `<home>/config.yaml` with its lines, for readers that say where a mistake is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, SkycError, SourceFile, error
from ..compiler.parse import read_source
from ..compiler.parse.nodes import Mapping, Node, Scalar, compose
from .access import CONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """complaints: what is wrong with the file as YAML."""

    source: SourceFile
    complaints: tuple[Diagnostic, ...]
    key: Scalar
    value: Node


def config_entry(home: Path, name: str) -> ConfigEntry | None:
    """None without a file or without the key. Raises SkycError for a file that cannot be read."""
    path = home / CONFIG
    if not path.exists():
        return None
    source, said = read_source(path)
    if source is None:
        raise SkycError(
            error("bad-config", "The configuration file cannot be read", said[0].detail, hint="correct or remove the file")
        )
    documents, complaints = compose(source)
    top = next((node for node in documents or () if node is not None), None)
    entries = {key.text: (key, value) for key, value in top.entries} if isinstance(top, Mapping) else {}
    if name not in entries:
        return None
    key, value = entries[name]
    return ConfigEntry(
        source=SourceFile(path=source.path, text=source.text), complaints=tuple(complaints), key=key, value=value
    )
