"""The front end's second half: from what the user wrote to what is to run."""

from .graph import Resolved, resolve
from .variables import EnvOverrides

__all__ = ["EnvOverrides", "Resolved", "resolve"]
