"""Settings of all tests."""

from hypothesis import settings

# A busy machine is no failure: time is measured by the benchmarks, and pytest-timeout ends what hangs.
settings.register_profile("skyc", deadline=None)
settings.load_profile("skyc")
