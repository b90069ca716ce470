"""skyc's public calls: what the command line does, for Python. Re-exported by `skyc` itself, lazily.

Each opens a session on its own, raises SkycError with diagnostics when it cannot do what it says, and Interrupted when the
user stops it half way. What only some of them need is imported there: `plan --emit` does without all that plans, applies and asks nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import JsonObject, Objective, Secret
from ..compiler.printer import print_ir
from ..providers.base import CheckReport
from .records import JobRecord
from .request import Request
from .results import (
    ApplyResult,
    DeploymentStatus,
    DestroyResult,
    Drift,
    MendResult,
    Plan,
    Progress,
    SchemaOf,
    SwitchResult,
)
from .session import open_session

if TYPE_CHECKING:
    from .eject import EjectResult
    from .locking import LockResult

Home = Path | str | None


def _request(
    path: Path | str,
    deployment: str | None,
    env: Mapping[str, str] | None,
    secrets: Mapping[str, Secret] | None,
    rerun: bool = False,
    objective: str = "cost",
    offline: bool = False,
    policies: Sequence[Path | str] = (),
    approve: Sequence[str] = (),
) -> Request:
    return Request(
        path=Path(path),
        deployment=deployment,
        env=env or {},
        secrets=secrets or {},
        rerun=rerun,
        objective=Objective(objective),
        offline=offline,
        policies=tuple(Path(path) for path in policies),
        approve=tuple(approve),
    )


def plan(
    path: Path | str,
    *,
    deployment: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    home: Home = None,
    emit: str | None = None,
    destroy: bool = False,
    objective: str = "cost",
    offline: bool = False,
    policies: Sequence[Path | str] = (),
    out: Path | str | None = None,
    locked: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Plan:
    """What `apply` would do. `emit`: stop after that stage and give its text. `destroy`: what removing it would do.

    objective: `cost` for the cheapest placement, `time` for the quickest and of those the cheapest. A placement at a target that
    cannot be compiled yet, or asked from here, comes back priced, with the error among its diagnostics. offline: asks nobody and
    compares with nothing; the result is schema-valid at most. policies: files with rules that hold beside those there are; what a rule
    forbids is among the diagnostics, and `denied` says so. out: write the plan into this file, for `apply`; with `emit="synth"`, the root
    modules into this directory. locked: with what `skyc.lock`
    beside the file says, or not at all (SkycError, exit code 4).
    """
    request = _request(path, deployment, env, secrets, objective=objective, offline=offline, policies=policies)
    from . import plans

    with open_session(home, on_progress=on_progress) as session:
        hold = None
        if locked:
            from .locking import held

            hold = held(session, request)
        request = hold.request if hold is not None else request
        if emit is not None and emit != "plan":
            return plans.emitted(session, request, emit, hold, None if out is None else Path(out))
        if destroy:
            return plans.destruction(session, request)
        made = plans.plan(session, request, hold=hold, file=None if out is None else Path(out))
    if emit == "plan":
        return replace(made, emitted="\n".join(print_ir(changes) for changes in made.changes))
    return replace(made, task_file=str(path))


def apply(
    path: Path | str,
    *,
    deployment: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    rerun: bool = False,
    objective: str = "cost",
    detach: bool = False,
    confirm: Callable[[Plan], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
    policies: Sequence[Path | str] = (),
    approve: Sequence[str] = (),
    fingerprint: str | None = None,
    locked: bool = False,
) -> ApplyResult:
    """Make what the file asks for and run its job. `confirm` None: without asking. `wait`: seconds to wait for the lock. `policies`:
    files with rules that hold beside those there are; `approve`: rules that whoever calls this approves.

    path: a task file, or a plan file, which is done as it was reviewed; then only `deployment`, `secrets`, and what is about the call
    itself, count. fingerprint: the plan that was reviewed, by the first digits of its name; another one is refused (exit code 4).
    locked: with what `skyc.lock` beside the task says, or not at all; of a plan file, only one that was held to what the lock says now.
    """
    from .apply import apply as apply_request

    request = _request(path, deployment, env, secrets, rerun, objective, policies=policies, approve=approve)
    request = replace(request, fingerprint=fingerprint, locked=locked)
    with open_session(home, on_progress=on_progress) as session:
        return apply_request(session, request, confirm=confirm, detach=detach, wait=wait)


def status(deployment: str | None = None, *, refresh: bool = True, home: Home = None) -> tuple[DeploymentStatus, ...]:
    """What is there and how it is. `refresh` False: as last recorded, without asking any node."""
    from . import inspect

    with open_session(home) as session:
        return inspect.status(session, deployment, refresh=refresh)


def logs(deployment: str, job: str | None = None, *, follow: bool = False, home: Home = None) -> Iterator[str]:
    """A job's output in pieces; the newest job without `job`. `follow`: until the job is over."""
    from . import inspect

    with open_session(home) as session:
        yield from inspect.logs(session, deployment, job, follow_it=follow)


def queue(deployment: str, *, home: Home = None) -> tuple[JobRecord, ...]:
    """Every job of a deployment, in the order of submission."""
    from . import inspect

    with open_session(home) as session:
        return inspect.queue(session, deployment)


def exec(
    deployment: str,
    command: str,
    *,
    nodes: int | None = None,
    home: Home = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ApplyResult:
    """Run a shell command on the nodes of a deployment that is up."""
    from . import inspect

    with open_session(home, on_progress=on_progress) as session:
        return inspect.execute(session, deployment, command, nodes=nodes)


def shell(deployment: str, node: str | None = None, command: str | None = None, *, home: Home = None) -> tuple[str, ...]:
    """The program and its arguments that open a shell on a node (by name or rank; the head without one), or run a command there."""
    from . import inspect

    with open_session(home) as session:
        return inspect.shell(session, deployment, node, command)


def cancel(deployment: str, job: str | None = None, *, home: Home = None) -> tuple[JobRecord, ...]:
    """Stop a job, or all that are going on."""
    from . import inspect

    with open_session(home) as session:
        return inspect.cancel(session, deployment, job)


def stop(
    deployment: str,
    *,
    lose_local: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> SwitchResult:
    """Stop a deployment's rented machines; their disks stay and cost. `lose_local`: also those with disks that lose their data."""
    from .stopping import stop as stop_machines

    with open_session(home, on_progress=on_progress) as session:
        return stop_machines(session, deployment, lose_local=lose_local, wait=wait)


def start(
    deployment: str,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> SwitchResult:
    """Start machines that were stopped, and wait until Ray answers on all of them."""
    from .stopping import start as start_stopped

    with open_session(home, on_progress=on_progress) as session:
        return start_stopped(session, deployment, wait=wait)


def drift(
    deployment: str | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> tuple[Drift, ...]:
    """What is not as it was applied last, of one deployment or of all. Nothing is changed."""
    from .drift import drift as look

    with open_session(home, on_progress=on_progress) as session:
        return look(session, deployment, wait=wait)


def repair_drift(
    deployment: str,
    *,
    only: Collection[str] = (),
    confirm: Callable[[Drift, Plan | None], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> MendResult:
    """Put the world back to what was applied last. only: classes of drift and addresses; none: everything. `confirm` None: without
    asking."""
    from .mend import repair

    with open_session(home, on_progress=on_progress) as session:
        return repair(session, deployment, only=only, confirm=confirm, wait=wait)


def adopt_drift(
    deployment: str,
    *,
    only: Collection[str] = (),
    security: bool = False,
    confirm: Callable[[Drift, Plan | None], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> MendResult:
    """Take what is there into the states; the world is not changed. security: also what is about security, which is refused otherwise."""
    from .mend import adopt

    with open_session(home, on_progress=on_progress) as session:
        return adopt(session, deployment, only=only, security=security, confirm=confirm, wait=wait)


def destroy(
    deployment: str,
    *,
    confirm: Callable[[Plan], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    purge: bool = False,
    home: Home = None,
    wait: float | None = None,
    policies: Sequence[Path | str] = (),
    approve: Sequence[str] = (),
) -> DestroyResult:
    """Remove everything of a deployment except persistent storage; with `purge` that too. policies: files with rules that hold beside
    the home's and SKYC_POLICY's (exit code 3); approve: rules that whoever calls this approves."""
    from .destroy import destroy as destroy_deployment

    with open_session(home, on_progress=on_progress) as session:
        paths = tuple(Path(path) for path in policies)
        return destroy_deployment(
            session, deployment, confirm=confirm, purge=purge, wait=wait, policies=paths, approve=tuple(approve)
        )


def lock(
    *paths: Path | str,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    objective: str = "cost",
    hashes: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
) -> LockResult:
    """Write `skyc.lock` beside task files: what they are compiled with here. `hashes`: fetch the Terraform providers for theirs."""
    from .locking import lock as write

    if not paths:
        raise ValueError("a task file is needed")
    requests = tuple(_request(path, None, env, secrets, objective=objective) for path in paths)
    with open_session(home, on_progress=on_progress) as session:
        return write(session, requests, hashes=hashes)


def eject(
    deployment: str,
    directory: Path | str | None = None,
    *,
    undo: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    home: Home = None,
    wait: float | None = None,
) -> EjectResult:
    """Write a deployment to `directory` as plain Terraform that plans to no change, and leave it to that. `dry_run`: write it, and
    keep the deployment. `undo`: take the states back, without a directory."""
    from .eject import come_back
    from .eject import eject as write

    with open_session(home, on_progress=on_progress) as session:
        if undo:
            return come_back(session, deployment, wait=wait)
        if directory is None:
            raise ValueError("a directory is needed to write to")
        return write(session, deployment, Path(directory), dry_run=dry_run, wait=wait)


def check(*, home: Home = None) -> tuple[CheckReport, ...]:
    """Which targets work here, and why not the others."""
    from .configuration import all_mistakes
    from .regions import read_regions, with_regions

    with open_session(home) as session, all_mistakes(session.home, session.providers):
        regions = read_regions(session.home, session.providers)
        return tuple(
            with_regions(session.provider(name).check(home=session.home), regions) for name in sorted(session.providers)
        )


def mirror(directory: Path | str) -> Path:
    """Write a filesystem mirror with skyc's Terraform provider, for Terraform run without skyc. The path of the CLI configuration
    to name in TF_CLI_CONFIG_FILE."""
    from ..providers.registry import write_mirror

    try:
        return write_mirror(Path(directory))
    except OSError as failure:
        raise SkycError(
            error(
                "mirror-not-written",
                "The mirror could not be written",
                f"{failure.filename or directory}: {failure.strerror or failure}.",
                hint="name a directory that you may write to",
            )
        ) from failure


def schema(of: SchemaOf = "task") -> JsonObject:
    """A JSON Schema: of a task file or a `policy` file, for editors; of the `report` of a plan as JSON, or of the `plan-file` that `plan`
    writes, for programs that read them."""
    if of == "plan-file":
        from ..compiler.artifact.plan_file import schema as of_plan_file

        return of_plan_file()
    if of == "report":
        from ..compiler.report import schema as of_report

        return of_report()
    from ..compiler.schema import json_schema, policy_schema

    return policy_schema() if of == "policy" else json_schema()
