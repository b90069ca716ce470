"""Renames of what is lowered here. A released address never changes without a line: `tests/moves` compares with those of the last release.

    Rename(since="0.2.0", before="some_type.{group}-{index}", after="some_type.node-{group}-{index}")

Lines stay for ever: somebody may come from any older version.
"""

from __future__ import annotations

from ...compiler.ir import Rename

MOVED: tuple[Rename, ...] = ()
"""The oldest first. Nothing was renamed since the first version."""
