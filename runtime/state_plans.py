"""The part of the state store that remembers which plan was carried out. `runtime/state.py` gives it transactions and the clock."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime

from ..compiler.ir import DeploymentId, PlacementPlan
from .records import PlanFileRecord
from .state_rows import optional_time, text_of, time_of


class Plans:
    """Methods of `StateStore`; each is one transaction."""

    @abstractmethod
    def _write(self) -> AbstractContextManager[sqlite3.Connection]: ...

    @abstractmethod
    def _read(self, query: str, *values: object) -> list[sqlite3.Row]: ...

    @abstractmethod
    def _moment(self) -> datetime: ...

    # The placement that was applied last

    def save_placement(self, deployment: DeploymentId, placement: PlacementPlan) -> None:
        """What was carried out, of a saved deployment."""
        from ..compiler.artifact.codec import encode

        self.save_placement_text(deployment, encode(placement).decode())

    def save_placement_text(self, deployment: DeploymentId, text: str) -> None:
        """As another home has written it; empty: nothing is applied any more."""
        with self._write() as db:
            if not text:
                db.execute("DELETE FROM placements WHERE deployment = ?", (deployment,))
                return
            db.execute(
                "INSERT INTO placements (deployment, placement) VALUES (?, ?)"
                " ON CONFLICT (deployment) DO UPDATE SET placement = excluded.placement",
                (deployment, text),
            )

    def placement_text(self, deployment: DeploymentId) -> str:
        """As it is written to other homes; empty where nothing was applied."""
        rows = self._read("SELECT placement FROM placements WHERE deployment = ?", deployment)
        return str(rows[0]["placement"]) if rows else ""

    def placement(self, deployment: DeploymentId) -> PlacementPlan | None:
        """The placement that was applied last; None where none was, or where another version of skyc wrote one that this one cannot
        read."""
        from ..compiler.artifact.codec import Damaged, decode

        text = self.placement_text(deployment)
        try:
            return decode(PlacementPlan, text.encode()) if text else None
        except Damaged:
            return None

    # Plan files that are, or were, applied here

    def begin_plan_file(self, deployment: DeploymentId, digest: str) -> PlanFileRecord:
        """Write down that a plan file of a saved deployment is being applied. One that was begun before stays as it is."""
        with self._write() as db:
            db.execute(
                "INSERT INTO plan_files (deployment, digest, began) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (deployment, digest, self._now_text()),
            )
            row = db.execute("SELECT * FROM plan_files WHERE deployment = ? AND digest = ?", (deployment, digest)).fetchone()
            return _record(row)

    def end_plan_file(self, deployment: DeploymentId, digest: str) -> None:
        """Everything it says was done: its machines are there and its jobs were started."""
        with self._write() as db:
            db.execute(
                "UPDATE plan_files SET finished = ? WHERE deployment = ? AND digest = ? AND finished IS NULL",
                (self._now_text(), deployment, digest),
            )

    def plan_file(self, deployment: DeploymentId, digest: str) -> PlanFileRecord | None:
        rows = self._read("SELECT * FROM plan_files WHERE deployment = ? AND digest = ?", deployment, digest)
        return _record(rows[0]) if rows else None

    def _now_text(self) -> str:
        return text_of(self._moment())


def _record(row: sqlite3.Row) -> PlanFileRecord:
    return PlanFileRecord(
        deployment=DeploymentId(row["deployment"]),
        digest=row["digest"],
        began=time_of(row["began"]),
        finished=optional_time(row["finished"]),
    )
