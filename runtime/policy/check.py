"""`skyc.policy_check`: what a policy file says, and what it says of task files, without an account, a state or a secret.

The policy is held alone: beside it only what a task file names itself, so that the answer is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, SkycError, has_errors
from ...compiler.ir import PolicyResult, Secret
from ...compiler.parse import parse, read_source
from ...compiler.policy.load import PolicyFile, load
from ...compiler.policy.rules import PolicySet
from ..plans import priced
from ..refusals import POLICY_DENIED
from ..request import Request, compile_request
from ..session import Session, open_session
from .judge import judged
from .lint import matches_nothing

Home = Path | str | None
PLACEHOLDER = "placeholder"
"""The value of every variable and secret that a task file leaves to whoever applies it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSummary:
    """asks: what it asks for, in words of the file (`allow`, `max`, …)."""

    name: str
    effect: str
    asks: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTask:
    """One task file. denied: the policy forbids it; failed: it could not be compiled, for other reasons."""

    path: str
    denied: bool
    failed: bool
    results: tuple[PolicyResult, ...]
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCheck:
    digest: str
    rules: tuple[RuleSummary, ...]
    tasks: tuple[CheckedTask, ...]
    diagnostics: tuple[Diagnostic, ...]
    """Warnings about the policy itself."""


def policy_check(
    path: Path | str, tasks: Sequence[Path | str] = (), *, env: Mapping[str, str] | None = None, home: Home = None
) -> PolicyCheck:
    """Read a policy file and hold it against task files. Raises SkycError for a policy that cannot be read; what is wrong with a task
    file is in its own diagnostics. Nobody is asked and nothing is compared, so rules about changes stay open."""
    policies, said = load([PolicyFile(path=Path(path), shown=str(path))])
    if has_errors(said):
        raise SkycError(*said)
    with open_session(home) as session:
        parts = [session.provider(name).catalog(home=session.home) for name in sorted(session.providers)]
        said = (*said, *matches_nothing(policies, parts))
        checked = tuple(_checked(session, Path(path), Path(task), env or {}) for task in tasks)
    return PolicyCheck(digest=policies.digest, rules=tuple(_summaries(policies)), tasks=checked, diagnostics=said)


def _summaries(policies: PolicySet) -> Iterator[RuleSummary]:
    for rule in policies.rules:
        yield RuleSummary(
            name=rule.name,
            effect=rule.effect.value,
            asks=type(rule.check).__name__.lower(),
            reason=rule.reason,
            source=rule.source,
        )


def _checked(session: Session, policy: Path, task: Path, env: Mapping[str, str]) -> CheckedTask:
    diagnostics: tuple[Diagnostic, ...] = ()
    results: tuple[PolicyResult, ...] = ()
    try:
        request = _request(policy, task, env)
        made = compile_request(session, request, until="lower")
        diagnostics = made.diagnostics
        if made.placement is not None:
            plan = judged(session, request, made, replace(priced(made), graphs=made.graphs or ()))
            diagnostics, results = plan.diagnostics, plan.policies
    except SkycError as failure:
        diagnostics = failure.diagnostics
    errors = {found.slug for found in diagnostics if has_errors([found])}
    return CheckedTask(
        path=str(task),
        denied=POLICY_DENIED in errors,
        failed=bool(errors - {POLICY_DENIED}),
        results=results,
        diagnostics=diagnostics,
    )


def _request(policy: Path, task: Path, env: Mapping[str, str]) -> Request:
    """Raises SkycError for a file that cannot be read."""
    source, said = read_source(task)
    if source is None:
        raise SkycError(*said)
    spec, _, _ = parse(source)
    envs: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    for document in spec.documents if spec is not None else ():
        envs |= {name: PLACEHOLDER for name, value in (document.envs or {}).items() if value is None}
        secrets |= {name: Secret(PLACEHOLDER) for name, value in (document.secrets or {}).items() if value is None}
    return Request(
        path=task,
        env={**envs, **env},
        secrets=secrets,
        offline=True,
        policies=(policy,),
        policies_alone=True,
    )


__all__ = ["CheckedTask", "PolicyCheck", "RuleSummary", "policy_check"]
