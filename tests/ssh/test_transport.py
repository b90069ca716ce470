"""Files, commands and ports over a real SSH connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.providers.base import Node, TransportError
from skyc.providers.ssh.connection import HostKeyRefused
from skyc.providers.ssh.host_keys import PENDING, PINNED, Remembered, plain, remember
from skyc.providers.ssh.shell import shell
from skyc.providers.ssh.transport import SshTransport, transport
from tests.ssh.conftest import Sshd, elsewhere, free_port, make_key, new_node


def test_a_file_appears_whole_with_its_mode(node: Node) -> None:
    target = Path(node.directory) / "a" / "secret"
    with transport(node) as way:
        way.put_file(b"one", str(target))
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"one", 0o600)
        assert target.parent.stat().st_mode & 0o777 == 0o700
        way.put_file(b"\x00" * 300_000, str(target), mode=0o755)
        assert way.get_file(str(target)) == b"\x00" * 300_000
        assert target.stat().st_mode & 0o777 == 0o755
        with pytest.raises(FileNotFoundError):
            way.get_file(f"{node.directory}/absent")
        with pytest.raises(TransportError, match="absolute"):
            way.put_file(b"", f"{node.directory}/../outside")
    assert [entry.name for entry in target.parent.iterdir()] == ["secret"], "half a file stayed"


def test_a_tree_arrives_as_it_is_and_only_changes_are_sent(node: Node, tmp_path: Path) -> None:
    source, target = tmp_path / "source", Path(node.directory) / "workdir"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "sub" / "big").write_bytes(os.urandom(3_000_000))
    (source / "tool").write_text("#!/bin/sh\necho ran\n")
    (source / "tool").chmod(0o755)
    (source / "link").symlink_to("sub/big")
    with transport(node) as way:
        way.put_tree(source, str(target))
        assert (target / "sub" / "big").read_bytes() == (source / "sub" / "big").read_bytes()
        assert (target / "sub" / "empty").is_dir()
        assert (target / "link").readlink() == Path("sub/big")
        assert way.run([f"{target}/tool"]).stdout == "ran\n"
        (target / "own").write_text("the job's")
        before = {entry: entry.lstat().st_ino for entry in target.rglob("*") if not entry.is_dir()}
        (source / "tool").write_text("#!/bin/sh\necho now\n")
        way.put_tree(source, str(target))
        after = {entry: entry.lstat().st_ino for entry in target.rglob("*") if not entry.is_dir()}
        assert [str(entry.relative_to(target)) for entry in before if before[entry] != after[entry]] == ["tool"]
        assert way.run([f"{target}/tool"]).stdout == "now\n"
        # One file, as the whole of what is sent.
        way.put_tree(source / "tool", f"{node.directory}/one")
        assert (Path(node.directory) / "one").read_text() == "#!/bin/sh\necho now\n"
        (source / "not").write_text("")
        way.put_tree(source, str(target), ("sub/", "sub/big"))
        assert not (target / "not").exists()
        (tmp_path / "nothing").mkdir()
        way.put_tree(tmp_path / "nothing", f"{node.directory}/made")
        assert (Path(node.directory) / "made").is_dir()


def test_nothing_is_written_through_a_link_a_job_left(node: Node, tmp_path: Path) -> None:
    source, target, outside = tmp_path / "source", Path(node.directory) / "workdir", tmp_path / "outside"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("sent")
    outside.mkdir()
    (outside / "file").write_text("sent")
    target.mkdir()
    (target / "sub").symlink_to(outside)
    with transport(node) as way:
        way.put_tree(source, str(target))
    assert not (target / "sub").is_symlink() and (target / "sub" / "file").read_text() == "sent"
    (outside / "file").write_text("changed")
    assert (target / "sub" / "file").read_text() == "sent"


def test_a_program_gets_what_it_is_given_and_no_more(node: Node) -> None:
    with transport(node) as way:
        done = way.run(["sh", "-c", 'echo "$GIVEN"; echo err >&2; exit 3'], env={"GIVEN": "a 'b\nc"})
        assert (done.returncode, done.stdout, done.stderr) == (3, "a 'b\nc\n", "err\n")
        names = {line.partition("=")[0] for line in way.run(["env"]).stdout.splitlines()}
        assert names == {"PATH", "HOME", "LANG", "SKYC_NODE_LIFE"}
        shown = way.run(["sh", "-c", "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '"], env={"TOKEN": "a-value-to-look-for"})
        assert "a-value-to-look-for" not in shown.stdout, "a value is in an argument list"
        with pytest.raises(FileNotFoundError):
            way.run(["/no/such/program"])
        long = way.run(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"])
        assert len(long.stdout) == 5_000_000


def _running(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode == 0


def _ends(mark: str) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _running(mark):
        time.sleep(0.05)
    return not _running(mark)


def test_a_program_ends_at_its_time_limit_with_what_it_started(node: Node) -> None:
    with transport(node) as way:
        with pytest.raises(TimeoutError, match=r"0\.5 s"):
            way.run(["sh", "-c", "sleep 31.4159 & sleep 31.4159"], timeout=0.5)
        assert _ends("sleep 31.4159")
        assert way.run(["true"]).returncode == 0, "the connection is still good"


def test_a_node_that_keeps_its_connection_and_does_nothing_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without memory: its kernel answers, and none of its programs does."""
    monkeypatch.setattr("skyc.providers.ssh.transport.STALL_SECONDS", 1)
    with transport(node) as way:
        with pytest.raises(TransportError, match="did nothing"):
            # Its parent is the far end, which keeps the time limit.
            way.run(["sh", "-c", "echo $PPID > ../far; kill -STOP $PPID; sleep 60"], timeout=3)
        os.kill(int(Path(node.directory, "..", "far").read_text()), signal.SIGKILL)


def test_a_program_ends_with_its_connection(node: Node, sshd: Sshd) -> None:
    way_ended = threading.Event()

    def go_on() -> None:
        with pytest.raises(TransportError), transport(node) as way:
            way.run(["sleep", "27.1828"], timeout=60)
        way_ended.set()

    threading.Thread(target=go_on, daemon=True).start()
    deadline = time.monotonic() + 10
    while not _running("sleep 27.1828") and time.monotonic() < deadline:
        time.sleep(0.05)
    sshd.stop()
    assert way_ended.wait(60), "the caller still waits for a connection that is gone"
    assert _ends("sleep 27.1828")


def test_a_port_is_reached_and_a_closed_one_answers_nothing(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(3):
                client, _ = server.accept()
                with client:
                    client.sendall(client.recv(100).upper())

        threading.Thread(target=serve, daemon=True).start()
        with transport(node) as way:
            with way.forward(server.getsockname()[1]) as port:
                for _ in range(3):
                    with socket.create_connection(("127.0.0.1", port)) as client:
                        client.sendall(b"hello")
                        assert client.recv(100) == b"HELLO"
            with way.forward(free_port()) as port, socket.create_connection(("127.0.0.1", port)) as client:
                client.settimeout(60)
                assert client.recv(1) == b""
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_node_that_was_removed_is_gone(node: Node) -> None:
    with transport(node) as way:
        Path(node.directory).rename(f"{node.directory}-away")
        with pytest.raises(TransportError, match="is gone"):
            way.run(["true"])
        with pytest.raises(TransportError, match="is gone"):
            way.put_tree(Path(f"{node.directory}-away"), f"{node.directory}/x")
        assert not Path(node.directory).exists()


def test_a_full_disk_is_said_and_the_old_file_stays(node: Node, tmp_path: Path) -> None:
    full = Path(node.directory) / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(full)], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (full / "file").write_bytes(b"old")
        (tmp_path / "big").write_bytes(os.urandom(4_000_000))
        with transport(node) as way:
            with pytest.raises(TransportError, match="No space left"):
                way.put_file(b"x" * 4_000_000, str(full / "file"))
            with pytest.raises(TransportError, match="No space left"):
                way.put_tree(tmp_path / "big", str(full / "file"))
            assert way.get_file(str(full / "file")) == b"old"
        assert [entry.name for entry in full.iterdir()] == ["file"]
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_another_host_key_is_refused_before_anything_is_sent(node: Node, sshd: Sshd) -> None:
    sshd.stop()
    (sshd.folder / "host").unlink()
    make_key(sshd.folder / "host")
    sshd.start()
    with pytest.raises(HostKeyRefused, match="SHA256:"), transport(node):
        pass
    assert (
        "publickey" not in (sshd.folder / "log").read_text().partition("Server listening")[2].rpartition("Server listening")[2]
    )


def test_only_the_first_login_trusts_the_one_time_key(sshd: Sshd, tmp_path: Path) -> None:
    new = new_node(sshd, tmp_path)
    with pytest.raises(TransportError, match="has not been brought up yet"), transport(new):
        pass
    remember(new, Remembered(state=PENDING, key=plain(sshd.host_key)))
    with pytest.raises(TransportError, match="has not been brought up yet"), transport(new):
        pass
    assert "publickey" not in (sshd.folder / "log").read_text()


def test_openssh_takes_the_same_key_from_any_folder(node: Node, tmp_path: Path) -> None:
    """Spaces, and what ssh would replace."""
    assert node.login is not None
    odd = tmp_path / 'the home %h "x"'
    Path(node.login.directory).rename(odd)
    there = replace(node, login=replace(node.login, directory=str(odd)))
    (Path(node.directory) / "workdir").mkdir()
    done = subprocess.run(
        shell(there, 'echo "in $(basename "$PWD")"'), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (0, "in workdir\n"), done.stderr
    remember(there, Remembered(state=PINNED, key="ssh-ed25519 " + "A" * 68))
    done = subprocess.run(shell(there, "true"), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 255 and "ost key verification failed" in done.stderr


def test_a_login_key_that_is_not_accepted_and_a_silent_port_are_told_apart(node: Node, sshd: Sshd) -> None:
    (sshd.folder / "authorized").write_text("")
    with pytest.raises(TransportError, match="refused the deployment's login key"), transport(node):
        pass
    with pytest.raises(TransportError, match="does not answer"), transport(elsewhere(node, free_port())):
        pass


def test_the_far_end_needs_no_more_than_an_old_python(node: Node) -> None:
    """Whatever is newer than 3.8 would end on an image somewhere."""
    import ast

    import skyc.providers.ssh.far_end as far_end

    ast.parse(Path(far_end.__file__).read_text(), feature_version=(3, 8))


def test_many_operations_on_one_connection_leave_no_channel_open(node: Node) -> None:
    with transport(node) as way:
        assert isinstance(way, SshTransport)
        for _ in range(12):
            assert way.run(["true"]).returncode == 0
        # The other side's word that a channel is closed takes a moment.
        deadline = time.monotonic() + 10
        channels = way.link._channels  # type: ignore[attr-defined]
        while len(channels) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not len(channels)
