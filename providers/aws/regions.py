"""AWS's regions: those every account has, and those it has only where somebody enabled them.

Source: "Enable or disable AWS Regions in your account" (AWS Account Management): regions launched before March 20, 2019 are enabled by
default and cannot be disabled, all later ones are opt-in regions; `ec2 describe-regions --all-regions` tells them apart as
`opt-in-not-required`. A test holds both lists against the catalog, so that a new region has to be put into one of them.
"""

from __future__ import annotations

ALWAYS = frozenset(
    {
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    }
)

OPT_IN = frozenset(
    {
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "eu-south-2",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
    }
)


def on_request(region: str) -> bool:
    return region in OPT_IN
