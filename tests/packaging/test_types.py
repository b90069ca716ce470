"""The type checker really checks the mapped layout: a planted error in a copy of the tree is reported."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.lengths import takes_minutes

ROOT = Path(__file__).parents[2]
TREE = ("compiler", "providers", "templates", "runtime", "cli", "src", "pyproject.toml")
# One module with few imports: the whole tree takes most of a minute, and the mapping is the same for every file.
MODULE = Path("compiler/ir/addresses.py")
PLANTED = "\nPLANTED: int = 'text'\n"


def checked(tree: Path) -> subprocess.CompletedProcess[str]:
    # A cache of the tree's own: the second run reads the standard library's types from it, and everything of ours is new to the first.
    command = [sys.executable, "-m", "mypy", "--cache-dir", ".cache", f"src/skyc/{MODULE}"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120, check=False)


@takes_minutes
def test_a_planted_type_error_is_seen(tmp_path: Path) -> None:
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, tmp_path / name)
    assert MODULE.name not in checked(tmp_path).stdout
    with (tmp_path / MODULE).open("a") as file:
        file.write(PLANTED)
    planted = checked(tmp_path)
    assert planted.returncode == 1
    reported = [line for line in planted.stdout.splitlines() if MODULE.name in line]
    assert len(reported) == 1
    assert reported[0].endswith("[assignment]")
