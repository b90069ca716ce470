"""The suite every provider must pass, for IBM. What needs a machine to log in to is marked; Terraform itself is in the other files."""

from __future__ import annotations

import pytest

from skyc.compiler.ir import FrozenMap
from skyc.providers.base import Provider
from skyc.providers.conformance import ProviderConformance
from skyc.providers.ibm.provider import IbmProvider
from tests.ibm.conftest import IMAGE, REGIONS


class TestIbm(ProviderConformance):
    def make_provider(self) -> Provider:
        return IbmProvider()

    def images(self) -> FrozenMap[str]:
        return FrozenMap({f"ibm/{region}{kind}": IMAGE for region in REGIONS for kind in ("", "/gpu")})

    # Not implemented: nodes are not logged in to yet, so nothing can be put on them.
    test_a_whole_life = pytest.mark.skip(reason="ibm: no machine to log in to without an account")(
        ProviderConformance.test_a_whole_life
    )
