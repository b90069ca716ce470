"""A machine starts from the image of its own region, and is in no region that has none. What messages say is in tests/filetests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy
import pytest
from tests.compiler.test_match import CATALOG, ONE

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import Diagnostic, Severity, SourceFile, has_errors
from skyc.compiler.images import image_places
from skyc.compiler.ir import FrozenMap, ImageByPlace, ImagePlaces, NodeRuntime, ResourceRequest, SpecPath
from skyc.compiler.lower import Lowering
from skyc.compiler.match import Filter, codes_of, match
from skyc.compiler.parse import parse
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.compiler.shelves import Shelves
from skyc.providers.base import Access, ImageExtent
from skyc.providers.ibm.images import NoImage, image_of
from skyc.providers.registry import CLOUDS, load

PROVIDERS = {name: load(name) for name in sorted(CLOUDS)}
AMI, OTHER_AMI = "ami-0123456789abcdef0", "ami-0fedcba9876543210"
SSM = "resolve:ssm:/mine/gold"
COMPUTE = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute"
MANAGED, GALLERY = f"{COMPUTE}/images/gold", f"{COMPUTE}/galleries/all/images/gold"
URN = "Canonical:ubuntu-24_04-lts:server:latest"
GOOGLES = "projects/mine/global/images/gold"
SOUTH, EAST, STRANGE = (f"{number}-14140f94-fcc4-11e9-96e7-a72723715315" for number in ("r006", "r014", "r999"))


def read(resources: dict[str, Any]) -> tuple[tuple[ResourceRequest, ...], ImagePlaces, tuple[Diagnostic, ...]]:
    """The requests of `resources`, where their images are, and what is said of them. JSON is YAML."""
    source = SourceFile(path="task.yaml", text=json.dumps({"name": "t", "resources": resources, "run": "echo"}))
    spec, sources, said = parse(source)
    assert spec is not None and not said, said
    resolved, said = resolve(spec, sources, stem="t", directory=Path("/nowhere"), overrides=EnvOverrides.of())
    assert resolved is not None and not said, said
    places, said = image_places(resolved.graph, CATALOG, PROVIDERS, sources)
    return resolved.graph.tasks[0].groups[0].requests, places, said


def regions(requests: tuple[ResourceRequest, ...], places: ImagePlaces) -> set[str]:
    """`provider/region` of every candidate."""
    shelves = Shelves(CATALOG, places)
    found = set()
    for request in requests:
        columns = match(request, CATALOG, ONE, {}, shelves)
        for part in set(columns.part.tolist()):
            offers = CATALOG.parts[part].offers
            here = numpy.unique(offers.place[columns.row[columns.part == part]]).tolist()
            found |= {f"{CATALOG.parts[part].provider}/{offers.places[place].region}" for place in here}
    return found


EVERY = {
    name: regions((ResourceRequest(origin=SpecPath()),), {}) & {f"{name}/{place.region}" for place in part.offers.places}
    for part in CATALOG.parts
    for name in (part.provider,)
}
"""Target → its regions with a candidate for a task that asks for nothing."""


def name_of(value: object) -> str:
    """The same in every worker: a set has no order."""
    return json.dumps(value) if isinstance(value, dict) else "-"


@pytest.mark.parametrize(
    ("image", "target", "extent", "region"),
    [
        (AMI, "aws", ImageExtent.ONE, None),
        ("ami-01234567", "aws", ImageExtent.ONE, None),
        (SSM, "aws", ImageExtent.EVERYWHERE, None),
        (MANAGED, "azure", ImageExtent.ONE, None),
        (MANAGED.lower(), "azure", ImageExtent.ONE, None),
        (GALLERY, "azure", ImageExtent.COPIED, None),
        (f"{GALLERY}/versions/1.0.0", "azure", ImageExtent.COPIED, None),
        ("/communityGalleries/public-1/images/node", "azure", ImageExtent.COPIED, None),
        ("/sharedGalleries/abc/images/node/versions/latest", "azure", ImageExtent.COPIED, None),
        (URN, "azure", ImageExtent.EVERYWHERE, None),
        (GOOGLES, "gcp", ImageExtent.EVERYWHERE, None),
        ("projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64", "gcp", ImageExtent.EVERYWHERE, None),
        (SOUTH, "ibm", ImageExtent.ONE, "us-south"),
        (EAST, "ibm", ImageExtent.ONE, "us-east"),
        (STRANGE, "ibm", ImageExtent.ONE, None),
        *(
            (name, None, None, None)
            for name in ("", "ubuntu", "ami-", "docker:ubuntu", "docker:a:b:latest", "r006", "images/gold")
        ),
    ],
)
def test_the_name_of_an_image_is_one_targets_and_tells_where_it_is(
    image: str, target: str | None, extent: ImageExtent | None, region: str | None
) -> None:
    found = {name: reach for name, provider in PROVIDERS.items() if (reach := provider.image_reach(image)) is not None}
    assert [*found] == ([] if target is None else [target])
    for reach in found.values():
        assert (reach.extent, reach.region, bool(reach.note)) == (extent, region, image == STRANGE)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        # One image: its form limits the task to its target, and what its name tells to a region.
        ({"image_id": SSM}, EVERY["aws"]),
        ({"image_id": URN}, EVERY["azure"]),
        ({"image_id": GOOGLES}, EVERY["gcp"]),
        ({"image_id": SOUTH}, {"ibm/us-south"}),
        ({"image_id": SOUTH, "infra": "ibm"}, {"ibm/us-south"}),
        ({"image_id": AMI, "infra": "aws/us-west-2"}, {"aws/us-west-2"}),
        ({"image_id": AMI, "region": "us-west-2"}, {"aws/us-west-2"}),
        ({"image_id": AMI, "zone": "use1-az1"}, {"aws/us-east-1"}),
        (
            {"image_id": GALLERY, "any_of": [{"infra": "azure/eastus"}, {"infra": "azure/westus2"}]},
            {"azure/eastus", "azure/westus2"},
        ),
        # A mapping: its keys and nothing else.
        ({"image_id": {"us-east-1": AMI, "aws/us-west-2": OTHER_AMI}}, {"aws/us-east-1", "aws/us-west-2"}),
        ({"image_id": {"us-east-1": AMI, "eastus": URN}}, {"aws/us-east-1", "azure/eastus"}),
        ({"image_id": {"us-east-1": AMI, "gcp": GOOGLES}, "infra": "gcp"}, EVERY["gcp"]),
        ({"image_id": {"azure": GALLERY}}, EVERY["azure"]),
        ({"image_id": {"ibm": SOUTH, "ibm/us-east": EAST}}, {"ibm/us-south", "ibm/us-east"}),
        (
            {"image_id": {"us-east-1": AMI, "gcp": GOOGLES}, "any_of": [{"infra": "aws"}, {"infra": "gcp/us-west1"}]},
            {"aws/us-east-1", "gcp/us-west1"},
        ),
        (
            {"image_id": {"us-east-1": AMI}, "ordered": [{"infra": "aws"}, {"infra": "gcp/us-west1", "image_id": None}]},
            {"aws/us-east-1", "gcp/us-west1"},
        ),
    ],
    ids=name_of,
)
def test_candidates_are_where_the_image_is(resources: dict[str, Any], expected: set[str]) -> None:
    requests, places, said = read(resources)
    assert said == ()
    assert regions(requests, places) == expected


@pytest.mark.parametrize(
    ("resources", "slugs"),
    [
        ({"image_id": AMI}, ["image-needs-region"]),
        ({"image_id": AMI, "any_of": [{"infra": "aws/us-east-1"}, {"infra": "aws/us-east-1", "cpus": 8}]}, []),
        ({"image_id": AMI, "any_of": [{"infra": "aws/us-east-1"}, {"infra": "aws/us-east-2"}]}, ["image-needs-region"]),
        ({"image_id": AMI, "infra": "lambda/us-east-1"}, ["image-elsewhere"]),
        ({"image_id": AMI, "infra": "aws/nowhere-1"}, []),
        ({"image_id": SOUTH, "infra": "ibm/us-east"}, ["image-elsewhere"]),
        ({"image_id": STRANGE, "infra": "ibm/us-east"}, ["image-region-not-told"]),
        ({"image_id": {"us-east": STRANGE}}, ["image-region-not-told"]),
        ({"image_id": "ubuntu", "infra": "gcp"}, []),
        ({"image_id": {}}, ["image-elsewhere"]),
        ({"image_id": {"us-east-1": AMI}, "infra": "aws/us-west-2"}, ["image-elsewhere"]),
        ({"image_id": {"AWS/us-east-1": AMI}}, ["unknown-place"]),
    ],
    ids=name_of,
)
def test_what_an_image_is_refused_for(resources: dict[str, Any], slugs: list[str]) -> None:
    """Where nothing is said another stage says more: of a place that is nobody's, and of a text at a target that is named."""
    requests, places, said = read(resources)
    assert [one.slug for one in said] == slugs
    # An error makes no second one.
    assert not has_errors(said) or not any(request.image_id in places for request in requests)


def test_a_mapping_rules_out_its_places_and_nothing_else() -> None:
    """For mappings at random: the candidates are those without it whose region has an image of the target's, and the counts are those
    of single offers."""
    draw = random.Random(7)
    known = {"aws": SSM, "azure": URN, "gcp": GOOGLES}
    keys = [place for name in known for place in sorted(EVERY[name])]
    free = match(ResourceRequest(origin=SpecPath()), CATALOG, ONE, {}, Shelves(CATALOG))
    for _ in range(4):
        chosen = draw.sample(keys, draw.randint(1, 12))
        written = {key if draw.random() < 0.5 else key.partition("/")[2]: known[key.partition("/")[0]] for key in chosen}
        (request,), places, said = read({"image_id": written})
        assert said == ()
        found = match(request, CATALOG, ONE, {}, Shelves(CATALOG, places))
        kept = numpy.zeros(len(free.row), dtype=bool)
        for number, part in enumerate(CATALOG.parts):
            there = numpy.array([f"{part.provider}/{place.region}" in chosen for place in part.offers.places])
            mine = free.part == number
            kept[mine] = there[part.offers.place[free.row[mine]]]
        assert (found.row == free.row[kept]).all() and (found.part == free.part[kept]).all()
        codes = codes_of(request, CATALOG, ONE, {}, images=places)
        ruled = sum(int((values >> Filter.IMAGE & 1).sum()) for one in codes for values in (one.on_demand, one.spot))
        assert found.counts[Filter.IMAGE] == ruled > 0


def test_the_narrower_key_counts() -> None:
    image = ImageByPlace(images=FrozenMap({"gcp": "all", "us-west1": "west", "gcp/us-east1": "east", "us-east1": "never"}))
    assert [image.at("gcp", region) for region in ("us-west1", "us-east1", "us-central1")] == ["west", "east", "all"]
    assert image.at("aws", "us-west-1") is None and image.at("aws", "us-west1") == "west"


def compiled(resources: dict[str, Any], home: Path) -> Compilation:
    text = json.dumps({"name": "t", "resources": resources, "run": "echo"})
    options = CompileOptions(
        providers=PROVIDERS,
        home=home,
        runtime=NodeRuntime(python="3.11"),
        overrides=EnvOverrides.of(environ={}),
        access=lambda _: Access(ssh_from=("203.0.113.7/32",), login_key="key"),
        parts={part.provider: part for part in CATALOG.parts},
    )
    return compile_source(SourceFile(path="task.yaml", text=text), options, until="lower")


def test_a_fallback_is_where_an_image_is_and_starts_from_that_one(tmp_path: Path) -> None:
    images = {"us-east-1": AMI, "us-west-2": OTHER_AMI, "us-south": SOUTH, "ibm/us-east": EAST}
    made = compiled({"instance_type": "m5.xlarge", "image_id": images}, tmp_path)
    assert not has_errors(made.diagnostics) and made.placement is not None and made.graph is not None
    everywhere = [*made.placement.placements, *made.placement.fallbacks]
    assert {item.region for item in everywhere} == {"us-east-1", "us-west-2"}
    how = Lowering(
        providers=PROVIDERS,
        deployment=made.deployment,
        home="/home",
        runtime=made.options.runtime,
        sources=made.sources,
        access=made.options.access,
    )
    for item in everywhere:
        graph, _ = how.task(made.graph.tasks[0], (item,), (), "")
        assert graph is not None
        (template,) = [node.arguments for node in graph.resources if node.address.type == "aws_launch_template"]
        assert template["image_id"] == images[item.region]


def test_with_one_image_there_is_no_fallback_in_another_region(tmp_path: Path) -> None:
    made = compiled({"instance_type": "m5.xlarge", "image_id": AMI, "region": "us-west-2"}, tmp_path)
    assert made.placement is not None and made.placement.fallbacks
    assert {item.region for item in made.placement.fallbacks} == {"us-west-2"}


def test_nothing_fits_names_the_image_where_it_is_the_reason(tmp_path: Path) -> None:
    made = compiled({"instance_type": "p5.48xlarge", "image_id": {"eu-west-3": AMI}}, tmp_path)
    (said,) = [one for one in made.diagnostics if has_errors((one,))]
    assert said.slug == "nothing-fits"
    assert "no-image-there: `image_id` names no image for aws/" in said.detail
    assert "Together `instance_type` and `image_id` exclude every offer" in said.detail


def test_an_image_of_config_yaml_that_is_another_regions_is_refused() -> None:
    found = image_of(None, "us-east", False, {"ibm/us-east": SOUTH})
    assert isinstance(found, NoImage) and "is an image of us-south" in found.why
    assert image_of(None, "us-east", False, {"ibm/us-east": EAST}) == EAST


def test_a_region_beside_the_catalog_stops_no_task_that_names_another() -> None:
    requests, places, said = read({"infra": "aws", "image_id": {"us-east-1": AMI, "us-gov-west-1": OTHER_AMI}})
    (warned,) = said
    assert warned.severity is Severity.WARNING and warned.slug == "unknown-place"
    assert "knows no region `us-gov-west-1`" in warned.detail and regions(requests, places) == {"aws/us-east-1"}
    _, _, alone = read({"infra": "aws", "image_id": {"us-gov-west-1": OTHER_AMI}})
    assert has_errors(alone)


def test_a_wrong_name_in_one_branch_is_a_warning_at_its_line() -> None:
    text = "name: t\nrun: echo\nresources:\n  any_of:\n    - {infra: aws/us-esat-1}\n    - {infra: gcp/us-central1, cpus: 4}\n"
    spec, sources, _ = parse(SourceFile(path="task.yaml", text=text))
    assert spec is not None
    resolved, _ = resolve(spec, sources, stem="t", directory=Path("/nowhere"), overrides=EnvOverrides.of())
    assert resolved is not None
    found, said = candidates(resolved.graph, CATALOG, sources)
    (warned,) = said
    assert len(found.options[0]) and warned.severity is Severity.WARNING and warned.slug == "unknown-place"
    assert warned.span is not None and warned.span.line == 5 and warned.hint == "did you mean `us-east-1`?"
