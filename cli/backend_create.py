"""`skyc backend create`: a bucket for states, and what to write into config.yaml."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .backend_show import property_rows

if TYPE_CHECKING:
    from .api import Api
    from .screen import Screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "uri", metavar="URI", help="s3://, gs://bucket/prefix, az://account/container/prefix, https://… or file:///directory"
    )
    parser.add_argument("--region", metavar="REGION", help="where to make it (default: the region of the cloud's own tools)")
    parser.add_argument("--endpoint", metavar="URL", help="another server than the cloud's own")
    parser.add_argument("--kms-key", metavar="KEY", help="encrypt with this key of yours instead of the cloud's own")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Making the backend"):
        made = api.backend_create(arguments.uri, region=arguments.region, endpoint=arguments.endpoint, key=arguments.kms_key)
    screen.diagnostics(made.diagnostics)
    screen.note(f"{made.uri} is made" if made.made else f"{made.uri} is there, and fit to hold states")
    screen.table(("PROPERTY", "HOLDS", "DETAIL"), property_rows(made))
    screen.document(f"\nWrite this into config.yaml below skyc's home, on every machine that is to share it:\n\n{made.setting}")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "what was made stays. The same command again does the rest.", (f"skyc backend create {arguments.uri}",)
