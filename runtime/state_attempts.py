"""The part of the state store that remembers which placements were tried. `runtime/state.py` gives it transactions and the clock."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from ..compiler.ir import DeploymentId, Failure, GroupName, TaskId
from .records import AttemptOutcome, AttemptRecord
from .state_rows import optional_time, text_of, time_of


class Attempts:
    """Methods of `StateStore`; each is one transaction."""

    @abstractmethod
    def _write(self) -> AbstractContextManager[sqlite3.Connection]: ...

    @abstractmethod
    def _read(self, query: str, *values: object) -> list[sqlite3.Row]: ...

    @abstractmethod
    def _moment(self) -> datetime: ...

    def begin_attempt(
        self, deployment: DeploymentId, task: TaskId, group: GroupName, *, search: int, choice: str, placement: str
    ) -> AttemptRecord:
        """Write down that a placement is about to be tried. On disk when this returns; what was looked for before is over."""
        with self._write() as db:
            db.execute(
                "UPDATE attempts SET over = 1 WHERE deployment = ? AND task = ? AND node_group = ? AND search < ?",
                (deployment, task, group, search),
            )
            made = db.execute(
                "INSERT INTO attempts (deployment, search, task, node_group, choice, placement, outcome, started)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (deployment, search, task, group, choice, placement, AttemptOutcome.TRYING.value, self._now_text()),
            )
            return _attempt(db.execute("SELECT * FROM attempts WHERE number = ?", (made.lastrowid,)).fetchone())

    def end_attempt(
        self, attempt: AttemptRecord, outcome: AttemptOutcome, *, failure: Failure | None = None, detail: str = ""
    ) -> None:
        """What came of it."""
        with self._write() as db:
            db.execute(
                "UPDATE attempts SET outcome = ?, kind = ?, code = ?, reach = ?, detail = ?, finished = ? WHERE number = ?",
                (
                    outcome.value,
                    failure.kind.value if failure else "",
                    failure.code if failure else "",
                    failure.reach.name if failure and failure.reach else "",
                    failure.detail if failure else detail,
                    self._now_text(),
                    attempt.number,
                ),
            )

    def end_searches(self, deployment: DeploymentId, *tasks: TaskId) -> None:
        """No placement was found, or the one that was is gone: the next apply begins with the plan's choice again. Without tasks: of
        all of them."""
        with self._write() as db:
            for task in tasks or (None,):
                db.execute("UPDATE attempts SET over = 1 WHERE deployment = ? AND task = coalesce(?, task)", (deployment, task))

    def attempts(self, deployment: DeploymentId) -> tuple[AttemptRecord, ...]:
        """Of each group's newest search, in the order they were made."""
        rows = self._read(
            "SELECT * FROM attempts AS a WHERE deployment = ? AND search = (SELECT max(search) FROM attempts WHERE"
            " deployment = a.deployment AND task = a.task AND node_group = a.node_group) ORDER BY number",
            deployment,
        )
        return tuple(_attempt(row) for row in rows)

    def next_search(self, deployment: DeploymentId) -> int:
        """A number no search of the deployment has."""
        (row,) = self._read("SELECT coalesce(max(search), 0) + 1 AS number FROM attempts WHERE deployment = ?", deployment)
        return int(row["number"])

    def _now_text(self) -> str:
        return text_of(self._moment())


def _attempt(row: sqlite3.Row) -> AttemptRecord:
    fields: dict[str, Any] = dict(row)
    fields["group"] = fields.pop("node_group")
    return AttemptRecord(
        **{
            **fields,
            "outcome": AttemptOutcome(row["outcome"]),
            "started": time_of(row["started"]),
            "finished": optional_time(row["finished"]),
            "over": bool(row["over"]),
        }
    )
