"""checkov on the golden Terraform: what it finds is either put right or has a reason here.

Needs the program `checkov` (named by SKYC_CHECKOV, or on PATH); counted as skipped otherwise. It is no dependency: it is 190 MB and pins
much of what skyc uses. Without an account it tells no severities, so every finding needs a reason, whatever its weight.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "filetests" / "synth"

REASONS = {
    "CKV_AZURE_119": "SSH comes in and packages are fetched through the address; docs/azure.md says so, and its price is in the plan.",
}


def findings(folder: Path) -> dict[str, set[str]]:
    """Check → resources that fail it."""
    program = os.environ.get("SKYC_CHECKOV") or shutil.which("checkov")
    if program is None:
        pytest.skip("checkov is not installed (SKYC_CHECKOV)")
    done = subprocess.run(
        [program, "-d", folder, "--framework", "terraform_json", "secrets", "--skip-download", "-o", "json", "--compact"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    answer: Any = json.loads(done.stdout)
    found: dict[str, set[str]] = {}
    for part in answer if isinstance(answer, list) else [answer]:
        assert part["summary"]["parsing_errors"] == 0
        for row in part["results"]["failed_checks"]:
            found.setdefault(row["check_id"], set()).add(row["resource"])
    return found


def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    files = sorted(GOLDEN.glob("azure-*.yaml.test"))
    assert len(files) >= 5
    for file in files:
        folder = tmp_path / "good" / file.name.partition(".")[0]
        folder.mkdir(parents=True)
        (folder / "cdk.tf.json").write_text(file.read_text().partition("-----\n")[2])
    # One that is open on purpose, to see that the check sees.
    wide = tmp_path / "good" / "azure-wide"
    wide.mkdir()
    text = json.loads((tmp_path / "good" / "azure-cpu" / "cdk.tf.json").read_text())
    rule = text["resource"]["azurerm_network_security_rule"]["ssh"]
    rule["source_address_prefix"] = "Internet"
    del rule["source_address_prefixes"]
    (wide / "cdk.tf.json").write_text(json.dumps(text))
    found = findings(tmp_path / "good")
    assert found.pop("CKV_AZURE_10", set()) == {"resource.ssh"}, "open SSH was not seen"
    assert set(found) == set(REASONS), "a finding without a reason, or a reason without a finding"
