"""The target `runpod`."""
