"""One whole life of a tiny task in a real account: `make e2e-aws` and the like. It rents a machine, and so costs money.

No test of the suite does that. What is here refuses to start unless two environment variables say that it is meant (`settings.py`).
"""
