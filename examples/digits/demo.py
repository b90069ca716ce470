"""Show the whole of skyc on this machine: plan, apply, a killed node, resume, the result, and nothing left.

Run it with `make demo`. It works in a home of its own below the temporary directory, so it leaves no trace either.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
SKYC = [sys.executable, "-m", "skyc.cli.main"]
TASK = str(HERE / "task.yaml")
KILL_AFTER_EPOCH = 8


def main() -> int:
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="skyc-demo-"))
    environment = {**os.environ, "SKYC_HOME": str(home)}
    try:
        say("1. What would happen, and what it would cost")
        run(environment, "plan", TASK)

        say(f"2. Apply. After epoch {KILL_AFTER_EPOCH} the node is killed with SIGKILL, as when a machine dies")
        code = apply_and_kill(environment, home)
        print(f"(skyc apply exited with {code})")

        say("3. Apply again: the dead node is replaced, training resumes from the last checkpoint")
        run(environment, "apply", TASK, "-y")

        say("4. Apply once more: it has succeeded, so nothing runs")
        run(environment, "apply", TASK, "-y")

        say("5. The result is in storage that outlives the nodes; destroy removes everything else")
        result = json.loads((home / "storage" / "digits-results" / "digits.json").read_text())
        run(environment, "destroy", "digits", "-y")
        left = supervisors_of(home)
        print(f"\nresult: accuracy {result['accuracy']:.4f} after {result['epochs']} epochs")
        print(f"node processes left: {len(left)}")
        print(f"took {time.monotonic() - began:.0f} s")
        return 0 if not left and result["accuracy"] > 0.9 else 1
    finally:
        clean_up = [*SKYC, "destroy", "digits", "-y", "--purge"]
        subprocess.run(clean_up, env=environment, capture_output=True, check=False, timeout=120)
        shutil.rmtree(home, ignore_errors=True)


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n", flush=True)


def run(environment: dict[str, str], *arguments: str) -> None:
    """Run a skyc command as a user would; a failure ends the demo."""
    print(f"$ skyc {' '.join(arguments).replace(TASK, 'examples/digits/task.yaml')}", flush=True)
    subprocess.run([*SKYC, *arguments], env=environment, check=True)


def apply_and_kill(environment: dict[str, str], home: Path) -> int:
    """`skyc apply`, and SIGKILL to the node once training has come far enough."""
    print("$ skyc apply examples/digits/task.yaml -y", flush=True)
    command = [*SKYC, "apply", TASK, "-y"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as apply:
        assert apply.stdout is not None
        for line in apply.stdout:
            print(line, end="", flush=True)
            if line.startswith(f"epoch {KILL_AFTER_EPOCH}/"):
                threading.Thread(target=kill_node, args=(home,)).start()
        return apply.wait()


def kill_node(home: Path) -> None:
    for pid in supervisors_of(home):
        print(f"(kill -9 {pid}: the node is dead)", flush=True)
        os.kill(pid, signal.SIGKILL)


def supervisors_of(home: Path) -> list[int]:
    """The supervisors of nodes below this home: killing one is to the node what a power cut is to a machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"skyc.runtime.node.supervisor" in words and any(str(home).encode() in word for word in words):
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
