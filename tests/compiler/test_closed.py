"""Regions that accounts have to ask for: which they are, and that nothing is placed there by itself. The shipped catalog, and no fake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.filetests.stage_runners import ACCESS, PROVIDERS

from skyc.compiler.diagnostics import Severity, SourceFile
from skyc.compiler.ir import DeploymentId, NodeRuntime
from skyc.compiler.optimize.explain import why_not
from skyc.compiler.pipeline import Compilation, CompileOptions, capabilities_of, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws import regions as aws
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure import regions as azure
from skyc.providers.azure.provider import AzureProvider

TASK = "name: t\nresources: {infra: aws, accelerators: 'H200:8', use_spot: true}\nrun: echo hi\n"


def compiled(home: Path, text: str, *names: str, regions: tuple[str, ...] = ()) -> Compilation:
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={name: PROVIDERS[name] for name in names or ("aws",)},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: ACCESS,
            regions=regions,
        ),
        until="optimize",
    )


def went(made: Compilation) -> str:
    assert made.placement is not None, made.diagnostics
    return made.placement.placements[0].region


def said(made: Compilation) -> list[str]:
    return [found.slug for found in made.diagnostics]


def test_every_region_of_the_catalog_is_classified(tmp_path: Path) -> None:
    """A region that is new to the catalog has to be put into one of the two lists, with what the cloud says of it."""
    for provider, always, on_request in (
        (AwsProvider(), aws.ALWAYS, aws.OPT_IN),
        (AzureProvider(), azure.ALWAYS, azure.RESTRICTED),
    ):
        sold = {place.region for place in provider.catalog(home=tmp_path).offers.places}
        assert not always & on_request
        assert sold <= always | on_request, sorted(sold - always - on_request)
        assert {region for region in sold if provider.on_request(region)} == sold & on_request


def test_an_opt_in_region_is_left_out_and_the_plan_says_so(tmp_path: Path) -> None:
    made = compiled(tmp_path, TASK)
    assert made.placement is not None
    places = {(item.provider, item.region) for item in (*made.placement.placements, *made.placement.fallbacks)}
    assert not [place for place in places if PROVIDERS[place[0]].on_request(place[1])]
    (note,) = [found for found in made.diagnostics if found.slug == "region-not-enabled"]
    assert note.severity is Severity.NOTE
    assert "aws/eu-south-2/" in note.detail and f"aws/{went(made)}/" in note.detail and "left out" in note.detail
    assert note.hint is not None and "regions: {aws: [eu-south-2]}" in note.hint
    (row,) = [row for row in made.placement.rejections if row.reason == "region-not-enabled"]
    assert "config.yaml" in row.detail


def test_who_names_the_region_or_says_that_the_account_has_it_gets_it(tmp_path: Path) -> None:
    usual = compiled(tmp_path, TASK)
    named = compiled(tmp_path, TASK.replace("infra: aws", "infra: aws/eu-south-2"))
    declared = compiled(tmp_path, TASK, regions=("aws/eu-south-2",))
    assert went(named) == went(declared) == "eu-south-2" != went(usual)
    assert "region-not-enabled" not in (*said(named), *said(declared))
    # What nobody opened is no other catalog.
    assert usual.candidates is not None and named.candidates is not None and declared.candidates is not None
    assert usual.candidates.catalog_digest == named.candidates.catalog_digest != declared.candidates.catalog_digest


def test_naming_a_zone_is_naming_its_region(tmp_path: Path) -> None:
    assert went(compiled(tmp_path, TASK.replace("infra: aws", "infra: 'aws/*/eus2-az2'"))) == "eu-south-2"


def test_an_image_for_the_region_names_it(tmp_path: Path) -> None:
    for key in ("eu-south-2", "aws/eu-south-2"):
        text = TASK.replace(
            "infra: aws", f"infra: aws, image_id: {{{key}: ami-0123456789abcdef0, us-east-1: ami-0fedcba9876543210}}"
        )
        assert went(compiled(tmp_path, text)) == "eu-south-2"
    everywhere = TASK.replace("infra: aws", "infra: aws, image_id: {aws: 'resolve:ssm:/ours/image'}")
    assert went(compiled(tmp_path, everywhere)) != "eu-south-2"


def test_why_not_says_it(tmp_path: Path) -> None:
    made = compiled(tmp_path, TASK)
    assert made.graph is not None and made.candidates is not None and made.placement is not None
    (answer,) = why_not(
        made.graph, made.candidates, made.placement, made.sources, "aws/eu-south-2", capabilities_of({"aws": PROVIDERS["aws"]})
    )
    first = answer.hindrances[0]
    assert (first.reason, first.field, answer.fitting) == ("region-not-enabled", "infra", 0)
    assert "`aws: [eu-south-2]`" in first.detail and first.alone > 0 and first.cheapest is not None


def test_where_only_such_a_region_has_it_the_error_says_so(tmp_path: Path) -> None:
    # A ceiling between its price and the next does it.
    text = "name: t\nresources: {infra: aws, accelerators: 'H200:8', use_spot: true, max_hourly_cost: 7}\nrun: echo hi\n"
    made = compiled(tmp_path, text)
    (found,) = [item for item in made.diagnostics if item.severity is Severity.ERROR]
    assert found.slug == "region-not-enabled"
    assert found.detail.startswith("Only accounts that asked for it have aws/eu-south-2;")
    assert went(compiled(tmp_path, text, regions=("aws/eu-south-2",))) == "eu-south-2"


def test_a_storage_goes_to_such_a_region_only_with_a_task_that_names_it(tmp_path: Path) -> None:
    text = (
        "name: t\nresources: {infra: INFRA, cpus: 4+}\nrun: echo hi\n"
        "storage: {data: {placement: auto, size_gb: 100}}\noutputs: {data: 100GB}\n"
    )
    image = "aws, image_id: {eu-south-2: ami-0123456789abcdef0}"
    for infra, there in (("aws", False), ("aws/eu-south-2", True), ("'aws/*/eus2-az2'", True), (image, True)):
        made = compiled(tmp_path, text.replace("INFRA", infra))
        assert made.placement is not None, made.diagnostics
        (place,) = [storage.location for storage in made.placement.storages]
        assert place is not None
        assert (place.region == "eu-south-2") is there
        assert there or not PROVIDERS["aws"].on_request(place.region)


def test_machines_go_to_the_data_that_is_kept_in_such_a_region(tmp_path: Path) -> None:
    text = "name: t\nresources: {cpus: 4+}\nrun: echo hi\nstorage: {data: {infra: aws/eu-south-2, store: s3}}\ninputs: {data: 500GB}\n"
    assert went(compiled(tmp_path, text)) == "eu-south-2"


@pytest.mark.parametrize("tail", ["inputs: {'s3://bucket/x': 10GB}\n", "storage: {out: {uri: 's3://bucket/x'}}\n"])
def test_where_data_has_a_say_a_cheaper_machine_alone_is_not_told(tmp_path: Path, tail: str) -> None:
    made = compiled(tmp_path, TASK + tail)
    assert not made.failed and "region-not-enabled" not in said(made)


def test_the_quickest_is_not_compared_by_price(tmp_path: Path) -> None:
    from skyc.compiler.ir import Objective

    source = SourceFile(path="task.yaml", text=TASK)
    options = CompileOptions(
        providers={"aws": PROVIDERS["aws"]},
        home=tmp_path,
        runtime=NodeRuntime(python="3.11"),
        overrides=EnvOverrides.of(environ={}),
        objective=Objective.TIME,
    )
    assert "region-not-enabled" not in said(compile_source(source, options, until="optimize"))
