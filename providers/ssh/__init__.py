"""Machines that are logged in to over SSH: pinned host keys, a connection, and files and commands through it."""
