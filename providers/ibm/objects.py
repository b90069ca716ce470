"""Cloud Object Storage over HTTP: its instances, their buckets, and removing what is in one.

Protocol: https://cloud.ibm.com/apidocs/resource-controller (`/v2/resource_instances`, pages by `next_url`) and
https://cloud.ibm.com/apidocs/cos/cos-compatibility: S3's requests and XML, with IAM's token instead of a signature.
`SKYC_IBM_RESOURCES_URL` and `SKYC_IBM_COS_URL` name other endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree.ElementTree import Element

from ...compiler.ir import Secret
from ..http import Http, Request, endpoint
from ..refresh import MOST_PAGES, objects
from ..retry import BadAnswer, SourceFailure

RESOURCES_URL = "https://resource-controller.cloud.ibm.com"
COS_URL = "https://s3.{region}.cloud-object-storage.appdomain.cloud"
SERVICE = ":cloud-object-storage:"
"""In the CRN of an instance."""
NOT_FOUND, CONFLICT = 404, 409


class NotEmpty(SourceFailure):
    """It is not removed, because something is in it."""


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """Of one account. Every method raises SourceFailure."""

    http: Http
    environ: Mapping[str, str]
    bearer: Secret

    def instances(self) -> Iterator[dict[str, Any]]:
        """Those of the service that are there; one that is removed is listed for some days yet."""
        params: tuple[tuple[str, str], ...] = (("limit", "100"), ("type", "service_instance"))
        base = endpoint(self.environ, "SKYC_IBM_RESOURCES_URL", RESOURCES_URL)
        for _ in range(MOST_PAGES):
            page = self.http.json(self._request("GET", f"{base}/v2/resource_instances", params))
            for row in objects(page, "resources"):
                if SERVICE in str(row.get("crn")) and row.get("state") == "active":
                    yield row
            following = page.get("next_url")
            if not following:
                return
            # Only what it asks for is taken from the link: nobody else gets the token.
            params = tuple({**dict(params), **dict(parse_qsl(urlsplit(str(following)).query))}.items())
        raise BadAnswer("the pages of resource instances have no end")

    def delete_instance(self, region: str, crn: str) -> None:
        """Raises NotEmpty for one with a bucket. What is gone already is fine."""
        if not any(row["crn"] == crn for row in self.instances()):
            return
        if self.buckets(region, crn):
            raise NotEmpty(f"{crn} has a bucket")
        base = endpoint(self.environ, "SKYC_IBM_RESOURCES_URL", RESOURCES_URL)
        self._send(f"{base}/v2/resource_instances/{quote(crn, safe='')}", ())

    def buckets(self, region: str, crn: str) -> list[str]:
        """Names of an instance's buckets, wherever they lie."""
        request = self._request("GET", f"{self._cos(region)}/", (), {"ibm-service-instance-id": crn})
        return [row.findtext("{*}Name", "") for row in self.http.xml(request).iterfind("{*}Buckets/{*}Bucket")]

    def delete_bucket(self, region: str, name: str) -> None:
        """Raises NotEmpty. What is gone already is fine."""
        if self._send(f"{self._cos(region)}/{name}", (), CONFLICT) == CONFLICT:
            raise NotEmpty(f"{name} holds data")

    def empty(self, region: str, name: str) -> None:
        """Delete all objects and abort all unfinished uploads."""
        place = f"{self._cos(region)}/{name}"
        for row in list(self._listed(place, {"list-type": "2"}, "{*}Contents", "continuation-token")):
            self._send(f"{place}/{quote(row.findtext('{*}Key', ''))}", ())
        for row in list(self._listed(place, {"uploads": ""}, "{*}Upload", "key-marker")):
            self._send(f"{place}/{quote(row.findtext('{*}Key', ''))}", (("uploadId", row.findtext("{*}UploadId", "")),))

    def _listed(self, url: str, query: dict[str, str], what: str, marker: str) -> Iterator[Element]:
        for _ in range(MOST_PAGES):
            page = self.http.xml(self._request("GET", url, tuple(sorted(query.items()))))
            yield from page.iterfind(what)
            if page.findtext("{*}IsTruncated", "false") != "true":
                return
            if marker == "key-marker":
                query = {**query, "upload-id-marker": page.findtext("{*}NextUploadIdMarker", "")}
            following = "{*}NextContinuationToken" if marker == "continuation-token" else "{*}NextKeyMarker"
            query = {**query, marker: page.findtext(following, "")}
        raise BadAnswer("the pages of a bucket have no end")

    def _cos(self, region: str) -> str:
        return endpoint(self.environ, "SKYC_IBM_COS_URL", COS_URL).replace("{region}", region)

    def _request(
        self, method: str, url: str, params: tuple[tuple[str, str], ...], headers: Mapping[str, str] | None = None
    ) -> Request:
        secret = {"Authorization": ("Bearer ", self.bearer)}
        return Request(url=url, method=method, params=params, headers=headers or {}, secret_headers=secret)

    def _send(self, url: str, params: tuple[tuple[str, str], ...], *accepts: int) -> int:
        secret = {"Authorization": ("Bearer ", self.bearer)}
        accepted = frozenset({NOT_FOUND, *accepts})
        return self.http.status(Request(url=url, method="DELETE", params=params, secret_headers=secret, accepts=accepted))
