"""Which files of a repository are task files, and what can be said of one without compiling it.

The rule, in this order. A file named on the command line is one. Else its name ends in `.yaml` or `.yml`, no folder on its way and not
itself begins with a dot, a pattern of the command line fits it where there is one, and it **looks like a task**: its first document that
is no header is a mapping that

- has a `run` or `setup` that is text, a `groups` that is a list, or `resources` that is a mapping of fields a task's have, and
- has none of the fields by which workflows, compose files, Kubernetes objects, charts and pipelines are known (`FOREIGN`).

A file that is no YAML looks like a task where `run:` or `setup:` begins a line and another field of a task's does too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ...compiler.diagnostics import SkycError, error
from ...compiler.parse.fields import HEADER, RESOURCES, TASK
from ...compiler.resolve.identifiers import identifier

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FOREIGN = frozenset(
    {
        *("apiVersion", "kind", "jobs", "on", "services", "steps", "runs", "stages", "script", "stage", "image", "hooks"),
        *("pipelines", "tasks", "dependencies", "channels", "plugins", "scrape_configs", "openapi", "swagger", "version"),
    }
)
"""Top-level fields that a task has none of."""

LARGEST = 512 * 1024
"""Bytes. What is larger is no task file (`compiler/parse/syntax.py`)."""

_FIELDS = frozenset(row.name for row in TASK.fields)
_MACHINE_FIELDS = frozenset(row.name for row in RESOURCES.fields)
_HEADER_FIELDS = frozenset(row.name for row in HEADER.fields)
_BEGINS = re.compile(rb"^[\"']?(?:run|setup|resources|groups)[\"']?\s*:|^\s*\{", re.MULTILINE)
_RUNS = re.compile(rb"^(?:run|setup)\s*:", re.MULTILINE)
_FIELD = re.compile(rb"^([a-z_]+)\s*:", re.MULTILINE)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a task file says of itself, read without the compiler.

    name: its deployment's, as resolve would make it; None where that takes more than this. variables: names it declares. places: local
    paths it names, as written, of which the compiler asks only whether they exist; reads: those that it reads (policies).
    `open_ended`: a path holds a variable, so that any file of the repository may be meant.
    """

    name: str | None
    variables: frozenset[str] = frozenset()
    places: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    open_ended: bool = False


def sketch(content: bytes, path: str, *, named: bool = False) -> Sketch | None:
    """What a file looks like; None for one that does not look like a task. `named`: the user says that it is one."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not named and (len(content) > LARGEST or not _BEGINS.search(content)):
        return None
    documents = _documents(content)
    if documents is None:
        return Sketch(name=None) if named or _looks_broken(content) else None
    tasks = documents[1:] if len(documents) > 1 and _is_header(documents[0]) else documents
    if not named and not (tasks and _looks_like_a_task(tasks[0])):
        return None
    mappings = [task for task in tasks if isinstance(task, dict)]
    places = tuple(dict.fromkeys(place for task in mappings for place in _places(task)))
    return Sketch(
        name=_name(documents, tasks, path),
        variables=frozenset(name for task in mappings for name in _variables(task)),
        places=places,
        reads=tuple(dict.fromkeys(text for item in documents if isinstance(item, dict) for text in _texts(item.get("policy")))),
        open_ended=any("$" in place for place in places),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line says of files: patterns relative to where it was given, as paths of the repository."""

    exact: frozenset[str]
    patterns: tuple[str, ...]
    spec: GitIgnoreSpec | None

    def covers(self, path: str) -> bool:
        """Whether a file can be a task file by its path alone."""
        if path in self.exact:
            return True
        if not path.endswith((".yaml", ".yml")) or any(part.startswith(".") for part in path.split("/")):
            return False
        return self.spec is None or bool(self.spec.match_file(path))


def choice_of(paths: Sequence[str], prefix: str) -> Choice:
    """Files, folders and patterns of the command line; `!pattern` leaves out. Without any, every file. Raises SkycError (`bad-path`)."""
    from pathspec import GitIgnoreSpec

    exact, lines = set(), []
    if paths and all(path.startswith("!") for path in paths):
        lines.append("/**")
    for path in paths:
        out, text = path.startswith("!"), path.removeprefix("!")
        place = posixpath.normpath(posixpath.join(prefix, text))
        if place.startswith(("../", "/")) or place == "..":
            raise SkycError(
                error(
                    "outside-repository",
                    "A path lies outside the repository",
                    f"`{text}` is in no revision of this repository.",
                    hint="name paths relative to here, inside the repository",
                )
            )
        if place == ".":
            place = "**"
        if not _MAGIC.search(place) and not out:
            exact.add(place)
        lines.append(("!" if out else "") + f"/{place}")
    return Choice(exact=frozenset(exact), patterns=tuple(paths), spec=GitIgnoreSpec.from_lines(lines) if lines else None)


def _documents(content: bytes) -> list[Any] | None:
    """The file's documents with every value as text; None for what is no YAML."""
    loader: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        found = list(yaml.load_all(content.decode("utf-8"), loader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return [document for document in found if document not in (None, "")]


def _is_header(document: Any) -> bool:
    return isinstance(document, dict) and bool(document) and _HEADER_FIELDS.issuperset(document)


def _looks_like_a_task(document: Any) -> bool:
    if not isinstance(document, dict) or not FOREIGN.isdisjoint(map(str, document)):
        return False
    machine = document.get("resources")
    return (
        any(isinstance(document.get(name), str) and document[name] for name in ("run", "setup"))
        or isinstance(document.get("groups"), list)
        or (isinstance(machine, dict) and bool(machine) and _MACHINE_FIELDS.issuperset(map(str, machine)))
    )


def _looks_broken(content: bytes) -> bool:
    names = {found.decode() for found in _FIELD.findall(content)}
    return bool(_RUNS.search(content)) and FOREIGN.isdisjoint(names) and bool((names & _FIELDS) - {"run", "setup"})


def _name(documents: list[Any], tasks: list[Any], path: str) -> str | None:
    """As `resolve` names a deployment: the header's name, else the first task's, else the file's."""
    stem = posixpath.splitext(posixpath.basename(path))[0]
    told: Any = None
    if tasks is not documents and isinstance(documents[0], dict):
        told = documents[0].get("name")
    if told is None and tasks and isinstance(tasks[0], dict):
        told = tasks[0].get("name")
    if told is None:
        return identifier(stem)
    return identifier(told) if isinstance(told, str) and told and "$" not in told else None


def _variables(task: dict[Any, Any]) -> Iterable[str]:
    for section in ("envs", "secrets"):
        found = task.get(section)
        if isinstance(found, dict):
            yield from (str(name) for name in found)


def _places(task: dict[Any, Any]) -> Iterable[str]:
    if isinstance(task.get("workdir"), str):
        yield task["workdir"]
    mounts, storages = task.get("file_mounts"), task.get("storage")
    for row in mounts.values() if isinstance(mounts, dict) else ():
        yield from _sources({"source": row} if isinstance(row, str) else row)
    rows = storages.values() if isinstance(storages, dict) else storages if isinstance(storages, list) else ()
    for row in rows:
        yield from _sources(row)


def _sources(row: Any) -> Iterable[str]:
    for text in _texts(row.get("source")) if isinstance(row, dict) else ():
        if "://" not in text:
            yield text


def _texts(value: Any) -> Iterable[str]:
    """A text, or those of a list."""
    return (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str) and item)
