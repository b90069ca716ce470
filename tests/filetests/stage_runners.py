"""How a file test's input becomes the text it expects, for the stages from candidates to report.

Every runner works on a fixed machine, home and Python, so that the expected text is the same on every machine. The header lines of
an input may say `# machine: eight` (8 CPUs, 32 GiB; the default), `gpus` (the same with 4 T4), `rented` (a made-up cloud with
several machines), `owned` (that and three machines of one's own), `aws`, `azure`, `gcp`, `ibm` or `clouds` (all four of them),
`# objective: time`, `# network: own` (machines go into networks of the user's), and for a report `# change:` (one of `changes.CHANGES`,
or `graph` for everything the task needs), `# before:` (another report's test, whose task was applied before; without one nothing is
there yet) and `# format:` (text, markdown or json).
"""

import re
import tempfile
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path

import yaml
from tests.filetests.changes import CHANGES, first_plan, moving_plan

from skyc.compiler.buckets import MARK, place_buckets
from skyc.compiler.candidates import candidates, report
from skyc.compiler.changeset import change_set
from skyc.compiler.diagnostics import Diagnostic, SourceFile, SourceMap, has_errors, in_reading_order, render
from skyc.compiler.images import image_places
from skyc.compiler.ir import (
    Accelerator,
    Addresses,
    CandidateSet,
    Catalog,
    DeploymentId,
    FrozenMap,
    JobAction,
    JobPlan,
    NodeRuntime,
    Objective,
    PlacementPlan,
    ResourceGraph,
    SiteId,
    SpecPath,
    TaskGraph,
)
from skyc.compiler.ir.catalog import CatalogPart, PriceStep, Rates, StorageRate, TransferRule
from skyc.compiler.lower import Lowering, lower
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.pipeline import capabilities_of
from skyc.compiler.printer import print_ir
from skyc.compiler.report import Report, build, comment, compose, environment_of, render_json, render_text
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.compiler.synth import synth
from skyc.compiler.terraform_engine import Engine
from skyc.providers.base import EVERY_ZONE, Access, ExistingNetwork, NetworkChoice, usual_addresses
from skyc.providers.local.catalog import Machine as LocalMachine
from skyc.providers.local.catalog import Price, snapshot
from skyc.providers.owned.machines import Machine, part_of
from skyc.providers.registry import load_all, meanings
from skyc.providers.snapshot import OfferRow, TypeRow, build_part

HOME = "/home/me/.skyc"
RUNTIME = NodeRuntime(python="3.11")
DIRECTORY = Path("/home/me/project")
GPUS = (Accelerator(name="T4", count=Decimal(4), memory_gb=Decimal(16)),)
PROVIDERS = {provider.name: provider for provider in load_all()}
PRICE = Price(hourly=Decimal("0.25"), source="config.yaml: local.price_per_hour")


def _kind(name: str, cpus: int, memory: int, gpus: int = 0) -> TypeRow:
    devices = (Accelerator(name="T4", count=Decimal(gpus), memory_gb=Decimal(16)),) if gpus else ()
    return TypeRow(name=name, cpus=Decimal(cpus), memory_gb=Decimal(memory), accelerators=devices)


def _offer(kind: TypeRow, region: str, price: str | None, spot: str | None = None) -> OfferRow:
    return OfferRow(
        type=kind.key,
        region=region,
        zone=f"{region}-a",
        on_demand=None if price is None else Decimal(price),
        spot=None if spot is None else Decimal(spot),
        source="price list",
        as_of="2026-11-01",
    )


def _steps(*steps: tuple[str, str]) -> tuple[PriceStep, ...]:
    return tuple(PriceStep(above=Decimal(above), price=Decimal(price)) for above, price in steps)


def _rule(source: str, destination: str, *steps: tuple[str, str]) -> TransferRule:
    return TransferRule(
        source=source, destination=destination, steps=_steps(*steps), price_source="transfer list", as_of="2026-11-01"
    )


SMALL, LARGE, GPU, ODD = _kind("small", 4, 16), _kind("large", 16, 64), _kind("gpu", 8, 32, 1), _kind("odd", 4, 8)
RENTED = build_part(
    "rented",
    (SMALL, LARGE, GPU, ODD),
    (
        _offer(SMALL, "north", "0.20", "0.06"),
        _offer(SMALL, "south", "0.20"),
        _offer(LARGE, "north", "0.80"),
        _offer(GPU, "south", "0.55"),
        _offer(ODD, "north", None),
    ),
    Rates(
        continents=FrozenMap({"north": "europe", "south": "asia"}),
        transfers=(
            _rule("*", "other-region", ("0", "0.02")),
            _rule("*", "internet", ("0", "0.09"), ("10240", "0.05")),
        ),
        storages=(
            StorageRate(
                region="*", name="standard", steps=_steps(("0", "0.023")), price_source="storage list", as_of="2026-11-01"
            ),
        ),
        schemes=("rent",),
        reference_region="north",
    ),
    sells_spot=True,
    as_of="2026-11-01",
)
"""A made-up cloud of two regions with four machines."""
OWNED = part_of(
    (
        Machine(
            origin=SpecPath(), name="big", cpus=Decimal(16), memory="64", labels=FrozenMap({"team": "vision", "rack": "a"})
        ),
        Machine(origin=SpecPath(), name="small", cpus=Decimal(4), memory="16", labels=FrozenMap({"team": "speech"})),
        Machine(origin=SpecPath(), name="arm", cpus=Decimal(4), memory="16", arch="arm64"),
    )
)
"""Machines of somebody's own, two of them with labels."""


def _shipped(*names: str) -> Catalog:
    providers = [PROVIDERS[name] for name in names]
    usual = FrozenMap({provider.name: usual_addresses(provider.capabilities) for provider in providers})
    return Catalog(parts=tuple(_part(name) for name in names), addresses=usual)


@cache
def _part(name: str) -> CatalogPart:
    return PROVIDERS[name].catalog(home=Path(HOME))


MACHINES = {
    "eight": Catalog(parts=(snapshot(LocalMachine(cpus=8, memory_gb=Decimal(32), arch="x86_64"), PRICE),)),
    "gpus": Catalog(parts=(snapshot(LocalMachine(cpus=8, memory_gb=Decimal(32), arch="x86_64", accelerators=GPUS), PRICE),)),
    "rented": Catalog(parts=(RENTED,)),
    "owned": Catalog(parts=(OWNED, RENTED)),
    # As shipped. Its tests name machine and zone, so that no price changes what they expect.
    "aws": _shipped("aws"),
    "azure": _shipped("azure"),
    "ibm": _shipped("ibm"),
    "gcp": _shipped("gcp"),
    "clouds": _shipped("aws", "azure", "gcp", "ibm"),
}
ACCESS = Access(
    ssh_from=("203.0.113.0/24",),
    login_key="ssh-ed25519 the-login-key",
    host_key="the one-time host key, in private\n",
    host_key_public="ssh-ed25519 the-host-key",
    storage_accounts=FrozenMap(
        {
            name: "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/data/providers/Microsoft.Storage"
            f"/storageAccounts/{name}"
            for name in ("teamdata", "teamout")
        }
    ),
    bucket_keys=FrozenMap(
        {
            "sealed-data": ("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",),
            "sealed-out": tuple(f"arn:aws:kms:eu-west-1:111122223333:key/{name}" for name in ("mrk-00ff", "0000beef")),
            "by-alias": ("arn:aws:kms:eu-west-1:111122223333:alias/data",),
        }
    ),
)
"""What a deployment's own would be."""
_COMPANY = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/company/providers/Microsoft.Network"
IMAGES = FrozenMap(
    {
        "ibm/us-south": "r006-00000000-0000-4000-a000-000000000001",
        "ibm/us-south/gpu": "r006-00000000-0000-4000-a000-000000000002",
    }
)
"""As config.yaml would name them."""


NETWORKS = {
    ("aws", "us-east-1"): ExistingNetwork(
        id="vpc-0123456789abcdef0", subnets=FrozenMap({"use1-az1": "subnet-0123456789abcdef0"})
    ),
    ("azure", "eastus"): ExistingNetwork(
        id=f"{_COMPANY}/virtualNetworks/hub",
        subnets=FrozenMap({EVERY_ZONE: f"{_COMPANY}/virtualNetworks/hub/subnets/training"}),
    ),
    ("gcp", "us-central1"): ExistingNetwork(
        id="projects/net-host/global/networks/shared",
        subnets=FrozenMap({EVERY_ZONE: "projects/net-host/regions/us-central1/subnetworks/training"}),
    ),
    ("ibm", "us-south"): ExistingNetwork(
        id="r006-4727d842-f94f-4a2d-824a-9bc9b02c523b",
        subnets=FrozenMap({"us-south-1": "0717-14b1bc80-07ec-86d4-a234-f46d1a1b2c3d"}),
    ),
}
"""As config.yaml would name them."""

CHOICES = {
    "own": {
        place: NetworkChoice(existing=own, public=Addresses.NONE if place[0] == "aws" else Addresses.ALL)
        for place, own in NETWORKS.items()
    },
    "public": {place: NetworkChoice(public=Addresses.ALL) for place in NETWORKS},
}
"""What config.yaml says of the machines' networks, for `# network: own` and `# network: public`."""


class Refused(Exception):
    """A stage said errors; its text is their rendering, which is the answer then."""


def setting(text: str, name: str, default: str) -> str:
    """The value of `# name: value` in the first comment lines."""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        key, _, value = line.removeprefix("#").partition(":")
        if key.strip() == name:
            return value.strip()
    return default


def _checked(said: tuple[Diagnostic, ...], source: SourceFile) -> None:
    if has_errors(said):
        raise Refused("\n\n".join(render(diagnostic, source) for diagnostic in in_reading_order(said)))


def _graph(source: SourceFile) -> tuple[TaskGraph, SourceMap]:
    spec, sources, said = parse(source)
    _checked(said, source)
    assert spec is not None
    stem = source.path.removesuffix(".yaml")
    resolved, said = resolve(spec, sources, stem=stem, directory=DIRECTORY, overrides=EnvOverrides.of())
    _checked(said, source)
    assert resolved is not None
    return resolved.graph, sources


def _found(source: SourceFile) -> tuple[TaskGraph, CandidateSet]:
    graph, sources = _graph(source)
    catalog = MACHINES[setting(source.text, "machine", "eight")]
    images, about = image_places(graph, catalog, PROVIDERS, sources)
    found, said = candidates(graph, catalog, sources, capabilities_of(PROVIDERS), images=images)
    _checked((*about, *said), source)
    return graph, found


def _placed(source: SourceFile) -> tuple[TaskGraph, PlacementPlan]:
    graph, found = _found(source)
    sources = _graph(source)[1]
    plan, said = optimize(graph, found, sources, objective=Objective(setting(source.text, "objective", "cost")))
    _checked(said, source)
    assert plan is not None
    return graph, plan


def _sources(source: SourceFile) -> SourceMap:
    return parse(source)[1]


def _lowered(source: SourceFile) -> tuple[ResourceGraph, ...]:
    graph, plan = _placed(source)
    deployment = DeploymentId(graph.name)
    catalog = MACHINES[setting(source.text, "machine", "eight")]
    how = Lowering(
        providers=PROVIDERS,
        deployment=deployment,
        home=HOME,
        runtime=RUNTIME,
        sources=_sources(source),
        access=lambda _: ACCESS,
        images=IMAGES,
        networks=CHOICES.get(setting(source.text, "network", ""), {}),
    )
    graphs, said = lower(
        graph, plan, how, buckets=place_buckets(graph, plan, PROVIDERS, catalog, deployment=deployment, mark=MARK)
    )
    _checked(said, source)
    return graphs


def _synthesized(source: SourceFile) -> str:
    with tempfile.TemporaryDirectory(prefix="skyc-") as cache:
        return "".join(synth(graph, cache=Path(cache))[1] for graph in _lowered(source))


def _report(source: SourceFile) -> str:
    graph, plan = _placed(source)
    change = setting(source.text, "change", "create")
    destroying = change == "destroy"
    job = JobPlan(task=plan.placements[0].task, action=JobAction.RUN, run=1, detail="first run")
    older = _older(source)
    if change == "graph":
        changes = first_plan(_lowered(source)) if older is None else moving_plan(_lowered(older), _lowered(source))
    else:
        changes = CHANGES[change]
    report = build(
        deployment=plan.name,
        placement=None if destroying else plan,
        before=None if older is None else _placed(older)[1],
        changes=changes,
        meanings=meanings(),
        jobs=() if destroying else (job,),
        hours=max(task.hours for task in graph.tasks),
        destroying=destroying,
        environment=environment_of(graph, plan.name),
        task_file=source.path,
    )
    forms: dict[str, Callable[[Report], str]] = {
        "text": lambda made: render_text(compose(made)),
        "markdown": comment,
        "json": render_json,
    }
    return forms[setting(source.text, "format", "text")](report)


def _older(source: SourceFile) -> SourceFile | None:
    """The task that was applied before: another file test's."""
    name = setting(source.text, "before", "")
    if not name:
        return None
    text = (Path(__file__).parent / "report" / f"{name}.yaml.test").read_text(encoding="utf-8").partition("\n-----\n")[0]
    return SourceFile(path=source.path, text=text + "\n")


def without_digests(text: str) -> str:
    """A digest changes with every field of the IR; whether it is a function of the input is tested elsewhere."""
    text = re.sub(r"^ *(spec|catalog)_digest: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r'(skyc-plan"?: "?)[0-9a-f]{12}', r"\1…", text)
    return re.sub(r'(catalog `?|"catalog_digest": ")[0-9a-f]{12}', r"\1…", text)


def _stage(make: Callable[[SourceFile], str]) -> Callable[[str, str], str]:
    def run(text: str, path: str) -> str:
        try:
            made = make(SourceFile(path=path, text=text))
        except Refused as refused:
            made = str(refused)
        return without_digests(made.rstrip("\n") + "\n")

    return run


def _change_set(text: str, path: str) -> str:
    """The input is what `terraform show -json` says (YAML holds JSON); the answer is the change set made of it."""
    engine = Engine(name="terraform", version="1.11.4", argv=())
    return print_ir(change_set(yaml.safe_load(text), site=SiteId("train.local"), graph=None, engine=engine)) + "\n"


PLACED_STAGES: dict[str, Callable[[str, str], str]] = {
    "candidates": _stage(lambda source: print_ir(report(*_found(source)))),
    "optimize": _stage(lambda source: print_ir(_placed(source)[1])),
    "lower": _stage(lambda source: "\n".join(print_ir(graph) for graph in _lowered(source))),
    "synth": _stage(_synthesized),
    "plan": _change_set,
    "report": _stage(_report),
}
"""Stage → (input, path shown) → answer. An input that is refused gives its diagnostics instead."""
