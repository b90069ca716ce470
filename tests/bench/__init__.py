"""What skyc costs its user: seconds, memory, throughput. `python -m tests.bench` measures and keeps docs/performance.md.

These are figures, not tests: a missed budget is printed as missed and fails nothing. Only what could not be measured at all is
an error. Everything is measured from outside, on fresh processes, as a user would meet it.
"""
