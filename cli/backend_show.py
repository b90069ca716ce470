"""`skyc backend show`: how the backend is, what is in it, and who works on it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .encode import backend_document

if TYPE_CHECKING:
    from ..runtime.results import Backend, SharedDeployment
    from .api import Api
    from .screen import Screen

WORDS = {True: "yes", False: "no", None: "–"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", default=False, help="print JSON (skyc.backend/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Asking the backend"):
        found = api.backend_show(home=arguments.home)
    if arguments.json:
        screen.document(backend_document(found))
        return 0
    if found is None:
        screen.note(
            "Every state is below this home. To share them with other machines:\n\n    skyc backend create s3://my-bucket/team"
        )
        return 0
    screen.diagnostics(found.diagnostics)
    screen.document(f"{found.uri}\n")
    screen.table(("PROPERTY", "HOLDS", "DETAIL"), property_rows(found), indent=2)
    if found.deployments:
        rows = [_row(deployment) for deployment in found.deployments]
        screen.document("\n")
        screen.table(("DEPLOYMENT", "STATE", "SITES", "RESOURCES", "NOW"), rows, indent=2)
    else:
        screen.document("\n  no deployment is in it yet\n")
    return 0


def property_rows(backend: Backend) -> list[tuple[str, str, str]]:
    return [(found.name, WORDS[found.holds], found.detail) for found in backend.properties]


def _row(found: SharedDeployment) -> tuple[str, ...]:
    now = [*([found.working] if found.working else []), *([f"{found.cut_off} cut off"] if found.cut_off else [])]
    if found.problem is not None:
        return (found.name, "unreadable", "–", "–", found.problem)
    state = found.state.value if found.state is not None else "–"
    return (found.name, state, str(found.sites), str(found.resources), "; ".join(now) or "–")


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
