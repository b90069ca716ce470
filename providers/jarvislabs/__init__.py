"""The target `jarvislabs`."""
