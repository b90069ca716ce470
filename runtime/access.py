"""Who may log in to rented machines, and what these may reach: what the user declares, two keys per deployment, and a mark.

Invariants
- Private keys are made here, lie at `<home>/deployments/<name>/ssh/` with mode 0600, and go with the deployment.
- Two commands that ask at the same moment get the same keys; the public half is always read from the private one.
- The host key is for the first login of a machine only; whoever logs in replaces it before anything secret is sent.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId, FrozenMap
from ..providers.base import MARK_FILE, Access
from .state import deployment_directory

CONFIG = "config.yaml"
MARK_BYTES = 5


def access_of(home: Path, deployment: DeploymentId) -> Access:
    """A deployment's access; its keys are made on first use. Raises SkycError for ranges or keys that cannot be read."""
    directory = ssh_directory(home, deployment)
    _, login_public = _key(directory / "login", f"skyc-{deployment}")
    host, host_public = _key(directory / "host", "skyc-first-boot")
    return Access(
        ssh_from=ssh_ranges(home),
        login_key=login_public,
        host_key=host,
        host_key_public=host_public,
        storage_accounts=storage_accounts(home),
        bucket_keys=bucket_keys(home),
    )


def mark_of(home: Path, deployment: DeploymentId) -> str:
    """The deployment's own id in names that must be unique in the world; made on first use, and kept as long as a bucket is."""
    path = deployment_directory(home, deployment) / MARK_FILE
    if not path.exists():
        write_once(path, secrets.token_hex(MARK_BYTES).encode())
    mark = path.read_text(encoding="ascii").strip()
    if not re.fullmatch(rf"[0-9a-f]{{{2 * MARK_BYTES}}}", mark):
        raise SkycError(
            error(
                "bad-mark",
                "A deployment's own id cannot be read",
                f"{path} does not hold {2 * MARK_BYTES} hexadecimal digits. The names of its buckets end with them.",
                hint="write there what the names of its buckets end with; without any, remove the file",
            )
        )
    return mark


def ssh_directory(home: Path, deployment: DeploymentId) -> Path:
    """Where a deployment's keys are: `login` and `host`, and the host keys pinned at first logins."""
    return deployment_directory(home, deployment) / "ssh"


def _section(home: Path) -> dict[str, Any]:
    """`access` of config.yaml; empty without one. Raises SkycError."""
    section = read_config(home).get("access")
    return section if isinstance(section, dict) else {}


def ssh_ranges(home: Path) -> tuple[str, ...]:
    """`access.ssh_from` of config.yaml: addresses and CIDR ranges, as ranges, in file order. Raises SkycError."""
    given = _section(home).get("ssh_from")
    rows = [] if given is None else given if isinstance(given, list) else [given]
    return tuple(dict.fromkeys(_range(row, home / CONFIG) for row in rows))


def storage_accounts(home: Path) -> FrozenMap[str]:
    """`access.storage_accounts` of config.yaml: name → the cloud's own id. What an id must be, the cloud says. Raises SkycError."""
    given = _section(home).get("storage_accounts") or {}
    if not isinstance(given, dict) or not all(isinstance(part, str) for row in given.items() for part in row):
        raise SkycError(_bad_config(home / CONFIG, "`access.storage_accounts` must say `name: id` for each account"))
    return FrozenMap(given)


def bucket_keys(home: Path) -> FrozenMap[tuple[str, ...]]:
    """`access.bucket_keys` of config.yaml: bucket → one key's id, or a list. What an id must be, the cloud says. Raises SkycError."""
    given = _section(home).get("bucket_keys") or {}
    rows = given.items() if isinstance(given, dict) else ()
    found = {name: tuple(keys) if isinstance(keys, list) else (keys,) for name, keys in rows}
    fits = all(isinstance(part, str) and part for name, keys in found.items() for part in (name, *keys))
    if not isinstance(given, dict) or not fits or not all(found.values()):
        raise SkycError(
            _bad_config(home / CONFIG, "`access.bucket_keys` must say `bucket: key` or `bucket: [key, …]` for each")
        )
    return FrozenMap(found)


def read_config(home: Path) -> dict[str, Any]:
    """What config.yaml holds; nothing without one, or where it holds no mapping. Raises SkycError for one that cannot be read."""
    import yaml

    path = home / CONFIG
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise SkycError(_bad_config(path, failure)) from failure
    return config if isinstance(config, dict) else {}


def _bad_config(path: Path, why: object) -> Diagnostic:
    return error("bad-config", "The configuration file cannot be read", f"{path}: {why}", hint="correct or remove the file")


def _range(text: object, path: Path) -> str:
    try:
        return str(ipaddress.ip_network(str(text)))
    except ValueError as failure:
        raise SkycError(
            error(
                "bad-ssh-range",
                "A range that SSH is opened to cannot be read",
                f"`access.ssh_from` in {path}: {failure}.",
                hint="write an address such as 203.0.113.7, or a range such as 203.0.113.0/24",
            )
        ) from None


def _key(path: Path, comment: str) -> tuple[str, str]:
    """A private key and its public half, both in OpenSSH's form."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        made = Ed25519PrivateKey.generate()
        text = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        write_once(path, text)
    private = path.read_text(encoding="ascii")
    try:
        key = form.load_ssh_private_key(private.encode(), password=None)
    except ValueError as failure:
        raise SkycError(
            error(
                "bad-ssh-key",
                "A deployment's SSH key cannot be read",
                f"{path}: {failure}. Machines that were made with it accept no other.",
                hint="restore the file from a backup, or destroy the deployment",
            )
        ) from None
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return private, f"{public.decode()} {comment}"


def write_once(path: Path, content: bytes) -> None:
    """A file for the owner alone. The first writer wins, and nobody sees half a key: a link fails when the name exists."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
