"""One table of what can be in the way of a machine, and how each cloud says it. A fact must mean the same to skyc wherever it is met.

Every text is a real one: `source` names where it stands, shortened and with names made up. A cloud that has no such thing, or whose words
for it nobody has found, says so in a cell of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId, Failure, FailureKind, GroupName, Reach, TaskId
from skyc.compiler.scrub import Scrubber
from skyc.compiler.terraform_stream import diagnostic_of
from skyc.providers.registry import load
from skyc.runtime.failover import PAUSES
from skyc.runtime.failover_words import not_had, outcome, told
from skyc.runtime.planning import explained
from skyc.runtime.records import AttemptOutcome, AttemptRecord

CLOUDS = ("aws", "azure", "gcp", "ibm")


class Then(enum.Enum):
    """What an apply does next."""

    ELSEWHERE = "the next place is tried"
    LATER = "the same place is tried after a pause"
    STOPS = "nothing more is tried"


@dataclass(frozen=True, kw_only=True)
class Says:
    """region: where it was said, if that matters."""

    text: str
    code: str
    reach: Reach | None = None
    region: str = ""
    source: str


@dataclass(frozen=True, kw_only=True)
class Lacks:
    """Why a cloud has no cell."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    name: str
    kind: FailureKind
    then: Then
    aws: Says | Lacks
    azure: Says | Lacks
    gcp: Says | Lacks
    ibm: Says | Lacks


def ec2(code: str, message: str, call: str = "RunInstances", status: int = 400) -> str:
    return f"creating it: operation error EC2: {call}, https response error StatusCode: {status}, RequestID: 1, api error {code}: {message}"


def arm(code: str, message: str, status: int = 409) -> str:
    return (
        f"creating it: performing CreateOrUpdate: unexpected status {status} ({status} Conflict) with error: {code}: {message}"
    )


EC2_DOCS = "EC2 API Reference, Error codes"
FACTS = (
    Fact(
        name="no capacity",
        kind=FailureKind.CAPACITY,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2(
                "InsufficientInstanceCapacity",
                "We currently do not have sufficient p5.48xlarge capacity in the Availability Zone you requested",
                status=500,
            ),
            code="InsufficientInstanceCapacity",
            reach=Reach.MACHINE_IN_ZONE,
            source=EC2_DOCS,
        ),
        azure=Says(
            text=arm(
                "SkuNotAvailable",
                "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: Standard_F2' is currently not"
                " available in location 'westeurope'.",
            ),
            code="SkuNotAvailable",
            reach=Reach.MACHINE_IN_ZONE,
            source="terraform-provider-azurerm#28549",
        ),
        gcp=Says(
            text="Error waiting for instance to create: The zone 'projects/p/zones/us-west1-c' does not have enough resources available to"
            " fulfill the request.  Try a different zone, or try again later",
            code="ZONE_RESOURCE_POOL_EXHAUSTED",
            reach=Reach.MACHINE_IN_ZONE,
            source="terraform-google-forseti#631",
        ),
        ibm=Says(
            text="[ERROR] Instance (0717_1) went into failed state during the operation\n(cannot_start_capacity) The virtual"
            " server instance"
            " can't start because no capacity is available",
            code="cannot_start_capacity",
            reach=Reach.MACHINE_IN_ZONE,
            source="VPC API, instance status reasons; IBMSpectrumComputing/cloud-provider-plugins#26",
        ),
    ),
    Fact(
        name="no spot machines",
        kind=FailureKind.CAPACITY,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2(
                "SpotMaxPriceTooLow",
                "Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.0374.",
            ),
            code="SpotMaxPriceTooLow",
            reach=Reach.MACHINE_IN_ZONE,
            source="aws/aws-parallelcluster-node#415",
        ),
        azure=Says(
            text=arm("SkuNotAvailable", "The requested tier for resource 'x' is currently not available in location 'eastus'"),
            code="SkuNotAvailable",
            reach=Reach.MACHINE_IN_ZONE,
            source="Error messages for Azure Spot Virtual Machines (azure-compute-docs#226)",
        ),
        gcp=Lacks(why="Google says the same of spot and other machines"),
        ibm=Lacks(why="no spot machines are sold"),
    ),
    Fact(
        name="quota of machines",
        kind=FailureKind.QUOTA,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of 0 allows"),
            code="VcpuLimitExceeded",
            reach=Reach.POOL,
            source=EC2_DOCS,
        ),
        azure=Says(
            text=arm(
                "OperationNotAllowed",
                "Operation could not be completed as it results in exceeding approved NCv3 Family Cores quota.",
            ),
            code="OperationNotAllowed",
            reach=Reach.POOL,
            source="Resource quota errors (Azure documentation)",
        ),
        gcp=Says(
            text="Error waiting for instance to create: Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-west1.",
            code="QUOTA_EXCEEDED",
            reach=Reach.POOL,
            source="Allocation quotas (Compute Engine documentation)",
        ),
        ibm=Says(
            text="[ERROR] Create instance: Creating a new virtual server instance will put the user over quota. Allocated: 20,"
            " Requested: 1,"
            " Quota: 20",
            code="over_quota",
            reach=Reach.REGION,
            source="openshift/installer#9652, where it is said of a VPC",
        ),
    ),
    Fact(
        name="machine not sold in the zone",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2(
                "Unsupported",
                "Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e). Please retry"
                " your request by not specifying an Availability Zone or choosing us-east-1a, us-east-1b.",
            ),
            code="Unsupported",
            reach=Reach.MACHINE_IN_ZONE,
            source="ned1313/Getting-Started-Terraform#44",
        ),
        azure=Lacks(why="said as no capacity: SkuNotAvailable names a size, a location and zones"),
        gcp=Says(
            text="Error creating instance: googleapi: Error 400: Invalid value for field 'resource.machineType':"
            " 'zones/europe-west8-a/machineTypes/f1-micro'. Machine type with name 'f1-micro' does not exist in zone"
            " 'europe-west8-a'., invalid",
            code="invalid",
            reach=Reach.MACHINE_IN_ZONE,
            source="gruntwork-io/terratest#1132",
        ),
        ibm=Lacks(why="no text found; such an error is shown as it is"),
    ),
    Fact(
        name="accelerator not sold in the zone",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Lacks(why="accelerators are part of machine types"),
        azure=Lacks(why="accelerators are part of sizes"),
        gcp=Says(
            text="Error creating instance: googleapi: Error 404: The resource"
            " 'projects/p/zones/us-central1-f/acceleratorTypes/nvidia-tesla-k80' was not found, notFound",
            code="notFound",
            reach=Reach.MACHINE_IN_ZONE,
            source="terraform-provider-google#5860 and bsteuber/lizzie-gcloud-setup#6",
        ),
        ibm=Lacks(why="accelerators are part of profiles"),
    ),
    Fact(
        name="machine not sold in the region",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text="creating EC2 Instance: Unsupported: The requested configuration is currently not supported. Please check the"
            " documentation"
            " for supported configurations.\n\tstatus code: 400, request id: 96f6279e-6162-45a1-b5c3-026aae1bb2c2",
            code="Unsupported",
            reach=Reach.MACHINE_IN_REGION,
            source="terraform-provider-aws#31754, #9113",
        ),
        azure=Lacks(why="said as no capacity: SkuNotAvailable"),
        gcp=Lacks(why="said of each zone"),
        ibm=Lacks(why="no text found"),
    ),
    Fact(
        name="no such zone",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Lacks(why="zones are named by their ids, which every account has"),
        azure=Says(
            text=arm(
                "AvailabilityZoneNotSupported",
                "The zone(s) '1' for resource 'Microsoft.Compute/virtualMachines/x' is not supported. The supported zones for location"
                " 'northcentralus' are ''.",
                400,
            ),
            code="AvailabilityZoneNotSupported",
            reach=Reach.ZONE,
            source="kubernetes/test-infra#24049, where the code is left out",
        ),
        gcp=Says(
            text="Error: Error loading zone 'us-east1-a': googleapi: Error 404: The resource 'projects/p/zones/us-east1-a' was not found"
            "\n, notFound",
            code="notFound",
            reach=Reach.ZONE,
            source="GoogleCloudPlatform/gke-terraform-generator#24",
        ),
        ibm=Lacks(why="a zone's name is its region's with a number, and every region has three"),
    ),
    Fact(
        name="zones not sold in the region",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Lacks(why="every region has zones"),
        azure=Says(
            text="creating Public IP: network.PublicIPAddressesClient#CreateOrUpdate: Failure sending request: StatusCode=400 -- Original"
            ' Error: Code="LocationNotSupportAvailabilityZones" Message="The resource \'Microsoft.Network/publicIPAddresses/x\' does not'
            " support availability zones at location 'westus'.\"",
            code="LocationNotSupportAvailabilityZones",
            reach=Reach.ZONE,
            source="pivotal/paving#79",
        ),
        gcp=Lacks(why="every region has zones"),
        ibm=Lacks(why="every region has zones"),
    ),
    Fact(
        name="region not the account's",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text="creating EC2 VPC: operation error EC2: CreateVpc, https response error StatusCode: 401, RequestID: 1, api"
            " error AuthFailure:"
            " AWS was not able to validate the provided access credentials",
            code="AuthFailure",
            reach=Reach.REGION,
            region="eu-south-2",
            source="turbot/steampipe-plugin-aws#75, redhat-cop/agnosticd#3762",
        ),
        azure=Says(
            text="creating Resource Group: unexpected status 400 (400 Bad Request) with error: LocationNotAvailableForResourceGroup: The"
            " provided location 'germanynorth' is not available for resource group. List of available regions is 'centralus,eastasia'.",
            code="LocationNotAvailableForResourceGroup",
            reach=Reach.REGION,
            source="cloud-barista/cb-spider#527",
        ),
        gcp=Says(
            text="Error creating Subnetwork: googleapi: Error 403: Permission denied on 'locations/me-central2' (or it may not exist).\n"
            'Details:\n[\n  {\n    "domain": "googleapis.com",\n    "reason": "LOCATION_POLICY_VIOLATED"\n  }\n]\n, forbidden',
            code="LOCATION_POLICY_VIOLATED",
            reach=Reach.REGION,
            source="firezone/firezone#7711",
        ),
        ibm=Lacks(why="every account has every region"),
    ),
    Fact(
        name="region not the account's, at the provider's login",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text="configuring Terraform AWS Provider: validating provider credentials: retrieving caller identity from STS:"
            " operation error STS:"
            " GetCallerIdentity, https response error StatusCode: 403, RequestID: b16f, api error InvalidClientTokenId: The security token"
            " included in the request is invalid.",
            code="InvalidClientTokenId",
            reach=Reach.REGION,
            region="af-south-1",
            source="terraform-provider-aws#12940 (the region) and #28443 (the form)",
        ),
        azure=Lacks(why="logins are of no region"),
        gcp=Lacks(why="logins are of no region"),
        ibm=Lacks(why="logins are of no region"),
    ),
    Fact(
        name="region being validated",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2(
                "PendingVerification",
                "Your request for accessing resources in this region is being validated, and you will not be able to launch additional"
                " resources in this region until the validation is complete.",
            ),
            code="PendingVerification",
            reach=Reach.REGION,
            source="splunk/attack_range#1367",
        ),
        azure=Lacks(why="no such thing"),
        gcp=Lacks(why="no such thing"),
        ibm=Lacks(why="no such thing"),
    ),
    Fact(
        name="not signed up",
        kind=FailureKind.NOT_OFFERED,
        then=Then.ELSEWHERE,
        aws=Says(
            text=ec2(
                "OptInRequired",
                "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
                status=401,
            ),
            code="OptInRequired",
            reach=Reach.REGION,
            source="awslabs/aws-deployment-framework#283, Appliscale/cloud-security-audit#24",
        ),
        azure=Lacks(why="said as a missing permission: MissingSubscriptionRegistration"),
        gcp=Lacks(why="said as a missing permission: SERVICE_DISABLED"),
        ibm=Lacks(why="no such thing"),
    ),
    Fact(
        name="permission missing",
        kind=FailureKind.PERMISSION,
        then=Then.STOPS,
        aws=Says(
            text=ec2("UnauthorizedOperation", "You are not authorized to perform this operation.", status=403),
            code="UnauthorizedOperation",
            source=EC2_DOCS,
        ),
        azure=Says(
            text=arm(
                "AuthorizationFailed",
                "The client 'c' does not have authorization to perform action 'Microsoft.Compute/virtualMachines/write' over scope 's'",
                403,
            ),
            code="AuthorizationFailed",
            source="Common Azure deployment errors",
        ),
        gcp=Says(
            text="Error creating Network: googleapi: Error 403: Required 'compute.networks.create' permission for"
            " 'projects/p/global/networks/n', forbidden",
            code="forbidden",
            source="terraform-provider-google#4825",
        ),
        ibm=Says(
            text='[ERROR] Create Instance err: {"errors":[{"code":"not_authorized","message":"The request is not authorized."}]}',
            code="not_authorized",
            source="VPC API reference",
        ),
    ),
    Fact(
        name="credentials not accepted",
        kind=FailureKind.CREDENTIALS,
        then=Then.STOPS,
        aws=Says(
            text=ec2("AuthFailure", "AWS was not able to validate the provided access credentials", status=401),
            code="AuthFailure",
            region="us-east-1",
            source=EC2_DOCS,
        ),
        azure=Says(
            text="building account: getting authenticated object ID: listing Service Principals: ServicePrincipalsClient.BaseClient.Get():"
            ' clientCredentialsToken: received HTTP status 401 with response: {"error":"invalid_client","error_description":"AADSTS7000215:'
            ' Invalid client secret provided."}',
            code="invalid_client",
            source="terraform-provider-azurerm#16026",
        ),
        gcp=Says(
            text="Error when reading or editing Subscription: googleapi: Error 401: Request had invalid authentication"
            " credentials. Expected"
            " OAuth 2 access token, login cookie or other valid authentication credential.",
            code="authError",
            source="terraform-provider-google#8364",
        ),
        ibm=Says(
            text="401: The IAM token exchange request failed with the message: Provided API key could not be found",
            code="BXNIM0415E",
            source="terraform-provider-ibm#3561",
        ),
    ),
    Fact(
        name="login expired",
        kind=FailureKind.CREDENTIALS,
        then=Then.STOPS,
        aws=Says(
            text=ec2("RequestExpired", "Request has expired.", status=400),
            code="RequestExpired",
            region="eu-south-2",
            source=EC2_DOCS,
        ),
        azure=Says(
            text="Get Token request returned http error: 400 and server response:"
            ' {"error":"invalid_grant","error_description":"AADSTS50173:'
            ' The provided grant has expired due to it being revoked."}',
            code="invalid_grant",
            source="terraform-provider-azurerm#3686",
        ),
        gcp=Says(
            text="Error loading zone 'europe-north1-a': Get \"https://compute.googleapis.com/compute/v1/projects/p/zones/europe-north1-a\":"
            ' oauth2: "invalid_grant" "Bad Request"',
            code="invalid_grant",
            source="terraform-provider-google#18677",
        ),
        ibm=Says(
            text='[ERROR] Create VPC err: {"errors":[{"code":"not_authenticated","message":"The request is not authenticated."}]}',
            code="not_authenticated",
            source="VPC API reference",
        ),
    ),
    Fact(
        name="throttled",
        kind=FailureKind.THROTTLED,
        then=Then.LATER,
        aws=Says(
            text=ec2("RequestLimitExceeded", "Request limit exceeded.", status=503),
            code="RequestLimitExceeded",
            source=EC2_DOCS,
        ),
        azure=Says(
            text=arm("TooManyRequests", "The request is being throttled as the limit has been reached.", 429),
            code="TooManyRequests",
            source="Throttling Resource Manager requests",
        ),
        gcp=Says(
            text="Error creating instance: googleapi: Error 403: Quota exceeded for quota metric 'Queries' and limit 'Queries"
            " per minute' of"
            " service 'compute.googleapis.com', rateLimitExceeded",
            code="rateLimitExceeded",
            source="Errors of the Compute Engine API",
        ),
        ibm=Says(
            text="[ERROR] Create Instance err\nerror code: too_many_requests, trace: 1",
            code="too_many_requests",
            source="VPC API reference",
        ),
    ),
    Fact(
        name="address still in use",
        kind=FailureKind.BUSY,
        then=Then.LATER,
        aws=Says(
            text=ec2("InvalidIPAddress.InUse", "Address 10.0.0.10 is in use."), code="InvalidIPAddress.InUse", source=EC2_DOCS
        ),
        azure=Says(
            text="creating Network Interface: performing CreateOrUpdate: unexpected status 400 with error: PrivateIPAddressIsAllocated: IP"
            " configuration x is using the private IP address 10.2.1.5 which is already allocated to resource y.",
            code="PrivateIPAddressIsAllocated",
            source="F5Networks/terraform-azure-bigip-module#63",
        ),
        gcp=Says(
            text="Error waiting for instance to create: IP '10.0.0.2' is already being used by another resource.",
            code="IP_IN_USE_BY_ANOTHER_RESOURCE",
            source="hashicorp/terraform#18998",
        ),
        ibm=Lacks(why="no text found"),
    ),
    Fact(
        name="the user's mistake: an image whose terms nobody has accepted",
        kind=FailureKind.OTHER,
        then=Then.STOPS,
        aws=Says(
            text=ec2(
                "OptInRequired",
                "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do so please visit"
                " https://aws.amazon.com/marketplace/pp?sku=x",
                status=401,
            ),
            code="OptInRequired",
            region="us-east-1",
            source="StreisandEffect/streisand#86, kakkoyun/terraform-openvpn#1",
        ),
        azure=Lacks(why="skyc's plans name no image with a purchase plan"),
        gcp=Lacks(why="no such thing"),
        ibm=Lacks(why="no such thing"),
    ),
    Fact(
        name="the user's mistake: an image that is not there",
        kind=FailureKind.OTHER,
        then=Then.STOPS,
        aws=Says(
            text=ec2("InvalidAMIID.NotFound", "The image id '[ami-0]' does not exist"),
            code="InvalidAMIID.NotFound",
            source=EC2_DOCS,
        ),
        azure=Says(
            text=arm("PlatformImageNotFound", "The platform image 'a:b:c:latest' is not available.", 404),
            code="PlatformImageNotFound",
            source="Common Azure deployment errors",
        ),
        gcp=Says(
            text="Error creating instance: googleapi: Error 404: The resource 'projects/p/global/images/i' was not found, notFound",
            code="notFound",
            source="Errors of the Compute Engine API",
        ),
        ibm=Says(
            text='[ERROR] Create Instance err: {"errors":[{"code":"not_found","message":"Image not found"}]}',
            code="not_found",
            source="VPC API reference",
        ),
    ),
)
CELLS = [
    pytest.param(fact, cloud, cell, id=f"{fact.name}-{cloud}")
    for fact in FACTS
    for cloud in CLOUDS
    if isinstance(cell := getattr(fact, cloud), Says)
]


def read(cloud: str, cell: Says) -> Failure:
    said = diagnostic_of({"severity": "error", "summary": cell.text, "address": "x.y"}, scrubber=Scrubber(()))
    (found,) = load(cloud).failures([said], cell.region)
    return found


@pytest.mark.parametrize(("fact", "cloud", "cell"), CELLS)
def test_a_fact_means_the_same_at_every_cloud(fact: Fact, cloud: str, cell: Says) -> None:
    assert cell.source
    found = read(cloud, cell)
    assert (found.kind, found.code, found.reach) == (fact.kind, cell.code, cell.reach)
    assert (found.reach is not None) is found.kind.moves_on
    then = Then.ELSEWHERE if found.kind.moves_on else Then.LATER if found.kind in PAUSES else Then.STOPS
    assert then is fact.then
    assert found.permission == "" or found.kind is FailureKind.PERMISSION


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_what_a_cloud_lacks_is_said_with_the_reason(fact: Fact) -> None:
    cells = [getattr(fact, cloud) for cloud in CLOUDS]
    assert any(isinstance(cell, Says) for cell in cells)
    assert all(cell.why for cell in cells if isinstance(cell, Lacks))


@pytest.mark.parametrize(
    ("name", "cloud", "words"),
    [
        ("no capacity", "aws", "X is not to be had (InsufficientInstanceCapacity)"),
        ("machine not sold in the zone", "gcp", "X is not to be had: invalid (not sold in the zone)"),
        ("machine not sold in the region", "aws", "X is not to be had: Unsupported (not sold in the region)"),
        ("no such zone", "azure", "X is not to be had: AvailabilityZoneNotSupported (not a zone of the account's)"),
        ("not signed up", "aws", "X is not to be had: OptInRequired (not a region of the account's)"),
    ],
)
def test_the_story_says_what_it_is_that_is_missing(name: str, cloud: str, words: str) -> None:
    cell = getattr(next(fact for fact in FACTS if fact.name == name), cloud)
    failure = read(cloud, cell)
    assert failure.reach is not None
    row = AttemptRecord(
        number=1,
        deployment=DeploymentId("d"),
        task=TaskId("t"),
        group=GroupName("main"),
        search=1,
        choice="X",
        placement="X",
        started=datetime(2026, 1, 1, tzinfo=UTC),
        outcome=AttemptOutcome.FAILED,
        kind=failure.kind.value,
        code=failure.code,
        reach=failure.reach.name,
    )
    assert not_had(row) == words
    assert told(row, failure) == f"X: {outcome(row)}"


def test_where_the_account_has_the_region_bad_credentials_are_just_that() -> None:
    """Not enabled, EC2 says the same as of a wrong key. In a region that every account has it can only be the key."""
    text = ec2("AuthFailure", "AWS was not able to validate the provided access credentials", status=401)
    kinds = [read("aws", Says(text=text, code="", source="", region=region)).kind for region in ("", "us-east-1", "me-south-1")]
    assert kinds == [FailureKind.CREDENTIALS, FailureKind.CREDENTIALS, FailureKind.NOT_OFFERED]


def test_a_plan_in_a_region_that_the_account_does_not_have_says_so() -> None:
    """The provider logs in before it plans, and what AWS answers is about the credentials."""
    cell = next(fact for fact in FACTS if fact.name == "region not the account's, at the provider's login").aws
    assert isinstance(cell, Says)
    terraforms = diagnostic_of({"severity": "error", "summary": cell.text}, scrubber=Scrubber(()))
    first, second = explained(SkycError(terraforms), load("aws"), cell.region).diagnostics
    assert (first.slug, second) == ("region-not-enabled", terraforms)
    assert "aws/af-south-1" in first.detail and "enable af-south-1" in str(first.hint)
    # Where every account has the region, it is left as it is.
    assert explained(SkycError(terraforms), load("aws"), "us-east-1").diagnostics == (terraforms,)
