"""Which Storages become buckets, where, and that they stay there."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.buckets import MARK, KnownBucket
from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import DeploymentId, NodeRuntime, SiteId, holds_storage, storage_label, storage_site, task_of
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.local.client import LocalProvider
from skyc.runtime.runs import task_digest

AT_AWS = "name: demo\nresources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}\nrun: x\n"
HERE = "name: demo\nresources: {infra: local, cpus: 1}\nrun: x\n"


def compiled(text: str, home: Path, *known: KnownBucket, offline: bool = False) -> Compilation:
    options = CompileOptions(
        providers={"aws": AwsProvider(), "local": LocalProvider()},
        home=home,
        runtime=NodeRuntime(python="3.11"),
        overrides=EnvOverrides.of(environ={}),
        mark=lambda deployment: f"mark-of-{deployment}",
        known=lambda deployment: known,
        offline=offline,
    )
    return compile_source(SourceFile(path="task.yaml", text=text), options, until="lower")


def places(made: Compilation) -> dict[str, str]:
    assert not has_errors(made.diagnostics), made.diagnostics
    return {bucket.storage.name: str(bucket.location) for bucket in made.buckets}


def test_a_bucket_is_where_it_is_said_or_chosen_or_where_its_task_is(tmp_path: Path) -> None:
    text = (
        AT_AWS
        + "storage: {a: {}, b: {infra: aws/eu-west-1}, c: {placement: auto, infra: aws/us-west-2}, d: {uri: s3://mine}}\n"
    )
    made = compiled(text, tmp_path)
    assert places(made) == {"a": "aws/us-east-1", "b": "aws/eu-west-1", "c": "aws/us-west-2"}
    assert [graph.site for graph in made.graphs or ()] == [
        "_storage.aws-eu-west-1",
        "_storage.aws-us-east-1",
        "_storage.aws-us-west-2",
        "demo.aws-us-east-1",
    ]
    assert made.buckets[0].storage.uri == "s3://skyc-demo-a-mark-of-demo"


def test_a_task_on_this_machine_can_have_a_bucket_elsewhere(tmp_path: Path) -> None:
    assert places(compiled(HERE + "storage: {a: {}}\n", tmp_path)) == {}
    made = compiled(HERE + "storage: {a: {infra: aws/eu-west-1}}\n", tmp_path)
    assert places(made) == {"a": "aws/eu-west-1"}


def test_what_has_a_bucket_stays_there_and_the_task_is_the_same_task(tmp_path: Path) -> None:
    text = AT_AWS + "storage: {a: {placement: auto, infra: aws}}\n"
    there = KnownBucket(name="a", provider="aws", region="ap-south-1", persistent=True)
    before, after = compiled(text, tmp_path), compiled(text, tmp_path, there)
    assert places(after) == {"a": "aws/ap-south-1"} != places(before)
    assert before.graph is not None and after.graph is not None
    assert task_digest(before.graph.tasks[0]) == task_digest(after.graph.tasks[0])


def test_a_first_plan_costs_what_the_next_one_does(tmp_path: Path) -> None:
    """The bucket is counted before it is there, where its task's place puts it: a plan that changes nothing has no other price."""
    text = AT_AWS + "hours: 4\nstorage: {a: {size_gb: 200}}\noutputs: {a: 200GB}\n"
    first = compiled(text, tmp_path)
    there = KnownBucket(name="a", provider="aws", region="us-east-1", persistent=True)
    later = compiled(text, tmp_path, there)
    assert first.placement is not None and later.placement is not None
    assert [line.label for line in first.placement.lines] == [line.label for line in later.placement.lines]
    assert "storage a" in {line.label for line in first.placement.lines}
    assert (first.placement.total, first.placement.worst_case) == (later.placement.total, later.placement.worst_case)
    assert first.placement.fallbacks == later.placement.fallbacks


def test_a_file_that_puts_data_elsewhere_is_refused(tmp_path: Path) -> None:
    there = KnownBucket(name="a", provider="aws", region="ap-south-1", persistent=False)
    made = compiled(AT_AWS + "storage: {a: {infra: aws/us-east-1}}\n", tmp_path, there)
    (said,) = made.diagnostics
    assert said.slug == "storage-elsewhere" and said.span is not None and said.span.line == 4


@pytest.mark.parametrize(("persistent", "expected"), [(True, {"gone": "aws/us-east-1"}), (False, {})])
def test_what_the_file_does_not_name_any_more_stays_if_it_is_persistent(
    tmp_path: Path, persistent: bool, expected: dict[str, str]
) -> None:
    gone = KnownBucket(name="gone", provider="aws", region="us-east-1", persistent=persistent)
    made = compiled(AT_AWS, tmp_path, gone)
    assert places(made) == expected
    assert [bucket.named for bucket in made.buckets] == [False] * len(expected)


def test_one_word_for_keeping_data_is_enough(tmp_path: Path) -> None:
    for word, stays in (("true", True), ("false", False)):
        documents = "\n---\n".join(
            f"name: {name}\nresources: {{infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}}\n"
            f"storage: {{a: {{persistent: {value}}}}}\nrun: x"
            for name, value in (("one", "false"), ("two", word))
        )
        (bucket,) = compiled(f"{documents}\n", tmp_path).buckets
        assert bucket.storage.persistent is stays


def test_offline_plans_are_the_same_everywhere(tmp_path: Path) -> None:
    (bucket,) = compiled(AT_AWS + "storage: {a: {}}\n", tmp_path, offline=True).buckets
    assert bucket.storage.uri == f"s3://skyc-demo-a-{MARK}"


def test_the_price_of_keeping_it_is_known(tmp_path: Path) -> None:
    (bucket,) = compiled(AT_AWS + "storage: {a: {size_gb: 100}}\n", tmp_path).buckets
    assert bucket.gb_month is not None and bucket.monthly == 100 * bucket.gb_month > 0


@pytest.mark.parametrize("name", ["out", "o", "a-b", "a.b", "A-b", "-a", "9", "my_data", "x" * 128])
def test_labels_are_plain_and_differ(name: str) -> None:
    label = storage_label(name)
    assert label.replace("-", "").isalnum() and label[0].isalpha() and label == label.lower() and label[-1].isalnum()
    assert label == storage_label(name)
    uri = AwsProvider().bucket_uri(name, region="us-east-1", deployment=DeploymentId("d" * 39), mark=MARK)
    assert 3 <= len(uri.removeprefix("s3://")) <= 63


def test_no_two_names_share_a_bucket() -> None:
    names = ["a.b", "a-b", "A.b", "a_b", "a--b", "data", "Data", *(f"{'x' * 80}{index}" for index in range(9))]
    uris = {AwsProvider().bucket_uri(name, region="r", deployment=DeploymentId("demo"), mark=MARK) for name in names}
    assert len(uris) == len(names)


def test_a_site_of_buckets_is_no_tasks() -> None:
    site = storage_site("aws", "us-east-1")
    assert holds_storage(site) and task_of(site) is None
    assert task_of(SiteId("train.aws-us-east-1")) == "train" and not holds_storage(SiteId("storage.local"))
