"""The target `azure`."""
