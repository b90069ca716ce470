"""Where policies come from, beside the task file: the home's, those SKYC_POLICY names, and those of the command line. All of them hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...compiler.diagnostics import SkycError, has_errors
from ...compiler.policy.load import PolicyFile, load
from ...compiler.policy.rules import PolicySet

OWN = "policy.yaml"
"""Of the home, beside config.yaml: the organisation's."""
VARIABLE = "SKYC_POLICY"
"""Paths, separated as those of PATH are."""


def policy_files(
    home: Path, environ: Mapping[str, str], given: Sequence[Path] = (), *, alone: bool = False
) -> tuple[PolicyFile, ...]:
    """A file of the home need not exist; one that somebody names must. alone: those given, and no others."""
    if alone:
        return tuple(PolicyFile(path=path, shown=str(path)) for path in given)
    own = home / OWN
    named = [Path(text).expanduser() for text in environ.get(VARIABLE, "").split(os.pathsep) if text]
    paths = (*((own,) if own.exists() or own.is_symlink() else ()), *named, *given)
    return tuple(PolicyFile(path=path, shown=str(path)) for path in paths)


def here(home: Path, environ: Mapping[str, str], given: Sequence[Path]) -> PolicySet:
    """The rules that hold here for a plan that was compiled elsewhere. Raises SkycError for a policy that cannot be read."""
    policies, said = load(policy_files(home, environ, given))
    if has_errors(said):
        raise SkycError(*said)
    return policies
