"""What changes of this machine's nodes mean to a reviewer."""

from __future__ import annotations

from ...compiler.ir import FrozenMap, Meaning, Meanings

MEANINGS: Meanings = FrozenMap({"skyc_node": Meaning(data="directory on this machine")})
PLAIN: frozenset[str] = frozenset()
