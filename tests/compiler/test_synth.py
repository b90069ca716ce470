"""Synthesis when Node, or what the CDK keeps on the machine, is broken. Every broken Node here is a real program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler import synth as module
from skyc.compiler.diagnostics import SkycError, render
from skyc.compiler.ir import DeploymentId, FrozenMap, ResourceAddress, ResourceGraph, ResourceNode, SiteId, SpecPath
from skyc.compiler.synth import synth

GRAPH = ResourceGraph(
    deployment=DeploymentId("train"),
    provider="local",
    site=SiteId("train.local"),
    requirements=(),
    resources=(
        ResourceNode(
            address=ResourceAddress(type="skyc_node", name="main-0"),
            arguments=FrozenMap({"cpus": Decimal(1)}),
            origin=SpecPath(),
        ),
    ),
    outputs=FrozenMap({}),
)
RELAY = """
import os, subprocess, sys
node = subprocess.Popen([os.environ["REAL"], *sys.argv[1:]], stdin=subprocess.PIPE)
for _ in range(3):
    node.stdin.write(sys.stdin.buffer.readline())
    node.stdin.flush()
node.kill()
"""
"""A Node that dies after three requests."""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands in for Node; `write` gives it a body. `$REAL` is the true one, `$STARTS` a file to count in."""
    program = tmp_path / "node"
    monkeypatch.setenv("REAL", module._node())
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    monkeypatch.setenv("JSII_NODE", str(program))
    return program


def write(program: Path, body: str) -> None:
    program.write_text(f'#!/bin/sh\necho "${{JSII_RUNTIME_PACKAGE_CACHE:-enabled}}" >> "$STARTS"\n{body}\n')
    program.chmod(0o755)


def starts(program: Path) -> list[str]:
    return (program.parent / "starts").read_text().split()


def refusal(tmp_path: Path) -> str:
    with pytest.raises(SkycError) as caught:
        synth(GRAPH, cache=tmp_path / "cache")
    (said,) = caught.value.diagnostics
    assert said.slug == "synth-failed"
    return render(said)


def test_a_node_that_is_killed_once_is_started_again(node: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(node, 'if [ "$(wc -l < "$STARTS")" -lt 2 ]; then kill -9 $$; fi\nexec "$REAL" "$@"')
    _, text = synth(GRAPH, cache=tmp_path / "cache")
    assert '"main-0"' in text
    assert starts(node) == ["enabled", "disabled"], "the second start does not depend on what is shared on the machine"
    assert capfd.readouterr() == ("", "")


def test_a_node_that_dies_in_the_middle_is_started_again(node: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It has answered before it dies, so that the CDK finds a broken pipe."""
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    write(node, f'if [ "$(wc -l < "$STARTS")" -lt 2 ]; then exec {sys.executable} {relay} "$@"; fi\nexec "$REAL" "$@"')
    assert '"main-0"' in synth(GRAPH, cache=tmp_path / "cache")[1]
    assert starts(node) == ["enabled", "disabled"]
    assert capfd.readouterr() == ("", "")


def test_a_node_that_always_dies_is_said_with_its_own_words(
    node: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(node, "echo 'FATAL ERROR: Reached heap limit' >&2\nexit 134")
    said = refusal(tmp_path)
    assert "FATAL ERROR: Reached heap limit\n" in said
    assert str(node) in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert len(starts(node)) == 2
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "cache").exists(), "what failed is not cached"


def test_a_node_that_cannot_be_started_is_said(node: Path, tmp_path: Path) -> None:
    node.write_text("this is no program")
    assert "Permission denied" in refusal(tmp_path)


def test_a_node_that_hangs_ends_with_the_limit(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_SECONDS", 8)
    write(node, f'echo $$ >> "{tmp_path}/pids"\nexec sleep 300')
    assert "did not end within 8 s" in refusal(tmp_path)
    assert not alive(tmp_path / "pids")


def test_ctrl_c_leaves_nothing(node: Path, tmp_path: Path) -> None:
    write(node, f'echo $$ >> "{tmp_path}/pids"\nexec sleep 300')

    def press() -> None:
        until = time.monotonic() + 30
        while not (tmp_path / "pids").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        synth(GRAPH, cache=tmp_path / "cache")
    thread.join()
    assert len(starts(node)) == 1, "an interrupted run is not started again"
    assert not alive(tmp_path / "pids")


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def alive(pids: Path) -> list[int]:
    """Which of the processes still run, a little later: a kill takes a moment."""
    until = time.monotonic() + 10
    while True:
        left = [pid for pid in map(int, pids.read_text().split()) if runs(pid)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


def test_a_damaged_cache_of_the_cdk_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "package-cache"
    place.write_text("not a directory")
    monkeypatch.setenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(place))
    assert '"main-0"' in synth(GRAPH, cache=tmp_path / "cache")[1]


def test_programs_that_start_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """All of them find no cache of the CDK and unpack it."""
    code = (
        "from pathlib import Path\nimport sys\nfrom skyc.compiler.synth import synth\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.compiler.test_synth import GRAPH\n"
        "print(synth(GRAPH, cache=Path(sys.argv[1]))[0].files)\n"
    )
    environ = {**os.environ, "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(tmp_path / "package-cache")}
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / f"cache-{number}")],
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]
    answers = [program.communicate(timeout=120) for program in programs]
    assert len(set(answers)) == 1
    assert answers[0][0].startswith("{cdk.tf.json: ")
    assert answers[0][1] == ""
