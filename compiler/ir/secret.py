"""A value that must not be shown: every printer shows stars, only the last writer reveals it.

Invariant: a Secret never reaches a digest, a log, a plan or a pickle. `canonical()` refuses it because it is no dataclass.
"""

from __future__ import annotations

import hmac
from typing import NoReturn

MASK = "****"


class Secret:
    """One secret text. Equal secrets compare equal, in constant time."""

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The text itself. Call it only where it is handed to the process that needs it."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("Secret is immutable")

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode("utf-8", "surrogatepass"), other._value.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: hand it to the process that needs it through a 0600 file")
