"""A bucket as a store: `s3://bucket/prefix?region=eu-west-1&endpoint=https://…`, at AWS or at whoever speaks its protocol.

Invariants:

- One object is one PUT (or one completed multipart upload), so a reader sees it whole or not at all.
- Conditions are the server's: `If-None-Match` and `If-Match`. What follows from them is in `remote.py`.

Credentials come from where the AWS tools take them; a machine at AWS has those of its instance profile, and no others. Permissions:
`s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` below the prefix and `s3:ListBucket`. Only this module of `runtime` imports boto3, and
only when a bucket is asked.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import SkycError, error, unreached
from . import remote
from .base import Changed, Machine, NotFound, StoreError, StoreFault, check_key
from .remote import BLOCK, IS_THERE, Again, Condition, RemoteStore

NO_LIBRARY = "boto3 is not installed; install skyc with its extra `aws` or `ibm` (pip install 'skyc[aws]')."
_OPTIONS = ("endpoint", "region")
_LOGIN_ENDED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_AGAIN = frozenset({"InternalError", "RequestTimeout", "SlowDown", "ServiceUnavailable", "ConditionalRequestConflict"})
_DENIED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AllAccessDisabled", "AccountProblem"}
)


class S3Store(RemoteStore):
    """See the module. May be shared by threads. Subclasses speak the same protocol to others than AWS."""

    scheme = "s3"
    rights_take = 30.0
    cloud = "AWS"
    log_in = "Run `aws configure` or `aws sso login`."

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint: str | None = None,
        machine: Machine | None = None,
    ) -> None:
        super().__init__(f"{self.scheme}://{bucket}", prefix, machine)
        self.bucket = bucket
        self.region = region
        self.endpoint = endpoint

    @classmethod
    def from_uri(cls, uri: str, machine: Machine | None = None) -> Self:
        parts = urlsplit(uri)
        options = parse_qs(parts.query)
        prefix = parts.path.strip("/")
        shown = f"{cls.scheme}://…" if "@" in uri else uri.partition("?")[0]
        if not parts.netloc or parts.fragment or set(options) - set(_OPTIONS) or "@" in parts.netloc:
            raise SkycError(
                error(
                    "bad-storage-uri",
                    "This storage URI cannot be used",
                    f"`{shown}` must have the form `{cls.scheme}://bucket/prefix`; `?region=` and `&endpoint=` may follow.",
                )
            )
        if prefix:
            check_key(prefix)
        return cls(parts.netloc, prefix, machine=machine, **{name: values[0] for name, values in options.items()})

    @property
    def uri(self) -> str:
        given = {"endpoint": self.endpoint, "region": self.region}
        options = urlencode({name: value for name, value in given.items() if value}, safe=":/")
        return f"{self.place}/{self.prefix}".rstrip("/") + (f"?{options}" if options else "")

    def _send(self, name: str, content: BinaryIO, size: int, condition: Condition) -> str:
        if size > remote.AT_ONCE and condition is IS_THERE:
            self._once("upload_fileobj", content, Key=name)
            return ""
        conditions: dict[str, str] = {}
        if condition is None:
            conditions = {"IfNoneMatch": "*"}
        elif isinstance(condition, str):
            conditions = {"IfMatch": condition}
        return str(self._once("put_object", Key=name, Body=content, **conditions)["ETag"])

    def _fetch(self, name: str, into: BinaryIO) -> tuple[str, float]:
        answer = self._once("get_object", Key=name)
        for block in _blocks(answer["Body"]):
            into.write(block)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return str(answer["ETag"]), (now - answer["LastModified"]).total_seconds()

    def _measure(self, name: str) -> int:
        return int(self._once("head_object", Key=name)["ContentLength"])

    def _page(self, start: str, token: str) -> tuple[list[str], str]:
        page = self._once("list_objects_v2", Prefix=start, **({"ContinuationToken": token} if token else {}))
        following = page["NextContinuationToken"] if page.get("IsTruncated") else ""
        return [str(row["Key"]) for row in page.get("Contents", ())], following

    def _erase(self, name: str) -> None:
        self._once("delete_object", Key=name)

    def _once(self, operation: str, *values: Any, **arguments: Any) -> Any:
        """One call. Raises StoreError, or `Again`."""
        from botocore import exceptions

        try:
            client = self._connected()
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
            said = f"there are no usable {self.cloud} credentials ({type(failure).__name__}). {self.log_in}"
            if self.machine is not None:
                said = "this machine's metadata service gives no credentials: it has no identity."
            raise StoreError(StoreFault.DENIED, f"{self.place}: {said}") from None
        except (exceptions.ParamValidationError, exceptions.InvalidRegionError, ValueError):
            # The message would repeat what was given, which may be a secret on the wrong place.
            said = "this bucket, region or endpoint cannot be used."
            raise StoreError(StoreFault.INVALID, f"{self.place}: {said}") from None
        except exceptions.ConnectionError as failure:
            host = urlsplit(str(failure.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2]
            raise Again(unreached(host or f"{self.cloud}'s store", failure)) from None
        except exceptions.BotoCoreError as failure:
            raise Again(f"it does not answer ({type(failure).__name__})") from None

    def _connected(self) -> Any:
        """The client of the library. Raises StoreError, `Again`, and what the library raises."""
        return client(self.region, self.endpoint, () if self.machine else _environment(), machine=self.machine is not None)

    def _refusal(self, response: dict[str, Any], key: str) -> Exception:
        code = str(response.get("Error", {}).get("Code", "an error"))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        place = f"{self.place}/{key}"
        if code == "NoSuchBucket":
            # Never "not found": that would read as a bucket in which nothing is.
            return StoreError(StoreFault.UNREACHABLE, f"The bucket `{self.bucket}` does not exist.")
        if status == 412 or code == "PreconditionFailed":
            return Changed(f"{place} is not what was read before.")
        if status == 404:
            return NotFound(f"{place} does not exist.")
        if code in _LOGIN_ENDED:
            return StoreError(StoreFault.DENIED, f"{place}: the {self.cloud} login has ended ({code}). Log in again.")
        if code == "RequestTimeTooSkewed":
            return StoreError(StoreFault.DENIED, f"{place}: this machine's clock is wrong by more than 15 minutes.")
        if code == "AccessDenied" and "kms:" in str(response["Error"].get("Message", "")):
            who = "this machine's role" if self.machine else "the login"
            what = f"the bucket's KMS key lets {who} not use it (kms:Decrypt, and kms:GenerateDataKey to write)"
            where = "; config.yaml names keys of buckets in `access.bucket_keys`" if self.machine else ""
            return StoreError(StoreFault.DENIED, f"{place}: refused: {what}{where}.")
        if code in _DENIED or status in (401, 403):
            return StoreError(StoreFault.DENIED, f"{place}: refused ({code}).")
        if code in _AGAIN or status >= 500 or status in (409, 429):
            return Again(f"it answered {code}")
        if status in (301, 307):
            return StoreError(StoreFault.INVALID, f"{place}: the bucket is in another region; name it with `?region=`.")
        return StoreError(StoreFault.INVALID, f"{place}: the request was answered with {code}.")


def _blocks(body: Any) -> Iterator[bytes]:
    """What was promised, or `Again`: a connection that breaks must not look like a short object."""
    from botocore import exceptions

    try:
        while block := body.read(BLOCK):
            yield block
    except (exceptions.BotoCoreError, exceptions.HTTPClientError, OSError) as failure:
        raise Again(f"an answer was cut off ({type(failure).__name__})") from None


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


_making = threading.Lock()


def client(
    region: str | None,
    endpoint: str | None,
    environ: tuple[tuple[str, str], ...],
    *,
    machine: bool = False,
    bearer: Callable[[], str] | None = None,
) -> Any:
    """Kept, because reading what botocore knows of S3 takes half a second: one for all threads. `environ` is what credentials depend on.
    `machine`: they are those of the instance's profile. `bearer`: gives a token that goes with every request in place of a signature."""
    with _making:
        return _made(region, endpoint, environ, machine, bearer)


@lru_cache(maxsize=8)
def _made(
    region: str | None,
    endpoint: str | None,
    environ: tuple[tuple[str, str], ...],
    machine: bool,
    bearer: Callable[[], str] | None,
) -> Any:
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
    except ImportError:
        raise StoreError(StoreFault.INVALID, NO_LIBRARY) from None
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
    if bearer is not None:
        options["signature_version"] = UNSIGNED
    config = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1, "mode": "standard"}, **options)
    session = boto3.Session()
    if machine:
        _as_machine(session._session)
    made = session.client("s3", region_name=region, endpoint_url=endpoint, config=config)
    if bearer is not None:
        # Where a signature would be put on, for every attempt.
        made.meta.events.register("request-created.s3", partial(_bear, bearer))
    return made


def _as_machine(session: Any) -> None:
    """Credentials of the instance's profile and no others. Raises NoCredentialsError: a client without any would be kept."""
    from botocore.exceptions import NoCredentialsError

    session.set_config_variable("metadata_service_timeout", 5)
    session.set_config_variable("metadata_service_num_attempts", 3)
    chain = session.get_component("credential_provider")
    chain.providers = [chain.get_provider("iam-role")]
    if session.get_credentials() is None:
        raise NoCredentialsError


def _bear(bearer: Callable[[], str], request: Any, **_: Any) -> None:
    request.headers["Authorization"] = f"Bearer {bearer()}"
