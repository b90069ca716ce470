"""The front end's first half: bytes to a checked spec and a map of where everything stands."""

from .documents import parse
from .nearest import nearest
from .syntax import decode, read_source

__all__ = ["decode", "nearest", "parse", "read_source"]
