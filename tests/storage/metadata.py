"""Fakes of what gives a rented machine its tokens: the metadata services of AWS, Google, Azure and IBM, in their documented shapes. Nothing
of theirs is behind it. And guards: they stand before a store, as it is served here, and let in only who brings such a token."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skyc.providers.tfplugin.certificate import one_time_certificate
from tests.storage.serving import Asked, Reply, Served, as_json, serving

TOKEN = "the-machines-own-token-4711"
IDENTITY = "0b5f2c0e-1111-4222-8333-444455556666"
"""Client id of the one identity of Azure's that has rights."""
REGION = "eu-de"


@dataclass
class Metadata:
    """One server for all four. `has_identity`: the machine has one at all."""

    has_identity: bool = True
    given: int = 0
    """How many tokens for a store it has given."""

    def answer(self, asked: Asked) -> Reply:
        path = asked.path
        if path.startswith("/computeMetadata/v1/"):
            return self._google(asked, path.removeprefix("/computeMetadata/v1/"))
        if path == "/metadata/identity/oauth2/token":
            return self._azure(asked)
        if path.startswith(("/identity/", "/metadata/v1/")):
            return self._ibm(asked)
        return self._aws(asked)

    def _google(self, asked: Asked, what: str) -> Reply:
        flavor = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
        if asked.headers.get("metadata-flavor") != "Google" or not self.has_identity:
            return Reply(status=404, body=b"{}", headers=flavor)
        # The account is there by its name too.
        email = "nodes@project.iam.gserviceaccount.com"
        account = "instance/service-accounts/default"
        what = what.replace(email, "default")
        if what.rstrip("/") == account:
            body: object = {"email": email, "scopes": ["devstorage.read_write"], "aliases": ["default"]}
        elif what == f"{account}/token":
            self.given += 1
            body = {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}
        else:
            return Reply(status=404, body=b"", headers=flavor)
        return Reply(body=json.dumps(body).encode(), headers=flavor)

    def _azure(self, asked: Asked) -> Reply:
        if asked.headers.get("metadata") != "true" or asked.query["resource"].rstrip("/") != "https://storage.azure.com":
            return as_json({"error": "bad_request"}, 400)
        if not self.has_identity or asked.query.get("client_id") != IDENTITY:
            # A machine that several identities were given must say which.
            return as_json({"error": "invalid_request", "error_description": "Identity not found"}, 400)
        self.given += 1
        facts = {"access_token": TOKEN, "expires_in": "86399", "resource": "https://storage.azure.com/", "token_type": "Bearer"}
        return as_json({**facts, "client_id": IDENTITY})

    def _ibm(self, asked: Asked) -> Reply:
        if not asked.query.get("version"):
            return as_json({"errors": [{"code": "missing_version"}]}, 400)
        if (asked.method, asked.path) == ("PUT", "/identity/v1/token") and asked.headers.get("metadata-flavor") == "ibm":
            return as_json({"access_token": "instance-identity", "expires_in": 300})
        if asked.headers.get("authorization") != "Bearer instance-identity":
            return as_json({"errors": [{"code": "not_authorized"}]}, 401)
        if (asked.method, asked.path) == ("GET", "/metadata/v1/instance"):
            return as_json({"id": "0717_1", "zone": {"name": f"{REGION}-2"}})
        if (asked.method, asked.path) != ("POST", "/identity/v1/iam_tokens") or not self.has_identity:
            return as_json({"errors": [{"code": "trusted_profile_not_found"}]}, 400)
        self.given += 1
        return as_json({"access_token": TOKEN, "expires_in": 3600})

    def _aws(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) == ("PUT", "/latest/api/token"):
            return Reply(body=b"imds-v2", headers={"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
        if asked.headers.get("x-aws-ec2-metadata-token") != "imds-v2":
            return Reply(status=401)
        base = "/latest/meta-data/iam/security-credentials/"
        if not self.has_identity or not asked.path.startswith(base):
            return Reply(status=404)
        if asked.path == base:
            return Reply(body=b"nodes")
        self.given += 1
        ends = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": "ASIAMACHINE", "SecretAccessKey": "its-secret", "Token": TOKEN, "Expiration": ends}
        return as_json({"Code": "Success", **keys})


@dataclass
class Guard:
    """Lets requests through to a store that carry the machine's token, and none of `denied` more; what is refused is answered in the
    cloud's own words. `turned_away`: requests with any other credentials, or none."""

    through: Callable[[Asked], Reply]
    refusal: Callable[[], Reply]
    denied: int = 0
    turned_away: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        bearer = asked.headers.get("authorization") == f"Bearer {TOKEN}"
        signed = "Credential=ASIAMACHINE/" in asked.headers.get("authorization", "") and (
            asked.headers.get("x-amz-security-token") == TOKEN
        )
        if not bearer and not signed:
            self.turned_away.append(asked)
            return self.refusal()
        if self.denied:
            self.denied -= 1
            return self.refusal()
        return self.through(asked.with_headers(authorization=None, x_amz_security_token=None))


def google_refuses() -> Reply:
    said = "nodes@project.iam.gserviceaccount.com does not have storage.objects.list access to the Google Cloud Storage bucket."
    return as_json({"error": {"code": 403, "message": said, "errors": [{"reason": "forbidden", "message": said}]}}, 403)


def azure_refuses() -> Reply:
    code = "AuthorizationPermissionMismatch"
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>Not authorized.</Message></Error>'
    return Reply(status=403, body=body.encode(), headers={"x-ms-error-code": code, "Content-Type": "application/xml"})


def s3_refuses() -> Reply:
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return Reply(status=403, body=body, headers={"Content-Type": "application/xml"})


@contextmanager
def guarded(guard: Guard, folder: Path) -> Iterator[tuple[Served, Path]]:
    """Over TLS, since no token is sent without; and the file with the certificate that clients must trust."""
    made = one_time_certificate()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    key.write_bytes(made.key_pem)
    certificate.write_bytes(made.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(guard.answer, context) as served:
        yield served, certificate
