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
"""S3 as a store. Only where nodes have an identity to reach it with: it is 15 MB. As uv.lock has it; a test compares."""
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


def packages_of(ray: str) -> tuple[str, ...]:
    """What the runtime environment holds, pinned."""
    return (f"ray[default]=={ray}", PSUTIL)


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
