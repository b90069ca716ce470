"""Hosts that the user owns, as the configuration declares them."""
