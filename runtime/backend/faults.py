"""What can be wrong with a shared state, in words: what, why, what to do."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, Severity, SkycError, error, warning
from ...compiler.ir import DeploymentId, SiteId
from ..storage.base import ConditionalStore, StoreError, StoreFault
from .index import Intent


class NotCompared(SkycError):
    """The state of a deployment cannot be had from here. A plan can still be compiled; it compares with nothing."""


class BackendUnavailable(NotCompared):
    """The backend does not answer, or lets nobody in from here: `kind` says which."""

    def __init__(self, objects: ConditionalStore, failure: StoreError) -> None:
        super().__init__(unavailable(objects, failure.message))
        self.kind = failure.kind


def place(objects: ConditionalStore) -> str:
    """The backend's address for people."""
    return objects.uri.partition("?")[0]


@contextlib.contextmanager
def explained(objects: ConditionalStore) -> Iterator[None]:
    """Failures of the store as what they mean here."""
    try:
        yield
    except StoreError as failure:
        # One that has lost a race says so where it happened.
        if failure.kind is StoreFault.CHANGED:
            raise
        raise BackendUnavailable(objects, failure) from None


def unavailable(objects: ConditionalStore, why: str) -> Diagnostic:
    return error(
        "backend-unavailable",
        "The state backend cannot be used",
        f"{why} The states of this home's deployments are kept at {place(objects)}, and without them nobody knows what exists."
        " Nothing was changed.",
        hint="set the credentials or the connection right, then run the command again",
        commands=("skyc backend show",),
    )


def not_proven(objects: ConditionalStore, failure: StoreError, *, seen: bool) -> Diagnostic:
    """A new place for states that the first write did not go to. `seen`: it is a bucket, and was made or looked at just now."""
    scheme, _, rest = place(objects).partition("://")
    if failure.kind is StoreFault.UNREACHABLE:
        return error(
            "backend-unreachable",
            "The place for states cannot be reached from here",
            f"{failure.message} Nothing is kept there.",
            hint="check the address and this machine's network, proxy and name servers, then run the same command again",
        )
    if scheme == "file":
        return error(
            "backend-not-usable",
            "The directory cannot hold states",
            f"{failure.message} Nothing is kept there.",
            hint=_ROOM.get(failure.kind, "name a directory you may write in, as in file:///srv/skyc-states, or mend this one")
            + "; then run the command again",
        )
    if not seen:
        return error(
            "backend-not-usable",
            "The server keeps no states for this login",
            f"{failure.message} Nothing is kept there.",
            hint="set that right, then run the same command again",
        )
    parts = rest.split("/")
    grant: tuple[str, ...] = ()
    if scheme == "az" and failure.kind is StoreFault.DENIED:
        scope = f"$(az storage account show --name {shlex.quote(parts[0])} --query id --output tsv)"
        who = '"$(az ad signed-in-user show --query id --output tsv)"'
        grant = (f'az role assignment create --role "Storage Blob Data Contributor" --assignee {who} --scope "{scope}"',)
    return error(
        "backend-not-usable",
        "The place for states is there and cannot be used from here",
        f"{failure.message} Nothing is kept there yet.",
        hint="set that right, then run the same command again: it goes on from here (a role may take minutes to count)",
        commands=grant,
    )


_ROOM = {
    StoreFault.FULL: "free some space, or name a directory on a larger disk",
    StoreFault.READ_ONLY: "have it mounted writable, or name another directory",
}


def readers(objects: ConditionalStore) -> Diagnostic:
    return warning(
        "backend-readers",
        "Whoever may read these states can log in to the machines",
        f"{place(objects)}: the deployments' private SSH keys lie beside the states. At GitLab everybody with the role Developer in the"
        " project reads them.",
        hint="use a project of its own for states",
    )


def stale(failure: SkycError) -> Diagnostic:
    """What is shown without the backend's word."""
    return warning(
        "as-last-seen",
        "The state backend was not asked; this is what this home saw last",
        failure.diagnostics[0].detail,
        hint=failure.diagnostics[0].hint,
    )


def only_read(objects: ConditionalStore) -> Diagnostic:
    return Diagnostic(
        severity=Severity.NOTE,
        slug="backend-read-only",
        summary="The state backend can only be read from here",
        detail=f"{place(objects)} lets nobody write from here: the plan is compared with the states there, and nothing is cleared up.",
    )


def under_way(deployment: DeploymentId, intents: Sequence[Intent]) -> Diagnostic:
    """For a plan of somebody who may not find out what came of it."""
    rows = "; ".join(f"{row.action} of {row.site} by {row.home} since {row.started:%Y-%m-%d %H:%M:%S} UTC" for row in intents)
    return warning(
        "apply-under-way",
        "Something is under way, or was cut off",
        f"`{deployment}`: {rows}. The plan is compared with the state before that.",
        hint="plan again when it is over",
    )


def newer(objects: ConditionalStore, deployment: DeploymentId, found: str) -> SkycError:
    return SkycError(
        error(
            "backend-newer",
            "The state backend was written by a newer skyc",
            f"`{deployment}` at {place(objects)} has the format {found}, which this skyc does not know. Use the newer skyc.",
        )
    )


def damaged(objects: ConditionalStore, deployment: DeploymentId, why: str) -> SkycError:
    return SkycError(
        error(
            "backend-damaged",
            "The state backend cannot be read",
            f"`{deployment}/deployment.json` at {place(objects)}: {why}. Nothing was changed. The bucket keeps earlier versions of it:"
            " put the last good one back.",
            hint=f"`skyc destroy {deployment}` does not help here: without the list nobody knows where to look",
        )
    )


def lost(objects: ConditionalStore, deployment: DeploymentId, folder: Path) -> SkycError:
    return SkycError(
        error(
            "backend-lost",
            "The state backend has lost a deployment",
            f"This home has kept `{deployment}` at {place(objects)}, and nothing of it is there now. An emptied or exchanged bucket"
            " would look like that; building on it would make everything twice. The states are still here. To have them uploaded again"
            " by the next command, remove this home's note of what was there.",
            commands=(f"rm {shlex.quote(str(folder / 'remote.json'))}",),
        )
    )


def rolled_back(objects: ConditionalStore, deployment: DeploymentId, found: int, seen: int) -> SkycError:
    return SkycError(
        error(
            "backend-older",
            "The state backend went back in time",
            f"`{deployment}/deployment.json` at {place(objects)} is edition {found}, and this home has seen edition {seen}: somebody put"
            " an earlier version back. What was made since then would be forgotten and made again.",
            hint="put the newest version of the object back; the bucket keeps them",
        )
    )


def state_refused(
    objects: ConditionalStore, deployment: DeploymentId, site: SiteId, why: str, backup: Path | None
) -> SkycError:
    target = f"{place(objects)}/{deployment}/{site}.tfstate"
    commands = _put_back(backup, target) if backup else ()
    return SkycError(
        error(
            "backend-state-refused",
            "A shared Terraform state is not the one that was written last",
            f"{target}: {why} Planning on it would create again what exists."
            " Put the newest version of the object back; the bucket keeps them."
            + (" Or upload the newest this home has, with the command below." if commands else ""),
            commands=commands,
        )
    )


def _put_back(backup: Path, target: str) -> tuple[str, ...]:
    """The command that uploads a state over the one at `target`; none where no tool does."""
    source, (scheme, _, rest) = shlex.quote(str(backup)), target.partition("://")
    match scheme:
        case "file":
            return (f"cp {source} {shlex.quote(rest)}",)
        case "s3":
            return (f"aws s3 cp {source} {shlex.quote(target)}",)
        case "gs":
            return (f"gcloud storage cp {source} {shlex.quote(target)}",)
        case "az":
            account, container, name = (shlex.quote(word) for word in rest.split("/", 2))
            words = f"--account-name {account} --container-name {container} --name {name} --file {source}"
            return (f"az storage blob upload --overwrite --auth-mode login {words}",)
    return ()


def two_deployments(objects: ConditionalStore, deployment: DeploymentId, site: SiteId) -> SkycError:
    return SkycError(
        error(
            "backend-other-deployment",
            "Two deployments have one name",
            f"This home has a state of `{site}` that has nothing in common with the one at {place(objects)}: `{deployment}` was made once"
            " here and once by somebody else.",
            hint="destroy the one of this home before it uses the backend (take `state:` out of config.yaml for that), and use another"
            " name: `-d NAME`",
        )
    )


def moved(objects: ConditionalStore, deployment: DeploymentId, before: str) -> SkycError:
    return SkycError(
        error(
            "backend-moved",
            "The deployment's state is kept somewhere else",
            f"`{deployment}` is kept at {before}, and `state:` in config.yaml now says {place(objects)}. Two places would"
            " become two truths.",
            hint="put the setting back; to move a deployment, copy its folder there first and then remove `remote.json` from"
            f" deployments/{deployment} below the home",
        )
    )


def not_configured(deployment: DeploymentId, before: str) -> SkycError:
    return SkycError(
        error(
            "backend-not-configured",
            "The deployment's state is kept in a backend that is not configured",
            f"`{deployment}` is kept at {before}, and config.yaml has no `state:` any more. Others may have changed it meanwhile.",
            hint=f"write `state: {before}` into config.yaml again",
        )
    )


def elsewhere(deployment: DeploymentId, machine: str) -> SkycError:
    return SkycError(
        error(
            "other-machine",
            "The deployment's nodes are on another machine",
            f"`{deployment}` has nodes on {machine}. They can be seen from here, and changed or removed only from there.",
        )
    )


def lease_lost(deployment: DeploymentId, who: str) -> SkycError:
    return SkycError(
        error(
            "lease-lost",
            "Another machine has taken the deployment over",
            f"`{deployment}`: this command did not reach the backend for too long (the machine slept, or was cut off), and {who} went on"
            " without it. What this command made and could not write down carries the deployment's tag; the next command"
            " finds it.",
            commands=(f"skyc status {deployment}",),
        )
    )


def not_pushed(objects: ConditionalStore, deployment: DeploymentId, why: str) -> Diagnostic:
    return error(
        "state-not-pushed",
        "The new state is not in the backend yet",
        f"{place(objects)}: {why} What was done is done, its state is here, and the next command about `{deployment}` from this home"
        " uploads it before anything else. Until then others wait, or see that something was under way.",
        commands=(f"skyc status {deployment}",),
    )


def keys_differ(objects: ConditionalStore, deployment: DeploymentId) -> SkycError:
    return SkycError(
        error(
            "backend-keys-changed",
            "Another machine has made the deployment's keys",
            f"`{deployment}` at {place(objects)} has other SSH keys than this plan was compiled with: somebody applied it first."
            " Their keys are now here too; nothing was changed.",
            hint="run the command again",
        )
    )
