"""Places for bytes, and what skyc does with them: copies of directories, and checkpoints (see `runtime/checkpoint.py`)."""

from .base import AlreadyExists, NotFound, Store, StoreError, StoreFault, open_store

__all__ = ["AlreadyExists", "NotFound", "Store", "StoreError", "StoreFault", "open_store"]
