"""checkov on the golden Terraform: what it finds is either put right or has a reason here."""

from __future__ import annotations

from pathlib import Path

from tests.checkov import findings, golden

REASONS = {
    "CKV_GCP_26": "Flow logs cost money, and the network lives as long as the job.",
    "CKV_GCP_38": "Google encrypts every disk with keys of its own; one supplied here would be in Terraform's state.",
    "CKV_GCP_40": "SSH comes in and packages are fetched through the address; docs/gcp.md says so, and its price is in the plan.",
    "CKV_GCP_62": "Access logs cost money and need a bucket of their own; Cloud Audit Logs are the project's.",
    "CKV_GCP_78": "What is written is named by its content or written once; old versions of collected checkpoints would cost money.",
}

MUTANTS = {
    "CKV_GCP_2": ('"203.0.113.0/24"', '"0.0.0.0/0"'),
    "CKV_GCP_29": ('"uniform_bucket_level_access": true', '"uniform_bucket_level_access": false'),
    "CKV_GCP_32": ('"block-project-ssh-keys": "true"', '"block-project-ssh-keys": "false"'),
    "CKV_GCP_35": ('"serial-port-enable": "false"', '"serial-port-enable": "true"'),
    "CKV_GCP_39": ('"enable_vtpm": true', '"enable_vtpm": false'),
    "CKV_GCP_114": ('"public_access_prevention": "enforced"', '"public_access_prevention": "inherited"'),
}
OF_BUCKETS = ("CKV_GCP_29", "CKV_GCP_114")
"""A check, and how to break what it looks at: to see that it sees."""


def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    texts = golden("gcp")
    assert len(texts) >= 5
    for check, (good, bad) in MUTANTS.items():
        file = "gcp-bucket" if check in OF_BUCKETS else "gcp-cpu"
        assert good in texts[file]
        texts[f"mutant-{check}"] = texts[file].replace(good, bad)
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cdk.tf.json").write_text(text)
    found = findings(tmp_path)
    assert set(MUTANTS) <= set(found), "a mutant was not seen"
    assert set(found) == set(REASONS) | set(MUTANTS), "a finding without a reason, or a reason without a finding"
