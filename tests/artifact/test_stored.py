"""The placement that was applied last: kept, carried to other homes, forgotten with what it placed."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.compiler.ir import DeploymentId
from skyc.runtime import fingerprints
from skyc.runtime.apply import locked, site_context
from skyc.runtime.destroy import destroy
from skyc.runtime.planning import planned
from skyc.runtime.plans import plan_result
from skyc.runtime.records import DeploymentState
from skyc.runtime.results import Plan
from skyc.runtime.state import StateStore
from skyc.runtime.state_schema import MIGRATIONS
from skyc.runtime.storage.file import FileStore
from tests.backend.test_sync import DEMO, Home
from tests.compiler.test_failover import at
from tests.compiler.test_failover import plan as plan_of
from tests.failover import fake_terraform
from tests.failover.pretended import Account, opened

PLAN = replace(plan_of(at("aws/east/b")), name="höhe")
TASK = "name: train\nresources: {infra: aws/us-east-1, instance_type: g5.xlarge}\nrun: echo hi\nsecrets: {TOKEN: hunter2-hunter2}\n"


def saved(store: StateStore) -> None:
    store.save_deployment(DEMO, spec_path="/t.yaml", spec_digest="s", plan_digest="p", state=DeploymentState.ACTIVE)


def test_it_is_kept_and_replaced(tmp_path: Path) -> None:
    with StateStore(tmp_path) as store:
        saved(store)
        assert store.placement(DEMO) is None
        store.save_placement(DEMO, plan_of())
        store.save_placement(DEMO, PLAN)
    with StateStore(tmp_path) as store:
        assert store.placement(DEMO) == PLAN
        store.save_placement_text(DEMO, '{"of": "another version"}')
        assert store.placement(DEMO) is None
        store.save_placement(DEMO, PLAN)
        store.forget_deployment(DEMO)
        assert store.placement(DEMO) is None


def test_a_home_of_an_earlier_version_gets_the_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        for statement in (statement for step in MIGRATIONS[:2] for statement in step):
            db.execute(statement)
        db.execute("PRAGMA user_version = 2")
    db.close()
    with StateStore(tmp_path) as store:
        saved(store)
        store.save_placement(DEMO, PLAN)
        assert store.placement(DEMO) == PLAN


def test_a_plan_file_is_begun_once_and_finished_once(tmp_path: Path) -> None:
    with StateStore(tmp_path) as store:
        saved(store)
        assert store.plan_file(DEMO, "d") is None
        begun = store.begin_plan_file(DEMO, "d")
        assert begun.finished is None
        assert store.begin_plan_file(DEMO, "d") == begun
        store.end_plan_file(DEMO, "d")
        ended = store.plan_file(DEMO, "d")
        assert ended is not None and ended.finished is not None
        store.end_plan_file(DEMO, "d")
        assert store.plan_file(DEMO, "d") == ended == store.begin_plan_file(DEMO, "d")


def test_other_homes_learn_of_it(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "a", tmp_path / "shared"), Home(tmp_path / "b", tmp_path / "shared")
    first.apply()
    with first.command() as remote:
        remote.store.save_placement(DEMO, PLAN)
    with second.command() as remote:
        assert remote.store.placement(DEMO) == PLAN
        remote.store.save_placement_text(DEMO, "")
    with first.command() as remote:
        assert remote.store.placement(DEMO) is None


def planned_now(account: Account, text: str, name: str = "task") -> Plan:
    request, compilation = account.compiled(text, name)
    with locked(account.session, compilation.deployment, command="skyc plan", wait=0) as lock_fd:
        context = site_context(account.session, compilation.deployment, lock_fd, compilation)
        with planned(account.session, request, compilation, context) as plan:
            return plan_result(plan)


def test_a_plan_says_what_was_before_and_what_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_terraform.install(monkeypatch)
    with opened(tmp_path / "home") as account:
        first = planned_now(account, TASK)
        assert first.before is None and first.fingerprints is not None and first.fingerprints.changes is not None
        assert planned_now(account, "# a comment\n" + TASK).fingerprints == first.fingerprints
        other_secret = planned_now(account, TASK.replace("hunter2-hunter2", "hunter3-hunter3")).fingerprints
        assert other_secret is not None and other_secret.compiled == first.fingerprints.compiled
        assert other_secret.changes != first.fingerprints.changes
        account.up(TASK)
        second = planned_now(account, TASK)
        assert second.before is not None and second.before == first.placement
        assert second.fingerprints is not None and second.fingerprints.compiled == first.fingerprints.compiled
        assert second.fingerprints.changes != first.fingerprints.changes, "there is nothing to be made any more"
        shown: list[Plan] = []

        def decline(plan: Plan) -> bool:
            shown.append(plan)
            return False

        destroy(account.session, "train", confirm=decline)
        assert shown[0].before == first.placement
        destroy(account.session, "train", confirm=None)
        assert planned_now(account, TASK).before is None


def test_two_homes_with_one_backend_give_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything was applied, too: keys, homes and the bucket's mark differ then, and the key of secrets comes from the backend."""
    fake_terraform.install(monkeypatch)
    shared = FileStore(tmp_path / "shared")
    monkeypatch.setattr("skyc.runtime.backend.opening.configured", lambda home: shared)
    names = []
    for home in ("a", "b"):
        (tmp_path / home).mkdir()
        with opened(tmp_path / home / "home") as account:
            names.append(planned_now(account, TASK).fingerprints)
            names.append(planned_now(account, TASK).fingerprints)
            assert fingerprints.review_key(account.session, DeploymentId("train")) == shared.get("train/ssh/review")
    assert names[0] is not None and names == [names[0]] * 4
