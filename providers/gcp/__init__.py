"""The target `gcp`."""
