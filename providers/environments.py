"""The two Python environments every node has, whoever makes the node: where they are, and the one script that makes them.

Contract: pure. `render` gives the same script text for the same arguments, with every value quoted for the shell.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

PSUTIL = "psutil==7.2.2"
BOTO3 = "boto3==1.44.8"
CLIENTS: dict[str, tuple[str, ...]] = {
    "az": ("azure-core==1.41.0", "azure-identity==1.27.0", "azure-storage-blob==12.31.1"),
    "cos": (BOTO3,),
    "gs": ("google-auth==2.62.2", "google-cloud-storage==3.17.1"),
    "s3": (BOTO3,),
}
"""Scheme of a store → the client libraries `runtime/storage` speaks to it with. 15 to 25 MB each, so a node gets those it can use:
where it has an identity. As uv.lock has them; a test compares."""
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """The two Python environments of a node and what they are made from."""

    uv: str
    interpreter: str
    """A path, or a version as `3.11` for uv to find."""
    runtime: Path
    """Runs Ray and skyc's own code; shared by nodes that pin the same versions."""
    user: Path
    """The job's: `setup` and `run` use it."""
    packages: tuple[str, ...]
    downloads: bool = False
    """uv may fetch the interpreter. A rented machine's image has whatever Python it has; a user's own machine is left as it is."""


def packages_of(ray: str, opens: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What the runtime environment holds, pinned. opens: schemes of the stores its nodes open (`Provider.opens`)."""
    clients = [package for scheme in sorted(opens) for package in CLIENTS.get(scheme, ())]
    return (f"ray[default]=={ray}", PSUTIL, *dict.fromkeys(clients))


@cache
def template(name: str) -> jinja2.Template:
    """One bootstrap template. A value it names and is not given raises. Kept: making one ready takes 30 ms, and a cluster has many
    nodes."""
    import jinja2

    engine = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    engine.filters["quote"] = shlex.quote
    # JSON is YAML, and quotes everything.
    engine.filters["json"] = json.dumps
    text = files("skyc.templates").joinpath(f"bootstrap/{name}").read_text(encoding="utf-8")
    return engine.from_string(text)


def render(environments: Environments) -> str:
    """The bootstrap script. Raises when the template names a value that is not given, and ValueError for directories that are
    not an environment's: the script replaces a broken one."""
    runtime, user = environments.runtime, environments.user
    if not (runtime.is_absolute() and runtime.parent.name == "runtimes" and _DIGEST.fullmatch(runtime.name)):
        raise ValueError(f"{str(runtime)!r} is not a runtime environment's directory")
    if not (user.is_absolute() and user.name == "env" and user.parent.parent.name == "nodes"):
        raise ValueError(f"{str(user)!r} is not a node's environment")
    return template("node.sh.j2").render(
        uv=environments.uv,
        interpreter=environments.interpreter,
        runtime_directory=str(environments.runtime),
        user_environment=str(environments.user),
        packages=environments.packages,
        downloads="" if environments.downloads else " --no-python-downloads",
    )
