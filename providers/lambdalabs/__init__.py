"""The target `lambda`."""
