"""File tests: one file holds an input, marks that say where it is wrong, and the whole text a stage answers with.

    # stage: parse
    nmae: train  # error: unknown-field
    -----
    error[unknown-field]: …

Contract:

- The part above the `-----` line is the input, its header lines included: they are YAML comments, so line numbers are the file's.
- Header lines, before the first line that is none: `# stage: NAME` (needed), `# error-at: LINE slug` and `# warning-at: LINE slug`
  for lines that can hold no comment, and the settings a stage reads for itself (`SETTINGS`).
- A line that ends in `# error: slug[, slug]` or `# warning: slug[, slug]` must get exactly these diagnostics, and a line without a
  mark must get none. Marks are written by hand, never blessed, so the place of every diagnostic is stated twice.
- The part below is the answer, byte for byte. `SKYC_BLESS=1` rewrites it; with `CI` set that is refused.

A stage is a function from the input's text and its path to its answer; `STAGES` is the one place that names them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skyc.compiler.diagnostics import Diagnostic, SourceFile, in_reading_order, render
from skyc.compiler.parse import parse
from skyc.compiler.printer import print_ir
from skyc.compiler.resolve import EnvOverrides, resolve

from .filetests.policy_runner import policy_stage
from .filetests.stage_runners import PLACED_STAGES

FOLDER = Path(__file__).parent / "filetests"
SUFFIX = ".yaml.test"
SEPARATOR = "-----"
SETTINGS = frozenset({"env", "environ", "secret", "file", "machine", "change", "format", "before", "ssh-from"})
"""Header lines for the stages: `env: A=b` as `--env`, `environ: A=b` in the environment, `secret: A=b` as `--secret`, and
`file: path` (a directory if it ends in `/`) for what is there beside the task file; `machine`, `change`, `before` and `format`: see
`filetests/stage_runners.py`; `ssh-from`: see `filetests/policy_runner.py`."""

DIRECTORY = "/project"
"""How the task file's directory is called in every answer."""

Stage = Callable[[str, str], str]
Place = tuple[str, int, str]
"""Severity, line (0: no place), slug."""

_HEADER = re.compile(r"# ([a-z-]+): (.*)")
_MARK = re.compile(r"\s# (error|warning): ([a-z0-9-]+(?:, [a-z0-9-]+)*)(?=$|\s+# (?:error|warning): )")
_RENDERED = re.compile(r"^(error|warning)\[([a-z0-9-]+)\]: .*(?:\n *--> .*:(\d+):\d+$)?", re.MULTILINE)


class BadTest(Exception):
    """The file test itself is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTest:
    """One file, taken apart. `settings` keeps the order and repetition of its header lines."""

    path: Path
    stage: str
    text: str
    expected: str
    marks: tuple[Place, ...]

    @property
    def shown(self) -> str:
        """The path in the answer, the same on every machine."""
        return self.path.name.removesuffix(".test")


def discover(folder: Path = FOLDER) -> tuple[Path, ...]:
    return tuple(sorted(folder.rglob(f"*{SUFFIX}")))


def read(path: Path) -> FileTest:
    """Raises BadTest for a file that states nothing, or states it in a way nobody would check."""
    content = path.read_bytes().decode("utf-8")
    text, found, expected = content.partition(f"\n{SEPARATOR}\n")
    if not found:
        raise BadTest(f"{path.name} has no line `{SEPARATOR}`")
    text += "\n"
    headers = header_lines(text)
    stages = [value for name, value in headers if name == "stage"]
    if len(stages) != 1 or stages[0] not in STAGES:
        raise BadTest(f"{path.name} needs one `# stage:` of {', '.join(STAGES)}")
    return FileTest(path=path, stage=stages[0], text=text, expected=expected, marks=tuple(_marks(path, text, headers)))


def header_lines(text: str) -> tuple[tuple[str, str], ...]:
    """Name and value of each header line."""
    headers: list[tuple[str, str]] = []
    for line in text.split("\n"):
        match = _HEADER.fullmatch(line)
        if match is None or match[1] not in SETTINGS | {"stage", "error-at", "warning-at"}:
            break
        headers.append((match[1], match[2]))
    return tuple(headers)


def settings(text: str, name: str) -> tuple[str, ...]:
    """The values of one setting, in order."""
    return tuple(value for key, value in header_lines(text) if key == name)


def pairs(text: str, name: str) -> Mapping[str, str]:
    """The values of one setting that are written `NAME=value`."""
    split = (value.partition("=") for value in settings(text, name))
    return {key: value for key, _, value in split}


def _marks(path: Path, text: str, headers: Iterable[tuple[str, str]]) -> Iterable[Place]:
    for name, value in headers:
        if name in ("error-at", "warning-at"):
            line, _, slug = value.partition(" ")
            if not line.isdecimal() or not slug:
                raise BadTest(f"{path.name}: `# {name}: {value}` is not `LINE slug`")
            yield name.removesuffix("-at"), int(line), slug
    # Split as YAML counts lines: splitlines() would also break at a form feed or U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        for match in _MARK.finditer(line):
            yield from ((match[1], number, slug) for slug in match[2].split(", "))


def places(answer: str) -> tuple[Place, ...]:
    """Where an answer complains. Everything but a diagnostic's first line is indented or numbered, so nothing else looks like one."""
    return tuple((match[1], int(match[3] or 0), match[2]) for match in _RENDERED.finditer(answer))


def check(test: FileTest, environ: Mapping[str, str] = os.environ) -> None:
    """Run one test. Raises AssertionError when the answer or the place of a diagnostic differs; rewrites when told to bless."""
    bless = bool(environ.get("SKYC_BLESS"))
    if bless and environ.get("CI"):
        raise AssertionError("CI must not rewrite what it checks: unset SKYC_BLESS")
    answer = STAGES[test.stage](test.text, test.shown)
    wanted, got = Counter(test.marks), Counter(places(answer))
    assert wanted == got, f"marked but not said: {list(wanted - got)}; said but not marked: {list(got - wanted)}\n{answer}"
    if bless:
        test.path.write_text(f"{test.text}{SEPARATOR}\n{answer}", encoding="utf-8", newline="")
        return
    assert answer == test.expected


def answer_of(diagnostics: Iterable[Diagnostic], source: SourceFile, *values: object) -> str:
    """Diagnostics in full, in reading order, then the values."""
    parts = [render(diagnostic, source) for diagnostic in in_reading_order(diagnostics)]
    parts += [value if isinstance(value, str) else print_ir(value) for value in values]
    return "\n\n".join(parts) + "\n"


def parse_stage(text: str, path: str) -> str:
    source = SourceFile(path=path, text=text)
    spec, _, diagnostics = parse(source)
    return answer_of(diagnostics, source, *([spec] if spec is not None else []))


def resolve_stage(text: str, path: str) -> str:
    source = SourceFile(path=path, text=text)
    spec, place, complaints = parse(source)
    if spec is None:
        return answer_of(complaints, source)
    overrides = EnvOverrides.of(
        env=pairs(text, "env"),
        secrets=pairs(text, "secret"),
        environ={"HOME": "/home/me", **pairs(text, "environ")},
    )
    # Messages cut long paths, so the real directory's path has the same length wherever the test runs.
    directory = Path(tempfile.mkdtemp(prefix="skyc-", dir="/tmp"))
    try:
        for name in settings(text, "file"):
            _make(directory, name)
        stem = path.removesuffix(".yaml")
        resolved, diagnostics = resolve(spec, place, stem=stem, directory=directory, overrides=overrides)
    finally:
        shutil.rmtree(directory)
    values: list[object] = []
    if resolved is not None:
        values.append(resolved.graph)
        if resolved.secrets:
            values.append("\n".join(["secrets", *(f"  {name}: {secret!r}" for name, secret in resolved.secrets.items())]))
    return answer_of((*complaints, *diagnostics), source, *values).replace(str(directory), DIRECTORY)


def _make(directory: Path, name: str) -> None:
    target = directory / name
    if not target.is_relative_to(directory) or ".." in Path(name).parts:
        raise BadTest(f"`# file: {name}` leaves the task file's directory")
    if name.endswith("/"):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("")


STAGES: dict[str, Stage] = {
    "parse": parse_stage,
    "resolve": resolve_stage,
    **PLACED_STAGES,
    "policy": policy_stage,
}
"""Each stage of the compiler that file tests exist for, in the compiler's order."""
