"""A full disk, for real: a small file system mounted for the test. Without the right to mount, skipped and counted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.terraform import Engine, checked

from .conftest import Site, module, thing

pytestmark = [pytest.mark.terraform, pytest.mark.fault]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many MiB and gives its root."""
    mounted: list[Path] = []

    def mount(mebibytes: int) -> Path:
        place = tmp_path / f"small-{mebibytes}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("this user may not mount a file system")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_nothing_is_begun_that_could_not_be_recorded(any_engine: Engine, small: Callable[[int], Path]) -> None:
    site = Site(small(3))
    site.write(module(a=thing(input="x")))
    with pytest.raises(SkycError) as raised:
        site.terraform(any_engine).plan()
    assert raised.value.diagnostics[0].slug == "disk-full" and "Nothing was changed" in raised.value.diagnostics[0].detail
    assert not (site.directory / "runs").exists()


def test_a_disk_that_fills_up_during_the_apply_is_told(engine: Engine, small: Callable[[int], Path]) -> None:
    site = Site(small(12))
    # It fills the disk, down to what the blocks of `dd` leave, and then byte by byte. The state grows after that.
    fill = "dd if=/dev/zero of=fill bs=64k 2>/dev/null; cat /dev/zero >> fill 2>/dev/null; true"
    site.write(module(a=thing(input="x"), b=thing(run=fill, needs="a"), c=thing(needs="b", input="x" * 100_000)))
    terraform = site.terraform(engine)
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    run = terraform.apply(plan.plan_file)
    assert not run.ok and not run.finished
    assert [d.slug for d in run.diagnostics] == ["disk-full"]
    # Terraform cuts the state off where the disk ended. That must never be taken for a smaller state.
    with pytest.raises(SkycError) as raised:
        terraform.state()
    assert raised.value.diagnostics[0].slug == "state-damaged"
