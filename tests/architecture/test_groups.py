"""Tests that share a server, or would starve each other, run one after the other in one process."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("kept")
def test_groups_are_kept(request: pytest.FixtureRequest) -> None:
    """pytest-xdist writes the group behind the name; a pytest that it cannot do that with would run everything everywhere."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("this run has no groups: --dist loadgroup")
    assert request.node.nodeid.endswith("@kept")
