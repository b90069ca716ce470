"""Settings of all tests: patient with a busy machine, and every program is started as a terminal would."""

import os
import signal

from hypothesis import settings

# A busy machine is no failure: time is measured by the benchmarks, and pytest-timeout ends what hangs. CI judges a change by the same
# examples each time; everywhere else they are new ones, and what they find becomes an `@example`.
settings.register_profile("skyc", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("skyc")

# A shell gives what it starts in the background of a script an ignored SIGINT, and everything below inherits that. Tests that
# press Ctrl-C would then test nothing but the shell.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Terraform and its providers live for seconds: with less garbage collected, a plan by AWS's provider takes a fifth less of them.
os.environ.setdefault("GOGC", "400")
