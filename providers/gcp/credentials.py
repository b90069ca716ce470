"""A key or token for Google's APIs, from the environment or the file `gcloud auth application-default login` writes.

Protocol of the exchanges: https://developers.google.com/identity/protocols/oauth2 (refresh tokens, and service accounts with a
signed assertion). Nothing is stored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...compiler.ir import Secret
from ..http import Http, Request, endpoint
from ..refresh import MissingCredentials, key_from, part_of
from ..retry import BadAnswer

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com"  # noqa: S105 - an address
LIFETIME = 600
"""Seconds an assertion is valid for."""


def headers(environ: Mapping[str, str], http: Http) -> dict[str, tuple[str, Secret]]:
    """What to authenticate a request with. Raises MissingCredentials, or SourceFailure from the exchange."""
    key = key_from(environ, "GOOGLE_API_KEY")
    if key is not None:
        return {"X-Goog-Api-Key": ("", key)}
    token = key_from(environ, "GOOGLE_OAUTH_ACCESS_TOKEN")
    if token is not None:
        return {"Authorization": ("Bearer ", token)}
    file = _file(environ)
    found = {"Authorization": ("Bearer ", _exchanged(file, environ, http))}
    # A person's login has no project of its own, and Google refuses requests that no project answers for.
    project = key_from({"project": str(file.get("quota_project_id", ""))}, "project")
    return found if project is None else {**found, "X-Goog-User-Project": ("", project)}


def adc_file(environ: Mapping[str, str]) -> Path:
    """Where the application-default credentials are, if there are any."""
    place = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    home = environ.get("CLOUDSDK_CONFIG") or str(Path(environ.get("HOME", "~")).expanduser() / ".config" / "gcloud")
    return Path(place) if place else Path(home) / "application_default_credentials.json"


def _file(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(adc_file(environ).read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise MissingCredentials(
            "Google's price list needs an API key or a login, and there is neither GOOGLE_API_KEY nor a file of application-default "
            "credentials.",
            "Run `gcloud auth application-default login`, or put an API key for the Cloud Billing API into GOOGLE_API_KEY.",
        )
    return found


def _exchanged(file: dict[str, Any], environ: Mapping[str, str], http: Http) -> Secret:
    """An access token for what the file holds."""
    form: dict[str, str | Secret]
    if file.get("type") == "authorized_user":
        form = {
            "grant_type": "refresh_token",
            "client_id": part_of(file, "client_id", str),
            "client_secret": Secret(part_of(file, "client_secret", str)),
            "refresh_token": Secret(part_of(file, "refresh_token", str)),
        }
    elif file.get("type") == "service_account":
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": _assertion(file, endpoint({}, "", TOKEN_URL) + "/token"),
        }
    else:
        raise MissingCredentials(
            "The file of Google credentials is of a kind skyc does not read (it reads authorized_user and service_account).",
            "Put an access token into GOOGLE_OAUTH_ACCESS_TOKEN: export GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)",
        )
    base = endpoint(environ, "SKYC_GCP_TOKEN_URL", TOKEN_URL)
    answer = http.json(Request(url=f"{base}/token", method="POST", secret_form=form))
    return Secret(part_of(answer, "access_token", str))


def _assertion(file: dict[str, Any], audience: str) -> Secret:
    """A JWT signed with the account's key (RS256)."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    def packed(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")

    try:
        key = serialization.load_pem_private_key(part_of(file, "private_key", str).encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        # The library's message could repeat what it read.
        raise BadAnswer("the private key in the file of Google credentials cannot be read")
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": part_of(file, "client_email", str),
        "scope": SCOPE,
        "aud": audience,
        "iat": now,
        "exp": now + LIFETIME,
    }
    text = packed({"alg": "RS256", "typ": "JWT"}) + b"." + packed(claims)
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return Secret((text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode())
