"""Google Cloud: ids are resource paths; errors come from waiting for an operation, or as `googleapi: Error …`.

The texts follow errors quoted in public issues; they are not compared with the released provider.
"""

from __future__ import annotations

from typing import Any

from ...gcp import errors
from ...tfplugin.codec import is_unknown
from ..making import Cloud, Making, Refusal

PATHS = {
    "google_compute_address": "projects/{project}/regions/{region}/addresses/{name}",
    "google_compute_firewall": "projects/{project}/global/firewalls/{name}",
    "google_compute_instance": "projects/{project}/zones/{zone}/instances/{name}",
    "google_compute_instance_group_manager": "projects/{project}/zones/{zone}/instanceGroupManagers/{name}",
    "google_compute_instance_template": "projects/{project}/global/instanceTemplates/{name}",
    "google_compute_network": "projects/{project}/global/networks/{name}",
    "google_compute_resource_policy": "projects/{project}/regions/{region}/resourcePolicies/{name}",
    "google_compute_router": "projects/{project}/regions/{region}/routers/{name}",
    "google_compute_router_nat": "{project}/{region}/{router}/{name}",
    "google_compute_subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "google_service_account": "projects/{project}/serviceAccounts/{email}",
    "google_storage_bucket": "{name}",
    "google_storage_bucket_iam_member": "b/{bucket}/{role}/{member}",
}

PERMISSIONS = {
    "google_compute_address": "compute.addresses.create",
    "google_compute_firewall": "compute.firewalls.create",
    "google_compute_instance": "compute.instances.create",
    "google_compute_instance_group_manager": "compute.instanceGroupManagers.create",
    "google_compute_instance_template": "compute.instanceTemplates.create",
    "google_compute_network": "compute.networks.create",
    "google_compute_resource_policy": "compute.resourcePolicies.create",
    "google_compute_router": "compute.routers.create",
    "google_compute_router_nat": "compute.routers.update",
    "google_compute_subnetwork": "compute.subnetworks.create",
    "google_service_account": "iam.serviceAccounts.create",
    "google_storage_bucket": "storage.buckets.create",
    "google_storage_bucket_iam_member": "storage.buckets.setIamPolicy",
}

WORDS = {
    "google_compute_instance": "instance",
    "google_compute_instance_group_manager": "InstanceGroupManager",
    "google_compute_network": "Network",
}

HOLDERS = {
    "google_compute_address": frozenset({"google_compute_instance"}),
    "google_compute_instance_template": frozenset({"google_compute_instance_group_manager"}),
    "google_compute_network": frozenset({"google_compute_firewall", "google_compute_router", "google_compute_subnetwork"}),
    "google_compute_resource_policy": frozenset({"google_compute_instance"}),
    "google_compute_subnetwork": frozenset({"google_compute_instance", "google_compute_router_nat"}),
}

MACHINES = frozenset({"google_compute_instance", "google_compute_instance_group_manager"})


def identity(making: Making) -> str:
    form = PATHS.get(making.type, "projects/{project}/{name}")
    return form.format(
        project=_project(making),
        region=_region(making),
        zone=_zone(making),
        name=_name(making),
        router=making.text("router"),
        bucket=making.text("bucket"),
        role=making.text("role"),
        member=making.text("member"),
        email=_email(making),
    )


def fact(making: Making, name: str) -> Any:
    match name:
        case "project":
            return _project(making)
        case "region":
            return _region(making)
        case "zone":
            return _zone(making)
        case "name" if making.type == "google_service_account":
            return making.id
        case "name":
            return _name(making)
        case "self_link" | "self_link_unique" if making.type == "google_storage_bucket":
            return f"https://www.googleapis.com/storage/v1/b/{making.id}"
        case "self_link" | "self_link_unique":
            return f"https://www.googleapis.com/compute/v1/{making.id}"
        case "email":
            return _email(making)
        case "member":
            return f"serviceAccount:{_email(making)}"
        case "unique_id" | "instance_id" | "network_id" | "numeric_id":
            return str(10**20 + making.number(10**20, name))
        case "url":
            return f"gs://{making.id}"
        case "current_status":
            return "RUNNING"
        case "instance_group":
            return f"https://www.googleapis.com/compute/v1/{making.id.replace('instanceGroupManagers', 'instanceGroups')}"
        case "effective_labels":
            return {**(making.known("labels") or {}), "goog-terraform-provisioned": "true"}
        case "terraform_labels":
            return {**(making.known("labels") or {}), "goog-terraform-provisioned": "true"}
    return None


def zones(making: Making) -> tuple[str, ...]:
    return (_zone(making),)


def size(making: Making) -> str:
    given = making.text("machine_type")
    if given:
        return given.rpartition("/")[2]
    for version in making.known("version") or ():
        found = making.world.find(version.get("instance_template"), "google_compute_instance_template")
        if found is not None:
            return str(found.attributes.get("machine_type") or "")
    return ""


def refuse(fault: str, making: Making, about: str) -> Refusal:
    project, zone, id = _project(making), _zone(making), identity(making)
    waiting = f"Error waiting for {WORDS.get(making.type, making.type)} to create: "
    match fault:
        case "no-capacity":
            return Refusal(
                summary=f"{waiting}The zone 'projects/{project}/zones/{zone}' does not have enough resources available to "
                "fulfill the request.  '(resource type:compute)'.",
                detail=f"Error code: {errors.NO_CAPACITY}\n"
                f"A {size(making)} VM instance is currently unavailable in the {zone} zone. Try a different zone, or try again "
                "later.",
            )
        case "not-sold":
            # gruntwork-io/terratest#1132
            return Refusal(
                summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 400: Invalid value for field "
                f"'resource.machineType': 'zones/{zone}/machineTypes/{size(making)}'. Machine type with name '{size(making)}' does "
                f"not exist in zone '{zone}'., invalid"
            )
        case "no-region":
            # firezone/firezone#7711
            return Refusal(
                summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 403: Permission denied on "
                f"'locations/{_region(making)}' (or it may not exist).\nDetails:\n[\n  {{\n    \"reason\": "
                f'"{errors.NO_REGION_FOR_US}"\n  }}\n]\n, {errors.NOT_ALLOWED}'
            )
        case "unknown-caller":
            # terraform-provider-google#8364
            return Refusal(
                summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 401: Request had invalid authentication "
                "credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."
            )
        case "quota":
            return Refusal(
                summary=f"{waiting}Quota 'CPUS' exceeded.  Limit: 0.0 in region {_region(making)}.",
                detail=f"Error code: {errors.NO_QUOTA}\nmetric name = compute.googleapis.com/cpus\nlimit name = CPUS-per-project-region",
            )
        case "throttled":
            return Refusal(
                summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 403: Quota exceeded for quota "
                "metric 'Queries' and limit 'Queries per minute' of service 'compute.googleapis.com' for consumer "
                f"'project_number:{making.number(10**12)}'., {errors.THROTTLED}"
            )
        case "denied":
            needed = about or PERMISSIONS.get(making.type, "resourcemanager.projects.get")
            return Refusal(
                summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 403: Required '{needed}' "
                f"permission for '{id}', {errors.NOT_ALLOWED}"
            )
        case "in-use":
            kind = making.type.removeprefix("google_compute_")
            return Refusal(
                summary=f"Error waiting for Deleting {WORDS.get(making.type, making.type)}: The {kind} resource '{making.id}' is already "
                f"being used by '{about}'",
                detail="Error code: RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
            )
    return Refusal(
        summary=f"Error creating {WORDS.get(making.type, making.type)}: googleapi: Error 409: The resource '{id}' already exists, "
        "alreadyExists"
    )


def at_plan(type_: str, planned: dict[str, Any]) -> None:
    """The provider adds its own label, and says at plan what all labels will be."""
    labels = planned.get("labels")
    for name in ("terraform_labels", "effective_labels"):
        if name in planned and not is_unknown(labels):
            planned[name] = {**(labels or {}), "goog-terraform-provisioned": "true"}


def _project(making: Making) -> str:
    return making.text("project") or making.setting("project", "simulated-project")


def _zone(making: Making) -> str:
    return making.text("zone").rpartition("/")[2] or making.setting("zone", f"{_region(making)}-a")


def _region(making: Making) -> str:
    given = making.text("region").rpartition("/")[2]
    zone = making.text("zone").rpartition("/")[2]
    return given or zone.rpartition("-")[0] or making.setting("region", "us-central1")


def _name(making: Making) -> str:
    return making.text("name") or f"{making.text('name_prefix', 'terraform-')}{making.hex(26)}"


def _email(making: Making) -> str:
    return f"{making.text('account_id')}@{_project(making)}.iam.gserviceaccount.com"


GOOGLE = Cloud(
    name="google",
    machines=MACHINES,
    identity=identity,
    fact=fact,
    zones=zones,
    size=size,
    refuse=refuse,
    at_plan=at_plan,
    holders=HOLDERS,
    stopped={"google_compute_instance": {"current_status": "TERMINATED"}},
)
