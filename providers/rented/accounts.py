"""Whether the credentials are of the account a deployment was made in, which its Terraform states name.

In another account nothing of it exists: Terraform would forget all of it, and a destroy would be done at once while the machines run on.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from ...compiler.ir import DeploymentId


def made_in(pattern: re.Pattern[bytes], deployment: DeploymentId, provider: str, home: Path) -> frozenset[str]:
    """Accounts named in the states of the deployment's sites at a target: the pattern's first group."""
    found: set[str] = set()
    for state in (home / "deployments" / deployment / "sites").glob(f"*.{provider}-*/terraform.tfstate"):
        with suppress(OSError):
            found |= {account.decode() for account in pattern.findall(state.read_bytes())}
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
