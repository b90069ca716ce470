"""A bucket of IBM Cloud Object Storage as a store: `cos://bucket/prefix?region=eu-de`; `&endpoint=` names another server of the service.

It speaks S3's protocol with a token of IAM in place of a signature, conditions included (cloud.ibm.com/docs/cloud-object-storage, "Upload
data", Conditional requests). A machine at IBM has the token of its trusted profile, from its metadata service
(cloud.ibm.com/apidocs/vpc-identity), and asks the service's endpoint inside IBM's network, which needs no way out and costs nothing;
without `region` the bucket is in the machine's own. Anybody else has an API key in IC_API_KEY or IBMCLOUD_API_KEY.
Roles on the bucket: Object Lister, Object Reader, Object Writer, Object Deleter. `SKYC_IBM_METADATA_URL` and `SKYC_IBM_IAM_URL` name other
places to get tokens from.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

from .base import StoreError, StoreFault
from .remote import Again
from .s3 import NO_LIBRARY, S3Store, client

METADATA_URL = "https://api.metadata.cloud.ibm.com"
VERSION = "2025-08-26"
"""The metadata service's behaviour as of this date."""
IAM_URL = "https://iam.cloud.ibm.com"
KEYS = ("IC_API_KEY", "IBMCLOUD_API_KEY")
ENDPOINT = "https://s3.{network}{region}.cloud-object-storage.appdomain.cloud"
_EARLY = 300.0
"""Seconds before its end at which a token is replaced: none ends on its way to the service."""
_AGAIN = frozenset({404, 408, 429})
"""How a metadata service answers, too, while its machine is being made."""


class CosStore(S3Store):
    """See the module. May be shared by threads."""

    scheme = "cos"
    rights_take = 300.0
    cloud = "IBM Cloud"
    log_in = "Set IC_API_KEY."

    def _connected(self) -> Any:
        endpoint = self.endpoint or self._endpoint()
        if not endpoint.startswith("https:"):
            raise StoreError(StoreFault.INVALID, f"{self.place}: a token is not sent over plain HTTP; use https.")
        # The region has no say in an unsigned request, and the library wants one.
        return client(self.region or "us-south", endpoint, (), bearer=_token_of_machine if self.machine else _token_of_key)

    def _endpoint(self) -> str:
        region = self.region
        if region is None and self.machine is None:
            raise StoreError(StoreFault.INVALID, f"{self.place}: name the bucket's region with `?region=`.")
        return ENDPOINT.format(network="direct." if self.machine else "", region=region or _region_of_machine())

    def _refusal(self, response: dict[str, Any], key: str) -> Exception:
        failure = super()._refusal(response, key)
        if isinstance(failure, StoreError) and failure.kind is StoreFault.UNREACHABLE:
            # Each region knows its own buckets alone.
            where = self.region or "the machine's region"
            return StoreError(StoreFault.UNREACHABLE, f"There is no bucket `{self.bucket}` in {where}: is `?region=` its own?")
        return failure


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str
    until: float
    """On this process's clock."""


_tokens: dict[str, _Kept] = {}
_getting = threading.Lock()


def _token_of_machine() -> str:
    """IAM's, for the trusted profile the machine is linked to. Raises StoreError, `Again`."""
    return _kept("", lambda: _told("POST", "/identity/v1/iam_tokens", {"Authorization": f"Bearer {_identity()}"}, {}))


def _token_of_key() -> str:
    """IAM's, for an API key of the environment. Raises StoreError, `Again`."""
    key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
    if key is None:
        raise StoreError(StoreFault.DENIED, "There is no IBM Cloud API key. Set IC_API_KEY.")

    def ask() -> dict[str, Any]:
        form = urlencode({"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": key})
        url = f"{os.environ.get('SKYC_IBM_IAM_URL') or IAM_URL}/identity/token"
        status, answer = _asked("POST", url, {"Content-Type": "application/x-www-form-urlencoded"}, form)
        if "access_token" not in answer:
            raise StoreError(StoreFault.DENIED, f"IBM Cloud does not accept the API key ({status}).")
        return answer

    return _kept(key, ask)


def _kept(owner: str, ask: Any) -> str:
    with _getting:
        kept = _tokens.get(owner)
        if kept is None or kept.until < time.monotonic():
            answer = ask()
            kept = _Kept(str(answer["access_token"]), time.monotonic() + float(answer.get("expires_in", 0)) - _EARLY)
            _tokens[owner] = kept
        return kept.token


def _identity() -> str:
    """With which the machine speaks to its metadata service."""
    return str(_told("PUT", "/identity/v1/token", {"Metadata-Flavor": "ibm"}, {"expires_in": 300})["access_token"])


@cache
def _region_of_machine() -> str:
    answer = _told("GET", "/metadata/v1/instance", {"Authorization": f"Bearer {_identity()}"}, None)
    return str(answer["zone"]["name"]).rpartition("-")[0]


def _told(method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
    """What the machine's metadata service answers. Raises StoreError, `Again`."""
    url = f"{os.environ.get('SKYC_IBM_METADATA_URL') or METADATA_URL}{path}?version={VERSION}"
    sent = {**headers, "Accept": "application/json", "Content-Type": "application/json"}
    status, answer = _asked(method, url, sent, "" if body is None else json.dumps(body))
    if status >= 300:
        said = f"this machine's metadata service gives no token ({status}): no trusted profile is linked to the machine."
        raise StoreError(StoreFault.DENIED, f"IBM Cloud Object Storage: {said}")
    return answer


def _asked(method: str, url: str, headers: dict[str, str], body: str) -> tuple[int, dict[str, Any]]:
    """The status, and the JSON object that came with it. Raises `Again` for what may pass. No proxy stands between; certificates are held
    against the library's own list."""
    try:
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from botocore.httpsession import URLLib3Session
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    session = URLLib3Session(verify=verify, timeout=(5, 15))
    try:
        answer = session.send(AWSRequest(method=method, url=url, headers=headers, data=body).prepare())
        status, content = int(answer.status_code), answer.content
    except BotoCoreError as failure:
        raise Again(f"IBM's login does not answer ({type(failure).__name__})") from None
    finally:
        session.close()
    if status in _AGAIN or status >= 500:
        raise Again(f"IBM's login answered {status}")
    try:
        found = json.loads(content)
    except ValueError:
        found = {}
    return status, found if isinstance(found, dict) else {}
