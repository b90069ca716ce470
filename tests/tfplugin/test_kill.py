"""Interrupts and kills: nothing that was made may be lost, and nothing may hang or stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.providers.base import Attachment
from skyc.providers.tfplugin.attach import attach, reattach_env
from skyc.providers.tfplugin.mirror import PLATFORMS, write_mirror

from .conftest import DEFINITION, Workspace, is_running, wait_until

pytestmark = [pytest.mark.terraform, pytest.mark.fault]

THREE = 'resource "skyc_note" "n" {{\n count = 3\n name = "n${{count.index}}"\n gate = "{gate}"\n}}\n'


def slow_apply(workspace: Workspace) -> tuple[subprocess.Popen[bytes], Path]:
    """An apply with three creates held back until the returned gate exists."""
    gate = workspace.gate
    workspace.configure(THREE.format(gate=gate))
    process = workspace.start("apply", "-auto-approve", "-no-color")
    workspace.wait_for_started("n0", "n1", "n2")
    return process, gate


@contextmanager
def attaching(workspace: Workspace) -> Iterator[Attachment]:
    """Like the fixture `attached`, for tests that look at what is left when the context has ended."""
    with attach(DEFINITION, home=workspace.home) as attachment:
        workspace.attachment = attachment
        workspace.environment["TF_REATTACH_PROVIDERS"] = reattach_env([attachment])
        try:
            yield attachment
        finally:
            workspace.gate.touch()
    assert not is_running(attachment.pid)
    assert not Path(attachment.socket).parent.exists()


@pytest.fixture
def mirrored(bare: Workspace, tmp_path: Path) -> Workspace:
    bare.environment["TF_CLI_CONFIG_FILE"] = str(write_mirror(tmp_path / "mirror ${dir}", DEFINITION))
    bare.configure("")
    bare.run("init", "-no-color")
    return bare


def provider_of(process: subprocess.Popen[bytes]) -> int:
    tasks = Path(f"/proc/{process.pid}/task")
    pids = {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
    (provider,) = pids
    return provider


def test_spawned_from_init_to_destroy(mirrored: Workspace) -> None:
    lock = (mirrored.directory / ".terraform.lock.hcl").read_text()
    assert 'provider "registry.terraform.io/skyc/skyc"' in lock
    mirrored.configure('resource "skyc_note" "a" {\n name = "a"\n}\n')
    mirrored.apply()
    assert "No changes" in mirrored.plan()
    mirrored.run("destroy", "-auto-approve")
    assert not (mirrored.notes / "a").exists()


def test_a_mirror_is_the_same_everywhere(bare: Workspace, tmp_path: Path) -> None:
    contents = set()
    for name in ("one", "two"):
        write_mirror(tmp_path / name, DEFINITION)
        programs = sorted((tmp_path / name).rglob("terraform-provider-*"))
        assert [program.parent.name for program in programs] == list(PLATFORMS)
        assert all(os.access(program, os.X_OK) for program in programs)
        contents |= {program.read_text() for program in programs}
    (content,) = contents
    assert str(tmp_path) not in content
    assert sys.executable not in content


@pytest.mark.parametrize("whole_group", [False, True], ids=["terraform", "group"])
def test_an_interrupt_loses_nothing_spawned(mirrored: Workspace, whole_group: bool) -> None:
    """A terminal's Ctrl-C reaches Terraform and the provider; skyc sends it to Terraform alone."""
    process, gate = slow_apply(mirrored)
    provider = provider_of(process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    wait_until(lambda: "Interrupt received" in mirrored.output())
    if whole_group:
        wait_until(lambda: "stopping: interrupted" in mirrored.log)
    gate.touch()
    assert process.wait(60) == 1
    assert sorted(mirrored.state()) == [f"skyc_note.n[{index}]" for index in range(3)]
    assert not any(note["tainted"] for note in mirrored.state().values())
    wait_until(lambda: not is_running(provider))


def test_a_spawned_provider_outlives_killed_terraform_only_to_finish(mirrored: Workspace) -> None:
    process, gate = slow_apply(mirrored)
    provider = provider_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: "ending: whoever used this provider is gone" in mirrored.log)
    assert is_running(provider)
    gate.touch()
    wait_until(lambda: not is_running(provider))
    assert all((mirrored.notes / f"n{index}").exists() for index in range(3))


def test_an_interrupt_loses_nothing_attached(attached: Workspace) -> None:
    process, gate = slow_apply(attached)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "Stopping operation" in attached.output() or "Gracefully shutting down" in attached.output())
    wait_until(lambda: "stopping: Terraform was interrupted" in attached.log)
    gate.touch()
    assert process.wait(60) == 1
    assert len(attached.state()) == 3
    told = sorted(attached.notes.glob("*.stopping"))
    assert [path.stem for path in told] == ["n0", "n1", "n2"]
    # The provider is still there for the next run, which the interrupt does not concern.
    for path in told:
        path.unlink()
    attached.apply("-replace=skyc_note.n[0]")
    assert len(attached.state()) == 3
    assert not list(attached.notes.glob("*.stopping"))


def test_killed_terraform_attached(bare: Workspace) -> None:
    """The create is finished; then nobody holds the lifeline, and the provider ends."""
    with attaching(bare) as attachment:
        process, gate = slow_apply(bare)
        process.kill()
        process.wait()
        assert is_running(attachment.pid)
        gate.touch()
    assert all((bare.notes / f"n{index}").exists() for index in range(3))


def test_the_provider_outlives_killed_skyc_while_terraform_works(bare: Workspace) -> None:
    """`kill -9` of skyc: Terraform goes on with its provider, and both end in order."""
    gate = bare.gate
    bare.configure(THREE.format(gate=gate))
    script = f"""
import os, subprocess
from pathlib import Path
from skyc.providers.tfplugin.attach import attach, reattach_env
with attach({DEFINITION!r}, home=Path({str(bare.home)!r})) as attachment:
    with open("out", "wb") as out:
        terraform = subprocess.Popen(
            [{bare.engine!r}, "apply", "-auto-approve", "-no-color"], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env={{**os.environ, "TF_REATTACH_PROVIDERS": reattach_env([attachment])}},
            start_new_session=True, pass_fds=(attachment.lifeline,),
        )
    Path("pids").write_text(f"{{attachment.pid}} {{terraform.pid}} {{attachment.socket}}")
    terraform.wait()
"""
    skyc = subprocess.Popen([sys.executable, "-c", script], cwd=bare.directory, env=bare.environment)
    try:
        bare.wait_for_started("n0", "n1", "n2")
        wait_until((bare.directory / "pids").exists)
    finally:
        skyc.kill()
        skyc.wait()
    provider, terraform, socket = (bare.directory / "pids").read_text().split()
    try:
        assert is_running(int(provider))
        gate.touch()
        wait_until(lambda: not is_running(int(terraform)))
        wait_until(lambda: not is_running(int(provider)))
    finally:
        for pid in (int(terraform), int(provider)):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
    assert len(bare.state()) == 3
    assert not Path(socket).parent.exists()


def test_a_killed_provider_fails_the_run_at_once(bare: Workspace) -> None:
    with attaching(bare) as attachment:
        process, _gate = slow_apply(bare)
        os.kill(attachment.pid, signal.SIGKILL)
        assert process.wait(30) == 1
        assert "Plugin did not respond" in bare.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_an_attached_provider_lets_calls_finish(bare: Workspace, number: signal.Signals) -> None:
    with attaching(bare) as attachment:
        process, gate = slow_apply(bare)
        os.kill(attachment.pid, number)
        wait_until(lambda: "ending: told to by a signal" in bare.log)
        gate.touch()
        assert process.wait(60) == 0, bare.output()
    assert len(bare.state()) == 3


def test_the_socket_and_the_log_are_private(bare: Workspace) -> None:
    with attaching(bare) as attachment:
        assert Path(attachment.socket).parent.stat().st_mode & 0o777 == 0o700
        assert (bare.home / "logs" / "provider.log").stat().st_mode & 0o777 == 0o600
        assert os.getsid(attachment.pid) == attachment.pid
        assert Path(f"/proc/{attachment.pid}/cwd").readlink() == Path(attachment.socket).parent


def test_nothing_beside_the_socket_is_ever_removed(bare: Workspace) -> None:
    """The path of the directory comes from a file another process wrote: even a wrong one costs no file."""
    with attach(DEFINITION, home=bare.home) as attachment:
        bystander = Path(attachment.socket).parent / "bystander"
        bystander.touch()
        os.kill(attachment.pid, signal.SIGKILL)
    assert bystander.exists()
    bystander.unlink()
    bystander.parent.rmdir()


def test_a_provider_that_cannot_start_says_why(bare: Workspace) -> None:
    with pytest.raises(SkycError) as caught, attach("note_provider:nothing", home=bare.home, source="x/y/z"):
        pass
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.slug == "provider-not-started"
    assert "note_provider:nothing" in diagnostic.detail


def test_it_refuses_to_be_run_by_hand(bare: Workspace) -> None:
    command = [sys.executable, "-m", "skyc.providers.tfplugin", "serve", "--resources", DEFINITION]
    done = subprocess.run(command, env=bare.environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"Terraform starts it" in done.stderr
