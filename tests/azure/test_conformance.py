"""The suite every provider must pass, for Azure. What needs a machine to log in to is marked; Terraform itself is in the other files."""

from __future__ import annotations

import pytest

from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import Provider
from skyc.providers.conformance import ProviderConformance


class TestAzure(ProviderConformance):
    def make_provider(self) -> Provider:
        return AzureProvider()

    # Not implemented: nodes are not logged in to yet, so nothing can be put on them.
    test_a_whole_life = pytest.mark.skip(reason="azure: no machine to log in to without an account")(
        ProviderConformance.test_a_whole_life
    )
