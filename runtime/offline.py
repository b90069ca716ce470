"""A plan that asks nobody: no credentials, no network, no state. What a pull request from a fork can run.

Contract: the module is compiled with configurations that hold no credentials, and planned in a folder that is gone afterwards, so
that there is no plan file anybody could apply. Terraform providers are the released ones where a mirror has them and they can plan
without an account, else simulated.
The result is schema-valid: of the shape the providers accept. It is compared with nothing, and no cloud has seen it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, Severity
from ..compiler.ir import ResourceGraph
from ..compiler.pipeline import Compilation
from ..compiler.report import environment_of
from ..compiler.report.document import plural
from ..compiler.terraform import Terraform, checked
from ..providers.base import Attachment
from ..providers.simulator import SIMULATED, simulate
from .fingerprints import compiled_only
from .mirror import mirrored, with_mirror
from .planning import secret_texts, span_finder
from .results import Plan
from .session import Session
from .side_by_side import side_by_side
from .sites import PACKAGES_FILE, write_module

_LOGS_IN = frozenset({"azurerm"})
"""Released providers that fetch a token while they are configured (its `internal/clients/auth.go`), so that they cannot plan
without an account. They are simulated, whatever a mirror has."""
_PASSED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TEMP", "SYSTEMROOT")
"""All a run needs that asks nobody. Credentials, profiles and endpoints of the caller's would only mislead a provider."""


def plan_offline(session: Session, compilation: Compilation, *, packages: Callable[[ResourceGraph], str] | None = None) -> Plan:
    """Plan every site of a compiled file. packages: of a site, Terraform's own lock file to hold to. Raises SkycError when Terraform or a
    provider refuses one."""
    assert compilation.graph is not None
    assert compilation.graphs is not None
    assert compilation.synthesized is not None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skyc-offline-")))
        work: list[tuple[Terraform, Callable[[], Diagnostic]]] = []
        for number, (graph, made) in enumerate(zip(compilation.graphs, compilation.synthesized, strict=True)):
            session.step("plan", f"planning {graph.site} offline with {session.engine}")
            scratch = folder / str(number)
            scratch.mkdir()
            package = packages(graph) if packages is not None else ""
            if package:
                (scratch / "site").mkdir()
                (scratch / "site" / PACKAGES_FILE).write_text(package, encoding="utf-8")
            work.append(_planning(session, stack, compilation, graph, made.text, scratch))
        said = side_by_side(work)
    return Plan(
        deployment=compilation.deployment,
        placement=compilation.placement,
        graphs=compilation.graphs,
        changes=(),
        buckets=compilation.buckets,
        hours=max(task.hours for task in compilation.graph.tasks),
        offline=True,
        diagnostics=(*compilation.diagnostics, *said),
        timings=compilation.timings,
        environment=environment_of(compilation.graph, compilation.deployment),
        fingerprints=compiled_only(compilation),
    )


def _planning(
    session: Session,
    stack: contextlib.ExitStack,
    compilation: Compilation,
    graph: ResourceGraph,
    text: str,
    scratch: Path,
) -> tuple[Terraform, Callable[[], Diagnostic]]:
    """A site's driver, and its planning, to be done beside others'."""
    directory = scratch / "site"
    write_module(directory, text)
    terraform = Terraform(
        session.engine,
        directory,
        home=session.home,
        environ=_environment(session.environ, scratch),
        reattach=stack.enter_context(_attachments(session, graph, scratch)),
        secrets=secret_texts(compilation.secrets),
        origin_of=span_finder(compilation).get,
    )

    def plan() -> Diagnostic:
        checked(terraform.plan())
        return _valid(session, graph)

    return terraform, plan


def _valid(session: Session, graph: ResourceGraph) -> Diagnostic:
    made = plural(len(graph.resources), "resource")
    by = ", ".join(_named(session, graph))
    return Diagnostic(
        severity=Severity.NOTE,
        slug="planned-offline",
        summary="Schema-valid, and compared with nothing",
        detail=f"`{graph.site}`: {made}, schema-valid by {by}. Not compared with `{graph.provider}`: nobody was asked what"
        " exists there, what it allows or what is to be had. Such a plan cannot be applied.",
    )


def _environment(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    kept = {name: environ[name] for name in (*_PASSED, "SKYC_PROVIDER_MIRROR") if name in environ}
    kept.setdefault("PATH", os.defpath)
    # No configuration file of the user's, of Terraform's or a cloud's tools, is found there.
    return with_mirror({**kept, "HOME": str(scratch)}, scratch, only=True)


@contextlib.contextmanager
def _attachments(session: Session, graph: ResourceGraph, scratch: Path) -> Iterator[tuple[Attachment, ...]]:
    simulated = [need.name for need in graph.requirements if _is_simulated(session, need.source, need.name)]
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(session.provider(graph.provider).attach(home=session.home))
        world = scratch / "world"
        world.mkdir()
        others = stack.enter_context(simulate(simulated, home=world, registry=session.engine.registry))
        yield (*own, *others)


def _is_simulated(session: Session, source: str, name: str) -> bool:
    return name in SIMULATED and (name in _LOGS_IN or source not in mirrored(session.environ))


def _named(session: Session, graph: ResourceGraph) -> Iterator[str]:
    for need in graph.requirements:
        source = need.source.removeprefix("registry.terraform.io/")
        simulated = _is_simulated(session, need.source, need.name)
        yield f"skyc's simulator of {source} {need.version}" if simulated else f"{source} {need.version}"
