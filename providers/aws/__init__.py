"""The target `aws`."""
