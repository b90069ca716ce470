"""This machine as a catalog."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Accelerator
from skyc.providers.local import catalog
from skyc.providers.local.catalog import FREE, Machine, Price, price, snapshot


def test_the_digest_follows_the_machine_and_nothing_else() -> None:
    def digest(memory: str, hourly: str) -> str:
        machine = Machine(cpus=2, memory_gb=Decimal(memory), arch="x86_64")
        return snapshot(machine, Price(hourly=Decimal(hourly), source=FREE)).digest

    assert digest("7.7", "0") == digest("7.7", "0")
    assert len({digest("7.7", "0"), digest("7.8", "0"), digest("7.7", "1")}) == 3


def test_the_facts_are_steady_and_rounded_down() -> None:
    first, second = catalog.machine(), catalog.machine()
    assert first == second
    assert first.memory_gb == first.memory_gb.quantize(Decimal("0.1")) > 0
    assert first.cpus >= 1


def test_devices_come_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '1, Tesla T4, 15360\\n0, Tesla T4, 15360\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    machine = catalog.machine()
    assert machine.accelerators == (Accelerator(name="T4", count=Decimal(2), memory_gb=Decimal(15)),)
    assert machine.devices == (("T4", (0, 1)),)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert catalog.machine().accelerators == ()


def test_memory_is_the_smallest_limit_of_the_control_groups(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/outer/inner\n")
    inner = tmp_path / "sys/fs/cgroup/outer/inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1073741824\n")
    assert catalog._cgroup_limits(tmp_path) == [1073741824]


def test_the_owners_price(home: Path) -> None:
    assert price(home) == Price(hourly=Decimal(0), source=FREE)
    config = home / "config.yaml"
    config.write_text("local:\n  price_per_hour: 0.10\n")
    assert price(home) == Price(hourly=Decimal("0.10"), source="config.yaml: local.price_per_hour")
    for text in ("-1", "nan", "inf", "much", "[1]"):
        config.write_text(f"local:\n  price_per_hour: {text}\n")
        with pytest.raises(SkycError) as caught:
            price(home)
        assert [diagnostic.slug for diagnostic in caught.value.diagnostics] == ["bad-price"]
    config.write_text("local: [\n")
    with pytest.raises(SkycError):
        price(home)
