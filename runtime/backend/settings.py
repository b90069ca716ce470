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
