"""Real processes and real Terraform, killed in the middle of an apply, with another home looking on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers.simulator import World
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.conftest import Home, MakeHome, every_kind, index_of, machines, terraforms, until
from tests.lengths import takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.fault, pytest.mark.timeout(500)]


@pytest.fixture
def answer(world: World, tmp_path: Path) -> Iterator[Path]:
    """A machine is made at once, and the answer comes when this file exists; at the latest after the test, so that no provider stays."""
    world.folder.mkdir(parents=True)
    done = tmp_path / "answer"
    world.faults_path.write_text(f"faults:\n  - {{fault: slow, type: aws_instance, until: {done}, late: true}}\n")
    yield done
    done.touch()


def killed_in_the_middle(home: Home, world: World) -> None:
    """skyc dies when the machine is made and Terraform does not know yet. Terraform goes on waiting."""
    process = home.start("apply", str(home.write_task()), "-y", "--detach")
    until(lambda: machines(world), 120)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def made(world: World) -> int:
    """How many machines were made whose answer came."""
    return sum((call["call"], call["type"]) == ("create", "aws_instance") for call in world.calls())


@every_kind
@takes_minutes
def test_skyc_killed_and_its_home_goes_on(home: MakeHome, world: World, objects: ConditionalStore, answer: Path) -> None:
    first, second = home("first"), home("second")
    killed_in_the_middle(first, world)
    # While Terraform works, nobody else does; and everybody can see that something is under way.
    (intent,) = index_of(objects)["intents"]
    assert intent["action"] == "apply" and str(first.path) in intent["home"]
    out = second("destroy", "train", "-y", "--no-wait", code=1)
    assert "deployment-busy" in out and "since 2" in out, out
    assert len(machines(world)) == 1
    answer.touch()
    until(lambda: not terraforms(first), 60)
    # Terraform's state is here and was never pushed: the next command of this home does it first.
    assert "train/train.aws-us-east-1.tfstate" not in set(objects.list(""))
    first.apply()
    assert objects.get("train/train.aws-us-east-1.tfstate") == first.state.read_bytes()
    assert len(machines(world)) == 1
    assert index_of(objects)["intents"] == []
    assert "train-main-0" in second("status", "train")


@every_kind
@pytest.mark.usefixtures("answer")
def test_everything_killed_and_another_home_goes_on(home: MakeHome, world: World, objects: ConditionalStore) -> None:
    first, second = home("first"), home("second")
    killed_in_the_middle(first, world)
    for pid in terraforms(first):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not terraforms(first))
    assert len(machines(world)) == 1
    assert made(world) == 0, "its answer never came"
    world.faults_path.unlink()
    # Nobody waits and nobody unlocks: the lock of the dead one is free, so it is dead.
    out = second.apply()
    assert "was cut off" in out and "which no state knows" in out, out
    (machine,) = machines(world)
    assert made(world) == 1
    # The first comes back with a state of things that are gone. It goes on from the truth, and makes nothing twice.
    first.apply()
    assert machines(world) == (machine,)
    assert made(world) == 1
    assert first.state.read_bytes() == second.state.read_bytes()
    first("destroy", "train", "-y")
    assert world.resources() == ()


@every_kind
@takes_minutes
def test_sixteen_homes_apply_at_once(home: MakeHome, world: World, objects: ConditionalStore) -> None:
    homes = [home(f"home-{number}") for number in range(16)]
    task = homes[0].write_task()
    started = [one.start("apply", str(task), "-y", "--detach", "--no-wait") for one in homes]
    said = [process.communicate(timeout=450)[0] for process in started]
    outcomes = [
        next((slug for slug in ("cluster-unreachable", "deployment-busy", "backend-keys-changed") if slug in text), text)
        for text in said
    ]
    # Whoever got the lease did the whole of it; the others were told who that is, or that the keys are another's now.
    assert set(outcomes) <= {"cluster-unreachable", "deployment-busy", "backend-keys-changed"}, outcomes
    assert "cluster-unreachable" in outcomes
    assert len(machines(world)) == made(world) == 1
    assert len(world.resources("aws_vpc")) == 1
    assert index_of(objects)["intents"] == []
