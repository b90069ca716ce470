"""Policies: rules that a plan must meet, as values, and the pure functions that read them and hold them against a plan."""
