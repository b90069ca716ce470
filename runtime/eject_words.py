"""What stands around ejected code: the README, the block of the backend, and the shell's variables for skyc's own provider. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ..compiler.ir import DeploymentId, SiteId

BACKEND_FOLDER = "_ejected"
"""Beside the deployments in a backend: no deployment's name begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendBlock:
    """`backend.tf`. `key`: the state's object in the store; `place`: its whole address, for people."""

    key: str
    place: str
    text: str


def backend_block(uri: str, deployment: DeploymentId, site: SiteId) -> BackendBlock | None:
    """The block for a backend that Terraform knows too and that keeps a state under a name of ours; None for any other."""
    key = f"{BACKEND_FOLDER}/{deployment}/{site}.tfstate"
    parts = urlsplit(uri)
    place = f"{uri.partition('?')[0].rstrip('/')}/{key}"
    if parts.scheme == "file":
        return BackendBlock(key=key, place=place, text=_block("local", {"path": str(Path(parts.path) / key)}, {}))
    if parts.scheme != "s3":
        return None
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    prefix = parts.path.strip("/")
    settings: dict[str, str | bool] = {
        "bucket": parts.netloc,
        "key": f"{prefix}/{key}" if prefix else key,
        # The region is what the AWS tools would take, where the setting names none.
        **({"region": options["region"]} if "region" in options else {}),
        "encrypt": True,
        "use_lockfile": True,
    }
    endpoint = options.get("endpoint")
    if endpoint is not None:
        # What a server that is not AWS's has not, or answers otherwise.
        skipped = ("credentials_validation", "metadata_api_check", "region_validation", "requesting_account_id", "s3_checksum")
        settings |= {"use_path_style": True, **{f"skip_{name}": True for name in skipped}}
    return BackendBlock(key=key, place=place, text=_block("s3", settings, {"s3": endpoint} if endpoint else {}))


def _block(kind: str, settings: dict[str, str | bool], endpoints: dict[str, str]) -> str:
    width = max(map(len, settings))
    lines = [f"    {name:<{width}} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    if endpoints:
        lines += ["    endpoints = {", *(f"      {name} = {json.dumps(value)}" for name, value in endpoints.items()), "    }"]
    # Native locks of the s3 backend came with Terraform and OpenTofu 1.10.
    version = '  required_version = ">= 1.10"\n\n' if kind == "s3" else ""
    return f'terraform {{\n{version}  backend "{kind}" {{\n' + "\n".join(lines) + "\n  }\n}\n"


def environment_script(mirror: Path, *, python: str, home: Path) -> str:
    return (
        "# For `.`: where Terraform finds skyc's provider, the Python that runs it, and the home its nodes lie in.\n"
        f"export TF_CLI_CONFIG_FILE={shlex.quote(str(mirror / 'terraform.rc'))}\n"
        f"export SKYC_PYTHON={shlex.quote(python)}\n"
        f"export SKYC_HOME={shlex.quote(str(home))}\n"
    )


def readme(
    deployment: DeploymentId, directory: Path, sites: tuple[tuple[SiteId, str, int, str], ...], *, own: bool, version: str
) -> str:
    """`sites`: name, target, resources, where the state is. `own`: whether a site needs skyc's own provider."""
    table = "\n".join(f"| `{site}/` | {target} | {count} | `{state}` |" for site, target, count, state in sites)
    prepare = ". ./environment.sh\n" if own else ""
    first = sites[0][0] if sites else "SITE"
    return f"""\
# {deployment}, as plain Terraform

Written by skyc {version}. Each folder is a root module of its own with a state of its own; Terraform planned every one of them, looked
at what exists, and found nothing to change.

| folder | target | resources | state |
|---|---|--:|---|
{table}

```sh
{prepare}cd {first}
terraform init
terraform plan      # no changes
```

Credentials are those of the cloud's own tools; none is written here. `main.tf` holds the resources, `providers.tf` and `versions.tf` say
which provider in which version, `outputs.tf` what the machines are, `files/` what a machine runs when it first boots.
{_own_text(directory) if own else ""}
## Keep it private

States, and the first-boot texts in `files/`, are for you alone: they are readable by their owner only, and `.gitignore` keeps them out of
a repository. The host key in a first-boot text is used once: whoever logs in first replaces it.

## What skyc did that Terraform does not

- **Jobs.** Terraform makes machines; starting tasks, logs, checkpoints and resuming were skyc's. `skyc logs`, `queue`, `exec`, `ssh` and
  `cancel` go on with the machines as they were ejected, for as long as skyc's home keeps the keys. New machines are unknown to it.
- **Capacity and failover.** Where a machine cannot be had, `terraform apply` fails; nothing looks for another zone or type.
- **Dead and interrupted machines.** A spot machine that was taken back is made again at the next `terraform apply`, without its data.
- **First logins and host keys.** A new machine introduces itself with the host key in its first-boot text. skyc replaced that key at the
  first login and brought the token without which Ray does not start. Without skyc both are yours to do.
- **Cut-off runs.** What a killed Terraform made and did not write down is found by its tags: `skyc-deployment` is `{deployment}`.
- **Prices, budgets, policies.** Nothing compares an apply with what was approved.

Changing a resource's tags `skyc-deployment` and `skyc-site` makes it invisible to skyc for good.

## Back to skyc, or away from it

- `skyc eject {deployment} --undo`, on the machine where it was ejected, takes the states back; the next `skyc plan` shows what differs.
  Stop using this directory then.
- After `terraform destroy` in every folder, `skyc destroy {deployment}` sees that nothing carries its tag and closes its record.
"""


def _own_text(directory: Path) -> str:
    return f"""
Nodes on your own machines are resources of skyc's own Terraform provider, which no registry has. `mirror/` leads Terraform to it, and
`environment.sh` tells the shell: source it from this directory. It needs a Python in which skyc is installed, not the command `skyc`.
The paths in both are those of {directory}; elsewhere, `skyc mirror DIR` writes another mirror.
"""
