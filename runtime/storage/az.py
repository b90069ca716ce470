"""A container of Azure Blob Storage as a store: `az://account/container/prefix`; `?endpoint=` is the account's address where that is not
`https://ACCOUNT.blob.core.windows.net` (another cloud of Azure's, an emulator).

Invariants:

- An object is one block blob, which appears whole (in parts only where it is large). Its MD5 is kept with it, and held against what
  arrives.
- A tag is the blob's ETag; conditions are the server's (`If-Match`, `If-None-Match`).

Credentials, in this order: AZURE_STORAGE_CONNECTION_STRING of this account; an account key (ARM_ACCESS_KEY, AZURE_STORAGE_KEY); a SAS
token (ARM_SAS_TOKEN, AZURE_STORAGE_SAS_TOKEN); a service principal in ARM_… or AZURE_… with a secret, a certificate or a federated
token; a managed identity with ARM_USE_MSI; the login of `az`. A machine at Azure has its own managed identity, and nothing else. The last
four need the role Storage Blob Data Contributor.
Only this module imports azure.storage and azure.identity (extra `azure`), and only when a container is asked.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import SkycError, error, unreached
from . import remote
from .base import Changed, Machine, NotFound, StoreError, StoreFault, check_key
from .remote import BLOCK, IS_THERE, Again, Condition, RemoteStore

NO_LIBRARY = (
    "azure-storage-blob and azure-identity are not installed; install skyc with its extra `azure` (pip install 'skyc[azure]')."
)
_PAGE = 1000
_AGAIN = frozenset({408, 409, 429})
_TAKEN = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", "UnauthorizedBlobOverwrite"})
_GONE = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ResourceNotFound", "AccountIsDisabled"})
_LOG_IN = "Run `az login`, or set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID."


class AzStore(RemoteStore):
    """See the module. May be shared by threads."""

    def __init__(
        self, account: str, container: str, prefix: str = "", *, endpoint: str | None = None, machine: Machine | None = None
    ) -> None:
        super().__init__(f"az://{account}/{container}", prefix, machine)
        self.account = account
        self.container = container
        self.endpoint = endpoint

    @classmethod
    def from_uri(cls, uri: str, machine: Machine | None = None) -> AzStore:
        parts = urlsplit(uri)
        options = parse_qs(parts.query)
        container, _, prefix = parts.path.strip("/").partition("/")
        shown = "az://…" if "@" in uri else uri.partition("?")[0]
        if not parts.netloc or not container or parts.fragment or set(options) - {"endpoint"} or "@" in parts.netloc:
            raise SkycError(
                error(
                    "bad-storage-uri",
                    "This storage URI cannot be used",
                    f"`{shown}` must have the form `az://account/container/prefix`; `?endpoint=` may follow.",
                )
            )
        if prefix:
            check_key(prefix)
        endpoint = options["endpoint"][0] if options else None
        return cls(parts.netloc, container, prefix, endpoint=endpoint, machine=machine)

    @property
    def uri(self) -> str:
        options = f"?{urlencode({'endpoint': self.endpoint}, safe=':/')}" if self.endpoint else ""
        return f"{self.place}/{self.prefix}".rstrip("/") + options

    def _key(self, key: str) -> str:
        if any(part.endswith(".") for part in key.split("/")) and key not in (".", ".."):
            # Azure drops such dots, and two keys would be one blob.
            raise StoreError(StoreFault.INVALID, f"{key!r} cannot be stored at Azure: no part of a name may end with a dot.")
        return super()._key(key)

    def _send(self, name: str, content: BinaryIO, size: int, condition: Condition) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        while block := content.read(BLOCK):
            digest.update(block)
        content.seek(0)

        def send(container: Any) -> str:
            from azure.core import MatchConditions
            from azure.storage.blob import ContentSettings

            options: dict[str, Any] = {"overwrite": True}
            if condition is None:
                options = {"overwrite": False}
            elif condition is not IS_THERE:
                options = {"overwrite": True, "etag": condition, "match_condition": MatchConditions.IfNotModified}
            settings = ContentSettings(content_type="application/octet-stream", content_md5=bytearray(digest.digest()))
            blob = container.get_blob_client(name)
            return str(blob.upload_blob(content, length=size, content_settings=settings, **options)["etag"])

        return str(self._ask(send, name))

    def _fetch(self, name: str, into: BinaryIO) -> tuple[str, float]:
        digest = hashlib.md5(usedforsecurity=False)
        now: list[datetime] = []

        def hear(answer: Any) -> None:
            now.append(parsedate_to_datetime(answer.http_response.headers["Date"]))

        def fetch(container: Any) -> Any:
            # Later parts of a large one carry the first one's ETag as their condition.
            found = container.get_blob_client(name).download_blob(raw_response_hook=hear)
            for block in found.chunks():
                digest.update(block)
                into.write(block)
            return found.properties

        try:
            properties = self._ask(fetch, name)
        except Changed:
            raise Again("it was written while it was read") from None
        sent = properties.content_settings.content_md5
        if sent is not None and bytes(sent) != digest.digest():
            raise Again("an answer was not what its checksum says")
        then = properties.last_modified
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return str(properties.etag), (now[0] - then).total_seconds()

    def _measure(self, name: str) -> int:
        return int(self._ask(lambda container: container.get_blob_client(name).get_blob_properties().size, name))

    def _page(self, start: str, token: str) -> tuple[list[str], str]:
        def page(container: Any) -> tuple[list[str], str]:
            pages = container.list_blob_names(name_starts_with=start, results_per_page=_PAGE).by_page(token or None)
            names = [str(name) for name in next(pages, ())]
            return names, str(pages.continuation_token or "")

        found: tuple[list[str], str] = self._ask(page, "")
        return found

    def _erase(self, name: str) -> None:
        self._ask(lambda container: container.get_blob_client(name).delete_blob(delete_snapshots="include"), name)

    def _ask(self, request: Any, name: str) -> Any:
        """One request. Raises StoreError, or `Again`."""
        place = f"{self.place}/{name}".rstrip("/")
        client = _client(self.account, self.endpoint, _environment(), self.machine)
        # Loaded by now.
        from azure.core import exceptions

        try:
            return request(client.get_container_client(self.container))
        except exceptions.HttpResponseError as failure:
            raise self._refusal(failure, place) from None
        except exceptions.ServiceRequestError as failure:
            host = urlsplit(self.endpoint or _address(self.account)).netloc
            said = unreached(host, failure)
            raise Again(said if self.endpoint else f"{said} (is there an account `{self.account}`?)") from None
        except exceptions.AzureError as failure:
            raise Again(f"an answer was cut off ({type(failure).__name__})") from None
        except ValueError:
            # The message would repeat what was given, which may be a secret on the wrong place.
            raise StoreError(StoreFault.INVALID, f"{place}: this account, container or endpoint cannot be used.") from None

    def _refusal(self, failure: Any, place: str) -> Exception:
        from azure.core.exceptions import ClientAuthenticationError

        status, code = int(failure.status_code or 0), getattr(failure, "error_code", None) or ""
        code = str(getattr(code, "value", code))
        if isinstance(failure, ClientAuthenticationError) and not status:
            none = (
                "this machine has no managed identity that Azure knows."
                if self.machine
                else f"there is no usable Azure login. {_LOG_IN}"
            )
            return StoreError(StoreFault.DENIED, f"{place}: {none}")
        if status == 412 or code in _TAKEN:
            return Changed(f"{place} is not what was read before.")
        if code in _GONE:
            # Never "not found": that would read as a container in which nothing is.
            return StoreError(StoreFault.UNREACHABLE, f"The container `{self.container}` of `{self.account}` does not exist.")
        if status == 404:
            return NotFound(f"{place} does not exist.")
        if status in (401, 403):
            return StoreError(StoreFault.DENIED, f"{place}: {self._denied(code, str(failure))}")
        if status in _AGAIN or status >= 500:
            return Again(f"it answered {code or status}")
        return StoreError(StoreFault.INVALID, f"{place}: the request was answered with {code or status}.")

    def _denied(self, code: str, text: str) -> str:
        if "date header" in text.lower() or "lifetime" in text.lower():
            return f"refused ({code}): this machine's clock is wrong."
        if "Mismatch" in code:
            who, what = ("this machine's identity", "") if self.machine else ("the login", " states")
            return (
                f"refused ({code}): {who} lacks a role. To read and write{what}, grant `Storage Blob Data Contributor` on the"
                f" container `{self.container}`; to read only, `Storage Blob Data Reader`."
            )
        if code == "AuthorizationFailure":
            return f"refused ({code}): the account's firewall does not let this machine in, or the login lacks a role."
        return f"refused ({code or 'no reason given'}).{'' if self.machine else f' {_LOG_IN}'}"


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(("ARM_", "AZURE_"))))


def _address(account: str) -> str:
    return f"https://{account}.blob.core.windows.net"


_making = threading.Lock()


def _client(account: str, endpoint: str | None, environ: tuple[tuple[str, str], ...], machine: Machine | None = None) -> Any:
    """Kept, because its connections are: one for all threads. `environ` is what credentials depend on."""
    with _making:
        return _made(account, endpoint, () if machine else environ, machine)


@lru_cache(maxsize=8)
def _made(account: str, endpoint: str | None, environ: tuple[tuple[str, str], ...], machine: Machine | None) -> Any:
    given = dict(environ)
    try:
        from azure.storage.blob import BlobServiceClient
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
    options: dict[str, Any] = {
        "retry_total": 0,
        "connection_timeout": 5,
        "read_timeout": 60,
        "max_single_put_size": remote.AT_ONCE,
        "max_block_size": 8 << 20,
    }
    url = endpoint or _address(account)
    text = given.get("AZURE_STORAGE_CONNECTION_STRING", "")
    try:
        if account == _parts(text).get("accountname"):
            return _kept(BlobServiceClient.from_connection_string(text, **options))
        credential = _of_machine(machine) if machine is not None else _credential(account, given)
        if url.startswith("http:") and not isinstance(credential, dict):
            # A key only signs; a token or a login would travel in the clear.
            raise StoreError(StoreFault.INVALID, f"az://{account}: a login is not sent over plain HTTP; use https.")
        return _kept(BlobServiceClient(url, credential=credential, **options))
    except (ValueError, OSError):
        said = f"az://{account}: the credentials in the environment cannot be read."
        raise StoreError(StoreFault.DENIED, said) from None


def _kept(client: Any) -> Any:
    atexit.register(client.close)
    return client


def _parts(text: str) -> dict[str, str]:
    """Of a connection string, by their names in lower-case letters."""
    return {name.strip().lower(): value for name, _, value in (row.partition("=") for row in text.split(";")) if value}


def _of_machine(machine: Machine) -> Any:
    try:
        from azure.identity import ManagedIdentityCredential
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
    # What it has to say of a failure, the error says too.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    return ManagedIdentityCredential(client_id=machine.identity or None)


def _credential(account: str, environ: Mapping[str, str]) -> Any:
    def given(*names: str) -> str | None:
        return next((environ[name] for name in names if environ.get(name)), None)

    key = given("ARM_ACCESS_KEY", "AZURE_STORAGE_KEY")
    if key is not None:
        return {"account_name": account, "account_key": key}
    token = given("ARM_SAS_TOKEN", "AZURE_STORAGE_SAS_TOKEN")
    if token is not None:
        from azure.core.credentials import AzureSasCredential

        return AzureSasCredential(token)
    try:
        from azure import identity
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
    tenant, client, secret, certificate = (
        given(f"ARM_{name}", f"AZURE_{name}") for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_CERTIFICATE_PATH")
    )
    if tenant is not None and client is not None:
        if secret is not None:
            return identity.ClientSecretCredential(tenant, client, secret)
        if certificate is not None:
            password = given("ARM_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CLIENT_CERTIFICATE_PASSWORD")
            return identity.CertificateCredential(tenant, client, certificate, password=password)
        assertion, file = given("ARM_OIDC_TOKEN"), given("ARM_OIDC_TOKEN_FILE_PATH", "AZURE_FEDERATED_TOKEN_FILE")
        if assertion is not None:
            return identity.ClientAssertionCredential(tenant, client, lambda: assertion)
        if file is not None:
            return identity.ClientAssertionCredential(tenant, client, lambda: Path(file).read_text(encoding="ascii").strip())
    # What it has to say of a failure, the error says too.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    if given("ARM_USE_MSI") in ("true", "1"):
        return identity.ManagedIdentityCredential(client_id=client)
    return identity.AzureCliCredential(tenant_id=tenant or "")
