"""What the head knows about its jobs, without Ray: one JSON object on stdout per call.

The text of this file is sent as `python -I -S -c TEXT COMMAND …`, so that it works with whatever skyc started the job, and when
nothing else on the node does. Hence: no import from skyc, standard library only.

    poll JOB_DIR OFFSET SECONDS   wait up to SECONDS for output after OFFSET or for the end of the job
    cancel JOB_DIR SECONDS        mark the job as cancelled, signal its driver, wait for it to end
    list JOBS_DIR                 every job of this cluster
    port HOST PORT                whether something listens there

`poll` and `cancel` print `{"offset", "text", "status", "driver", "ended"}`: `driver` is none, alive or dead; `ended` says that
the status is final and all output has been read. `status` is as in result.json; a job whose driver died without a result is
`lost`.
"""

from __future__ import annotations

import codecs
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PIECE = 1 << 20


def load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def running(driver: dict[str, Any]) -> bool:
    """Whether the driver process lives; the start time guards against a reused process id."""
    try:
        fields = Path(f"/proc/{driver['pid']}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[0] not in (b"Z", b"X") and int(fields[19]) == driver["start_ticks"]


def status(job: Path) -> tuple[dict[str, Any], str]:
    """(status, driver) of one job directory."""
    driver = load(job / "driver.json")
    alive = driver is not None and running(driver)
    word = "none" if driver is None else "alive" if alive else "dead"
    result = load(job / "result.json")  # read after the driver was looked at: it is written before the driver ends
    if result is not None:
        return result, word
    base = {"started": driver["started"] if driver else None}
    if alive:
        return {**base, "state": driver["phase"]}, word
    if (job / "cancel").exists():
        return {**base, "state": "cancelled", "reason": "The job was cancelled."}, word
    if not job.is_dir():
        return {**base, "state": "lost", "reason": "The head has no record of this job."}, word
    if driver is None:
        return {**base, "state": "pending"}, word
    reason = "The process that leads the job died on the head and left no result."
    return {**base, "state": "lost", "reason": reason}, word


def read(job: Path, offset: int) -> tuple[str, int]:
    """Text from `offset` on, and the offset after it. Ends at a whole character."""
    try:
        with (job / "output.log").open("rb") as log:
            log.seek(offset)
            data = log.read(PIECE)
    except FileNotFoundError:
        return "", offset
    # Not final: a character that is only half there is left for the next piece.
    text, used = codecs.utf_8_decode(data, "replace", False)
    return text, offset + used


def poll(job: Path, offset: int, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    pause = 0.02
    before = status(job)[0]["state"]
    while True:
        facts, word = status(job)  # before the log: once the job is over, the log is complete
        text, after = read(job, offset)
        final = facts["state"] in ("succeeded", "failed", "cancelled", "lost")
        if text or final or facts["state"] != before or time.monotonic() >= deadline:
            return {"offset": after, "text": text, "status": facts, "driver": word, "ended": final and not text}
        time.sleep(pause)
        pause = min(0.1, pause * 1.2)


def cancel(job: Path, seconds: float) -> dict[str, Any]:
    facts, word = status(job)
    if facts["state"] not in ("succeeded", "failed", "cancelled", "lost"):
        os.close(os.open(job / "cancel", os.O_WRONLY | os.O_CREAT, 0o600))
        deadline = time.monotonic() + seconds
        facts, word = status(job)
        if word == "alive":
            os.kill(load(job / "driver.json")["pid"], signal.SIGTERM)
        while word == "alive" and not (job / "result.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
            facts, word = status(job)
        facts, word = status(job)
    return {"offset": 0, "text": "", "status": facts, "driver": word, "ended": False}


def jobs(directory: Path) -> list[dict[str, Any]]:
    found = []
    for job in sorted(directory.iterdir()) if directory.is_dir() else ():
        facts = load(job / "job.json")
        if facts is not None:
            request = facts["request"]
            row = {"id": job.name, "task": request["task"], "kind": request["kind"], "status": status(job)[0]}
            found.append({**row, "submitted": (job / "job.json").stat().st_mtime})
    return sorted(found, key=lambda row: (row["submitted"], row["id"]))


def listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True


def main(command: str, *arguments: str) -> dict[str, Any]:
    if command == "poll":
        return poll(Path(arguments[0]), int(arguments[1]), float(arguments[2]))
    if command == "cancel":
        return cancel(Path(arguments[0]), float(arguments[1]))
    if command == "port":
        return {"listening": listening(arguments[0], int(arguments[1]))}
    return {"jobs": jobs(Path(arguments[0]))}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
