"""How a file test's input becomes the text it expects, for the stages from candidates to report.

Every runner works on a fixed machine, home and Python, so that the expected text is the same on every machine. The first lines of
an input may say `# machine: eight` (8 CPUs, 32 GiB), `gpus` (the same with 4 T4) or `rented` (a made-up cloud with
several machines), and for a report `# change:` and `# format:`.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import Diagnostic, SourceFile, SourceMap, has_errors, in_reading_order, render
from skyc.compiler.ir import (
    Accelerator,
    CandidateSet,
    CatalogSnapshot,
    DeploymentId,
    FrozenMap,
    InstanceType,
    JobAction,
    JobPlan,
    Market,
    NodeRuntime,
    Offering,
    PlacementPlan,
    ResourceGraph,
    TaskGraph,
)
from skyc.compiler.lower import lower
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.printer import print_ir
from skyc.compiler.report import build, render_json, render_markdown, render_text
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.compiler.synth import synth
from skyc.providers.local.catalog import Machine, Price, snapshot
from skyc.providers.registry import load_all

from tests.filetests.changes import CHANGES

HOME = "/home/me/.skyc"
RUNTIME = NodeRuntime(python="3.11")
DIRECTORY = Path("/home/me/project")
GPUS = (Accelerator(name="T4", count=Decimal(4), memory_gb=Decimal(16)),)
PROVIDERS = {provider.name: provider for provider in load_all()}
PRICE = Price(hourly=Decimal("0.25"), source="config.yaml: local.price_per_hour")


def _offer(name: str, region: str, price: str | None, market: Market = Market.ON_DEMAND) -> Offering:
    return Offering(
        instance_type=name,
        provider="rented",
        region=region,
        zone=f"{region}-a",
        market=market,
        hourly=None if price is None else Decimal(price),
        price_source="price list",
        as_of="2026-11-01",
    )


def _kind(name: str, cpus: int, memory: int, gpus: int = 0) -> InstanceType:
    devices = (Accelerator(name="T4", count=Decimal(gpus), memory_gb=Decimal(16)),) if gpus else ()
    return InstanceType(
        name=name, provider="rented", cpus=Decimal(cpus), memory_gb=Decimal(memory), accelerators=devices
    )


RENTED = CatalogSnapshot(
    instance_types=(_kind("small", 4, 16), _kind("large", 16, 64), _kind("gpu", 8, 32, 1), _kind("odd", 4, 8)),
    offerings=(
        _offer("small", "north", "0.20"),
        _offer("small", "south", "0.20"),
        _offer("small", "north", "0.06", Market.SPOT),
        _offer("large", "north", "0.80"),
        _offer("gpu", "south", "0.55"),
        _offer("odd", "north", None),
    ),
)
MACHINES = {
    "eight": snapshot(Machine(cpus=8, memory_gb=Decimal(32), arch="x86_64"), PRICE),
    "gpus": snapshot(Machine(cpus=8, memory_gb=Decimal(32), arch="x86_64", accelerators=GPUS), PRICE),
    "rented": RENTED,
}


class Refused(Exception):
    """The stage said errors: the rendered text."""


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
        raise Refused("\n".join(render(diagnostic, source) for diagnostic in in_reading_order(said)))


def _graph(text: str) -> tuple[TaskGraph, SourceMap]:
    source = SourceFile(path="task.yaml", text=text)
    spec, sources, said = parse(source)
    _checked(said, source)
    assert spec is not None
    resolved, said = resolve(spec, sources, stem="task", directory=DIRECTORY, overrides=EnvOverrides.of())
    _checked(said, source)
    assert resolved is not None
    return resolved.graph, sources


def _found(text: str) -> tuple[TaskGraph, CandidateSet]:
    graph, sources = _graph(text)
    found, said = candidates(graph, MACHINES[setting(text, "machine", "eight")], sources)
    _checked(said, sources.source)
    return graph, found


def _placed(text: str) -> tuple[TaskGraph, PlacementPlan]:
    graph, found = _found(text)
    return graph, optimize(graph, found)


def _lowered(text: str) -> tuple[ResourceGraph, ...]:
    graph, plan = _placed(text)
    graphs, said = lower(graph, plan, PROVIDERS, deployment=DeploymentId(graph.name), home=HOME, runtime=RUNTIME)
    _checked(said, SourceFile(path="task.yaml", text=text))
    return graphs


def _report(text: str, _cache: Path) -> str:
    _, plan = _placed(text)
    change = setting(text, "change", "create")
    destroying = change == "destroy"
    job = JobPlan(task=plan.placements[0].task, action=JobAction.RUN, run=1, detail="first run")
    report = build(
        deployment=plan.name,
        placement=None if destroying else plan,
        changes=CHANGES[change],
        jobs=() if destroying else (job,),
        hours=Decimal(1),
        destroying=destroying,
    )
    forms = {"text": render_text, "markdown": render_markdown, "json": render_json}
    return forms[setting(text, "format", "text")](report)


def _without_digests(text: str) -> str:
    """A digest changes with every field of the IR; whether it is a function of the input is tested elsewhere."""
    return "\n".join(line for line in text.splitlines() if "_digest" not in line and '"catalog_digest"' not in line)


STAGES: FrozenMap[Callable[[str, Path], str]] = FrozenMap(
    {
        "candidates": lambda text, _: print_ir(_found(text)[1]),
        "optimize": lambda text, _: print_ir(_placed(text)[1]),
        "lower": lambda text, _: "\n".join(print_ir(graph) for graph in _lowered(text)),
        "synth": lambda text, cache: "".join(synth(graph, cache=cache)[1] for graph in _lowered(text)),
        "report": _report,
    }
)
"""Stage → (input, an empty directory) → text. A refused input gives its diagnostics instead."""


def run_stage(stage: str, text: str, empty: Path) -> str:
    """The text a file test compares. Whitespace at line ends is dropped: it cannot be seen in a review."""
    try:
        made = STAGES[stage](text, empty)
    except Refused as refused:
        made = str(refused)
    return "\n".join(line.rstrip() for line in _without_digests(made).splitlines()) + "\n"
