"""`python -m skyc.providers.schemas`: build the shipped schemas anew, or show what they hold."""

from __future__ import annotations

import argparse
import sys

from ...compiler.diagnostics import SkycError, render
from .emitted import ORIGINS
from .load import load_schema


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m skyc.providers.schemas", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    names = [origin.name for origin in ORIGINS]
    for word, what in (("build", "make the files anew; wheels come from PyPI"), ("show", "versions, digests and types")):
        command = commands.add_parser(word, help=what)
        command.add_argument("names", nargs="*", metavar="NAME", choices=[[], *names], help=f"{', '.join(names)}; default: all")
    given = parser.parse_args(arguments)
    for origin in ORIGINS:
        if given.names and origin.name not in given.names:
            continue
        if given.command == "build":
            from .build import build

            try:
                path = build(origin)
            except SkycError as failure:
                print("\n".join(render(diagnostic) for diagnostic in failure.diagnostics), file=sys.stderr)
                return 1
            print(f"{path.name}: {path.stat().st_size} bytes")
            load_schema.cache_clear()
        schema = load_schema(origin.name)
        print(f"{schema.source} {schema.version}, {len(schema.types)} types, digest {schema.digest[:16]}")
        print(f"  from {schema.made_from}")
        if given.command == "show":
            print("\n".join(f"  {name}" for name in schema.types))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
