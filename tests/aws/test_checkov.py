"""checkov on the golden Terraform: what it finds is either put right or has a reason here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.checkov import findings, golden

REASONS = {
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
}


def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    texts = golden("aws")
    assert len(texts) >= 5
    for name, text in texts.items():
        folder = tmp_path / "good" / name
        folder.mkdir(parents=True)
        (folder / "cdk.tf.json").write_text(text)
    # One that is open on purpose, to see that the check sees.
    wide = tmp_path / "good" / "aws-wide"
    wide.mkdir()
    text = (tmp_path / "good" / "aws-cpu" / "cdk.tf.json").read_text()
    (wide / "cdk.tf.json").write_text(text.replace("203.0.113.0/24", "0.0.0.0/0"))
    found = findings(tmp_path / "good")
    assert found.pop("CKV_AWS_24", set()) == {"resource.ssh-203-0-113-0-24"}, "open SSH was not seen"
    assert set(found) == set(REASONS), "a finding without a reason, or a reason without a finding"
    template = json.loads(text)["resource"]["aws_launch_template"]["main"]
    assert template["block_device_mappings"][0]["ebs"]["encrypted"] == "true"
