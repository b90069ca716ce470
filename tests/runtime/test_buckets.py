"""What a destroy makes of a module with buckets, without Terraform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime import calls
from skyc.runtime.buckets import unprotected, without
from skyc.runtime.destroy import _module_without

MODULE = {
    "output": {"storages": {"value": {"out": {"uri": "s3://a"}, "My Data": {"uri": "s3://b"}}}},
    "provider": {"aws": [{"region": "us-east-1"}]},
    "resource": {
        "aws_s3_bucket": {
            "out": {"bucket": "a", "lifecycle": {"ignore_changes": ["tags"], "prevent_destroy": True}},
            "s-my-data-79e53b9f": {"bucket": "b"},
        },
        "aws_s3_bucket_policy": {"out": {"policy": "{}"}},
    },
}
TEXT = json.dumps(MODULE)


def test_a_storage_goes_with_all_that_is_only_its_own() -> None:
    left = json.loads(without(TEXT, frozenset({"out"})))
    assert set(left["resource"]) == {"aws_s3_bucket"} and set(left["resource"]["aws_s3_bucket"]) == {"s-my-data-79e53b9f"}
    assert set(left["output"]["storages"]["value"]) == {"My Data"}
    assert left["provider"] == MODULE["provider"]


def test_only_the_protection_goes_for_a_purge() -> None:
    bucket = json.loads(unprotected(TEXT))["resource"]["aws_s3_bucket"]["out"]
    assert bucket == {"bucket": "a", "lifecycle": {"ignore_changes": ["tags"]}}


@pytest.mark.parametrize("done", [False, True])
def test_a_destroy_that_was_not_approved_leaves_the_module_as_it_was(tmp_path: Path, done: bool) -> None:
    (tmp_path / "cdk.tf.json").write_text(TEXT)
    state = {"version": 4, "lineage": "l", "serial": 1, "resources": [], "outputs": {}}
    (tmp_path / "terraform.tfstate").write_text(json.dumps(state))
    with _module_without(tmp_path, frozenset(), everything=True):
        assert "prevent_destroy" not in (tmp_path / "cdk.tf.json").read_text()
        if done:
            (tmp_path / "terraform.tfstate").write_text(json.dumps({**state, "serial": 2}))
    assert ("prevent_destroy" in (tmp_path / "cdk.tf.json").read_text()) is not done


def test_nothing_is_rented_for_a_job_whose_storage_cannot_be_opened(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: demo\nresources: {infra: local, cpus: 1}\nstorage: {a: {uri: nowhere://place}}\n"
        "file_mounts: {data: {name: a}}\nrun: x\n"
    )
    with pytest.raises(SkycError) as refused:
        calls.apply(task, home=tmp_path / "home")
    assert refused.value.diagnostics[0].slug == "unknown-storage-scheme"
    assert not (tmp_path / "home" / "deployments").exists()
