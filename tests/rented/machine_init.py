"""Process 1 of a pretended machine: carries out the user data it was given, then stays.

A fake of what an image with cloud-init and systemd does with exactly the keys our template uses; any other key is an error. It runs in
namespaces of its own (processes, mounts, network, name) over a copy-on-write view of this machine's files, so users, services and ports
are its own. `systemctl`, `journalctl` and the services they start are imitated by fakes. Where the folder has a disk already it boots from
that: cloud-init has done its work, so what runs is sshd and what was enabled.

Usage: machine_init.py ROOT_FOLDER SPEC, where SPEC is a JSON file: user_data, authorized_key, name, mounts,
copies, environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

KNOWN = {
    "user", "disable_root", "ssh_pwauth", "ssh_deletekeys", "ssh_genkeytypes", "ssh_keys", "write_files", "runcmd",
}  # fmt: skip

SYSTEMCTL = r"""#!/bin/bash
# A fake: paths that exist start their service, which is started again when it ends.
case "$1 $2" in
"enable --now") unit=${3%.path}; mkdir -p /etc/skyc-test-enabled; touch "/etc/skyc-test-enabled/$3"
  setsid bash -c '
    path=$(sed -n "s/^PathExists=//p" /etc/systemd/system/'$unit'.path)
    while [ ! -e "$path" ]; do sleep 0.1; done
    service=/etc/systemd/system/'$unit'.service
    user=$(sed -n "s/^User=//p" $service); command=$(sed -n "s/^ExecStart=//p" $service)
    while true; do
      runuser -u $user -- env -i PATH=/usr/bin:/bin $(sed -n "s/^Environment=//p" $service) $command >> /var/log/'$unit'.log 2>&1
      # What a control group does: nothing of the service is left when it starts again.
      pkill -KILL -u $user -f /runtimes/
      sleep 1
    done' < /dev/null > /dev/null 2>&1 & ;;
"reload ssh") kill -HUP $(cat /run/sshd-skyc.pid) ;;
*) echo "the fake systemctl does not know: $*" >&2; exit 1 ;;
esac
"""
JOURNALCTL = '#!/bin/bash\n# A fake: `journalctl -u UNIT …` shows what the service wrote.\ntail -n 20 "/var/log/$2.log"\n'
SSHD = """Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd-skyc.pid
PasswordAuthentication no
PermitRootLogin no
UsePAM no
Subsystem sftp internal-sftp
"""


class Metadata(BaseHTTPRequestHandler):
    """A fake of AWS's instance metadata, version 2: the credentials of the machine's role, for who has a session token."""

    def do_PUT(self) -> None:
        self._say("a-session" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        path = self.path.removeprefix("/latest/meta-data/iam/security-credentials")
        known = {"/": "nodes", "/nodes": json.dumps(CREDENTIALS)}
        self._say(known.get(path) if self.headers.get("X-aws-ec2-metadata-token") == "a-session" else None)

    def _say(self, text: str | None) -> None:
        body = (text or "").encode()
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


CREDENTIALS = {
    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAMACHINE", "SecretAccessKey": "a-machine-s-own", "Token": "t",
    "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
}  # fmt: skip


def main(folder: Path, spec: dict[str, Any]) -> None:
    again = (folder / "upper").exists()
    _enter(folder, spec["mounts"], {} if again else spec["copies"])
    Thread(target=ThreadingHTTPServer(("169.254.169.254", 80), Metadata).serve_forever, daemon=True).start()
    if again:
        _sshd()
        for unit in sorted(Path("/etc/skyc-test-enabled").iterdir()):
            _run("systemctl", "enable", "--now", unit.name)
    else:
        _first_boot(spec)
    while True:
        # Process 1 collects what others leave behind.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.05)


def _first_boot(spec: dict[str, Any]) -> None:
    config = yaml.safe_load(spec["user_data"])
    unknown = set(config) - KNOWN
    assert not unknown, f"the pretended machine does not know {sorted(unknown)}"
    user = config["user"]["name"]
    subprocess.run(["useradd", "--create-home", "--password", "*", "--shell", "/bin/bash", user], check=True)
    Path(f"/etc/sudoers.d/{user}").write_text(f"{user} ALL=(ALL) NOPASSWD:ALL\n")
    home = Path(pwd.getpwnam(user).pw_dir)
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text(spec["authorized_key"] + "\n")
    subprocess.run(["chown", "-R", f"{user}:", str(home)], check=True)
    _host_keys(config)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        Path(f"/usr/bin/{name}").write_text(text)
        Path(f"/usr/bin/{name}").chmod(0o755)
    for row in config["write_files"]:
        path = Path(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["content"])
        path.chmod(int(row.get("permissions", "0644"), 8))
    for command in config["runcmd"]:
        # cloud-init goes on with the next one when one fails.
        subprocess.run(command, env=spec["environment"], check=False, stdin=subprocess.DEVNULL)


def _enter(folder: Path, mounts: dict[str, str], copies: dict[str, str]) -> None:
    """Make the copy-on-write view this process's root. `mounts`: folder of this machine → where it is seen."""
    upper, work, root = folder / "upper", folder / "work", folder / "root"
    for directory in (upper, work, root):
        directory.mkdir(parents=True, exist_ok=True)
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root))
    for name in ("dev", "sys"):
        _run("mount", "--rbind", f"/{name}", f"{root}/{name}")
    _run("mount", "-t", "tmpfs", "tmpfs", f"{root}/dev/shm")
    for source, target in copies.items():
        Path(f"{root}{target}").parent.mkdir(parents=True, exist_ok=True)
        _run("cp", "-r", source, f"{root}{target}")
        _run("chmod", "-R", "a+rwX", f"{root}{target}")
    for name in ("tmp", "run"):
        _run("mount", "-t", "tmpfs", "tmpfs", f"{root}/{name}")
    for source, target in mounts.items():
        Path(f"{root}{target}").mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", source, f"{root}{target}")
    os.chroot(root)
    os.chdir("/")
    _run("mount", "-t", "proc", "proc", "/proc")
    Path("/tmp").chmod(0o1777)
    # The interpreter may lie in a home nobody else may look into.
    for parent in Path(sys.base_prefix).parents:
        parent.chmod(parent.stat().st_mode | 0o055)
    Path("/run/sshd").mkdir(mode=0o755)


def _host_keys(config: dict[str, Any]) -> None:
    assert config["ssh_deletekeys"] and config["ssh_genkeytypes"] == []
    for old in Path("/etc/ssh").glob("ssh_host_*"):
        old.unlink()
    keys = config["ssh_keys"]
    private = Path("/etc/ssh/ssh_host_ed25519_key")
    private.touch(mode=0o600)
    private.write_text(keys["ed25519_private"])
    Path(f"{private}.pub").write_text(keys["ed25519_public"] + "\n")
    Path("/etc/ssh/sshd_skyc").write_text(SSHD)
    _sshd()


def _sshd() -> None:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert sshd is not None
    subprocess.run([sshd, "-E", "/var/log/sshd.log", "-f", "/etc/ssh/sshd_skyc"], check=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    # With who started it goes the machine.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    spec = json.loads(Path(sys.argv[2]).read_text())
    main(Path(sys.argv[1]), spec)
