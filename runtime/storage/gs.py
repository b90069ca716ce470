"""A bucket of Google Cloud Storage as a store: `gs://bucket/prefix`; `?endpoint=` names another server than Google's.

Invariants:

- An object is one upload (in parts only where it is large), so a reader sees it whole or not at all. Its CRC32C is sent along, and held
  against what arrives.
- A tag is the object's generation, a number that every write changes; conditions are the server's (`ifGenerationMatch`).

Credentials come from where Terraform's provider takes them: GOOGLE_OAUTH_ACCESS_TOKEN, GOOGLE_CREDENTIALS (a file or its content), then
application-default credentials. A machine at Google has the token of its service account, from the metadata server, and no other. A
server that is reached over plain HTTP (`?endpoint=`, or STORAGE_EMULATOR_HOST) gets none.
Permissions: `storage.objects.get`, `.list`, `.create` and `.delete` on the bucket, which the role Storage Object User has.
Only this module imports google.cloud.storage (extra `gcp`), and only when a bucket is asked.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import SkycError, error, unreached
from .base import Changed, Machine, NotFound, StoreError, StoreFault, check_key
from .remote import IS_THERE, Again, Condition, RemoteStore

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
KEY_VARIABLES = ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
NO_LIBRARY = "google-cloud-storage is not installed; install skyc with its extra `gcp` (pip install 'skyc[gcp]')."
_TIMEOUT = (5.0, 60.0)
"""Seconds: to connect, and of silence."""
_PERMISSION = re.compile(r"\bstorage\.[a-zA-Z]+\.[a-zA-Z]+\b")
_AGAIN = frozenset({408, 409, 429})
_GOOGLE = "https://storage.googleapis.com"
_heard = threading.local()
"""`answer`: the last one this thread had. The library keeps the server's clock to itself."""


class GsStore(RemoteStore):
    """See the module. May be shared by threads."""

    def __init__(self, bucket: str, prefix: str = "", *, endpoint: str | None = None, machine: Machine | None = None) -> None:
        super().__init__(f"gs://{bucket}", prefix, machine)
        self.bucket = bucket
        self.endpoint = endpoint

    @classmethod
    def from_uri(cls, uri: str, machine: Machine | None = None) -> GsStore:
        parts = urlsplit(uri)
        options = parse_qs(parts.query)
        prefix = parts.path.strip("/")
        shown = "gs://…" if "@" in uri else uri.partition("?")[0]
        if not parts.netloc or parts.fragment or set(options) - {"endpoint"} or "@" in parts.netloc:
            raise SkycError(
                error(
                    "bad-storage-uri",
                    "This storage URI cannot be used",
                    f"`{shown}` must have the form `gs://bucket/prefix`; `?endpoint=` may follow.",
                )
            )
        if prefix:
            check_key(prefix)
        return cls(parts.netloc, prefix, endpoint=options["endpoint"][0] if options else None, machine=machine)

    @property
    def uri(self) -> str:
        options = f"?{urlencode({'endpoint': self.endpoint}, safe=':/')}" if self.endpoint else ""
        return f"{self.place}/{self.prefix}".rstrip("/") + options

    def _send(self, name: str, content: BinaryIO, size: int, condition: Condition) -> str:
        options = {} if condition is IS_THERE else {"if_generation_match": int(str(condition or 0))}

        def send(bucket: Any) -> str:
            blob = bucket.blob(name)
            blob.upload_from_file(
                content,
                size=size,
                content_type="application/octet-stream",
                checksum="crc32c",
                timeout=_TIMEOUT,
                retry=None,
                **options,
            )
            return str(blob.generation)

        return str(self._ask(send, name))

    def _fetch(self, name: str, into: BinaryIO) -> tuple[str, float]:
        def fetch(bucket: Any) -> tuple[str, float]:
            blob = bucket.blob(name)
            # As it is stored: what somebody compressed in the bucket must match its checksum.
            blob.download_to_file(into, raw_download=True, checksum="crc32c", timeout=_TIMEOUT, retry=None)
            headers: Mapping[str, str] = _heard.answer.headers
            then = parsedate_to_datetime(headers["Last-Modified"]) if "Last-Modified" in headers else None
            if then is None or blob.generation is None:
                # Not every answer that carries data says when it was written; its description does.
                options = {} if blob.generation is None else {"if_generation_match": blob.generation}
                blob.reload(timeout=_TIMEOUT, retry=None, **options)
                then = blob.time_created
            now = parsedate_to_datetime(_heard.answer.headers["Date"])
            return str(blob.generation), (now - then).total_seconds()

        try:
            found: tuple[str, float] = self._ask(fetch, name)
        except Changed:
            raise Again("it was written while it was read") from None
        return found

    def _measure(self, name: str) -> int:
        def measure(bucket: Any) -> int:
            blob = bucket.blob(name)
            blob.reload(timeout=_TIMEOUT, retry=None)
            return int(blob.size)

        return int(self._ask(measure, name))

    def _page(self, start: str, token: str) -> tuple[list[str], str]:
        def page(bucket: Any) -> tuple[list[str], str]:
            options = {"fields": "items(name),nextPageToken", "timeout": _TIMEOUT, "retry": None}
            rows = bucket.list_blobs(prefix=start, page_token=token or None, **options)
            names = [str(blob.name) for blob in next(iter(rows.pages), ())]
            return names, str(rows.next_page_token or "")

        found: tuple[list[str], str] = self._ask(page, "")
        return found

    def _erase(self, name: str) -> None:
        self._ask(lambda bucket: bucket.blob(name).delete(timeout=_TIMEOUT, retry=None), name)

    def _ask(self, request: Any, name: str) -> Any:
        """One request. Raises StoreError, or `Again`."""
        server = _server(self.endpoint, {} if self.machine else os.environ)
        client = _client(server, _environment(), self.machine)
        # Loaded by now.
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from google.auth.exceptions import TransportError as Unheard
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests.exceptions import ConnectionError as NotConnected
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError, NewConnectionError

        place = f"{self.place}/{name}".rstrip("/")
        _heard.answer = None
        try:
            return request(client.bucket(self.bucket))
        except GoogleAPICallError as failure:
            raise self._refusal(client, int(failure.code or 0), str(failure.message), place) from None
        except DataCorruption:
            raise Again("an answer was not what its checksum says") from None
        except InvalidResponse as failure:
            raise self._refusal(client, failure.response.status_code, failure.response.text[:500], place) from None
        except Unheard as failure:
            raise Again(f"Google's login does not answer ({type(failure).__name__})") from None
        except GoogleAuthError as failure:
            raise StoreError(StoreFault.DENIED, f"{place}: {_no_login(str(failure), self.machine)}") from None
        except (NotConnected, NewConnectionError) as failure:
            raise Again(unreached(urlsplit(server or _GOOGLE).netloc, failure)) from None
        except (RequestException, HTTPError) as failure:
            raise Again(f"it does not answer ({type(failure).__name__})") from None
        except ValueError:
            # The message would repeat what was given, which may be a secret on the wrong place.
            raise StoreError(StoreFault.INVALID, f"{place}: this bucket or endpoint cannot be used.") from None
        finally:
            # The library leaves refusals half read, and their connections open.
            if _heard.answer is not None:
                _heard.answer.close()

    def _refusal(self, client: Any, status: int, text: str, place: str) -> Exception:
        if status == 412:
            return Changed(f"{place} is not what was read before.")
        if status == 404:
            # Never "not found" for a bucket: that would read as one in which nothing is.
            if "No such object" in text or ("bucket does not exist" not in text and self._is_there(client)):
                return NotFound(f"{place} does not exist.")
            return StoreError(StoreFault.UNREACHABLE, f"The bucket `{self.bucket}` does not exist.")
        if status == 401:
            what = "token of this machine's service account" if self.machine else "Google login"
            return StoreError(
                StoreFault.DENIED, f"{place}: the {what} was not accepted.{'' if self.machine else f' {_LOG_IN}'}"
            )
        if status == 403:
            missing = _PERMISSION.search(text)
            said = f"the permission {missing[0]} is missing" if missing else "refused (403)"
            role = f"grant the role roles/storage.objectUser on the bucket `{self.bucket}`"
            to = f"{role} to this machine's service account." if self.machine else f"to read and write states, {role}."
            return StoreError(StoreFault.DENIED, f"{place}: {said}; {to}")
        if status in _AGAIN or status >= 500:
            return Again(f"it answered {status}")
        return StoreError(StoreFault.INVALID, f"{place}: the request was answered with {status}.")

    def _is_there(self, client: Any) -> bool:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            next(iter(client.bucket(self.bucket).list_blobs(max_results=1, timeout=_TIMEOUT, retry=None)), None)
        except GoogleAPICallError as failure:
            return int(failure.code or 0) != 404
        return True


_LOG_IN = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."


def _no_login(text: str, machine: Machine | None = None) -> str:
    """What is wrong with a login, without what the library repeats of it."""
    if machine is not None:
        return "this machine's metadata server gives no token: it has no service account, or not the scope of Cloud Storage."
    if "iat" in text or "short-lived" in text:
        return "the login was refused because this machine's clock is wrong."
    if any(word in text for word in ("Reauthentication", "invalid_grant", "refresh")):
        return f"the Google login has ended. {_LOG_IN}"
    return f"there are no usable Google credentials. {_LOG_IN}"


def _server(endpoint: str | None, environ: Mapping[str, str]) -> str | None:
    given = endpoint or environ.get("STORAGE_EMULATOR_HOST")
    return given if not given or "://" in given else f"http://{given}"


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(item for item in os.environ.items() if item[0].startswith(("GOOGLE_", "GCLOUD_", "CLOUDSDK_", "NO_GCE")))
    )


_making = threading.Lock()


def _client(server: str | None, environ: tuple[tuple[str, str], ...], machine: Machine | None = None) -> Any:
    """Kept, because its connections are: one for all threads. `environ` is what credentials depend on."""
    with _making:
        return _made(server, () if machine else environ, machine)


@lru_cache(maxsize=8)
def _made(server: str | None, environ: tuple[tuple[str, str], ...], machine: Machine | None) -> Any:
    try:
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession
        from google.cloud.storage import Client
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
    try:
        if (server or "").startswith("http:"):
            # A token must not travel in the clear.
            credentials = AnonymousCredentials()
        else:
            credentials = _of_machine() if machine is not None else _credentials(dict(environ))
    except (GoogleAuthError, OSError, ValueError) as failure:
        raise StoreError(StoreFault.DENIED, f"Google Cloud Storage: {_no_login(str(failure), machine)}") from None
    session = AuthorizedSession(credentials)
    atexit.register(session.close)
    session.hooks["response"].append(_hear)
    options = {"api_endpoint": server} if server else None
    client = Client(project=None, credentials=credentials, client_options=options, _http=session)
    # Else it asks for the bucket behind our back, for traces nobody collects; that takes a permission more.
    client._bucket_metadata_cache = None
    return client


def _hear(response: Any, *_: Any, **__: Any) -> None:
    _heard.answer = response


def _of_machine() -> Any:
    from google.auth import compute_engine

    return compute_engine.Credentials(scopes=SCOPES)


def _credentials(environ: Mapping[str, str]) -> Any:
    import google.auth
    from google.oauth2.credentials import Credentials

    token = environ.get("GOOGLE_OAUTH_ACCESS_TOKEN")
    if token:
        return Credentials(token)
    given = next((environ[name] for name in KEY_VARIABLES if environ.get(name)), None)
    if given is None:
        return google.auth.default(scopes=SCOPES)[0]
    if given.lstrip().startswith("{"):
        return google.auth.load_credentials_from_dict(json.loads(given), scopes=SCOPES)[0]
    return google.auth.load_credentials_from_file(given, scopes=SCOPES)[0]
