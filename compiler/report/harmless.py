"""Text of others (names, values, messages) before it is shown anywhere.

Contract: what comes out of `safe` moves no cursor, turns no reading direction, hides nothing and stays on its line, in every format.
Escaping what a format itself takes for markup is that format's own business.
"""

from __future__ import annotations

import unicodedata

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories of what steers a terminal or a line instead of being seen."""
_BLANK = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)),
    )
)
"""What Unicode calls something else and nobody sees: joiners, fillers, variation selectors (Default_Ignorable_Code_Point)."""
LONGEST = 300
"""Characters of one name or message; what is longer is cut with `…`."""


def invisible(char: str) -> bool:
    """Whether a character steers, separates or hides instead of being seen. Spaces are seen."""
    return unicodedata.category(char) in INVISIBLE or ord(char) in _BLANK


def safe(text: str) -> str:
    """Text without control, format, surrogate or line-separating characters (right-to-left marks included)."""
    return text if text.isascii() and text.isprintable() else "".join("\ufffd" if invisible(char) else char for char in text)


def clipped(text: str, limit: int = LONGEST) -> str:
    """Safe text of at most `limit` characters."""
    return safe(text if len(text) <= limit else text[: limit - 1] + "…")
