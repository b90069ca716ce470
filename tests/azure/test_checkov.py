"""checkov on the golden Terraform: what it finds is either put right or has a reason here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.checkov import findings, golden

REASONS = {
    "CKV_AZURE_119": "SSH comes in and packages are fetched through the address; docs/azure.md says so, and its price is in the plan.",
    "CKV2_AZURE_1": "Encrypted with Azure's own keys: one of the user's would cost per request and need rights of its own.",
    "CKV2_AZURE_21": "Access logs cost money and need a place of their own.",
    "CKV2_AZURE_33": "A private endpoint is charged by the hour, and belongs to one network; the machines' networks come and go.",
    "CKV2_AZURE_38": "What is written is named by its content or written once; what a collected checkpoint leaves would cost money.",
    "CKV_AZURE_206": "One region, three copies: what the catalog prices. A copy elsewhere is another Storage.",
    "CKV_AZURE_33": "There are no queues, and no key to reach one with.",
    "CKV_AZURE_59": "The machines' addresses are not known before they are made; without a role the endpoint answers nobody.",
}

MUTANTS = {
    "CKV_AZURE_34": ('"container_access_type": "private"', '"container_access_type": "blob"'),
    "CKV_AZURE_44": ('"min_tls_version": "TLS1_2"', '"min_tls_version": "TLS1_0"'),
    "CKV_AZURE_190": ('"allow_nested_items_to_be_public": false', '"allow_nested_items_to_be_public": true'),
    "CKV2_AZURE_47": ('"allow_nested_items_to_be_public": false', '"allow_nested_items_to_be_public": true'),
    "CKV2_AZURE_40": ('"shared_access_key_enabled": false', '"shared_access_key_enabled": true'),
    # Signatures that never end, which nobody can make without a key.
    "CKV2_AZURE_41": ('"shared_access_key_enabled": false', '"shared_access_key_enabled": true'),
}
"""A check, and how to break what it looks at: to see that it sees."""


def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    texts = golden("azure")
    assert len(texts) >= 6
    for check, (good, bad) in MUTANTS.items():
        assert good in texts["azure-bucket"]
        texts[f"mutant-{check}"] = texts["azure-bucket"].replace(good, bad)
    for name, text in texts.items():
        folder = tmp_path / "good" / name
        folder.mkdir(parents=True)
        (folder / "cdk.tf.json").write_text(text)
    # One that is open on purpose, to see that the check sees.
    wide = tmp_path / "good" / "azure-wide"
    wide.mkdir()
    module = json.loads((tmp_path / "good" / "azure-cpu" / "cdk.tf.json").read_text())
    rule = module["resource"]["azurerm_network_security_rule"]["ssh"]
    rule["source_address_prefix"] = "Internet"
    del rule["source_address_prefixes"]
    (wide / "cdk.tf.json").write_text(json.dumps(module))
    found = findings(tmp_path / "good")
    assert found.pop("CKV_AZURE_10", set()) == {"resource.ssh"}, "open SSH was not seen"
    assert set(MUTANTS) <= set(found), "a mutant was not seen"
    assert set(found) == set(REASONS) | set(MUTANTS), "a finding without a reason, or a reason without a finding"
