"""Policy files from disk, with what they refer to: Rego files beside them, and the versions of installed plug-ins.

Contract: reads files and the list of installed packages, runs nothing. A policy that cannot be read is an error, wherever it was named:
a plan that skips rules is worse than none. The same file named twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..diagnostics import Diagnostic, Span, error
from ..ir import FrozenMap
from ..parse.syntax import SIZE_LIMIT, read_source
from .rules import Plugin, Policy, PolicySet, Rego, Rule

GROUP = "skyc.policies"
"""Entry-point group of plug-ins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A policy file that holds. shown: as messages call it; span: the line of the task file that names it, if one does."""

    path: Path
    shown: str
    span: Span | None = None


def load(files: Sequence[PolicyFile]) -> tuple[PolicySet, tuple[Diagnostic, ...]]:
    """All of them together. Rule names are unique over all files, so that who approves one knows which."""
    policies: list[Policy] = []
    said: list[Diagnostic] = []
    seen: set[Path] = set()
    owners: dict[str, Rule] = {}
    for file in files:
        place = file.path.resolve()
        if place in seen:
            continue
        seen.add(place)
        source, trouble = read_source(file.path, shown=file.shown)
        if source is None:
            why = " ".join(found.detail for found in trouble)
            said.append(_unreadable(why, file.span or next((found.span for found in trouble), None)))
            continue
        # Only where there is a policy: most plans have none.
        from .parse import parse_policy

        policy, more = parse_policy(source)
        said += more
        if policy is None:
            continue
        policy, unread = _with_files(policy, file.path.parent)
        said += unread
        said += _twice(policy, owners)
        policies.append(policy)
    return PolicySet(policies=tuple(policies)), tuple(said)


def _unreadable(why: str, span: Span | None) -> Diagnostic:
    return error(
        "policy-unreadable",
        "A policy cannot be read",
        f"{why} Nothing is planned without the rules it holds.",
        span=span,
        hint="correct the path, or remove it from where it is named",
    )


def _twice(policy: Policy, owners: dict[str, Rule]) -> Iterable[Diagnostic]:
    for rule in policy.rules:
        first = owners.setdefault(rule.name, rule)
        if first is not rule:
            detail = f"`{rule.name}` is a rule of {first.source} already. Who approves a rule names it, so names are unique."
            yield error("duplicate-rule", "Two rules have one name", detail, span=rule.span, hint="give one another name")


def _with_files(policy: Policy, directory: Path) -> tuple[Policy, list[Diagnostic]]:
    said: list[Diagnostic] = []
    rules: list[Rule] = []
    for rule in policy.rules:
        match rule.check:
            case Plugin(name=name):
                rules.append(replace(rule, check=Plugin(name=name, version=installed(name))))
            case Rego(directory=text):
                modules, trouble = _modules(directory / text, text)
                said += [_unreadable(trouble, rule.span)] if trouble else []
                rules.append(replace(rule, check=Rego(directory=text, modules=modules)))
            case _:
                rules.append(rule)
    return replace(policy, rules=tuple(rules)), said


def installed(name: str) -> str:
    """`package version` of a plug-in; empty without it."""
    from importlib import metadata

    for found in metadata.entry_points(group=GROUP, name=name):
        return f"{found.dist.name} {found.dist.version}" if found.dist is not None else "unknown"
    return ""


def _modules(directory: Path, shown: str) -> tuple[FrozenMap[str], str]:
    """The Rego files of a directory and below it, and what is wrong with them."""
    texts: dict[str, str] = {}
    try:
        for path in sorted(directory.rglob("*.rego")):
            with path.open("rb") as stream:
                content = stream.read(SIZE_LIMIT + 1)
            if len(content) > SIZE_LIMIT:
                return FrozenMap(), f"`{path.name}` in `{shown}` is larger than {SIZE_LIMIT // 1024} KiB."
            texts[path.relative_to(directory).as_posix()] = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "a file is not UTF-8"
        return FrozenMap(), f"`{shown}`: {reason}."
    return FrozenMap(texts), "" if texts else f"`{shown}` holds no `.rego` file."
