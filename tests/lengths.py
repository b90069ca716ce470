"""Tests that take minutes each, mostly with a released Terraform provider: they run with SKYC_LONG set (`make long`).

So `make test` stays within what a change should have to wait for. What they prove of the machinery, shorter ones prove with the simulator.
"""

from __future__ import annotations

import os

import pytest

LONG = bool(os.environ.get("SKYC_LONG"))
takes_minutes = pytest.mark.skipif(not LONG, reason="takes minutes: `make long`")
