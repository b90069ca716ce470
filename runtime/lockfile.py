"""`skyc.lock`: what the tasks of a directory are compiled with, as a file to commit. The wire: this module alone knows its form.

TOML with one fact a line, sorted, so that a difference of two commits reads by itself. Facts may be added to a format; one of another
major version is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import FrozenMap

NAME = "skyc.lock"
FORMAT = "skyc.lock/"
VERSION = "1"
HEAD = """\
# What the tasks in this directory are compiled with. Written by `skyc lock`; `skyc plan --locked` holds to it. Commit it.
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedProvider:
    """A Terraform provider by its source. `hashes`: of its packages, as Terraform's own lock file has them; empty where nobody could
    ask for them."""

    version: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """facts: of the machine and its skyc, by section and name (`tools.ray`). tasks: by the file's name, what was chosen for it."""

    facts: FrozenMap[str] = field(default_factory=FrozenMap)
    providers: FrozenMap[LockedProvider] = field(default_factory=FrozenMap)
    tasks: FrozenMap[FrozenMap[str]] = field(default_factory=FrozenMap)


def lock_path(task: Path) -> Path:
    return task.resolve().parent / NAME


def read_lock(path: Path) -> Lock | None:
    """None without one. Raises SkycError `bad-lock`."""
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
        raise _bad(path, f"It cannot be read: {failure}.") from None
    found = str(document.get("format", ""))
    if found.removeprefix(FORMAT).partition(".")[0] != VERSION or not found.startswith(FORMAT):
        raise _bad(path, f"Its format is `{found or 'not said'}`, and this skyc reads `{FORMAT}{VERSION}`.")
    try:
        return Lock(
            facts=FrozenMap(dict(_facts(document))),
            providers=FrozenMap(
                {
                    source: LockedProvider(version=_text(row["version"]), hashes=tuple(map(_text, row.get("hashes", ()))))
                    for source, row in document.get("providers", {}).items()
                }
            ),
            tasks=FrozenMap(
                {
                    name: FrozenMap({key: _text(value) for key, value in rows.items()})
                    for name, rows in document.get("tasks", {}).items()
                }
            ),
        )
    except (AttributeError, KeyError, TypeError) as failure:
        raise _bad(path, f"A part of it is not as `skyc lock` writes it ({failure}).") from None


def lock_text(lock: Lock) -> str:
    """The file. The same facts give the same bytes."""
    lines = [HEAD.rstrip(), f'format = "{FORMAT}{VERSION}"']
    sections: dict[str, dict[str, str]] = {}
    for name, value in lock.facts.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    for section, values in sorted(sections.items()):
        lines += ["", f"[{section}]", *(f"{_key(key)} = {_quoted(value)}" for key, value in sorted(values.items()))]
    for source, provider in sorted(lock.providers.items()):
        lines += ["", f"[providers.{_quoted(source)}]", f"version = {_quoted(provider.version)}"]
        if provider.hashes:
            lines += ["hashes = [", *(f"  {_quoted(text)}," for text in sorted(provider.hashes)), "]"]
    for name, rows in sorted(lock.tasks.items()):
        lines += ["", f"[tasks.{_quoted(name)}]", *(f"{_key(key)} = {_quoted(value)}" for key, value in sorted(rows.items()))]
    return "\n".join(lines) + "\n"


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section, rows in document.items():
        if section not in ("format", "providers", "tasks"):
            for key, value in rows.items():
                yield f"{section}.{key}", _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's escapes are all TOML's, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _bad(path: Path, why: str) -> SkycError:
    return SkycError(
        error(
            "bad-lock",
            "The lock file cannot be used",
            f"{path}: {why}",
            hint="write it again with `skyc lock`, or take it from the last commit that had a good one",
        )
    )
