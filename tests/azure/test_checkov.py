"""checkov on the golden Terraform: what it finds is either put right or has a reason here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.checkov import GOLDEN, findings

REASONS = {
    "CKV_AZURE_119": "SSH comes in and packages are fetched through the address; docs/azure.md says so, and its price is in the plan.",
}


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
