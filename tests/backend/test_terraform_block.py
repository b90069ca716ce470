"""Where plain Terraform finds a state that skyc keeps."""

from __future__ import annotations

import pytest

from skyc.compiler.ir import DeploymentId, JsonObject, SiteId
from skyc.runtime.backend.settings import terraform_block

SITE = SiteId("train.aws-us-east-1")


@pytest.mark.parametrize(
    ("uri", "block"),
    [
        ("file:///shared/states", {"local": {"path": "/shared/states/train/train.aws-us-east-1.tfstate"}}),
        (
            "s3://acme/team?region=eu-west-1",
            {
                "s3": {
                    "bucket": "acme",
                    "key": "team/train/train.aws-us-east-1.tfstate",
                    "encrypt": True,
                    "use_lockfile": True,
                    "region": "eu-west-1",
                }
            },
        ),
        (
            "az://acme/states/team",
            {
                "azurerm": {
                    "storage_account_name": "acme",
                    "container_name": "states",
                    "key": "team/train/train.aws-us-east-1.tfstate",
                    "use_azuread_auth": True,
                }
            },
        ),
        # A gcs backend names workspaces, not objects; behind the HTTP protocol there is no bare state.
        ("gs://acme/team", None),
        ("https://gitlab.example.com/api/v4/projects/42/terraform/state/team", None),
    ],
)
def test_of_every_kind(uri: str, block: JsonObject | None) -> None:
    assert terraform_block(uri, DeploymentId("train"), SITE) == block


def test_another_server_of_s3() -> None:
    found = terraform_block("s3://acme?region=r&endpoint=http://127.0.0.1:5610", DeploymentId("train"), SITE)
    assert found is not None
    settings = found["s3"]
    assert isinstance(settings, dict)
    assert settings["endpoints"] == {"s3": "http://127.0.0.1:5610"} and settings["use_path_style"] is True
    assert settings["key"] == "train/train.aws-us-east-1.tfstate"
