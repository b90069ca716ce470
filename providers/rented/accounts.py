"""Asking an account what it has of a deployment: where, what to say when it does not answer, and whether the credentials are of the account
the deployment was made in, which its Terraform states name.

In another account nothing of it exists: Terraform would forget all of it, and a destroy would be done at once while the machines run on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, SkycError, error
from ...compiler.ir import DeploymentId
from ..retry import SourceFailure

_STATE = "terraform.tfstate"


def sites_of(deployment: DeploymentId, provider: str, home: Path) -> tuple[Path, ...]:
    """The folders of the deployment's sites at a target that this home knows (`train.aws-us-east-1`), sorted."""
    return tuple(sorted((home / "deployments" / deployment / "sites").glob(f"*.{provider}-*")))


def regions_of(deployment: DeploymentId, provider: str, home: Path) -> tuple[str, ...]:
    """The regions of these sites, sorted: elsewhere the deployment made nothing."""
    mark = f".{provider}-"
    return tuple(sorted({folder.name.partition(mark)[2] for folder in sites_of(deployment, provider, home)}))


def empty_regions(deployment: DeploymentId, provider: str, home: Path) -> frozenset[str]:
    """Those of `regions_of` where no state has a resource: nothing was made there, or what was made has gone."""
    mark = f".{provider}-"
    made = {folder.name.partition(mark)[2] for folder in sites_of(deployment, provider, home) if _holds(folder / _STATE)}
    return frozenset(regions_of(deployment, provider, home)) - made


def _holds(state: Path) -> bool:
    """Whether a Terraform state may have resources: one that cannot be read may."""
    try:
        found = json.loads(state.read_bytes())
        return bool(found["resources"])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def cannot_look(provider: str, why: str) -> Diagnostic:
    """`why`: a sentence. Nobody may take what could not be asked for nothing being there."""
    return error(
        "cannot-observe",
        "What exists at a target cannot be seen",
        f"`{provider}` has to be asked what exists there of the deployment. {why} So that is not known.",
        hint="set the credentials up, then run the command again",
    )


@contextmanager
def asking(provider: str) -> Iterator[None]:
    """What the account does not answer inside becomes a SkycError."""
    try:
        yield
    except SourceFailure as failure:
        raise SkycError(cannot_look(provider, f"{str(failure)[:1].upper()}{str(failure)[1:]}.")) from None


def made_in(pattern: re.Pattern[bytes], deployment: DeploymentId, provider: str, home: Path) -> frozenset[str]:
    """Accounts named in the states of the deployment's sites at a target: the pattern's first group."""
    found: set[str] = set()
    for site in sites_of(deployment, provider, home):
        with suppress(OSError):
            found |= {account.decode() for account in pattern.findall((site / _STATE).read_bytes())}
    return frozenset(found)


def refuse_other(
    here: str, made: frozenset[str], deployment: DeploymentId, provider: str, *, commands: tuple[str, ...]
) -> None:
    """Raises SkycError. `commands` tell whose the credentials are."""
    if made == {here}:
        return
    raise SkycError(
        error(
            "other-account",
            "The credentials are of another account",
            f"`{deployment}` was made in the account {', '.join(sorted(made))} of `{provider}`, and the credentials here are of {here}."
            " Whether something is left there is not known, and nothing was changed.",
            hint="choose the credentials of the account it was made in, then run the command again",
            commands=commands,
        )
    )
