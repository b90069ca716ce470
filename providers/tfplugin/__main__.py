"""`python -m skyc.providers.tfplugin`: serve a provider, or write the mirror through which bare Terraform finds it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DEFAULT_RESOURCES = "skyc.providers.local.node:definition"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m skyc.providers.tfplugin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the Terraform that started this, or attached to a lifeline")
    serve.add_argument("--resources", metavar="MODULE:NAME", default=DEFAULT_RESOURCES, help="what to serve (%(default)s)")
    serve.add_argument("--ready-file", type=Path, metavar="PATH", help="attached: where to write pid and socket once ready")
    serve.add_argument(
        "--lifeline", type=int, metavar="FD", help="attached: read end of a pipe; its end of file ends the server"
    )
    mirror = commands.add_parser("mirror", help="write a filesystem mirror and print the path of its CLI configuration")
    mirror.add_argument("directory", type=Path)
    mirror.add_argument("--resources", metavar="MODULE:NAME", default=DEFAULT_RESOURCES, help="what it serves (%(default)s)")
    # Terraform starts a plugin without arguments; whatever a newer one may add is not ours to refuse.
    given, _ = parser.parse_known_args(arguments)

    from .definitions import load_definition

    if given.command == "mirror":
        from .mirror import write_mirror

        print(write_mirror(given.directory, given.resources))
        return 0
    if (given.ready_file is None) != (given.lifeline is None):
        parser.error("--ready-file and --lifeline go together")
    definition = load_definition(given.resources)
    from .server import serve_attached, serve_spawned

    if given.ready_file is not None:
        return serve_attached(definition, ready_file=given.ready_file, lifeline=given.lifeline)
    return serve_spawned(definition)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
