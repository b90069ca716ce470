"""`skyc mirror`: what docs/terraform.md promises, in a shell: compiled code, planned by Terraform alone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import blocks

from skyc.compiler.terraform import Engine

SKYC = f"{shlex.quote(sys.executable)} -m skyc.cli.main"
TASK = "name: hello\nresources: {cpus: 1, memory: 1}\nrun: echo hi\n"


def in_shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    dropped = ("SKYC_", "TF_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environ["SKYC_HOME"] = str(folder / "home")
    return subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.terraform
def test_terraform_alone_plans_compiled_code(any_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK)
    # The page's own lines, with this skyc and this Terraform.
    (example,) = [block.text for block in blocks() if block.page.name == "terraform.md" and "--emit synth" in block.text]
    words = f'skyc() {{ {SKYC} "$@"; }}\nterraform() {{ {shlex.join(any_engine.argv)} "$@" -no-color; }}\n'
    done = in_shell(words + example.replace("./mirror", "'./mirror of mine'"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# skyc_node.main-0 will be created" in done.stdout
    assert "Plan: 1 to add, 0 to change, 0 to destroy." in done.stdout


def test_a_mirror_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = in_shell(f"{SKYC} mirror file", tmp_path)
    assert done.returncode == 1
    assert "error[mirror-not-written]" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
