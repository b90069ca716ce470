"""A bucket as a store: `s3://bucket/prefix?region=eu-west-1&endpoint=https://…`, at AWS or at whoever speaks its protocol.

Invariants:

- One object is one PUT (or one completed multipart upload), so a reader sees it whole or not at all.
- Conditions are the server's: `If-None-Match` and `If-Match`. A conditional write whose answer was lost is looked up before it is
  called a failure, because the second attempt would be refused by what the first one wrote.
- botocore's own retries are off: they are random, and they would hide that an answer was lost.

Credentials come from where the AWS tools take them. Permissions: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` below the prefix and
`s3:ListBucket`. Only this module of `runtime` imports boto3, and only when a bucket is asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import SkycError, error
from .base import AlreadyExists, Changed, NotFound, StoreError, StoreFault, Version, check_key, store_error
from .file import sync_directory

PAUSES: tuple[float, ...] = (0.2, 1.0, 3.0)
"""Seconds before the second, third, … attempt."""
AT_ONCE = 64 << 20
"""Bytes. A larger file is sent in parts."""
_BLOCK = 1 << 20
_OPTIONS = ("endpoint", "region")
_LOGIN_ENDED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_AGAIN = frozenset({"InternalError", "RequestTimeout", "SlowDown", "ServiceUnavailable", "ConditionalRequestConflict"})
_DENIED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AllAccessDisabled", "AccountProblem"}
)

T = TypeVar("T")


class _Again(Exception):
    """This attempt failed in a way that another may not; whether it had an effect is not known."""


class S3Store:
    """See the module. May be shared by threads."""

    def __init__(self, bucket: str, prefix: str = "", *, region: str | None = None, endpoint: str | None = None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.region = region
        self.endpoint = endpoint

    @classmethod
    def from_uri(cls, uri: str) -> S3Store:
        parts = urlsplit(uri)
        options = parse_qs(parts.query)
        prefix = parts.path.strip("/")
        shown = "s3://…" if "@" in uri else uri.partition("?")[0]
        if not parts.netloc or parts.fragment or set(options) - set(_OPTIONS) or "@" in parts.netloc:
            raise SkycError(
                error(
                    "bad-storage-uri",
                    "This storage URI cannot be used",
                    f"`{shown}` must have the form `s3://bucket/prefix`; `?region=` and `&endpoint=` may follow.",
                )
            )
        if prefix:
            check_key(prefix)
        return cls(parts.netloc, prefix, **{name: values[0] for name, values in options.items()})

    @property
    def uri(self) -> str:
        given = {"endpoint": self.endpoint, "region": self.region}
        options = urlencode({name: value for name, value in given.items() if value}, safe=":/")
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/") + (f"?{options}" if options else "")

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if not if_absent:
            self._ask("put_object", Key=self._key(key), Body=data)
            return
        try:
            self.swap(key, data, None)
        except Changed:
            raise AlreadyExists(f"{self._name(key)} exists already.") from None

    def put_file(self, key: str, path: Path) -> None:
        name = self._key(key)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= AT_ONCE:
                    self._patiently(lambda: (file.seek(0), self._once("put_object", Key=name, Body=file)))
                else:
                    self._patiently(lambda: (file.seek(0), self._once("upload_fileobj", file, Key=name)))
        except OSError as failure:
            raise store_error(failure, str(path)) from failure

    def get(self, key: str) -> bytes:
        return self.read(key).data

    def get_file(self, key: str, path: Path) -> None:
        name = self._key(key)
        temporary = path.with_name(f".{path.name[:200]}.skyc-{secrets.token_hex(6)}")

        def attempt() -> None:
            answer = self._once("get_object", Key=name)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                for block in _blocks(answer["Body"]):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())

        try:
            self._patiently(attempt)
            temporary.rename(path)
            sync_directory(path.parent)
        except OSError as failure:
            raise store_error(failure, str(path)) from failure
        finally:
            temporary.unlink(missing_ok=True)

    def size(self, key: str) -> int | None:
        try:
            return int(self._ask("head_object", Key=self._key(key))["ContentLength"])
        except NotFound:
            return None

    def list(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", Prefix=self.prefix + prefix, **token)
            for row in page.get("Contents", ()):
                yield str(row["Key"]).removeprefix(self.prefix)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound):
            self._ask("delete_object", Key=self._key(key))

    def read(self, key: str) -> Version:
        name = self._key(key)

        def attempt() -> Version:
            answer = self._once("get_object", Key=name)
            data = b"".join(_blocks(answer["Body"]))
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            return Version(data=data, tag=answer["ETag"], age=max(0.0, (now - answer["LastModified"]).total_seconds()))

        return self._patiently(attempt)

    def swap(self, key: str, data: bytes, tag: str | None) -> str:
        name = self._key(key)
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        lost = False

        def attempt() -> str:
            nonlocal lost
            try:
                return str(self._once("put_object", Key=name, Body=data, **condition)["ETag"])
            except _Again:
                lost = True
                raise
            except (Changed, NotFound):
                # What stands in the way may be what the attempt before has written.
                if lost and (there := self._found(key)) is not None and there.data == data:
                    return there.tag
                raise Changed(f"{self._name(key)} is not what was read before.") from None

        return self._patiently(attempt)

    def _found(self, key: str) -> Version | None:
        try:
            return self.read(key)
        except NotFound:
            return None

    def _key(self, key: str) -> str:
        return check_key(self.prefix + check_key(key))

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._patiently(lambda: self._once(operation, **arguments))
        return answer

    def _patiently(self, attempt: Callable[[], T]) -> T:
        for pause in (*PAUSES, None):
            try:
                return attempt()
            except _Again as failure:
                if pause is None:
                    raise StoreError(
                        StoreFault.UNREACHABLE, f"s3://{self.bucket}: {failure} ({len(PAUSES) + 1} attempts)."
                    ) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, operation: str, *values: Any, **arguments: Any) -> Any:
        """One call. Raises StoreError, or `_Again`."""
        from botocore import exceptions

        try:
            client = _client(self.region, self.endpoint, _environment())
            return getattr(client, operation)(*values, Bucket=self.bucket, **arguments)
        except exceptions.ClientError as failure:
            raise self._refusal(failure.response, str(arguments.get("Key", ""))) from None
        except (
            exceptions.CredentialRetrievalError,
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.ProfileNotFound,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ) as failure:
            said = f"there are no usable AWS credentials ({type(failure).__name__}). Run `aws configure` or `aws sso login`."
            raise StoreError(StoreFault.DENIED, f"s3://{self.bucket}: {said}") from None
        except (exceptions.ParamValidationError, exceptions.InvalidRegionError, ValueError):
            # The message would repeat what was given, which may be a secret on the wrong place.
            said = "this bucket, region or endpoint cannot be used."
            raise StoreError(StoreFault.INVALID, f"s3://{self.bucket}: {said}") from None
        except exceptions.BotoCoreError as failure:
            raise _Again(f"it does not answer ({type(failure).__name__})") from None

    def _refusal(self, response: dict[str, Any], key: str) -> Exception:
        code = str(response.get("Error", {}).get("Code", "an error"))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        place = f"s3://{self.bucket}/{key}"
        if code == "NoSuchBucket":
            # Never "not found": that would read as a bucket in which nothing is.
            return StoreError(StoreFault.UNREACHABLE, f"The bucket `{self.bucket}` does not exist.")
        if status == 412 or code == "PreconditionFailed":
            return Changed(f"{place} is not what was read before.")
        if status == 404:
            return NotFound(f"{place} does not exist.")
        if code in _LOGIN_ENDED:
            return StoreError(StoreFault.DENIED, f"{place}: the AWS login has ended ({code}). Log in again.")
        if code == "RequestTimeTooSkewed":
            return StoreError(StoreFault.DENIED, f"{place}: this machine's clock is wrong by more than 15 minutes.")
        if code in _DENIED or status in (401, 403):
            return StoreError(StoreFault.DENIED, f"{place}: refused ({code}).")
        if code in _AGAIN or status >= 500 or status in (409, 429):
            return _Again(f"it answered {code}")
        if status in (301, 307):
            return StoreError(StoreFault.INVALID, f"{place}: the bucket is in another region; name it with `?region=`.")
        return StoreError(StoreFault.INVALID, f"{place}: the request was answered with {code}.")


def _blocks(body: Any) -> Iterator[bytes]:
    """What was promised, or `_Again`: a connection that breaks must not look like a short object."""
    from botocore import exceptions

    try:
        while block := body.read(_BLOCK):
            yield block
    except (exceptions.BotoCoreError, exceptions.HTTPClientError, OSError) as failure:
        raise _Again(f"an answer was cut off ({type(failure).__name__})") from None


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


@lru_cache(maxsize=8)
def _client(region: str | None, endpoint: str | None, environ: tuple[tuple[str, str], ...]) -> Any:
    """Kept, because reading what botocore knows of S3 takes half a second. `environ` is what credentials depend on."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise StoreError(
            StoreFault.INVALID, "boto3 is not installed; install skyc with its extra `aws` (pip install 'skyc[aws]')."
        ) from None
    # At the debug level botocore logs session tokens.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    options: dict[str, Any] = {}
    if endpoint is not None:
        # Servers that are not AWS's: no bucket in the host name, and no checksums of a kind they may not know.
        options = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    config = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1, "mode": "standard"}, **options)
    return boto3.Session().client("s3", region_name=region, endpoint_url=endpoint, config=config)
