"""Google Cloud's regions that a project has only by arrangement.

Source: what the API answers there, as quoted in firezone/firezone#7711: "Permission denied on 'locations/me-central2'", with the reason
LOCATION_POLICY_VIOLATED and "Access to the region is unavailable. Please contact our sales team". Of no other region is that known.
"""

from __future__ import annotations

RESTRICTED = frozenset({"me-central2"})


def on_request(region: str) -> bool:
    return region in RESTRICTED
