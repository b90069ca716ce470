"""Hashes of Terraform provider packages, as Terraform itself records them when it installs one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, warning
from ..compiler.ir import FrozenMap
from ..compiler.pipeline import Compilation
from ..compiler.synth import synth
from ..compiler.terraform import Terraform
from .lockfile import LockedProvider
from .mirror import with_mirror
from .session import Session
from .sites import PACKAGES_FILE, write_module

_BLOCK = re.compile(r'^provider "([^"]+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_HASH = re.compile(r'"((?:h1|zh):[^"]+)"')


def hashes_in(text: str) -> FrozenMap[tuple[str, ...]]:
    """Provider source → hashes, from the text of Terraform's own lock file."""
    return FrozenMap({source: tuple(sorted(_HASH.findall(body))) for source, body in _BLOCK.findall(text)})


def package_text(providers: Mapping[str, LockedProvider]) -> str:
    """Terraform's own lock file for these providers; empty for none."""
    blocks = []
    for source, provider in sorted(providers.items()):
        rows = "".join(f'    "{text}",\n' for text in sorted(provider.hashes))
        blocks.append(
            f'provider "{source}" {{\n  version     = "{provider.version}"\n  constraints = "{provider.version}"\n'
            f"  hashes = [\n{rows}  ]\n}}\n"
        )
    return "\n".join(blocks)


def recorded_hashes(session: Session, made: Compilation) -> tuple[FrozenMap[tuple[str, ...]], tuple[Diagnostic, ...]]:
    """What an `init` of every site's module records, and warnings about what could not be fetched. skyc's own provider comes with
    skyc and has none."""
    found: dict[str, tuple[str, ...]] = {}
    said: list[Diagnostic] = []
    with tempfile.TemporaryDirectory(prefix="skyc-lock-") as folder:
        for number, graph in enumerate(made.graphs or ()):
            sources = {need.source for need in graph.requirements}
            if sources <= set(found):
                continue
            _, text = synth(graph, cache=session.home / "cache" / "synth")
            directory = Path(folder) / str(number)
            write_module(directory, text)
            session.step("lock", f"fetching {', '.join(sorted(sources))}")
            with session.provider(graph.provider).attach(home=session.home) as attachments:
                if sources <= {attachment.source for attachment in attachments}:
                    continue
                environ = with_mirror(session.environ, session.home)
                run = Terraform(session.engine, directory, home=session.home, environ=environ, reattach=attachments).init()
            record = directory / PACKAGES_FILE
            if run.ok and record.exists():
                found |= hashes_in(record.read_text(encoding="utf-8"))
            else:
                said.append(_not_fetched(sources, run.diagnostics))
    return FrozenMap(found), tuple(said)


def _not_fetched(sources: Iterable[str], why: Iterable[Diagnostic]) -> Diagnostic:
    reason = next((found.summary for found in why), "Terraform recorded nothing")
    return warning(
        "provider-not-hashed",
        "A Terraform provider could not be fetched",
        f"{', '.join(sorted(sources))}: {reason}. Its version is locked, its package is not.",
        hint="run `skyc lock` where the registry or a mirror can be reached",
    )
