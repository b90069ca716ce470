"""IBM's VPC API: which profiles, zones and images a region has. Needs an API key (`IC_API_KEY`), exchanged for a token at IAM.

Protocol: https://cloud.ibm.com/apidocs/vpc and https://cloud.ibm.com/apidocs/iam-identity-token-api. Role: Viewer on VPC
Infrastructure Services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ...compiler.ir import Accelerator, Secret
from ..http import Http, Request, endpoint
from ..refresh import accelerator, key_from, money, objects, part_of
from ..retry import BadAnswer
from ..snapshot import TypeRow

IAM_URL = "https://iam.cloud.ibm.com"
VPC_URL = "https://{region}.iaas.cloud.ibm.com"
VERSION = "2026-01-06"
"""The API's behaviour as of this date; newer dates may rename fields."""
SYSTEM = "ubuntu-24-04-amd64"
"""Name of the operating system of the images machines start from."""
SOLD_AS = {"A100": "A100-80GB"}
"""IBM's A100 machines have the larger chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionProfiles:
    """`images`: ids of IBM's Ubuntu images that can be started from, the newest first."""

    types: tuple[TypeRow, ...]
    zones: tuple[str, ...]
    images: tuple[str, ...] = ()


def token(http: Http, environ: Mapping[str, str]) -> Secret | None:
    """None without a key. Raises SourceFailure when IAM does not accept it."""
    key = key_from(environ, "IC_API_KEY", "IBMCLOUD_API_KEY")
    if key is None:
        return None
    base = endpoint(environ, "SKYC_IBM_IAM_URL", IAM_URL)
    form: dict[str, str | Secret] = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": key}
    answer = http.json(Request(url=f"{base}/identity/token", method="POST", secret_form=form))
    return Secret(part_of(answer, "access_token", str))


def region_profiles(http: Http, environ: Mapping[str, str], key: Secret, region: str) -> RegionProfiles:
    """Raises SourceFailure."""
    base = endpoint(environ, "SKYC_IBM_VPC_URL", VPC_URL).replace("{region}", region)

    def ask(path: str, *more: tuple[str, str]) -> Any:
        return http.json(
            Request(
                url=f"{base}/v1/{path}",
                params=(("version", VERSION), ("generation", "2"), *more),
                secret_headers={"Authorization": ("Bearer ", key)},
            )
        )

    types = tuple(described(row) for row in objects(ask("instance/profiles"), "profiles"))
    zones = [part_of(row, "name", str) for row in objects(ask(f"regions/{region}/zones"), "zones")]
    return RegionProfiles(types=types, zones=tuple(sorted(zones)), images=_ubuntu(_images(ask)))


def _images(ask: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """IBM's own images of a region that can be started from."""
    more: tuple[tuple[str, str], ...] = ()
    seen: set[str] = set()
    while True:
        page = ask("images", ("visibility", "public"), ("status", "available"), ("limit", "100"), *more)
        yield from objects(page, "images")
        link = page.get("next")
        if link is None:
            return
        start = dict(parse_qsl(urlsplit(part_of(link, "href", str)).query)).get("start", "")
        if not start or start in seen:
            raise BadAnswer("the pages of images have no end")
        seen.add(start)
        more = (("start", start),)


def _ubuntu(images: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """By date, and by name where two are of one moment."""
    fit = [
        (str(row.get("created_at", "")), part_of(row, "name", str), part_of(row, "id", str))
        for row in images
        if isinstance(row.get("operating_system"), dict) and row["operating_system"].get("name") == SYSTEM
    ]
    return tuple(id_ for _, _, id_ in sorted(fit, reverse=True))


def described(row: dict[str, Any]) -> TypeRow:
    """A profile. Amounts that are a range or a choice are unknown."""
    gpus = _value(row, "gpu_count")
    model = row.get("gpu_model")
    names = model.get("values", []) if isinstance(model, dict) else []
    accelerators: tuple[Accelerator, ...] = ()
    if gpus and names:
        accelerators = (accelerator(SOLD_AS.get(str(names[0]), str(names[0])), gpus, _value(row, "gpu_memory")),)
    disks = (
        [(_value(disk, "quantity") or Decimal(0)) * (_value(disk, "size") or Decimal(0)) for disk in objects(row, "disks")]
        if "disks" in row
        else []
    )
    architecture = row.get("vcpu_architecture")
    arch = architecture.get("value") if isinstance(architecture, dict) else None
    return TypeRow(
        name=part_of(row, "name", str),
        cpus=_value(row, "vcpu_count"),
        memory_gb=_value(row, "memory"),
        accelerators=accelerators,
        arch={"s390x": "s390x", "arm64": "arm64"}.get(str(arch), "x86_64"),
        local_disk_gb=sum(disks, Decimal(0)),
    )


def _value(row: dict[str, Any], name: str) -> Decimal | None:
    field = row.get(name)
    return money(field.get("value")) if isinstance(field, dict) and field.get("type", "fixed") == "fixed" else None
