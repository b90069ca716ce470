"""Who has no state: a reviewer, a machine without the setting, a bucket that may only be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from skyc.providers.simulator import World
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.conftest import MakeHome, every_kind, index_of, machines
from tests.lengths import LONG, takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.e2e, pytest.mark.timeout(500)]


@takes_minutes
def test_without_the_setting_nothing_is_taken_for_new_or_for_an_orphan(home: MakeHome, world: World) -> None:
    home("first").apply()
    stranger = home("stranger", None)
    task = str(stranger.write_task())
    before = {found.key for found in world.resources()}
    for _ in range(2):
        out = stranger("plan", task, "--detailed-exitcode", code=2)
        assert "Compiled, not compared" in out and "to add" not in out, out
        assert "carry the tag of `train`" in out
    out = stranger("apply", task, "-y", code=1)
    assert "applied-elsewhere" in out
    assert {found.key for found in world.resources()} == before
    assert "unknown-deployment" in stranger("destroy", "train", "-y", code=1)
    # Under another name it is another deployment.
    assert "to add" in stranger("plan", task, "-d", "mine")


def test_a_backend_that_does_not_answer(home: MakeHome, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYC_TEST_QUICK", "1")
    first = home("first")
    first.apply()
    (first.path / "config.yaml").write_text(
        (first.path / "config.yaml").read_text().split("endpoint=")[0] + "endpoint=http://127.0.0.1:1\n"
    )
    stranger = home("stranger", str(yaml.safe_load((first.path / "config.yaml").read_text())["state"]))
    task = str(first.write_task())
    for one in (first, stranger) if LONG else (stranger,):
        out = one("plan", task, code=0)
        assert "Compiled, not compared" in out and "127.0.0.1:1 cannot be reached" in out, out
        out = one("apply", task, "-y", code=1)
        assert "backend-unavailable" in out and "Nothing was changed" in out
    # What this home saw last is still shown, and called that.
    out = first("status", "train")
    assert "train-main-0" in out and "as-last-seen" in out
    assert "backend-unavailable" in first("destroy", "train", "-y", code=1)
    assert len(machines(world)) == 1


def test_a_reader_plans_against_the_real_state_and_writes_nothing(
    home: MakeHome, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pull request is checked: the credentials may read the states."""
    shared = tmp_path / "shared"
    writer = home("writer", shared.as_uri())
    writer.apply()
    orphan = machines(world)[0]
    # Made by somebody just now, so in no state yet: not a reader's to judge.
    with world.changing() as contents:
        other = type(orphan)(type="aws_instance", id="i-new", attributes=orphan.attributes)
        contents.resources[other.key] = other
    before = {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()}
    reader = home("reader", shared.as_uri())
    monkeypatch.setenv("SKYC_TEST_READ_ONLY", str(shared))
    out = reader("plan", str(reader.write_task()), code=0)
    assert "0 to add · 0 to change · 0 to destroy" in out or "no changes" in out.lower(), out
    out = reader("plan", str(reader.write_task("platform")), code=0)
    assert "can only be read from here" in out and '"research" → "platform"' in out
    assert "backend-unavailable" in reader("apply", str(reader.write_task()), "-y", code=1)
    assert {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()} == before
    assert {found.id for found in machines(world)} == {orphan.id, "i-new"}


@every_kind
def test_a_lost_or_damaged_state_does_not_stop_a_destroy(home: MakeHome, world: World, objects: ConditionalStore) -> None:
    first, second = home("first"), home("second")
    first.apply()
    objects.put("train/train.aws-us-east-1.tfstate", b"")
    out = second("plan", str(second.write_task()), code=1)
    assert "backend-state-refused" in out and "It is empty." in out
    assert "backend-state-refused" in first("apply", str(first.write_task()), "-y", code=1)
    assert len(machines(world)) == 1
    assert "destroyed" in second("destroy", "train", "-y")
    assert world.resources() == ()
    assert index_of(objects)["sites"] == []


@every_kind
def test_the_setting_shown_and_taken_away(home: MakeHome, kind: str) -> None:
    first = home("first")
    first.apply()
    rows = {line.split()[0]: line.split() for line in first("backend", "show").splitlines() if line.strip()}
    assert rows["train"][2] == "1", rows
    assert kind != "s3" or rows["versions"][1] == "yes", rows
    kept = (first.path / "config.yaml").read_text()
    (first.path / "config.yaml").write_text("".join(line for line in kept.splitlines(True) if "state:" not in line))
    assert "backend-not-configured" in first("destroy", "train", "-y", code=1)
    assert "backend-not-configured" in first("apply", str(first.write_task()), "-y", code=1)
    (first.path / "config.yaml").write_text(kept)
    first("destroy", "train", "-y")
