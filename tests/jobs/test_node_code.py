"""The code of a node without Ray: output, places, the keeper and one rank's runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.ir import DeploymentId, FrozenMap, GroupName, MountMode, TaskId
from skyc.runtime.bundle import bundle
from skyc.runtime.job import (
    JobCheckpoint,
    JobFile,
    JobGroup,
    JobId,
    JobMount,
    JobNode,
    JobRequest,
    decode_job,
    encode_job,
)
from skyc.runtime.node import keeper
from skyc.runtime.node.output import STARS, Interleaver, Scrubber, TextStream
from skyc.runtime.node.places import OutsideNode, check_way, place
from skyc.runtime.node.worker import Output, RankRunner, StageEnded

Eventually = Callable[[Callable[[], bool], float, str], None]


def job_file(directory: Path, run: str = "", **changes: object) -> JobFile:
    fields: dict[str, object] = {"setup": "", "grace_seconds": 1} | changes
    request = JobRequest(
        id=JobId("job-1"),
        deployment=DeploymentId("d"),
        task=TaskId("t"),
        groups=(JobGroup(name=GroupName("main"), num_nodes=1, run=run),),
        **fields,  # type: ignore[arg-type]
    )
    node = JobNode(
        name="main-0", group=GroupName("main"), rank=0, ip="127.0.0.1", directory=str(directory), python=sys.executable,
        user_bin=str(Path(sys.executable).parent), bundle=str(directory / "bundle"),
    )  # fmt: skip
    return JobFile(request=request, nodes=(node,), head=str(directory))


def test_a_job_file_reads_back_and_holds_no_value(tmp_path: Path) -> None:
    job = job_file(
        tmp_path,
        "echo hi",
        envs=FrozenMap({"NAME": "private"}),
        secret_names=("KEY",),
        mounts=(JobMount(target="x", source="file:///y", mode=MountMode.MOUNT),),
        checkpoint=JobCheckpoint(store="file:///s", prefix="p", path="ckpt", every_seconds=5, keep=3),
        ranks=(0,),
    )
    content = encode_job(job)
    assert b"private" not in content
    back = decode_job(content)
    assert back.request.envs == FrozenMap() and encode_job(back) == content
    with pytest.raises(ValueError, match="format"):
        decode_job(content.replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ValueError, match="job id"):
        JobRequest(id=JobId("../up"), deployment=DeploymentId("d"), task=TaskId("t"), groups=())


def test_every_module_of_the_bundle_imports_with_the_standard_library_alone(tmp_path: Path) -> None:
    bundle().write(tmp_path)
    modules = [
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name, _ in bundle().files
        if not name.endswith(("supervisor.py", "ray_start.py", "diagnostics.py"))
    ]
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport importlib\n"
    program += f"for name in {modules}: importlib.import_module(name)\nassert 'ray' not in sys.modules"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@given(st.lists(st.sampled_from(["abcabc", "abcabcd", "secret-value", "aaaaaa", "x", "\n", "ab", "abc", "secret"])), st.data())
def test_a_secret_is_found_however_the_stream_is_cut(words: list[str], data: st.DataObject) -> None:
    secrets = ("abcabcd", "secret-value", "aaaaaa")
    content = "".join(words).encode()
    scrubber, out, position = Scrubber(secrets), b"", 0
    while position < len(content):
        step = data.draw(st.integers(1, len(content)))
        out += scrubber.feed(content[position : position + step])
        position += step
    out += scrubber.finish()
    assert not any(secret.encode() in out for secret in secrets)
    if not any(secret in "".join(words) for secret in secrets):
        assert out == content


def test_short_values_stay_and_keys_are_found_line_by_line() -> None:
    key = "-----BEGIN-----\nMIIEvgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END-----\n"
    scrubber = Scrubber(["1", "yes", key])
    out = scrubber.feed(b"yes 1\n  MIIEvgIBADANBgkq\n") + scrubber.feed(key.encode()) + scrubber.finish()
    assert out == b"yes 1\n  " + STARS + b"\n" + STARS + b"\n"


def test_text_survives_cut_characters_invalid_bytes_and_progress_bars() -> None:
    stream = TextStream()
    content = "naïve – 100 %\r\nend".encode()
    pieces = [content[i : i + 1] for i in range(len(content))]
    text = "".join(stream.feed(piece) for piece in pieces) + stream.feed(b"\xff", last=True)
    assert text == "naïve – 100 %\nend�"
    assert TextStream().feed(b"\r10%\r20%\r30%") == "\r30%"
    assert TextStream().feed(b"a\r10%\r20%\ndone\n") == "\r20%\ndone\n"


def test_lines_of_ranks_never_mix() -> None:
    joined = Interleaver(2)
    text = joined.add(0, "zero ") + joined.add(1, "one\n") + joined.add(0, "0\n") + joined.add(0, "half") + joined.idle()
    text += joined.add(1, "x\n") + joined.add(0, "\nnext\n\n") + joined.add(1, "no end") + joined.finish()
    assert text.splitlines() == [
        "(rank 1) one", "(rank 0) zero 0", "(rank 0) half", "(rank 1) x", "(rank 0) next", "(rank 0) ", "(rank 1) no end",
    ]  # fmt: skip
    assert text.endswith("\n") and joined.finish() == ""
    alone = Interleaver(1)
    assert alone.add(0, "50%\r") + alone.add(0, "100%") + alone.finish() == "50%\r100%\n"


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab\n", max_size=6), st.booleans()), max_size=30))
def test_joining_loses_and_invents_no_character(pieces: list[tuple[int, str, bool]]) -> None:
    joined = Interleaver(3)
    text = "".join(joined.add(rank, piece) + (joined.idle() if idle else "") for rank, piece, idle in pieces) + joined.finish()
    for rank in range(3):
        given_text = "".join(piece for each, piece, _ in pieces if each == rank).replace("\n", "")
        shown = "".join(line.removeprefix(f"(rank {rank}) ") for line in text.split("\n") if line.startswith(f"(rank {rank}) "))
        assert shown == given_text


def test_places_on_a_node(tmp_path: Path) -> None:
    node = str(tmp_path)
    for target, path in {"a/b": "workdir/a/b", "~/x": "home/x", "~": "home", "./a/../b": "workdir/b"}.items():
        assert place(target, node, whole_machine=False) == f"{node}/{path}"
    assert place("/data/x", node, whole_machine=True) == "/data/x"
    for target in ("../x", "a/../../x", "~/../x", "/x", "~bob", "a\0b"):
        with pytest.raises(OutsideNode):
            place(target, node, whole_machine=False)
    (tmp_path / "workdir").mkdir()
    (tmp_path / "workdir" / "out").symlink_to("/etc")
    (tmp_path / "workdir" / "in").symlink_to(tmp_path / "workdir")
    check_way(f"{node}/workdir/in/x", node)
    with pytest.raises(OutsideNode):
        check_way(f"{node}/workdir/out/x/y", node)


class Driven:
    """A runner and the number of the last events taken from it."""

    def __init__(self, runner: RankRunner) -> None:
        self.runner = runner
        self.number = 0

    def until(self, found: Callable[[str, StageEnded | None], bool]) -> tuple[StageEnded | None, str]:
        text, ended = "", None
        deadline = time.monotonic() + 30
        while not found(text, ended):
            assert time.monotonic() < deadline, f"output so far: {text!r}"
            self.number, batch = self.runner.next_events(self.number, 5.0)
            for event in batch:
                if isinstance(event, Output):
                    text += event.text
                else:
                    ended = event
        return ended, text

    def stage(self, name: str, *, success: bool = True) -> tuple[StageEnded, str]:
        self.runner.begin(name, success=success)
        ended, text = self.until(lambda _, ended: ended is not None)
        assert ended is not None and ended.stage == name
        return ended, text


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Driven]]:
    started: list[Driven] = []

    def start(run: str, secrets: dict[str, str] | None = None, **changes: object) -> Driven:
        directory = tmp_path / "jobs" / "job-1"
        directory.mkdir(parents=True)
        (directory / "job.json").write_bytes(encode_job(job_file(tmp_path, run, **changes)))
        (directory / "env.json").write_text(json.dumps({"envs": {"E": "env"}, "secrets": secrets or {}}))
        started.append(Driven(RankRunner(str(directory), 0)))
        return started[-1]

    yield start
    for each in started:
        each.stage("finish", success=False)


def test_a_rank_goes_through_its_stages(start: Callable[..., Driven], tmp_path: Path) -> None:
    rank = start(
        'echo "run $E $KEY"; cat "$HOME/from-setup"; exit 7',
        {"KEY": "very-secret"},
        setup="echo made > ~/from-setup",
        setup_key="k",
    )
    assert not (tmp_path / "jobs" / "job-1" / "env.json").exists()
    assert rank.stage("setup")[0] == StageEnded("setup", 0)
    assert (tmp_path / "setup" / "k").exists()
    assert rank.stage("setup")[0].detail == "done before"
    assert rank.stage("restore")[0] == StageEnded("restore", 0)
    ended, text = rank.stage("run")
    assert (ended.code, text) == (7, "run env ******\nmade\n")
    assert rank.stage("finish", success=False)[0] == StageEnded("finish", 0)
    with pytest.raises(RuntimeError, match="started before"):
        RankRunner(str(tmp_path / "jobs" / "job-1"), 0)


def test_an_event_is_repeated_until_it_is_acknowledged(start: Callable[..., Driven]) -> None:
    rank = start("echo once")
    rank.runner.begin("run")
    first = rank.runner.next_events(0, 5.0)
    assert rank.runner.next_events(0, 5.0) == first
    rank.number, _ = rank.runner.next_events(first[0], 0.1)
    assert rank.number == first[0] + 1


def test_output_that_nobody_takes_stops_the_writer_not_the_machine(
    start: Callable[..., Driven], tmp_path: Path, eventually: Eventually
) -> None:
    rank = start("yes 'a line of output that goes on and on'")
    rank.runner.begin("run")
    log = tmp_path / "jobs" / "job-1" / "rank-0.log"
    sizes: list[int] = []

    def stopped_growing() -> bool:
        sizes.append(log.stat().st_size if log.exists() else -1)
        return len(sizes) > 10 and sizes[-1] > 0 and sizes[-1] == sizes[-8]

    eventually(stopped_growing, 20, "the writer to stop")
    assert sizes[-1] < 4 << 20
    rank.runner.stop()
    rank.until(lambda _, ended: ended is not None)


@pytest.mark.fault
def test_a_killed_keeper_leaves_no_process(start: Callable[..., Driven]) -> None:
    rank = start("(setsid sleep 4711 &); echo $PPID; sleep 4711")
    rank.runner.begin("run")
    _, text = rank.until(lambda text, _: "\n" in text)
    tree = psutil.Process(int(text)).children(recursive=True)
    assert len(tree) >= 2
    os.kill(int(text), signal.SIGKILL)
    ended, _ = rank.until(lambda _, ended: ended is not None)
    assert ended is not None and ended.code == 137
    psutil.wait_procs(tree, timeout=5)
    assert not [each for each in tree if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.fault
def test_a_keeper_whose_runner_dies_stops_its_tree(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("trap '' HUP\n(setsid bash -c \"trap 'exit 0' TERM; sleep 4712\" &)\necho ready\nsleep 4712\n")
    read, write = os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, str(write)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(write,), start_new_session=True,
    )  # fmt: skip
    os.close(write)
    assert program.stdin is not None and program.stdout is not None
    program.stdin.write(json.dumps(["run", str(script)]).encode() + b"\n")
    program.stdin.flush()
    assert program.stdout.readline() == b"ready\n"
    program.stdin.close()
    assert program.stdout.read() == b""  # end of file: no process holds the pipe any more
    with os.fdopen(read, "rb") as status:
        assert status.read() == b"exit 143\ngone\n"
    assert program.wait(5) == 0
    program.stdout.close()
