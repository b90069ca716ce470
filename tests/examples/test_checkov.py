"""checkov on every example at every cloud it has checks for, and on the golden Terraform: what it finds is put right or has a reason here.

One run for all of them, since its start is most of its time. IBM, of which it knows nothing, has a policy of ours (`tests/ibm/policy.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses
from tests.checkov import findings, golden
from tests.examples.compiled import modules, names
from tests.ibm.policy import findings as ibm_findings

REASONS = {
    # AWS
    "CKV2_AWS_11": "Flow logs cost money and need an identity of their own; the network lives as long as the job.",
    "CKV2_AWS_41": "A machine that reaches no bucket gets no identity at all.",
    "CKV2_AWS_62": "Nothing waits for a notification.",
    "CKV_AWS_126": "Detailed monitoring is charged per machine, and skyc watches the job itself.",
    "CKV_AWS_135": "Machines of today are EBS optimized anyway; for those that cannot be, the launch would fail.",
    "CKV_AWS_144": "One region, which the plan has priced. A copy elsewhere is another Storage.",
    "CKV_AWS_145": "Encrypted with S3's own keys: one in KMS would cost per request and need rights of its own.",
    "CKV_AWS_18": "Access logs cost money and need a bucket of their own.",
    "CKV_AWS_21": "What is written is named by its content or written once; old versions of collected checkpoints would cost money.",
    "CKV_AWS_8": "The root disk is described, encrypted, in the launch template, where this check does not look.",
    "CKV_AWS_88": "SSH comes in and packages are fetched through the address; docs/aws.md says so, and its price is in the plan.",
    # Azure
    "CKV_AZURE_119": "SSH comes in and packages are fetched through the address; docs/azure.md says so, and its price is in the plan.",
    "CKV2_AZURE_1": "Encrypted with Azure's own keys: one of the user's would cost per request and need rights of its own.",
    "CKV2_AZURE_21": "Access logs cost money and need a place of their own.",
    "CKV2_AZURE_33": "A private endpoint is charged by the hour, and belongs to one network; the machines' networks come and go.",
    "CKV2_AZURE_38": "What is written is named by its content or written once; what a collected checkpoint leaves would cost money.",
    "CKV_AZURE_206": "One region, three copies: what the catalog prices. A copy elsewhere is another Storage.",
    "CKV_AZURE_33": "There are no queues, and no key to reach one with.",
    "CKV_AZURE_59": "The machines' addresses are not known before they are made; without a role the endpoint answers nobody.",
    # Google Cloud
    "CKV_GCP_26": "Flow logs cost money, and the network lives as long as the job.",
    "CKV_GCP_38": "Google encrypts every disk with keys of its own; one supplied here would be in Terraform's state.",
    "CKV_GCP_40": "SSH comes in and packages are fetched through the address; docs/gcp.md says so, and its price is in the plan.",
    "CKV_GCP_62": "Access logs cost money and need a bucket of their own; Cloud Audit Logs are the project's.",
    "CKV_GCP_78": "What is written is named by its content or written once; old versions of collected checkpoints would cost money.",
}
"""Check → why what it finds may stay. Without an account checkov tells no severities, so each finding needs one, whatever its weight."""

MUTANTS = {
    "CKV_AWS_24": ("aws-cpu", '"203.0.113.0/24"', '"0.0.0.0/0"'),
    "CKV_AZURE_10": ("azure-open", "", ""),
    "CKV_AZURE_34": ("azure-bucket", '"container_access_type": "private"', '"container_access_type": "blob"'),
    "CKV_AZURE_44": ("azure-bucket", '"min_tls_version": "TLS1_2"', '"min_tls_version": "TLS1_0"'),
    "CKV_AZURE_190": (
        "azure-bucket",
        '"allow_nested_items_to_be_public": false',
        '"allow_nested_items_to_be_public": true',
    ),
    "CKV2_AZURE_47": (
        "azure-bucket",
        '"allow_nested_items_to_be_public": false',
        '"allow_nested_items_to_be_public": true',
    ),
    "CKV2_AZURE_40": ("azure-bucket", '"shared_access_key_enabled": false', '"shared_access_key_enabled": true'),
    # Signatures that never end, which nobody can make without a key.
    "CKV2_AZURE_41": ("azure-bucket", '"shared_access_key_enabled": false', '"shared_access_key_enabled": true'),
    "CKV_GCP_2": ("gcp-cpu", '"203.0.113.0/24"', '"0.0.0.0/0"'),
    "CKV_GCP_29": ("gcp-bucket", '"uniform_bucket_level_access": true', '"uniform_bucket_level_access": false'),
    "CKV_GCP_32": ("gcp-cpu", '"block-project-ssh-keys": "true"', '"block-project-ssh-keys": "false"'),
    "CKV_GCP_35": ("gcp-cpu", '"serial-port-enable": "false"', '"serial-port-enable": "true"'),
    "CKV_GCP_39": ("gcp-cpu", '"enable_vtpm": true', '"enable_vtpm": false'),
    "CKV_GCP_114": ("gcp-bucket", '"public_access_prevention": "enforced"', '"public_access_prevention": "inherited"'),
}
"""A check, a golden module, and how to break what the check looks at: to see that it sees."""


def compiled(cloud: str) -> dict[str, str]:
    """Every site of every example at a cloud, and one where each machine has a public address."""
    found = {f"example-{site}": json.dumps(module) for example in names() for site, module in modules(example, cloud)}
    open_ = modules("two-nodes.yaml", cloud, Addresses.ALL)
    return found | {f"example-open-{site}": json.dumps(module) for site, module in open_}


def open_to_all(text: str) -> str:
    """Azure's word for it is another one."""
    module: Any = json.loads(text)
    rule = module["resource"]["azurerm_network_security_rule"]["ssh"]
    rule["source_address_prefix"] = "Internet"
    del rule["source_address_prefixes"]
    return json.dumps(module)


@pytest.mark.timeout(400)
def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    for cloud in ("aws", "azure", "gcp"):
        here = {**golden(cloud), **compiled(cloud)}
        assert len(here) >= 11, f"golden files and examples of {cloud}"
        texts |= here
    texts["azure-open"] = open_to_all(texts["azure-cpu"])
    for check, (name, good, bad) in MUTANTS.items():
        assert good in texts[name]
        texts[f"mutant-{check}"] = texts[name].replace(good, bad) if good else texts[name]
    del texts["azure-open"]
    for name, text in texts.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cdk.tf.json").write_text(text)
    found = findings(tmp_path)
    broken = {check: {module for module, _ in rows if module == f"mutant-{check}"} for check, rows in found.items()}
    unseen = {check for check in MUTANTS if not broken.get(check)}
    assert not unseen, f"mutants that were not seen: {unseen}"
    standing = {check: sorted(row for row in rows if not row[0].startswith("mutant-")) for check, rows in found.items()}
    standing = {check: rows for check, rows in standing.items() if rows}
    new = {check: rows for check, rows in standing.items() if check not in REASONS}
    assert not new, f"findings without a reason: {new}"
    assert set(REASONS) <= set(standing), f"reasons without a finding: {set(REASONS) - set(standing)}"


def test_every_example_keeps_our_policy_for_ibm() -> None:
    checked = 0
    for example, public in (*((name, Addresses.HEAD) for name in names()), ("two-nodes.yaml", Addresses.ALL)):
        for site, module in modules(example, "ibm", public):
            found = ibm_findings(module, ("203.0.113.0/24",))
            if site.startswith("_storage."):
                found = {text for text in found if not text.startswith("missing: ")}
            assert found == set(), (example, site)
            checked += 1
    assert checked >= 3
