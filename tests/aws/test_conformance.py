"""The suite every provider must pass, for AWS. What needs a machine to log in to is marked; Terraform itself is in the other files."""

from __future__ import annotations

import pytest

from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Provider
from skyc.providers.conformance import ProviderConformance


class TestAws(ProviderConformance):
    def make_provider(self) -> Provider:
        return AwsProvider()

    # Not implemented: nodes are not logged in to yet, so nothing can be put on them.
    test_a_whole_life = pytest.mark.skip(reason="aws: no machine to log in to without an account")(
        ProviderConformance.test_a_whole_life
    )
