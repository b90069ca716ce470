"""An account at IBM Cloud over HTTP: what the VPC API lists and removes, what the tagging API says of a resource, trusted profiles.

Protocol: https://cloud.ibm.com/apidocs/vpc (lists page by `next.href`), https://cloud.ibm.com/apidocs/tagging (`/v3/tags`,
`attached_to`), https://cloud.ibm.com/apidocs/iam-identity-token-api (`/v1/apikeys/details`, `/v1/profiles`) and
https://cloud.ibm.com/apidocs/iam-policy-management (`/v2/policies`). The VPC API tells no tags, and the search API learns of new
ones late, so each resource is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ...compiler.ir import Secret
from ..http import Answered, Http, Request, endpoint, same_origin
from ..refresh import MOST_PAGES, key_from, objects, part_of
from ..retry import BadAnswer, Schedule
from .objects import ObjectStorage
from .vpc import IAM_URL, VERSION, VPC_URL, token

TAGS_URL = "https://tags.global-search-tagging.cloud.ibm.com"
KEYS = ("IC_API_KEY", "IBMCLOUD_API_KEY")
"""Where the key is looked for, by Terraform's provider as well."""
PAGE_SIZE = "100"
Row = dict[str, Any]


class Account:
    """A context manager. Raises SourceFailure from every method."""

    def __init__(self, http: Http, environ: Mapping[str, str], key: Secret, bearer: Secret) -> None:
        self._http = http
        self._environ = environ
        self._key = key
        self._bearer = bearer

    @classmethod
    def open(cls, environ: Mapping[str, str], schedule: Schedule | None = None) -> Account | None:
        """None without a key. Raises SourceFailure for one IBM does not accept."""
        key = key_from(environ, *KEYS)
        if key is None:
            return None
        http = Http(schedule=schedule)
        try:
            bearer = token(http, environ)
        except BaseException:
            http.__exit__(None, None, None)
            raise
        assert bearer is not None, "there is a key"
        return cls(http, environ, key, bearer)

    def __enter__(self) -> Account:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._http.__exit__(kind, value, traceback)

    def rows(self, region: str, collection: str) -> Iterator[Row]:
        """Everything of a collection of the VPC API (`floating_ips`) in a region."""
        for page in self._pages(f"{self._vpc(region)}/v1/{collection}", (*_VERSIONED, ("limit", PAGE_SIZE))):
            yield from objects(page, collection)

    def row(self, region: str, path: str) -> Row | None:
        """One resource (`instances/ID`), or None when there is none of that id."""
        try:
            found: Row = self._http.json(self._asking(f"{self._vpc(region)}/v1/{path}", _VERSIONED))
        except Answered as answer:
            if answer.status == NOT_FOUND:
                return None
            raise
        return found

    def delete(self, region: str, path: str) -> None:
        """Ask for one resource to be removed; what is gone already is fine."""
        self._delete(f"{self._vpc(region)}/v1/{path}", _VERSIONED)

    def act(self, region: str, path: str, verb: str) -> None:
        """`act("us-south", "instances/ID", "stop")`: ask for it. Returns before it is done."""
        url = f"{self._vpc(region)}/v1/{path}/actions"
        self._http.send(replace(self._asking(url, _VERSIONED, "POST"), body={"type": verb}))

    def tags(self, crn: str) -> frozenset[str]:
        """The user tags of one resource, in lower case."""
        base = endpoint(self._environ, "SKYC_IBM_TAGS_URL", TAGS_URL)
        found: set[str] = set()
        for _ in range(MOST_PAGES):
            params = (("attached_to", crn), ("tag_type", "user"), ("offset", str(len(found))), ("limit", PAGE_SIZE))
            page = objects(self._http.json(self._asking(f"{base}/v3/tags", params)), "items")
            found |= {part_of(item, "name", str).lower() for item in page}
            if len(page) < int(PAGE_SIZE):
                return frozenset(found)
        raise BadAnswer("the pages of tags have no end")

    def profiles(self) -> Iterator[Row]:
        """The account's trusted profiles."""
        for page in self._pages(f"{self._iam}/v1/profiles", (("account_id", self.id), ("pagesize", PAGE_SIZE))):
            yield from objects(page, "profiles")

    def delete_profile(self, id_: str, iam_id: str) -> None:
        """A trusted profile with the policies it is the subject of."""
        params = (("account_id", self.id), ("iam_id", iam_id))
        for policy in objects(self._http.json(self._asking(f"{self._iam}/v2/policies", params)), "policies"):
            self._delete(f"{self._iam}/v2/policies/{part_of(policy, 'id', str)}")
        self._delete(f"{self._iam}/v1/profiles/{id_}")

    def _pages(self, url: str, params: tuple[tuple[str, str], ...]) -> Iterator[Row]:
        """Every page, each with a link to the next one: a text at IAM, an object with `href` at the VPC API."""
        asked = set()
        while True:
            page: Row = self._http.json(self._asking(url, params))
            yield page
            link = page.get("next")
            link = part_of(link, "href", str) if isinstance(link, dict) else link
            if not link:
                return
            if not isinstance(link, str) or not same_origin(link, url) or link in asked:
                raise BadAnswer(f"the next page of {urlsplit(url).path} is at another server, or one that was read")
            asked.add(link)
            # The link says where it goes on, and not always what else was asked.
            params = tuple({**dict(params), **dict(parse_qsl(urlsplit(link).query))}.items())

    @cached_property
    def id(self) -> str:
        """The account's own id."""
        request = Request(
            url=f"{self._iam}/v1/apikeys/details",
            secret_headers={"Authorization": ("Bearer ", self._bearer), "IAM-Apikey": ("", self._key)},
        )
        return part_of(self._http.json(request), "account_id", str)

    @property
    def storage(self) -> ObjectStorage:
        return ObjectStorage(self._http, self._environ, self._bearer)

    @property
    def _iam(self) -> str:
        return endpoint(self._environ, "SKYC_IBM_IAM_URL", IAM_URL)

    def _vpc(self, region: str) -> str:
        return endpoint(self._environ, "SKYC_IBM_VPC_URL", VPC_URL).replace("{region}", region)

    def _asking(self, url: str, params: tuple[tuple[str, str], ...] = (), method: str = "GET") -> Request:
        return Request(url=url, method=method, params=params, secret_headers={"Authorization": ("Bearer ", self._bearer)})

    def _delete(self, url: str, params: tuple[tuple[str, str], ...] = ()) -> None:
        try:
            self._http.send(self._asking(url, params, "DELETE"))
        except Answered as answer:
            if answer.status != NOT_FOUND:
                raise


NOT_FOUND = 404
_VERSIONED = (("version", VERSION), ("generation", "2"))
