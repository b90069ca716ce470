"""Azure Resource Manager over HTTP: what exists in a subscription, and removing it.

Protocol: https://learn.microsoft.com/rest/api/resources and, per kind, the reference of its service. Every resource is read and
deleted at its own id; only the version of the API differs (`VERSIONS`). A delete is accepted and carried out later, so what was
deleted is looked at until it is gone: that needs no address that an answer names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ...compiler.ir import Secret
from ..http import Answer, Http, Request, endpoint, same_origin
from ..refresh import MOST_PAGES, objects
from ..retry import BadAnswer, NoCredentials, SourceFailure
from .credentials import MANAGEMENT_URL, token, token_of_cli

RESOURCES = "2021-04-01"
AUTHORIZATION = "2022-04-01"
VERSIONS = {
    "microsoft.compute/availabilitysets": "2024-03-01",
    "microsoft.compute/disks": "2023-04-02",
    "microsoft.compute/proximityplacementgroups": "2024-03-01",
    "microsoft.compute/virtualmachines": "2024-03-01",
    "microsoft.managedidentity/userassignedidentities": "2023-01-31",
    "microsoft.network/applicationsecuritygroups": "2024-05-01",
    "microsoft.network/natgateways": "2024-05-01",
    "microsoft.network/networkinterfaces": "2024-05-01",
    "microsoft.network/networksecuritygroups": "2024-05-01",
    "microsoft.network/publicipaddresses": "2024-05-01",
    "microsoft.network/virtualnetworks": "2024-05-01",
    "microsoft.storage/storageaccounts": "2023-05-01",
}
"""Kind in lower-case letters → version of its API."""
GONE_SECONDS = 1_800.0
"""A group with many machines takes minutes to go."""
PAUSE = 3.0
TOKEN_SECONDS = 1_200.0
"""After which a new token is asked for; one lasts an hour."""
Row = dict[str, Any]


def kind_of(id_: str) -> str:
    """`microsoft.network/networkinterfaces` of an id; of a part of a resource (a subnet), the resource's."""
    words = id_.lower().rpartition("/providers/")[2].split("/")
    return "/".join(words[:2])


class Arm:
    """One account's Azure Resource Manager. Raises SourceFailure from every method. `pause`: between looks at what is going."""

    def __init__(
        self,
        http: Http,
        environ: Mapping[str, str],
        *,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises SkycError for an endpoint that would carry the token in the clear."""
        self._http = http
        self._environ = environ
        self._pause = pause
        self._clock = clock
        self._base = endpoint(environ, "SKYC_AZURE_MANAGEMENT_URL", MANAGEMENT_URL)
        self._token: tuple[float, Secret] | None = None

    def rows(self, path: str, version: str, filter_: str = "") -> list[Row]:
        """All pages of a list."""
        params = (("api-version", version), *((("$filter", filter_),) if filter_ else ()))
        request = self._request("GET", path, params)
        found: list[Row] = []
        for _ in range(MOST_PAGES):
            answer = self._http.json(request)
            found += objects(answer, "value")
            following = answer.get("nextLink")
            if not following:
                return found
            if not isinstance(following, str) or not same_origin(following, self._base):
                break
            request = Request(url=following, secret_headers=self._auth())
        raise BadAnswer("the next page of a list of Azure's is not one of its own")

    def get(self, id_: str, version: str = "", *, options: tuple[tuple[str, str], ...] = ()) -> Row | None:
        """A resource, or None when there is none."""
        answer = self._ask("GET", id_, version, options=options)
        if answer.status == 404:
            return None
        if not isinstance(answer.body, dict):
            raise BadAnswer("Azure describes a resource otherwise than documented")
        return answer.body

    def put(self, id_: str, body: Row, version: str = "", *, method: str = "PUT") -> None:
        """Make a resource, or with PATCH change it. Azure may accept that and do it later."""
        self._ask(method, id_, version, body=body)

    def act(self, id_: str, verb: str) -> None:
        """`act(id, "start")`: ask for it. Returns when Azure has accepted it, which is before it is done."""
        self._http.ask(self._request("POST", f"{id_}/{verb}", (("api-version", VERSIONS[kind_of(id_)]),)))

    def delete(self, id_: str, version: str = "", *, options: tuple[tuple[str, str], ...] = ()) -> None:
        """Delete, and wait until it is gone. What is gone already is fine."""
        if self._ask("DELETE", id_, version, options=options).status == 404:
            return
        began = self._clock()
        while self._clock() - began < GONE_SECONDS:
            found = self.get(id_, version)
            if found is None:
                return
            properties = found.get("properties")
            if isinstance(properties, dict) and properties.get("provisioningState") == "Failed":
                break
            self._pause(PAUSE)
        raise SourceFailure(f"Azure did not delete {id_.rpartition('/')[2]}")

    def _ask(
        self, method: str, id_: str, version: str = "", *, body: Row | None = None, options: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        params = (("api-version", version or VERSIONS[kind_of(id_)]), *options)
        return self._http.ask(self._request(method, id_, params, body))

    def _request(self, method: str, path: str, params: tuple[tuple[str, str], ...], body: Row | None = None) -> Request:
        accepts = frozenset({404}) if method in ("GET", "DELETE") else frozenset[int]()
        return Request(
            url=f"{self._base}{path}", method=method, params=params, secret_headers=self._auth(), body=body, accepts=accepts
        )

    def _auth(self) -> dict[str, tuple[str, Secret]]:
        if self._token is None or self._clock() - self._token[0] > TOKEN_SECONDS:
            found = token(self._http, self._environ) or token_of_cli(self._environ)
            if found is None:
                raise NoCredentials("there are no credentials of Azure's: neither a service principal nor the program `az`")
            self._token = (self._clock(), found)
        return {"Authorization": ("Bearer ", self._token[1])}
