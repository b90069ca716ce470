"""What a node needs to know to save and restore checkpoints, and its JSON form (`job.json`, and `SKYC_CHECKPOINT`)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ...compiler.diagnostics import SkycError, error
from .base import Machine

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """`store`: a URI for `open_store`. `prefix`: of the run in it, `checkpoints/<deployment>/<task>/run-<n>`. `path`: the directory
    on the node, absolute. `every_seconds`: between unverified snapshots. `keep`: restore points to keep. `identity`: as whom of its
    identities the machine opens the store (`JobNode.identity`)."""

    store: str
    prefix: str
    path: str
    every_seconds: int
    keep: int
    identity: str = ""

    @property
    def machine(self) -> Machine:
        return Machine(identity=self.identity)

    def to_json(self) -> str:
        """One line, no secrets."""
        return json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "store": self.store,
                "prefix": self.prefix,
                "path": self.path,
                "every_seconds": self.every_seconds,
                "keep": self.keep,
                "identity": self.identity,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> CheckpointFacts:
        """Raises SkycError for anything `to_json` did not write."""
        try:
            data = json.loads(text)
            if data.pop("format_version") != FORMAT_VERSION:
                raise ValueError("another format version")
            texts, numbers = ("store", "prefix", "path", "identity"), ("every_seconds", "keep")
            if not all(type(data[name]) is str for name in texts) or not all(type(data[name]) is int for name in numbers):
                raise ValueError("a value is of another type")
            facts = cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as failure:
            raise SkycError(
                error(
                    "bad-checkpoint-facts",
                    "The checkpoint settings cannot be read",
                    f"SKYC_CHECKPOINT does not hold what skyc put there ({failure}). Do not set it yourself.",
                )
            ) from failure
        return facts
