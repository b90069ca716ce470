"""The pretended account of `tests/aws`."""

from tests.aws.conftest import account, moto

__all__ = ["account", "moto"]
