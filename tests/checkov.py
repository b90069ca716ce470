"""checkov on compiled Terraform. `make tools` installs it, in an environment of its own: it is 190 MB and pins much of what skyc uses.

Without an account it tells no severities, so every finding needs a reason, whatever its weight.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "filetests" / "synth"
INSTALLED = Path(__file__).parents[1] / ".tools" / "checkov" / "bin" / "checkov"


def golden(cloud: str) -> dict[str, str]:
    """Every root module among the golden ones of a cloud: a file has one after the other, and checkov reads only the first of a text."""
    found: dict[str, str] = {}
    for file in sorted(GOLDEN.glob(f"{cloud}-*.yaml.test")):
        rest, number = file.read_text().partition("-----\n")[2].lstrip(), 0
        while rest:
            module, end = json.JSONDecoder().raw_decode(rest)
            found[f"{file.name.partition('.')[0]}{f'-{number}' if number else ''}"] = json.dumps(module, indent=2)
            rest, number = rest[end:].lstrip(), number + 1
    return found


def findings(folder: Path) -> dict[str, set[tuple[str, str]]]:
    """Check → what fails it: the folder of a module, and the resource."""
    program = os.environ.get("SKYC_CHECKOV") or (str(INSTALLED) if INSTALLED.exists() else shutil.which("checkov"))
    if program is None:
        pytest.skip("checkov is not installed (`make tools`)")
    done = subprocess.run(
        [program, "-d", folder, "--framework", "terraform_json", "secrets", "--skip-download", "-o", "json", "--compact"],
        capture_output=True,
        text=True,
        timeout=360,
    )
    answer: Any = json.loads(done.stdout)
    found: dict[str, set[tuple[str, str]]] = {}
    for part in answer if isinstance(answer, list) else [answer]:
        assert part["summary"]["parsing_errors"] == 0
        for row in part["results"]["failed_checks"]:
            found.setdefault(row["check_id"], set()).add((Path(row["file_path"]).parent.name, row["resource"]))
    return found
