"""A filesystem mirror of Terraform providers, named by SKYC_PROVIDER_MIRROR: which versions it has, and Terraform told of it.

A mirror decides the version: who keeps one has chosen what it holds, and nothing of a source in it is fetched from elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..compiler.ir import FrozenMap

VARIABLE = "SKYC_PROVIDER_MIRROR"
CONFIGURATION = "mirror.rc"


def mirrored(environ: Mapping[str, str]) -> FrozenMap[str]:
    """Provider source (`registry.terraform.io/hashicorp/aws`) → the newest version in the mirror; empty without one."""
    root = environ.get(VARIABLE)
    if not root:
        return FrozenMap()
    found: dict[str, str] = {}
    for folder in sorted(Path(root).glob("*/*/*")):
        versions = [path.name for path in folder.iterdir() if re.match(r"\d+\.\d+", path.name)] if folder.is_dir() else []
        if versions:
            found["/".join(folder.parts[-3:])] = max(versions, key=_order)
    return FrozenMap(found)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def with_mirror(environ: Mapping[str, str], home: Path, *, only: bool = False) -> dict[str, str]:
    """The environment in which Terraform takes what is mirrored from the mirror. `only`: and installs nothing else at all."""
    sources = mirrored(environ)
    if not sources and not only:
        return dict(environ)
    listed = json.dumps(sorted(sources), ensure_ascii=False)
    path = json.dumps(str(Path(environ.get(VARIABLE) or home / "no-mirror").absolute()), ensure_ascii=False)
    text = f"provider_installation {{\n  filesystem_mirror {{\n    path    = {path}\n    include = {listed}\n  }}\n"
    text += "}\n" if only else f"  direct {{\n    exclude = {listed}\n  }}\n}}\n"
    file = home / CONFIGURATION
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        fresh = file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    return {**environ, "TF_CLI_CONFIG_FILE": str(file)}
