"""Plans as the public API gives them: compared with what exists, offline, only priced, or of one stage of the compiler.

Every plan meets its rules on its way out (`policy.judge`), and one that goes into a file is written here.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import SkycError, warning
from ..compiler.ir import DeploymentId
from ..compiler.pipeline import Compilation
from ..compiler.pipeline import emit as emit_stage
from .backend.faults import NotCompared
from .lockfile import lock_path
from .request import Request, compile_request
from .results import Plan
from .session import Session

if TYPE_CHECKING:
    from .locking import Hold
    from .planning import Planned


def plan(session: Session, request: Request, *, hold: Hold | None, file: Path | None) -> Plan:
    """What an apply would do. hold: the lock to hold to. file: where to write the plan as well. Raises SkycError."""
    from .policy.judge import judged
    from .refusals import refused, warned

    if file is not None:
        from .plan_files import writable

        writable(file, request.path)
    compilation = compile_request(session, request)
    if compilation.failed:
        if compilation.placement is None:
            raise refused(compilation)
        return judged(session, request, compilation, priced(compilation))
    if hold is not None:
        hold.refuse_differences(session, compilation, engine=True)
    compilation = warned(session, request, compilation)
    with hold.explained() if hold is not None else contextlib.nullcontext():
        if request.offline:
            from .offline import plan_offline

            packages = hold.packages if hold is not None else None
            found = judged(session, request, compilation, plan_offline(session, compilation, packages=packages))
            return _kept(session, compilation, found, file, hold)
        return _compared(session, request, compilation, hold, file)


def _compared(session: Session, request: Request, compilation: Compilation, hold: Hold | None, file: Path | None) -> Plan:
    """Held against what exists, where that can be told from here."""
    from .apply import locked, site_context
    from .planning import cannot_ask, planned
    from .policy.judge import judged

    missing = cannot_ask(session, compilation)
    if missing:
        compilation = replace(compilation, diagnostics=(*compilation.diagnostics, *missing))
        return judged(session, request, compilation, priced(compilation))
    name = compilation.deployment
    try:
        with locked(session, name, command=f"skyc plan {request.path}", wait=None, may_read=True) as lock_fd:
            context = site_context(session, name, lock_fd, compilation, hold=hold)
            with planned(session, request, compilation, context) as made:
                found = judged(session, request, compilation, plan_result(made))
                found = replace(found, diagnostics=(*found.diagnostics, *session.remarks))
                if file is not None:
                    from .plan_files import compared_file, write_plan_file

                    write_plan_file(file, compared_file(session, made, found, out=file, locked=hold.facts if hold else None))
                return found
    except NotCompared as failure:
        found = judged(session, request, compilation, _not_compared(priced(compilation), compilation, failure))
        return _kept(session, compilation, found, file, hold)


def _kept(session: Session, compilation: Compilation, result: Plan, file: Path | None, hold: Hold | None) -> Plan:
    """Write a plan that was compared with nothing into a file, for review."""
    if file is not None:
        from .plan_files import compiled_file, write_plan_file

        write_plan_file(file, compiled_file(session, compilation, result, locked=hold.facts if hold else None))
    return result


def _not_compared(result: Plan, compilation: Compilation, failure: SkycError) -> Plan:
    """The state is not to be had from here. Everything would look new, so nothing is compared."""
    said = warning(
        "not-compared",
        "Compiled, not compared",
        f"What would change is not known. {failure.diagnostics[0].detail}",
        hint=failure.diagnostics[0].hint,
    )
    return replace(result, graphs=compilation.graphs or (), offline=True, diagnostics=(*result.diagnostics, said))


def emitted(session: Session, request: Request, stage: str, hold: Hold | None, roots: Path | None) -> Plan:
    """The output of one stage of the compiler. roots: where to write the root modules, of the stage that makes them. Raises SkycError
    for a file with errors."""
    compilation = compile_request(session, request, until=stage)
    if compilation.failed:
        from .refusals import refused

        raise refused(compilation)
    said = compilation.diagnostics
    if hold is not None:
        hold.refuse_differences(session, compilation, engine=False)
    elif lock_path(request.path).exists():
        from .locking import differences_warned

        said = (*said, *differences_warned(session, request, compilation))
    if roots is not None and compilation.synthesized is not None:
        from .roots import roots_of, write_roots

        write_roots(roots, roots_of(compilation, hold.packages if hold is not None else None))
    return Plan(
        deployment=compilation.deployment if compilation.graph else DeploymentId(""),
        placement=compilation.placement,
        graphs=compilation.graphs or (),
        changes=(),
        emitted=emit_stage(compilation, stage),
        diagnostics=said,
        timings=compilation.timings,
    )


def destruction(session: Session, request: Request) -> Plan:
    """What the removal of the file's deployment would do."""
    from .destroy import destroy as destroy_deployment

    shown: list[Plan] = []

    def decline(offered: Plan) -> bool:
        shown.append(offered)
        return False

    compilation = compile_request(session, request, until="resolve")
    if compilation.failed:
        raise SkycError(*compilation.diagnostics)
    destroy_deployment(
        session, str(compilation.deployment), confirm=decline, policies=request.policies, approve=request.approve, show=True
    )
    return shown[0]


def priced(compilation: Compilation) -> Plan:
    """The plan of a file whose placement is known and cannot be compiled or compared; its errors are among the diagnostics."""
    from ..compiler.report import environment_of
    from .fingerprints import compiled_only

    assert compilation.graph is not None
    return Plan(
        deployment=compilation.deployment,
        placement=compilation.placement,
        graphs=(),
        changes=(),
        buckets=compilation.buckets,
        hours=max(task.hours for task in compilation.graph.tasks),
        diagnostics=compilation.diagnostics,
        timings=compilation.timings,
        environment=environment_of(compilation.graph, compilation.deployment),
        fingerprints=None if compilation.failed else compiled_only(compilation),
    )


def plan_result(plan: Planned) -> Plan:
    """The plan as the public API gives it."""
    from ..compiler.report import environment_of

    compilation = plan.compilation
    graph = compilation.graph
    assert graph is not None
    return Plan(
        deployment=plan.deployment,
        placement=compilation.placement,
        graphs=compilation.graphs or (),
        changes=plan.changes,
        buckets=compilation.buckets,
        jobs=plan.jobs,
        before=plan.before,
        fingerprints=plan.fingerprints,
        hours=max(task.hours for task in graph.tasks),
        diagnostics=compilation.diagnostics,
        timings=compilation.timings,
        environment=environment_of(graph, plan.deployment),
    )
