"""The tables of `state.db`, as the steps that made them.

`PRAGMA user_version` counts the steps a file has gone through. A released step is never edited: a change is a new step at
the end. Money is text (Decimal), time is ISO text in UTC with microseconds.
"""

from __future__ import annotations

FIRST = (
    """CREATE TABLE deployments (
        id TEXT PRIMARY KEY,
        spec_path TEXT NOT NULL,
        spec_digest TEXT NOT NULL,
        plan_digest TEXT NOT NULL,
        state TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL
    )""",
    """CREATE TABLE sites (
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        site TEXT NOT NULL,
        provider TEXT NOT NULL,
        directory TEXT NOT NULL,
        graph_digest TEXT NOT NULL,
        PRIMARY KEY (deployment, site)
    )""",
    """CREATE TABLE memory (
        deployment TEXT NOT NULL,
        site TEXT NOT NULL,
        lineage TEXT NOT NULL,
        serial INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        resources INTEGER NOT NULL,
        PRIMARY KEY (deployment, site),
        FOREIGN KEY (deployment, site) REFERENCES sites ON DELETE CASCADE
    )""",
    # Not tied to `sites`: an entry is written before its site is known to exist and must outlive its removal.
    """CREATE TABLE journal (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        site TEXT NOT NULL,
        plan_digest TEXT NOT NULL,
        action TEXT NOT NULL,
        started TEXT NOT NULL,
        outcome TEXT,
        finished TEXT
    )""",
    "CREATE INDEX journal_open ON journal (deployment) WHERE finished IS NULL",
    """CREATE TABLE runs (
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        task TEXT NOT NULL,
        number INTEGER NOT NULL,
        task_digest TEXT NOT NULL,
        state TEXT NOT NULL,
        created TEXT NOT NULL,
        finished TEXT,
        PRIMARY KEY (deployment, task, number)
    )""",
    # `number` is the order of submission; two jobs can carry the same time.
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        task TEXT NOT NULL,
        run INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,
        submitted TEXT NOT NULL,
        started TEXT,
        ended TEXT,
        exit_code INTEGER,
        failed_rank INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        hourly TEXT,
        UNIQUE (deployment, id)
    )""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        deployment TEXT,
        kind TEXT NOT NULL,
        text TEXT NOT NULL
    )""",
    "CREATE INDEX events_of_deployment ON events (deployment, id)",
    "CREATE TRIGGER events_keep BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'events are never changed'); END",
    "CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'events are never removed'); END",
)

ATTEMPTS = (
    # `number` is the order in which placements were tried; `node_group`, because GROUP is a word of SQL's.
    """CREATE TABLE attempts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        search INTEGER NOT NULL,
        task TEXT NOT NULL,
        node_group TEXT NOT NULL,
        choice TEXT NOT NULL,
        placement TEXT NOT NULL,
        outcome TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        reach TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        started TEXT NOT NULL,
        finished TEXT,
        over INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX attempts_of_deployment ON attempts (deployment, number)",
)

PLANS = (
    # The placement that was applied last, as the codec writes it.
    """CREATE TABLE placements (
        deployment TEXT PRIMARY KEY REFERENCES deployments ON DELETE CASCADE,
        placement TEXT NOT NULL
    )""",
    # A plan file is carried out once: what was begun and not finished is gone on with.
    """CREATE TABLE plan_files (
        deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
        digest TEXT NOT NULL,
        began TEXT NOT NULL,
        finished TEXT,
        PRIMARY KEY (deployment, digest)
    )""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (FIRST, ATTEMPTS, PLANS)
