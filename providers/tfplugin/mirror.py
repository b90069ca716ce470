"""A filesystem mirror, through which Terraform finds skyc's provider when skyc does not run it.

The provider's program is two constant lines of shell. Constant, because Terraform's lock file records a hash of it: the same
content has the same hash on every machine and platform, so a lock file can be committed and shared. The Python that has skyc
installed is named by SKYC_PYTHON, or is `python3`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from .definitions import load_definition

PLATFORMS = ("darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64")

CONFIGURATION = "terraform.rc"


def write_mirror(directory: Path, definition: str) -> Path:
    """Write the mirror and beside it a CLI configuration that uses it; the latter's path, for TF_CLI_CONFIG_FILE.

    `definition` is `module:name`. Everything else still comes from the registries. Writing it again changes nothing.
    """
    provider = load_definition(definition)
    directory = directory.absolute()
    name = provider.source.rsplit("/", 1)[-1]
    for platform in PLATFORMS:
        program = directory / provider.source / provider.version / platform / f"terraform-provider-{name}_v{provider.version}"
        program.parent.mkdir(parents=True, exist_ok=True)
        _write(program, wrapper(definition), 0o755)
    configuration = directory / CONFIGURATION
    _write(configuration, cli_configuration(directory, (provider.source,)), 0o644)
    return configuration


def wrapper(definition: str) -> str:
    """`-P` keeps the working directory, which is the user's, off Python's path."""
    # The definition is a module path and a name, which need no quoting.
    return f'#!/bin/sh\nexec "${{SKYC_PYTHON:-python3}}" -P -m skyc.providers.tfplugin serve --resources {definition}\n'


def cli_configuration(directory: Path, sources: tuple[str, ...]) -> str:
    """Terraform CLI configuration: these providers from the mirror, all others from where they come from."""
    # This file is in the older form of Terraform's language, where a string is JSON's and `${` has no meaning.
    listed = json.dumps(sources)
    return (
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path    = {json.dumps(str(directory), ensure_ascii=False)}\n    include = {listed}\n  }}\n"
        f"  direct {{\n    exclude = {listed}\n  }}\n"
        "}\n"
    )


def _write(path: Path, content: str, mode: int) -> None:
    """Write atomically, and leave a file alone that is as it should be: Terraform may be running it."""
    if path.is_file() and path.read_text() == content and os.access(path, os.X_OK) == bool(mode & 0o100):
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(content)
    unfinished.chmod(mode)
    unfinished.replace(path)
