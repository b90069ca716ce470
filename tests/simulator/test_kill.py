"""The simulator killed in the middle of a create: its world stays whole, and shows what a real cloud would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from skyc.compiler.terraform import ApplyRun
from skyc.providers.simulator import World
from tests.schemas import graphs

from .conftest import opened

pytestmark = [pytest.mark.terraform, pytest.mark.fault]


WRITER = """
import sys
from pathlib import Path
from skyc.providers.simulator.world import World, WorldResource
world = World(Path(sys.argv[1]))
while True:
    with world.changing() as contents:
        made = WorldResource(type="x_thing", id=f"{len(contents.resources):06}", attributes={"text": "x" * 200})
        contents.resources[made.key] = made
"""


@pytest.mark.parametrize("late", [False, True], ids=["before it is made", "when it is made"])
def test_killed_in_a_create(tmp_path: Path, cache: Path, late: bool) -> None:
    with opened(("google",), tmp_path, cache) as site:
        site.faults(f"faults:\n  - {{fault: slow, type: google_compute_instance, seconds: 60, late: {str(late).lower()}}}\n")
        site.write(graphs.google_machine())
        plan = site.terraform.plan()
        assert plan.plan_file is not None
        runs: list[ApplyRun] = []
        file = plan.plan_file
        applying = threading.Thread(target=lambda: runs.append(site.terraform.apply(file)))
        applying.start()
        _until(lambda: bool(site.world.read().faults))
        if late:
            _until(lambda: bool(site.world.resources("google_compute_instance")))
        os.kill(site.attachments[0].pid, signal.SIGKILL)
        applying.join(60)
    (run,) = runs
    assert not run.ok
    orphans = {found.id for found in site.world.resources()} - site.ids()
    assert orphans == ({"projects/demo/zones/us-central1-a/instances/demo-0"} if late else set())


def test_a_world_killed_while_it_is_written_is_whole(tmp_path: Path) -> None:
    """Children that write without end, each killed at once: what is left is always a world, and never a smaller one."""
    sizes = [0]
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as child:
            _until(partial(_more_than, sizes[-1], tmp_path))
            child.kill()
        sizes.append(len(World(tmp_path).resources()))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0


def test_what_is_no_world_is_never_replaced_by_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.changing() as contents:
        contents.seed = "7"
    for text in ("", "{", "[]", '{"format_version": "9"}'):
        world.path.write_text(text)
        with pytest.raises(ValueError, match=r"."), world.changing():
            pass
        assert world.path.read_text() == text


def _more_than(number: int, home: Path) -> bool:
    return len(World(home).resources()) > number


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.01)
