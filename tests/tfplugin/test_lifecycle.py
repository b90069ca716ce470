"""The whole life of a resource under real Terraform, attached to skyc's own provider."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import Workspace

pytestmark = pytest.mark.terraform

FULL = """
resource "skyc_note" "a" {
  name    = "a"
  content = "hello"
  secret  = "hush"
  labels  = { team = "x", "cost.center" = "9" }
  tags    = ["z", "y"]
  weights = [1, 0.5, 0.1, 123456789012345678901234567890]
  any     = { nested = [1, "two"] }
  places  = [{ city = "Rome", rank = 1 }]
  line { text = "first" }
  line {
    text = "second"
    font = "serif"
  }
  stamp { ink = "red" }
  stamp { ink = "green" }
  cover {}
}
"""
PLAIN = 'resource "skyc_note" "a" {\n name = "a"\n}\n'


def failing(fault: str) -> str:
    return f'resource "skyc_note" "a" {{\n  name  = "a"\n  fault = "{fault}"\n}}\n'


def test_from_plan_to_destroy(attached: Workspace) -> None:
    attached.configure(FULL)
    attached.run("validate")
    planned = attached.plan(expect=2)
    assert "(sensitive value)" in planned
    assert "hush" not in planned
    assert re.search(r"size\s+= \(known after apply\)", planned)

    attached.apply()
    state = attached.state()["skyc_note.a"]
    assert state["size"] == 5
    assert state["mood"] == "calm"
    assert state["cover"] == {"color": "blue"}
    assert [line["text"] for line in state["line"]] == ["first", "second"]
    assert all(line["digest"] for line in state["line"])
    assert "No changes" in attached.plan()

    # A set in another order is no change; a changed content is one update in place.
    attached.configure(FULL.replace('"hello"', '"hello again"').replace('["z", "y"]', '["y", "z"]'))
    updated = attached.plan(expect=2)
    assert "updated in-place" in updated
    assert not re.search(r'[-+] "[yz]"', updated)
    attached.apply()
    assert attached.state()["skyc_note.a"]["size"] == 11

    # No longer overridden, the default returns.
    attached.configure(FULL.replace('content = "hello"', ""))
    assert '"hello again" -> "empty"' in attached.plan(expect=2)
    attached.apply()
    assert "No changes" in attached.plan()

    attached.run("destroy", "-auto-approve")
    assert attached.state() == {}
    assert not (attached.notes / "a").exists()


def test_what_replaces_and_what_does_not(attached: Workspace) -> None:
    attached.configure(FULL)
    attached.apply()
    attached.configure(FULL.replace('font = "serif"', 'font = "mono"'))
    assert re.search(r'font\s+= "serif" -> "mono" # forces replacement', attached.plan(expect=2))
    attached.configure(FULL.replace('text = "second"', 'text = "third"'))
    assert "updated in-place" in attached.plan(expect=2)
    attached.configure(FULL.replace('name    = "a"', 'name    = "b"'))
    assert re.search(r'name\s+= "a" -> "b" # forces replacement', attached.plan(expect=2))
    attached.apply()
    assert sorted(path.name for path in attached.notes.iterdir()) == ["b"]
    assert attached.state()["skyc_note.a"]["id"] == "b"


def test_drift_and_disappearance(attached: Workspace) -> None:
    attached.configure(PLAIN)
    attached.apply()
    (attached.notes / "a").write_text(json.dumps({"content": "scribbled"}))
    assert '"scribbled" -> "empty"' in attached.plan(expect=2)
    (attached.notes / "a").unlink()
    assert "will be created" in attached.plan(expect=2)


def test_import(attached: Workspace) -> None:
    attached.notes.mkdir()
    (attached.notes / "a").write_text(json.dumps({"content": "found"}))
    attached.configure('resource "skyc_note" "a" {\n name = "a"\n content = "found"\n}\n')
    assert "There is no such note" in attached.run("import", "-no-color", "skyc_note.a", "nothing", expect=1)
    attached.run("import", "skyc_note.a", "a")
    assert attached.state()["skyc_note.a"]["size"] == 5
    assert "No changes" in attached.plan()


def test_unknowns_of_another_resource(attached: Workspace) -> None:
    attached.configure("""
    resource "skyc_note" "head" { name = "head" }
    resource "skyc_note" "worker" {
      count   = 2
      name    = "worker-${count.index}"
      content = "to ${skyc_note.head.id}"
      weights = [skyc_note.head.size, 2]
      labels  = { head = skyc_note.head.id }
      any     = skyc_note.head.size
      dynamic "line" {
        for_each = [skyc_note.head.mood]
        content { text = line.value }
      }
      dynamic "stamp" {
        for_each = [skyc_note.head.id]
        content { ink = "x-${skyc_note.head.mood}" }
      }
    }
    """)
    assert "3 to add" in attached.plan(expect=2)
    attached.apply()
    worker = attached.state()["skyc_note.worker[1]"]
    assert worker["content"] == "to head"
    assert worker["weights"] == [5, 2]
    assert worker["any"] == {"value": 5, "type": "number"}
    assert worker["line"][0]["text"] == "calm"
    assert worker["stamp"] == [{"ink": "x-calm"}]
    assert "No changes" in attached.plan()


def test_a_list_of_blocks_of_unknown_length(attached: Workspace) -> None:
    attached.configure("""
    resource "skyc_note" "head" { name = "head" }
    resource "skyc_note" "worker" {
      name = "worker"
      dynamic "line" {
        for_each = toset([skyc_note.head.id])
        content { text = line.value }
      }
      dynamic "stamp" {
        for_each = toset([skyc_note.head.id])
        content { ink = stamp.value }
      }
    }
    """)
    attached.apply()
    worker = attached.state()["skyc_note.worker"]
    assert worker["line"][0]["text"] == "head"
    assert worker["stamp"] == [{"ink": "head"}]


def test_a_mistake_is_shown_at_its_line(attached: Workspace) -> None:
    attached.configure('resource "skyc_note" "a" {\n  name = "a"\n  line { text = "x" }\n  line {\n    text = ""\n  }\n}\n')
    shown = attached.run("validate", "-no-color", expect=1)
    assert "A line must not be empty." in shown
    assert re.search(r"on main\.tf line 10.*\n\s+10:\s+text = \"\"", shown)
    attached.configure('resource "skyc_note" "a" {\n  name = "a"\n  size = 3\n}\n')
    shown = attached.run("validate", "-no-color", expect=1)
    assert "cannot be set" in shown
    assert re.search(r"8:\s+size = 3", shown)
    attached.configure(failing("before"))
    shown = attached.apply(expect=1)
    assert "No paper left" in shown
    assert re.search(r"8:\s+fault = \"before\"", shown)
    assert attached.state() == {}


@pytest.mark.parametrize("fault", ["partial", "misfit"])
def test_what_a_failed_create_made_is_kept_as_tainted(attached: Workspace, fault: str) -> None:
    attached.configure(failing(fault))
    attached.apply(expect=1)
    kept = attached.state()["skyc_note.a"]
    assert kept["tainted"]
    assert kept["id"] == "a"
    attached.configure(PLAIN)
    assert "must be replaced" in attached.plan(expect=2)
    attached.apply()
    assert not attached.state()["skyc_note.a"]["tainted"]


def test_defects_are_reported_and_logged(attached: Workspace) -> None:
    attached.configure(failing("defect"))
    assert "RuntimeError: nobody thought of this" in attached.apply(expect=1)
    assert "Traceback" in attached.log


def test_a_failed_delete_keeps_the_resource(attached: Workspace) -> None:
    attached.configure(failing("keep"))
    attached.apply()
    assert "glued to the wall" in attached.run("destroy", "-auto-approve", "-no-color", expect=1)
    assert attached.state()["skyc_note.a"]["id"] == "a"


def test_state_of_an_older_schema_is_read(attached: Workspace) -> None:
    attached.configure(PLAIN)
    attached.apply()
    path = attached.directory / "terraform.tfstate"
    state = json.loads(path.read_text())
    instance = state["resources"][0]["instances"][0]
    instance["schema_version"] = 0
    del instance["attributes"]["stamp"], instance["attributes"]["labels"]
    instance["attributes"]["dropped_long_ago"] = True
    path.write_text(json.dumps(state))
    assert "No changes" in attached.plan()


def test_sixty_four_at_once(attached: Workspace) -> None:
    """All 64 creates run at the same time: each waits until every other one has begun."""
    gate = attached.gate
    attached.configure(f'resource "skyc_note" "n" {{\n count = 64\n name = "n${{count.index}}"\n gate = "{gate}"\n}}\n')
    process = attached.start("apply", "-auto-approve", "-no-color", "-parallelism=64")
    attached.wait_for_started(*(f"n{index}" for index in range(64)))
    gate.touch()
    assert process.wait(60) == 0, attached.output()
    assert len(attached.state()) == 64
