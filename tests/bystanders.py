"""Programs that one test started and later ones use: who ends everything that its tests have started spares them."""

BYSTANDERS: set[int] = set()
"""Process ids."""
