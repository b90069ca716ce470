"""Who asks Azure: a subscription and an access token, from where the Azure tools and Terraform take them.

Tokens are those of Azure Resource Manager. In this order: AZURE_ACCESS_TOKEN as it is; a service principal's secret, or its federated
token (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow); the login of the command line tool
`az`. Nothing secret is in a message, an argument list or a log.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ...compiler.ir import Secret
from ..http import Http, Request, endpoint
from ..refresh import key_from, part_of
from ..retry import Refused, SourceFailure

MANAGEMENT_URL = "https://management.azure.com"
LOGIN_URL = "https://login.microsoftonline.com"
CLI_SECONDS = 60.0
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def subscription(environ: Mapping[str, str]) -> str | None:
    """The one Terraform works in: its own variable first."""
    return environ.get("ARM_SUBSCRIPTION_ID") or environ.get("AZURE_SUBSCRIPTION_ID") or None


def token(http: Http, environ: Mapping[str, str]) -> Secret | None:
    """An access token; None without credentials in the environment. Raises SourceFailure when they are not accepted."""
    ready = key_from(environ, "AZURE_ACCESS_TOKEN")
    if ready is not None:
        return ready
    tenant, client, secret = (
        key_from(environ, f"AZURE_{name}", f"ARM_{name}") for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")
    )
    proof: dict[str, str | Secret] = {}
    if secret is not None:
        proof = {"client_secret": secret}
    elif (assertion := _federated(environ)) is not None:
        proof = {"client_assertion_type": ASSERTION, "client_assertion": assertion}
    if tenant is None or client is None or not proof:
        return None
    base = endpoint(environ, "SKYC_AZURE_LOGIN_URL", LOGIN_URL)
    form: dict[str, str | Secret] = {
        "grant_type": "client_credentials",
        "client_id": client,
        "scope": f"{MANAGEMENT_URL}/.default",
        **proof,
    }
    # A tenant's id is no secret; it is part of the address by design.
    answer = http.json(Request(url=f"{base}/{tenant.reveal()}/oauth2/v2.0/token", method="POST", secret_form=form))
    return Secret(part_of(answer, "access_token", str))


def _federated(environ: Mapping[str, str]) -> Secret | None:
    """The token of a pipeline or a cluster that Azure trusts. Raises SourceFailure for a file that cannot be read."""
    given = key_from(environ, "ARM_OIDC_TOKEN")
    path = environ.get("ARM_OIDC_TOKEN_FILE_PATH") or environ.get("AZURE_FEDERATED_TOKEN_FILE")
    if given is not None or not path:
        return given
    try:
        return Secret(Path(path).read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as failure:
        raise SourceFailure(f"the file of the federated token cannot be read ({type(failure).__name__})") from None


def token_of_cli(environ: Mapping[str, str]) -> Secret | None:
    """An access token of whoever is logged in with `az`; None where it is not installed. Raises SourceFailure when it has none."""
    program = shutil.which("az", path=environ.get("PATH"))
    if program is None:
        return None
    command = [program, "account", "get-access-token", "--resource", MANAGEMENT_URL, "--output", "json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=dict(environ),
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise SourceFailure(f"the program `az` did not answer ({type(failure).__name__})") from None
    if done.returncode != 0:
        # What it says can repeat parts of the login.
        raise Refused("the program `az` gives no access token")
    try:
        return Secret(part_of(json.loads(done.stdout), "accessToken", str))
    except ValueError:
        raise SourceFailure("the program `az` answered with something that is not JSON") from None


def missing(environ: Mapping[str, str]) -> str | None:
    """Why Terraform could not ask Azure, as a sentence; None when it seems to be able to. Asks nobody."""
    if not environ.get("ARM_SUBSCRIPTION_ID"):
        return "ARM_SUBSCRIPTION_ID is not set, and the azurerm provider takes the subscription from it."
    said = [name for name in ("ARM_USE_MSI", "ARM_USE_OIDC", "ARM_USE_AKS_WORKLOAD_IDENTITY") if environ.get(name)]
    principal = environ.get("ARM_CLIENT_ID") or environ.get("ARM_CLIENT_ID_FILE_PATH")
    if said or (principal and any(name.startswith(("ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE")) for name in environ)):
        return None
    if shutil.which("az", path=environ.get("PATH")) is None:
        return "There is neither a service principal (ARM_CLIENT_ID, ARM_CLIENT_SECRET, ARM_TENANT_ID) nor the program `az`."
    folder = Path(environ.get("AZURE_CONFIG_DIR") or Path(environ.get("HOME", "/")) / ".azure")
    if not (folder / "azureProfile.json").exists():
        return "There is no service principal in the environment, and nobody is logged in with `az`."
    return None
