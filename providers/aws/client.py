"""AWS through boto3, for those who have an account: an `Account` asks any service, `Ec2` what the catalog needs. `endpoint`: of a
server that is not AWS's.

Only this module imports boto3. Permissions of the catalog: `ec2:DescribeRegions`, `ec2:DescribeAvailabilityZones`,
`ec2:DescribeInstanceTypes`, `ec2:DescribeInstanceTypeOfferings`, `ec2:DescribeSpotPriceHistory`; all of them read.
Keys come from where the AWS tools take them (environment, `~/.aws`, the machine's role); `AWS_ENDPOINT_URL_EC2` names another
endpoint. botocore's own retries are off, because they are random; `retry.patiently` makes ours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ...compiler.diagnostics import unreached
from ..retry import Again, BadAnswer, Refused, Schedule, SourceFailure, patiently

TRY_AGAIN = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "Unavailable",
    }
)
REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "UnauthorizedOperation",
    }
)
MOST_NAMES = 100
"""Instance types one call may name."""
HOME_REGION = "us-east-1"
"""Where to ask which regions there are, when the environment names none."""


class Answered(SourceFailure):
    """A service refused a call for a reason that asking again or other credentials do not change."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class LoginRefused(Refused):
    """AWS does not accept the credentials, or they lack a permission; `code` says which."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Account:
    """An account's services in all regions; may be used by several threads. Raises SourceFailure from every method."""

    def __init__(self, session: Any, schedule: Schedule, *, endpoint: str | None = None) -> None:
        self._session = session
        self._endpoint = endpoint
        self._schedule = schedule
        self._mutex = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self.region: str = session.region_name or HOME_REGION

    def call(self, service: str, region: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """`call("ec2", "us-east-1", "describe_vpcs")`: the answer, as boto3 gives it."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            CredentialRetrievalError,
            NoCredentialsError,
            SSLError,
            SSOError,
            TokenRetrievalError,
        )
        from botocore.exceptions import ConnectionError as NotConnected
        from botocore.parsers import ResponseParserError

        label = f"{service.upper()} {operation} in {region}"

        def attempt() -> dict[str, Any]:
            try:
                answer: dict[str, Any] = getattr(self._client(service, region), operation)(**arguments)
                return answer
            except ClientError as failure:
                raise _refusal(label, failure.response) from None
            except (CredentialRetrievalError, NoCredentialsError, SSOError, TokenRetrievalError):
                raise Refused(f"{label} cannot be asked: the AWS login has ended or cannot be read") from None
            except NotConnected as failure:
                # TLS can also break when something was sent.
                raise Again(unreached(_host(failure, label), failure), unheard=not isinstance(failure, SSLError)) from None
            except (BotoCoreError, ResponseParserError) as failure:
                raise Again(f"{label} failed ({type(failure).__name__})") from None
            except ValueError:
                # An endpoint that is no address, or a key no header can hold; the message would repeat it.
                raise SourceFailure(f"{label} cannot be asked with this endpoint or these credentials") from None

        return patiently(self._schedule, attempt)

    def _client(self, service: str, region: str) -> Any:
        from botocore.config import Config

        # A session makes one client at a time; the clients themselves may be shared.
        with self._mutex:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=self._endpoint,
                    config=Config(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 1, "mode": "standard"}),
                )
            return self._clients[service, region]

    def pages(self, service: str, region: str, operation: str, name: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The rows called `name` of every page."""
        word = _NEXT.get(service, "NextToken")
        token: str | None = None
        seen: set[str] = set()
        while True:
            page = self.call(service, region, operation, **arguments, **({word: token} if token else {}))
            yield from _rows(page, name)
            token = page.get(word) or None
            if token is None:
                return
            if token in seen:
                raise BadAnswer(f"{service.upper()} {operation} in {region} goes round in circles")
            seen.add(token)


def _host(failure: Any, otherwise: str) -> str:
    """Whom botocore could not connect to: the service's host, or the proxy before it."""
    url = str(failure.kwargs.get("endpoint_url") or failure.kwargs.get("proxy_url") or "")
    return urlsplit(url).netloc.rpartition("@")[2] or otherwise


_NEXT = {"iam": "Marker", "s3": "ContinuationToken"}
"""What a service calls the place where a list goes on, where it is not `NextToken`."""


class Ec2(Account):
    """What the catalog asks."""

    def regions(self) -> tuple[str, ...]:
        """Those this account may use, sorted."""
        found = self._call(self.region, "describe_regions", AllRegions=False)
        return tuple(sorted(_text(row, "RegionName") for row in _rows(found, "Regions")))

    def zones(self, region: str) -> dict[str, str]:
        """Zone name → zone id, without local and wavelength zones. Names differ between accounts, ids do not."""
        found = self._call(region, "describe_availability_zones")
        return {
            _text(row, "ZoneName"): _text(row, "ZoneId")
            for row in _rows(found, "AvailabilityZones")
            if row.get("ZoneType", "availability-zone") == "availability-zone"
        }

    def types(self, region: str, names: Iterable[str]) -> list[dict[str, Any]]:
        """InstanceTypes as EC2 describes them, of these names, sorted."""
        listed = sorted(names)
        found: list[dict[str, Any]] = []
        for start in range(0, len(listed), MOST_NAMES):
            chunk = listed[start : start + MOST_NAMES]
            found.extend(self._pages(region, "describe_instance_types", "InstanceTypes", InstanceTypes=chunk))
        return found

    def offerings(self, region: str) -> set[tuple[str, str]]:
        """(instance type, zone id) of everything on offer."""
        rows = self._pages(
            region, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone-id"
        )
        return {(_text(row, "InstanceType"), _text(row, "Location")) for row in rows}

    def spot_prices(self, region: str) -> list[dict[str, Any]]:
        """SpotPriceHistory rows in force now, for Linux."""
        # A start in the present gives the price in force for each type and zone, and nothing older.
        return list(
            self._pages(
                region,
                "describe_spot_price_history",
                "SpotPriceHistory",
                ProductDescriptions=["Linux/UNIX"],
                StartTime=datetime.now(UTC),
            )
        )

    def _pages(self, region: str, operation: str, name: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        return self.pages("ec2", region, operation, name, **arguments)

    def _call(self, region: str, operation: str, **arguments: Any) -> dict[str, Any]:
        return self.call("ec2", region, operation, **arguments)


NO_BOTO3 = "boto3 is not installed; install skyc with its extra `aws` (pip install 'skyc[aws]')."


def connect(schedule: Schedule) -> Ec2 | str:
    """EC2, or why it cannot be asked, as a sentence that says what to do."""
    session = session_here()
    return session if isinstance(session, str) else Ec2(session, schedule)


def session_here() -> Any | str:
    """A boto3 session with credentials, or why there is none, as a sentence that says what to do. Asks nobody but, on a machine
    of AWS's, the machine's own metadata."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return NO_BOTO3
    # At the debug level botocore logs session tokens.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        session = boto3.Session()
        credentials = session.get_credentials()
    except BotoCoreError as failure:
        return f"The AWS configuration cannot be used ({type(failure).__name__}); check AWS_PROFILE and ~/.aws."
    if credentials is None:
        return "There are no AWS credentials; run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    return session


def _refusal(label: str, response: Any) -> Exception:
    """What to raise for an error EC2 answered. Its message is left out: it can repeat parts of the request."""
    code = str(response.get("Error", {}).get("Code", "an error"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in TRY_AGAIN or status >= 500 or status == 429:
        return Again(f"{label} answered {code}")
    if code in REFUSED:
        return LoginRefused(f"{label} was refused ({code})", code)
    return Answered(f"{label} answered {code}", code)


def _rows(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = answer.get(name, [])
    if not isinstance(rows, list):
        raise BadAnswer(f"EC2's `{name}` is no list")
    return rows


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise BadAnswer(f"a row of EC2's answer has no `{name}`")
    return value
