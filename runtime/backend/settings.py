"""Where the states of a home's deployments are kept: `state:` in `<home>/config.yaml`. Without it, below the home and nowhere else.

    state: s3://bucket/prefix

or gs://bucket/prefix, az://account/container/prefix, an address of Terraform's HTTP protocol (https://…), a shared directory
(file:///…); and with what the URI leaves open:

    state: {uri: s3://bucket/prefix, region: eu-west-1, endpoint: https://s3.example.com}
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from ...compiler.diagnostics import Diagnostic, SkycError, error
from ...compiler.ir import DeploymentId, JsonObject, SiteId
from ..storage.base import ConditionalStore, open_store

CONFIG = "config.yaml"
OPTIONS = ("uri", "region", "endpoint", "lock", "lock_method", "unlock_method")
"""Of all kinds; which of them a kind has, its store says."""


def configured(home: Path) -> ConditionalStore | None:
    """The home's backend; None when states stay at home. Contacts nobody. Raises SkycError for a setting that cannot be used."""
    uri = _uri(home / CONFIG)
    if uri is None:
        return None
    try:
        return conditional(uri)
    except SkycError as failure:
        raise SkycError(_bad(home / CONFIG, failure.diagnostics[0].detail)) from None


def conditional(uri: str) -> ConditionalStore:
    """The store a URI names, which can hold states. Raises SkycError."""
    store = open_store(uri)
    if uri.startswith("cos://"):
        raise SkycError(
            error(
                "bad-state-setting",
                "This store cannot hold states",
                f"{uri.partition('?')[0]}: nobody has proven yet that IBM's store heeds the conditions of writes, which keep two"
                " machines from overwriting each other's state.",
            )
        )
    if not isinstance(store, ConditionalStore):
        raise SkycError(
            error(
                "bad-state-setting",
                "This store cannot hold states",
                f"{uri.partition('?')[0]}: it has no conditional writes, so two machines could overwrite each other's state.",
            )
        )
    return store


def _uri(path: Path) -> str | None:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise SkycError(
            error(
                "bad-config", "The configuration file cannot be read", f"{path}: {failure}", hint="correct or remove the file"
            )
        ) from failure
    given = config.get("state") if isinstance(config, dict) else None
    if given is None or given == "local":
        return None
    if isinstance(given, str):
        return given
    fits = isinstance(given, dict) and set(given) <= set(OPTIONS) and all(isinstance(value, str) for value in given.values())
    if not fits or "uri" not in given:
        raise SkycError(_bad(path, "It is a URI, or a mapping of `uri` and, where needed, `region`, `endpoint`, `lock`, …"))
    options = urlencode({name: given[name] for name in sorted(given) if name != "uri"}, safe=":/")
    return f"{given['uri']}?{options}" if options else str(given["uri"])


def _bad(path: Path, why: str) -> Diagnostic:
    return error(
        "bad-state-setting",
        "The setting of the state backend cannot be used",
        f"`state` in {path}: {why}",
        hint="write `state: s3://bucket/prefix` (or gs://, az://, https://), or leave it out to keep states on this machine",
    )


def terraform_block(uri: str, deployment: DeploymentId, site: SiteId) -> JsonObject | None:
    """What stands in `terraform.backend` of a root module so that plain Terraform works on the site's state where it lies: the kind of
    backend → its settings. No secrets. Pure.

    None where it cannot: Google's has no name for an object but a workspace's, and what skyc keeps behind Terraform's HTTP protocol is not
    a bare state. Plain Terraform takes no notice of the lease, so nobody may use both at once.
    """
    from ..storage.az import AzStore
    from ..storage.file import FileStore
    from ..storage.s3 import S3Store

    store = open_store(uri)
    key = f"{deployment}/{site}.tfstate"
    settings: JsonObject
    match store:
        case FileStore():
            return {"local": {"path": str(store.root / key)}}
        case S3Store() if store.scheme == "s3":
            settings = {"bucket": store.bucket, "key": f"{store.prefix}{key}", "encrypt": True, "use_lockfile": True}
            if store.region:
                settings["region"] = store.region
            if store.endpoint:
                # As the store speaks to it; what only AWS has is not asked of others.
                skipped = ("credentials_validation", "region_validation", "requesting_account_id", "metadata_api_check")
                settings |= {"endpoints": {"s3": store.endpoint}, "use_path_style": True, "skip_s3_checksum": True}
                settings |= {f"skip_{name}": True for name in skipped}
            return {"s3": settings}
        case AzStore():
            settings = {
                "storage_account_name": store.account,
                "container_name": store.container,
                "key": f"{store.prefix}{key}",
                "use_azuread_auth": True,
            }
            return {"azurerm": settings}
    return None
