"""A plan is written, reviewed and applied through the real command line, with real Terraform and real Ray."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.fault, pytest.mark.xdist_group("e2e")]

SECRET = "hunter2-hunter2"
TASK = """\
name: tiny
workdir: {folder}
run: echo "it said $(cat word.txt), ${{#TOKEN}} long"
hours: 0.01
secrets: {{TOKEN: }}
"""


@pytest.mark.timeout(900)
def test_a_reviewed_plan_is_applied_once_and_nothing_else(skyc: Skyc, tmp_path: Path) -> None:
    """plan -o, edits of the task, kill -9 in the middle of its apply, the same command again, a second time, and what moved then."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "word.txt").write_text("one")
    skyc.environ["TOKEN"] = SECRET
    text = TASK.format(folder=work)
    task, file = skyc.task("tiny", text), work / "plan.skyc"
    file.write_text("")
    file.chmod(0o666)
    before = os.umask(0)
    try:
        shown = skyc("plan", task, "-o", str(file))
    finally:
        os.umask(before)
    assert f"skyc apply {file}" in shown.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    no_secret_in(file.read_bytes())
    fingerprint = json.loads(file.read_bytes())["plan"]["fingerprints"]["changes"]

    # Another fingerprint, and files of the job that were edited: nothing is done.
    refused = skyc("apply", task, "-y", "--plan", "0123456789abcdef", code=4)
    assert "another-plan" in refused.err and fingerprint[:16] in refused.err
    (work / "word.txt").write_text("other")
    moved = skyc("apply", str(file), "-y", code=4)
    assert "plan-moved" in moved.err and "word.txt changed" in moved.err
    (work / "word.txt").write_text("one")
    assert not list(skyc.home.glob("deployments/tiny/nodes/*"))

    # The task file says something else by now; what was reviewed is done, also after a kill.
    skyc.task("tiny", text.replace("said", "shouted"))
    first = skyc.start("apply", str(file), "-y")
    skyc.wait_for("a node", 240, lambda: list(skyc.home.glob("deployments/tiny/nodes/*")))
    first.process.kill()
    first.wait(240)
    done = skyc("apply", str(file), "-y")
    assert "begun before" in done.err and "it said one, 15 long" in done.out, done.both
    again = skyc("apply", str(file), "-y", code=4)
    assert "plan-applied" in again.err and "tiny-1-1: succeeded" in again.err

    # By its fingerprint; and then what a plan file of the same plan rests on is no more.
    skyc.task("tiny", text.replace("said", "sang"))
    second = skyc.folder / "second.skyc"
    skyc("plan", task, "-o", str(second))
    current = json.loads(second.read_bytes())["plan"]["fingerprints"]["changes"]
    assert current != fingerprint
    by_name = skyc("apply", task, "-y", "--plan", current[:12])
    assert "it sang one" in by_name.out, by_name.both
    moved = skyc("apply", str(second), "-y", code=4)
    assert "run 1, attempt 1 → run 2, attempt 1" in moved.err
    no_secret_in(second.read_bytes())
    jobs = skyc.json("queue", "tiny")["jobs"]
    assert [(job["id"], job["state"]) for job in jobs] == [("tiny-1-1", "succeeded"), ("tiny-2-1", "succeeded")]


def no_secret_in(data: bytes) -> None:
    """Not in the file, nor in any part of Terraform's plans in it."""
    assert SECRET.encode() not in data
    for site in json.loads(data)["plan"]["sites"]:
        if site["plan"] is None:
            continue
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(site["plan"]))) as plan:
            assert plan.namelist()
            for name in plan.namelist():
                assert SECRET.encode() not in plan.read(name), name
