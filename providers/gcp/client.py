"""Google's REST APIs, for who has a project: Compute Engine, IAM and Cloud Storage, through httpx. No library of Google's is used.

Protocol: cloud.google.com/compute/docs/reference/rest/v1 (paths, lists in pages, operations) and
cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts; cloud.google.com/storage/docs/json_api/v1 for buckets and objects, and
its XML API for unfinished multipart uploads, which the other does not know. `SKYC_GCP_COMPUTE_URL`, `SKYC_GCP_IAM_URL` and
`SKYC_GCP_STORAGE_URL` name other endpoints. Credentials are those of `credentials`; an API key opens price lists alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ...compiler.ir import Secret
from ..http import Answered, Http, Request, endpoint
from ..refresh import key_from, objects, part_of
from ..retry import BadAnswer, SourceFailure
from .credentials import adc_file, headers

COMPUTE_URL = "https://compute.googleapis.com"
IAM_URL = "https://iam.googleapis.com"
STORAGE_URL = "https://storage.googleapis.com"
PROJECT_VARIABLES = ("GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")
"""Where the Terraform provider looks for the project, in its order."""
KEY_VARIABLES = ("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
"""Where it looks for credentials, before the file of application-default credentials."""
POLL_SECONDS = 2.0
NOT_FOUND = 404
OPERATION_SECONDS = 600.0
"""A machine with much memory takes minutes to end."""


def project_of(environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in PROJECT_VARIABLES if environ.get(name)), None)


def has_login(environ: Mapping[str, str]) -> bool:
    """Whether there is anything to log in with. Nobody is asked, and nothing is opened."""
    if any(environ.get(name) for name in KEY_VARIABLES):
        return True
    return adc_file(environ).is_file()


@dataclass(frozen=True, slots=True)
class Cloud:
    """All three. Every method raises SourceFailure."""

    http: Http
    secret: Mapping[str, tuple[str, Secret]]
    compute: str
    iam: str
    storage: str

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects of every page of a list of Compute Engine's."""
        for page in self._pages(f"{self.compute}/compute/v1/{path}", {}):
            yield from objects(page, "items") if "items" in page else ()

    def everywhere(self, project: str, kind: str, **query: str) -> Iterator[dict[str, Any]]:
        """The objects of every page of an aggregated list, which holds them by zone or region. Raises SourceFailure when a zone could not
        be asked: what is there would be taken for gone."""
        for page in self._pages(f"{self.compute}/compute/v1/projects/{project}/aggregated/{kind}", query):
            silent = {str(name) for name in page.get("unreachables") or ()}
            items = part_of(page, "items", dict) if "items" in page else {}
            silent |= {name for name, scope in items.items() if _warning(scope) == "UNREACHABLE"}
            if silent:
                raise SourceFailure(f"Google could not ask {', '.join(sorted(silent))} for {kind}")
            for scope in items.values():
                # A zone without any has a warning instead.
                yield from objects(scope, kind) if kind in scope else ()

    def accounts(self, project: str) -> Iterator[dict[str, Any]]:
        for page in self._pages(f"{self.iam}/v1/projects/{project}/serviceAccounts", {"pageSize": "100"}):
            yield from objects(page, "accounts") if "accounts" in page else ()

    def row(self, id_: str) -> dict[str, Any] | None:
        """A resource of Compute Engine by its path, or None when there is none."""
        try:
            return self._ask("GET", f"{self.compute}/compute/v1/{id_}")
        except Answered as answer:
            if answer.status == 404:
                return None
            raise

    def act(self, id_: str, verb: str, query: Mapping[str, str]) -> None:
        """`act("projects/P/zones/Z/instances/I", "stop", {})`, and wait until that is done."""
        self._wait(self._ask("POST", f"{self.compute}/compute/v1/{id_}/{verb}", query), id_, f"{verb} of {id_}")

    def delete(self, id_: str) -> None:
        """Delete a resource of Compute Engine by its path, and wait until that is done. What is gone already is fine."""
        operation = self._deleted(f"{self.compute}/compute/v1/{id_}")
        if operation is not None:
            self._wait(operation, id_, f"deleting {id_}", fine=frozenset({"RESOURCE_NOT_FOUND"}))

    def _wait(self, operation: dict[str, Any], id_: str, what: str, *, fine: frozenset[str] = frozenset()) -> None:
        """`fine`: codes of errors that are none."""
        # Beside the collection it is in: projects/P/zones/Z/operations/…, projects/P/global/operations/…
        scope = id_.rsplit("/", 2)[0]
        waited = 0.0
        while operation.get("status") != "DONE":
            if waited >= OPERATION_SECONDS:
                raise SourceFailure(f"{what} was not done after {waited:.0f} s")
            time.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            operation = self._ask("GET", f"{self.compute}/compute/v1/{scope}/operations/{operation.get('name')}")
        codes = (
            {str(row.get("code")) for row in objects(operation.get("error"), "errors")} if "error" in operation else set[str]()
        )
        if codes - fine:
            raise SourceFailure(f"{what} answered {', '.join(sorted(codes))}")

    def delete_account(self, id_: str) -> None:
        """`projects/P/serviceAccounts/EMAIL`. What is gone already is fine."""
        self._deleted(f"{self.iam}/v1/{id_}")

    def buckets(self, project: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Those whose names begin with a prefix."""
        for page in self._pages(f"{self.storage}/storage/v1/b", {"project": project, "prefix": prefix}):
            yield from objects(page, "items") if "items" in page else ()

    def bucket(self, name: str) -> dict[str, Any] | None:
        """What a bucket is, or None when there is none of that name. Raises Refused for one of somebody else's."""
        try:
            return self._ask("GET", f"{self.storage}/storage/v1/b/{name}", {"projection": "noAcl"})
        except Answered as answer:
            if answer.status == NOT_FOUND:
                return None
            raise

    def make_bucket(self, project: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Answered, with 409 where the name is taken."""
        return self._ask("POST", f"{self.storage}/storage/v1/b", {"project": project}, body=dict(facts))

    def change_bucket(self, name: str, facts: Mapping[str, Any]) -> None:
        self._ask("PATCH", f"{self.storage}/storage/v1/b/{name}", body=dict(facts))

    def empty(self, bucket: str) -> None:
        """Delete all objects of a bucket in all their versions, and abort its unfinished uploads. One that is gone is empty."""
        place = f"{self.storage}/storage/v1/b/{bucket}/o"
        try:
            found = [
                row
                for page in self._pages(place, {"versions": "true"})
                for row in (objects(page, "items") if "items" in page else ())
            ]
        except Answered as answer:
            if answer.status == NOT_FOUND:
                return
            raise
        for row in found:
            self._send(f"{place}/{quote(str(row['name']), safe='')}", {"generation": str(row["generation"])})
        for key, upload in self._uploads(bucket):
            self._send(f"{self.storage}/{bucket}/{quote(key)}", {"uploadId": upload})

    def _uploads(self, bucket: str) -> list[tuple[str, str]]:
        """Key and id of every multipart upload nobody has finished."""
        found: list[tuple[str, str]] = []
        after: dict[str, str] = {}
        while True:
            params = tuple(sorted({"uploads": "", **after}.items()))
            page = self.http.xml(Request(url=f"{self.storage}/{bucket}", params=params, secret_headers=self.secret))
            here = [(row.findtext("{*}Key", ""), row.findtext("{*}UploadId", "")) for row in page.findall("{*}Upload")]
            found += here
            if page.findtext("{*}IsTruncated", "false") != "true":
                return found
            if not here:
                raise BadAnswer(f"the list of uploads of {bucket} goes round in circles")
            after = {"key-marker": here[-1][0], "upload-id-marker": here[-1][1]}

    def delete_bucket(self, name: str) -> None:
        """Raises Answered, with 409 for one that is not empty. What is gone already is fine."""
        self._send(f"{self.storage}/storage/v1/b/{name}", {})

    def _send(self, url: str, query: Mapping[str, str]) -> None:
        """A deletion that answers with nothing. What is gone already is fine."""
        gone = frozenset({NOT_FOUND})
        params = tuple(sorted(query.items()))
        self.http.send(Request(url=url, method="DELETE", params=params, secret_headers=self.secret, accepts=gone))

    def _deleted(self, url: str) -> dict[str, Any] | None:
        """The answer, or None when there is nothing of that name any more."""
        try:
            return self._ask("DELETE", url)
        except Answered as answer:
            if answer.status == NOT_FOUND:
                return None
            raise

    def _pages(self, url: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        token, seen = "", set[str]()
        while True:
            page = self._ask("GET", url, {**query, **({"pageToken": token} if token else {})})
            yield page
            token = str(page.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise BadAnswer(f"the list at {url} goes round in circles")
            seen.add(token)

    def _ask(self, method: str, url: str, query: Mapping[str, str] | None = None, *, body: Any = None) -> dict[str, Any]:
        params = tuple(sorted((query or {}).items()))
        answer = self.http.json(Request(url=url, method=method, params=params, secret_headers=self.secret, body=body))
        if not isinstance(answer, dict):
            raise BadAnswer(f"{method} {url} answered with something else than an object")
        return answer


def connect(environ: Mapping[str, str], http: Http) -> Cloud:
    """Raises MissingCredentials, SourceFailure from the exchange of a login for a token, SkycError for a bad endpoint."""
    without_key = {name: value for name, value in environ.items() if name != "GOOGLE_API_KEY"}
    token = key_from(environ, "GOOGLE_OAUTH_ACCESS_TOKEN")
    secret = {"Authorization": ("Bearer ", token)} if token is not None else headers(without_key, http)
    return Cloud(
        http,
        secret,
        endpoint(environ, "SKYC_GCP_COMPUTE_URL", COMPUTE_URL),
        endpoint(environ, "SKYC_GCP_IAM_URL", IAM_URL),
        endpoint(environ, "SKYC_GCP_STORAGE_URL", STORAGE_URL),
    )


def _warning(scope: Any) -> str:
    """Why a part of an aggregated list is empty: `NO_RESULTS_ON_PAGE`, or `UNREACHABLE`."""
    warning = scope.get("warning") if isinstance(scope, dict) else None
    return str(warning.get("code")) if isinstance(warning, dict) else ""
