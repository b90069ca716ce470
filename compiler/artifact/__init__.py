"""What is kept of a plan: the typed codec, fingerprints, and the plan file."""
