"""What runs on a node for one operation of an SSH transport: `python3 -I -S -c <this file>`, spoken to over stdin and stdout.

Contract: standard library only, Python 3.8 or newer, because any image's own Python runs it. The first line of stdin is a JSON object
with `do`; the last line of stdout is a JSON object, with `error` and `message` when it could not be done. Nothing is in the
argument list but this text.

- Files take their final name whole and on disk. Below a tree's root no symbolic link is followed.
- A command ends, with all of its process group, at its time limit and when the connection is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

Request = dict[str, Any]
Answer = dict[str, Any]
BLOCK = 1 << 20
POLL_SECONDS = 0.02
SLOWEST_POLL = 0.5


def put(request: Request, stream: IO[bytes]) -> Answer:
    """One file: `path`, `mode`, `size`, then its bytes."""
    path = request["path"]
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write(stream, path, request["size"], request["mode"])
    return {}


def compare(request: Request, stream: IO[bytes]) -> Answer:
    """`entries` as rows of `receive`, with `sha256` of files. Which of them, by number, are not there as they should be."""
    missing = []
    absent: tuple[str, ...] = ()
    for number, row in enumerate(request["entries"]):
        path = os.path.join(request["root"], row["path"]) if row["path"] else request["root"]
        # Below a directory that is not one, or is a link, nothing counts as being there.
        if row["path"].startswith(absent) or not same(path, row):
            missing.append(number)
            if row["kind"] == "directory" and (os.path.islink(path) or not os.path.isdir(path)):
                absent += (row["path"] + "/",)
    return {"missing": missing}


def receive(request: Request, stream: IO[bytes]) -> Answer:
    """Rows as JSON lines, a file's followed by its bytes, until one that is empty. `root` may be a file's own name."""
    root = request["root"]
    os.makedirs(os.path.dirname(root) if request["single"] else root, mode=0o700, exist_ok=True)
    folders = []
    while True:
        row = json.loads(stream.readline())
        if not row:
            break
        path = os.path.join(root, row["path"]) if row["path"] else root
        if row["path"]:
            clear_way(root, row["path"])
        if row["kind"] == "directory":
            make_directory(path)
            folders.append((path, row["mode"] | 0o700))
        elif os.path.isdir(path) and not os.path.islink(path):
            raise OSError(f"{path} is a directory, and a {row['kind']} is to be put there")
        elif row["kind"] == "link":
            link(row["link"], path)
        else:
            write(stream, path, row["size"], row["mode"])
    for path, mode in folders:
        os.chmod(path, mode)
    return {}


def get(request: Request, stream: IO[bytes]) -> Answer:
    """One file's bytes, announced by a line with its `size`."""
    with open(request["path"], "rb") as reader:
        size = os.fstat(reader.fileno()).st_size
        say({"size": size})
        left = size
        while left:
            block = reader.read(min(BLOCK, left))
            if not block:
                raise OSError("the file became shorter while it was read")
            sys.stdout.buffer.write(block)
            left -= len(block)
    return {}


def run(request: Request, stream: IO[bytes]) -> Answer:
    """A program: `argv`, `env`, `cwd`, `timeout` in seconds. Its status and output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Output goes to files: a process the program leaves behind would keep a pipe open, and us waiting.
        process = subprocess.Popen(
            request["argv"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=request["cwd"],
            env=request["env"],
            start_new_session=True,
        )
        deadline = time.monotonic() + request["timeout"]
        os.set_blocking(stream.fileno(), False)
        pause = POLL_SECONDS
        ended: str | None = None
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    ended = "timeout"
                    break
                # Nothing more is ever sent: an end of the stream is the end of the connection.
                if stream.read(1) == b"":
                    ended = "gone"
                    break
                time.sleep(pause)
                pause = min(SLOWEST_POLL, pause * 1.2)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if ended:
            return {"error": ended, "message": ""}
        out.seek(0)
        err.seek(0)
        texts = [file.read().decode(errors="replace") for file in (out, err)]
        return {"returncode": process.returncode, "stdout": texts[0], "stderr": texts[1]}


def same(path: str, row: Request) -> bool:
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    if row["kind"] == "directory":
        return stat.S_ISDIR(facts.st_mode) and stat.S_IMODE(facts.st_mode) == row["mode"] | 0o700
    if row["kind"] == "link":
        return stat.S_ISLNK(facts.st_mode) and os.readlink(path) == row["link"]
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != row["size"] or stat.S_IMODE(facts.st_mode) != row["mode"]:
        return False
    found = hashlib.sha256()
    with open(path, "rb") as reader:
        for block in iter(lambda: reader.read(BLOCK), b""):
            found.update(block)
    return bool(found.hexdigest() == row["sha256"])


def clear_way(root: str, path: str) -> None:
    """Every directory between the root and the entry is one, and no link that a job may have put there."""
    place = root
    for part in path.split("/")[:-1]:
        place = os.path.join(place, part)
        make_directory(place)


def make_directory(path: str) -> None:
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
        return
    if not stat.S_ISDIR(facts.st_mode):
        os.unlink(path)
        os.mkdir(path, 0o700)


def link(text: str, path: str) -> None:
    folder = tempfile.mkdtemp(dir=os.path.dirname(path), prefix=".skyc-link-")
    try:
        os.symlink(text, os.path.join(folder, "link"))
        os.replace(os.path.join(folder, "link"), path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "link"))
        os.rmdir(folder)


def write(stream: IO[bytes], path: str, size: int, mode: int) -> None:
    """`size` bytes of the stream, under a name of their own until they are on disk."""
    folder = os.path.dirname(path)
    handle, draft = tempfile.mkstemp(dir=folder, prefix="." + os.path.basename(path)[:100] + ".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as writer:
            while size:
                block = stream.read(min(BLOCK, size))
                if not block:
                    raise OSError("the connection ended in the middle of a file")
                writer.write(block)
                size -= len(block)
            os.fchmod(writer.fileno(), mode)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    folder_handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_handle)
    finally:
        os.close(folder_handle)


def say(answer: Answer) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    stream = sys.stdin.buffer
    operations = {"put": put, "compare": compare, "receive": receive, "get": get, "run": run}
    try:
        os.umask(0o077)
        request = json.loads(stream.readline())
        base = request.get("base")
        if base and not os.path.isdir(base):
            say({"error": "base", "message": f"{base} does not exist"})
            return
        say(operations[request["do"]](request, stream))
    except FileNotFoundError as failure:
        say({"error": "missing", "message": str(failure)})
    except OSError as failure:
        say({"error": "os", "message": str(failure)})


if __name__ == "__main__":
    main()
