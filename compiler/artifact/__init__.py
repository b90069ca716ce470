"""What is kept of a plan: the typed codec, fingerprints, and the plan file."""

FORMAT = "skyc.plan-file/"
"""What the `format` of every plan file begins with."""
BEGINNING = b'{"format":"' + FORMAT.encode()
"""How a plan file begins, as skyc writes it."""
