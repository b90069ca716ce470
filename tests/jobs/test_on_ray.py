"""Jobs on a real two-node Ray cluster, from `prepare` to the last process. The tests that kill a node come last."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap, GroupName, MountMode, Secret
from skyc.providers.base import Completed, Node, Provider, TransportError
from skyc.runtime import jobs
from skyc.runtime.bundle import bundle
from skyc.runtime.job import JobCheckpoint, JobGroup, JobId, JobKind, JobMount, JobState
from skyc.runtime.ray import probe

if TYPE_CHECKING:
    from .conftest import Cluster, Following

Eventually = Callable[[Callable[[], bool], float, str], None]

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray-jobs")]


def marked(text: str) -> list[int]:
    """Living processes with `text` in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if text in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def unique_sleep() -> str:
    """A command that sleeps for long and that no other test runs."""
    return f"sleep 9{uuid.uuid4().int % 10**8:08}"


def test_every_rank_runs_with_its_variables_and_a_clean_environment(cluster: Cluster) -> None:
    show = "\n".join(f'echo "{name}=[${{{name}//$\'\\n\'/,}}]"' for name in (
        "SKYC_NODE_RANK", "SKYPILOT_NODE_RANK", "SKYC_NODE_IPS", "SKYPILOT_NUM_NODES", "SKYC_TASK_ID", "SKYC_GROUP", "GREETING",
        "OMP_NUM_THREADS", "HOME", "PWD", "CUDA_VISIBLE_DEVICES",
    ))  # fmt: skip
    run = show + '\ncommand -v python; python -c "import skyc.runtime.node; print(skyc.__file__)"; printf last'
    request = cluster.request(run, envs=FrozenMap({"GREETING": "good day"}), run_id="d-t-1")
    status, text = cluster.run(request)
    assert (status.state, status.exit_code, status.reason) == (JobState.SUCCEEDED, 0, ""), text
    assert status.started is not None and status.ended is not None and status.started < status.ended
    for rank, node in enumerate(cluster.nodes):
        mine = [line.removeprefix(f"(rank {rank}) ") for line in text.splitlines() if line.startswith(f"(rank {rank}) ")]
        assert mine == [
            f"SKYC_NODE_RANK=[{rank}]", f"SKYPILOT_NODE_RANK=[{rank}]", "SKYC_NODE_IPS=[127.0.0.1,127.0.0.1]",
            "SKYPILOT_NUM_NODES=[2]", "SKYC_TASK_ID=[d-t-1]", "SKYC_GROUP=[main]", "GREETING=[good day]", "OMP_NUM_THREADS=[]",
            f"HOME=[{node.directory}/home]", f"PWD=[{node.directory}/workdir]", "CUDA_VISIBLE_DEVICES=[]",
            f"{node.user_bin}/python", f"{node.directory}/bundles/{bundle().digest}/skyc/__init__.py", "last",
        ]  # fmt: skip
        log = cluster.directory(rank, request.id) / f"rank-{rank}.log"
        assert log.read_text().endswith("last") and log.stat().st_mode & 0o777 == 0o600
    assert len(text.splitlines()) == 28
    assert "".join(jobs.logs(cluster.nodes, cluster.provider, request.id)) == text


def test_setup_runs_once_per_node_and_a_failed_one_runs_again(cluster: Cluster) -> None:
    key = uuid.uuid4().hex
    failing = cluster.request("echo run", setup='echo set up; test "$SKYC_NODE_RANK" != 1', setup_key=key)
    status, text = cluster.run(failing)
    assert status.state is JobState.FAILED and (status.exit_code, status.failed_rank) == (1, 1)
    assert "setup failed on rank 1 (main-1)" in status.reason and ") run\n" not in text
    good = cluster.request("echo run", setup="echo set up", setup_key=key)
    assert cluster.run(good)[1].splitlines().count("(rank 1) set up") == 1
    _, text = cluster.run(replace(good, id=JobId(f"{good.id}-again")))
    assert "(rank 1) set up" not in text and "(rank 1) run" in text


def test_one_failing_rank_stops_every_process_of_the_others(cluster: Cluster) -> None:
    mark = unique_sleep()
    run = f"""
    if [ $SKYC_NODE_RANK = 0 ]; then (setsid bash -c "trap '' TERM; {mark}; {mark}" & ) ; echo started; {mark}
    else while ! pgrep -f "^{mark}" > /dev/null; do sleep 0.05; done; exit 3; fi"""
    status, text = cluster.run(cluster.request(run))
    assert (status.state, status.exit_code, status.failed_rank) == (JobState.FAILED, 3, 1), text
    assert "rank 1 (main-1) exited with code 3" in status.reason
    assert marked(mark) == []


def test_death_by_signal_is_128_plus_its_number(cluster: Cluster) -> None:
    status, _ = cluster.run(cluster.request("kill -9 $$", ranks=(0,)))
    assert (status.exit_code, status.failed_rank) == (137, 0)


def test_a_gang_that_cannot_be_placed_names_what_is_missing(cluster: Cluster) -> None:
    def reason(nodes: tuple[Node, ...]) -> str:
        request = cluster.request("echo run", place_timeout=2)
        jobs.prepare(nodes, cluster.provider, request, {})
        jobs.start(nodes, cluster.provider, request.id)
        status = jobs.follow(nodes, cluster.provider, request.id, lambda _: None)
        assert status.state is JobState.FAILED and status.exit_code is None
        assert not (Path(nodes[1].directory) / "jobs" / request.id / "env.json").exists()
        return status.reason

    head, worker = cluster.nodes
    found = reason((head, replace(worker, name="main-7")))
    assert "Node main-7: no live Ray node carries the label skyc.io/node=main-7 (live: main-0, main-1)." in found
    assert "Node main-1: needs resource GPU 8, Ray has 0 there." in reason(
        (head, replace(worker, accelerators=FrozenMap({"A100": 8})))
    )


def test_secrets_reach_the_process_and_nothing_else(cluster: Cluster, follow: type[Following]) -> None:
    secret = f"s3cr3t-{uuid.uuid4().hex}"
    request = cluster.request(f'echo "value $API_KEY"; echo ${{#API_KEY}}; {unique_sleep()}', secret_names=("API_KEY",))
    with pytest.raises(SkycError, match="secret-missing"):
        jobs.prepare(cluster.nodes, cluster.provider, request, {})
    jobs.prepare(cluster.nodes, cluster.provider, request, {"API_KEY": Secret(secret)})
    values = cluster.directory(1, request.id) / "env.json"
    assert values.stat().st_mode & 0o777 == 0o600
    jobs.start(cluster.nodes, cluster.provider, request.id)
    following = follow(cluster, request.id)
    for rank in (0, 1):
        following.until(f"(rank {rank}) value ******\n")
        following.until(f"(rank {rank}) {len(secret)}\n")
    assert not values.exists()
    with cluster.client() as client:
        shown = repr(client.list()) + client.logs(request.id)
        raw = json.dumps(client._ask("GET", f"/api/jobs/{request.id}"))
    assert secret not in shown and secret not in raw and "(rank 0) value ******" in shown
    for process in psutil.process_iter(["cmdline"]):
        assert secret not in " ".join(process.info["cmdline"] or ())
    assert jobs.cancel(cluster.nodes, cluster.provider, request.id).state is JobState.CANCELLED
    following.result(60)
    told = subprocess.run(["grep", "-rlF", secret, str(cluster.base)], capture_output=True, text=True)
    assert told.stdout == ""


def test_cancel_stops_every_rank(cluster: Cluster, follow: type[Following]) -> None:
    mark = unique_sleep()
    job = cluster.start(cluster.request(f"(setsid {mark} &); echo up; {mark}"))
    following = follow(cluster, job)
    following.until("(rank 0) up")
    following.until("(rank 1) up")
    assert jobs.status(cluster.nodes, cluster.provider, job).state is JobState.RUNNING
    assert jobs.cancel(cluster.nodes, cluster.provider, job).state is JobState.CANCELLED
    assert following.result(60).state is JobState.CANCELLED
    assert marked(mark) == []
    assert jobs.cancel(cluster.nodes, cluster.provider, job).state is JobState.CANCELLED
    with pytest.raises(SkycError, match="no-such-job"):
        jobs.cancel(cluster.nodes, cluster.provider, JobId("never"))


def test_rays_own_stop_ends_as_cancelled(cluster: Cluster, follow: type[Following]) -> None:
    mark = unique_sleep()
    job = cluster.start(cluster.request(f"echo up; {mark}"))
    following = follow(cluster, job)
    following.until("(rank 1) up")
    with cluster.client() as client:
        assert client.stop(job)
    assert following.result(60).state is JobState.CANCELLED
    assert marked(mark) == []


def test_the_same_id_is_the_same_job(cluster: Cluster, follow: type[Following]) -> None:
    count = cluster.base / uuid.uuid4().hex
    job = cluster.start(cluster.request(f"echo x >> {count}", ranks=(0,)))
    assert jobs.start(cluster.nodes, cluster.provider, job) is False
    assert follow(cluster, job).result(60).state is JobState.SUCCEEDED
    assert jobs.start(cluster.nodes, cluster.provider, job) is False
    assert count.read_text() == "x\n"
    assert [row.status.state for row in jobs.queue(cluster.nodes, cluster.provider) if row.id == job] == [JobState.SUCCEEDED]


def test_a_job_ray_was_not_given_is_not_followed_without_end(cluster: Cluster, follow: type[Following]) -> None:
    """Its files are on the nodes and its submission never came; then it comes, from a command that is seen to work."""
    request = cluster.request("echo up", ranks=(0,))
    jobs.prepare(cluster.nodes, cluster.provider, request, {})
    with pytest.raises(SkycError, match="not-submitted"):
        follow(cluster, request.id, may_start=lambda: False).result(60)
    works = threading.Event()
    works.set()
    following = follow(cluster, request.id, may_start=works.is_set)
    assert jobs.start(cluster.nodes, cluster.provider, request.id)
    works.clear()
    assert following.result(60).state is JobState.SUCCEEDED
    assert following.text == "up\n"


class Breaking:
    """A provider whose connection breaks again and again: before, during and after a look at the head."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.failures = 0
        self._steps = itertools.chain(
            (True,) * 25, itertools.cycle((True, False, True, False, False, True, False, False, False))
        )

    @contextmanager
    def transport(self, node: Node) -> Iterator[Breaking]:
        self.step()
        with self.provider.transport(node) as self.inner:
            yield self

    def run(self, argv: list[str], **options: Any) -> Completed:
        self.step()
        done = self.inner.run(argv, **options)
        self.step()
        return done

    def get_file(self, source: str) -> bytes:
        return self.inner.get_file(source)

    @contextmanager
    def forward(self, port: int) -> Iterator[int]:
        with self.inner.forward(port) as local:
            yield local

    def step(self) -> None:
        if next(self._steps):
            self.failures += 1
            raise TransportError("connection reset")


def test_following_survives_a_broken_connection_without_repeating_a_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LONGEST_PAUSE", 0.02)
    breaking = Breaking(cluster.provider)
    request = cluster.request("for i in $(seq 60); do echo line $i; sleep 0.03; done", ranks=(1,))
    job = cluster.start(request)
    out: list[str] = []
    notes: list[str] = []
    status = jobs.follow(cluster.nodes, cast(Provider, breaking), job, out.append, note=notes.append)
    assert status.state is JobState.SUCCEEDED
    assert "".join(out) == "".join(f"line {number}\n" for number in range(1, 61))
    assert breaking.failures > 25 and any("does not answer" in note for note in notes)


def test_a_flood_of_output_arrives_whole_and_in_order(cluster: Cluster) -> None:
    status, text = cluster.run(cluster.request("seq 300000; printf '\\xff\\xfe tail'", ranks=(0,)))
    assert status.state is JobState.SUCCEEDED
    assert text == "".join(f"{number}\n" for number in range(1, 300001)) + "\ufffd\ufffd tail\n"


def test_workdir_and_file_mounts(cluster: Cluster, tmp_path: Path) -> None:
    work, bucket = tmp_path / "work", tmp_path / "bucket"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "a.txt").write_text("workdir file")
    (tmp_path / "one.txt").write_text("one file")
    (bucket / "deep").mkdir(parents=True)
    (bucket / "deep" / "b.txt").write_text("bucket file")
    mounts = (
        JobMount(target="data/one.txt", source=str(tmp_path / "one.txt")),
        JobMount(target="~/tree", source=str(work)),
        JobMount(target="copied", source=f"file://{bucket}"),
        JobMount(target="linked", source=f"file://{bucket}", mode=MountMode.MOUNT),
    )
    run = (
        "cat sub/a.txt data/one.txt ~/tree/sub/a.txt copied/deep/b.txt linked/deep/b.txt; echo; "
        "echo new > linked/from-$SKYC_NODE_RANK; echo only here > copied/mine"
    )
    request = cluster.request(run, workdir=str(work), mounts=mounts)
    status, text = cluster.run(request)
    assert status.state is JobState.SUCCEEDED, text
    assert text.count("workdir fileone fileworkdir filebucket filebucket file") == 2
    assert sorted(path.name for path in bucket.iterdir()) == ["deep", "from-0", "from-1"]
    status, text = cluster.run(replace(request, id=JobId(f"{request.id}-2")))  # over what the first left
    assert status.state is JobState.SUCCEEDED, text


def test_mounts_stay_inside_the_node(cluster: Cluster, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("x")
    workdir = Path(cluster.nodes[0].directory, "workdir")
    workdir.mkdir(exist_ok=True)
    (workdir / "way-out").symlink_to(tmp_path)
    for target in ("/etc/skyc-test", "../../outside", "~/../../outside", "~root/x", "way-out/caught"):
        request = cluster.request("true", mounts=(JobMount(target=target, source=str(source)),), ranks=(0,))
        with pytest.raises(SkycError) as caught:
            jobs.prepare(cluster.nodes, cluster.provider, request, {})
        assert caught.value.diagnostics[0].slug == "mount-outside-node", target
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    for mount, slug in (
        (JobMount(target="x", source="s3://bucket/x"), "mount-store-unsupported"),
        (JobMount(target="x", source=f"file://{tmp_path}/none"), "mount-source-missing"),
        (JobMount(target="x", source=f"{tmp_path}/none"), "mount-source-missing"),
    ):
        with pytest.raises(SkycError) as caught:
            jobs.prepare(cluster.nodes, cluster.provider, cluster.request("true", mounts=(mount,), ranks=(0,)), {})
        assert caught.value.diagnostics[0].slug == slug


def test_groups_run_their_own_text_and_exec_runs_beside_them(cluster: Cluster, follow: type[Following]) -> None:
    nodes = (replace(cluster.nodes[0], group="learner"), replace(cluster.nodes[1], group="actors"))
    release = cluster.base / uuid.uuid4().hex
    wait = f"while [ ! -e {release} ]; do sleep 0.1; done"
    groups = tuple(
        JobGroup(name=GroupName(name), num_nodes=1, run=f"echo I am {name} $SKYC_GROUP; {wait}")
        for name in ("learner", "actors")
    )
    request = cluster.request(groups=groups)
    jobs.prepare(nodes, cluster.provider, request, {})
    jobs.start(nodes, cluster.provider, request.id)
    following = follow(cluster, request.id)
    following.until("(rank 0) I am learner learner")
    following.until("(rank 1) I am actors actors")
    # The gang holds no CPU: a command, and the user's own Ray program, still find room on the one-CPU nodes.
    program = (
        "import ray; ray.init(log_to_driver=False); print('ray says', ray.get(ray.remote(num_cpus=1)(lambda: 42).remote()))"
    )
    command = cluster.request(f'python -c "{program}"', kind=JobKind.EXEC, ranks=(1,), setup="exit 9")
    status, text = cluster.run(command)
    assert status.state is JobState.SUCCEEDED and "ray says 42" in text, text
    release.touch()
    assert following.result(60).state is JobState.SUCCEEDED


def test_the_probe_finds_an_open_port(cluster: Cluster) -> None:
    import http.server
    import threading

    probe(cluster.provider, cluster.nodes)

    class Open(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        head = cluster.nodes[0]
        for changed in (replace(head, agent_port=server.server_port), replace(head, dashboard_port=server.server_port)):
            with pytest.raises(SkycError, match="ray-port-open"):
                probe(cluster.provider, (changed, cluster.nodes[1]))
        server.shutdown()


def test_a_checkpoint_outlives_a_killed_job(cluster: Cluster, follow: type[Following], tmp_path: Path) -> None:
    checkpoint = JobCheckpoint(
        store=f"file://{tmp_path}/store", prefix="checkpoints/d/t/run-1", path="ckpt", every_seconds=3600, keep=2
    )
    program = """
import os, pathlib, skyc, sys, time
place = pathlib.Path(os.environ["SKYC_CHECKPOINT_DIR"]) / "step"
step = int(place.read_text()) if place.exists() else 0
print("starts at", step, flush=True)
while step < 4:
    step += 1
    place.write_text(str(step))
    skyc.checkpoint(step)
    print("saved", step, flush=True)
    if step == 2 and sys.argv[1] == "first":
        place.write_text("torn")
        time.sleep(600)
"""
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text(program)
    first = cluster.request("python train.py first", workdir=str(work), checkpoint=checkpoint)
    following = follow(cluster, cluster.start(first))
    following.until("(rank 0) saved 2")
    following.until("(rank 1) saved 2")
    driver = json.loads((cluster.directory(0, first.id) / "driver.json").read_bytes())
    os.kill(driver["pid"], signal.SIGKILL)
    assert following.result(60).state is JobState.LOST
    for node in cluster.nodes:
        shutil.rmtree(Path(node.directory, "workdir", "ckpt"))
    status, text = cluster.run(cluster.request("python train.py second", workdir=str(work), checkpoint=checkpoint))
    assert status.state is JobState.SUCCEEDED, text
    for rank in (0, 1):
        assert f"skyc: rank {rank} (main-{rank}): restore: resumed from checkpoint 2 (step 2)." in text
        assert [line for line in text.splitlines() if line.startswith(f"(rank {rank})")] == [
            f"(rank {rank}) starts at 2", f"(rank {rank}) saved 3", f"(rank {rank}) saved 4",
        ]  # fmt: skip


def test_a_job_whose_last_checkpoint_is_not_saved_has_not_succeeded(cluster: Cluster, tmp_path: Path) -> None:
    store = tmp_path / "store"
    checkpoint = JobCheckpoint(store=f"file://{store}", prefix="p", path="ckpt", every_seconds=3600, keep=2)
    # The store is moved away and a file put in its place: nothing can be saved there any more.
    run = f"echo work > $SKYC_CHECKPOINT_DIR/file; mkdir -p {store}; mv {store} {store}-away; touch {store}"
    status, _ = cluster.run(cluster.request(run, checkpoint=checkpoint, ranks=(0,)))
    assert status.state is JobState.FAILED and status.exit_code == 0
    assert "final checkpoint of rank 0 (main-0) is not saved" in status.reason


@pytest.mark.fault
def test_a_killed_driver_leaves_no_process_and_a_lost_job(
    cluster: Cluster, follow: type[Following], eventually: Eventually
) -> None:
    mark = unique_sleep()
    job = cluster.start(cluster.request(f"(setsid {mark} &); echo up; {mark}"))
    following = follow(cluster, job)
    following.until("(rank 1) up")
    driver = json.loads((cluster.directory(0, job) / "driver.json").read_bytes())
    os.kill(driver["pid"], signal.SIGKILL)
    status = following.result(60)
    assert status.state is JobState.LOST and "left no result" in status.reason
    eventually(lambda: marked(mark) == [], 20, "the ranks' processes to end")


@pytest.mark.fault
def test_a_killed_worker_node_fails_the_job_at_once(cluster: Cluster, follow: type[Following], eventually: Eventually) -> None:
    mark = unique_sleep()
    job = cluster.start(cluster.request(f"(setsid {mark} &); echo up; {mark}"))
    following = follow(cluster, job)
    following.until("(rank 0) up")
    following.until("(rank 1) up")
    cluster.children(1, "raylet/raylet")[0].send_signal(signal.SIGKILL)
    status = following.result(60)
    assert (status.state, status.failed_rank) == (JobState.FAILED, 1)
    assert "rank 1 (main-1) was lost" in status.reason
    eventually(lambda: marked(mark) == [], 15, "the ranks' processes to end")


@pytest.mark.fault
def test_a_killed_head_is_a_lost_job(cluster: Cluster, follow: type[Following], eventually: Eventually) -> None:
    mark = unique_sleep()
    job = cluster.start(cluster.request(f"(setsid {mark} &); echo up; {mark}"))
    following = follow(cluster, job)
    following.until("(rank 1) up")
    for word in ("gcs_server", "raylet/raylet"):
        for process in cluster.children(0, word):
            process.send_signal(signal.SIGKILL)
    status = following.result(60)
    assert status.state is JobState.LOST, status
    assert "(rank 1) up" in following.text
    eventually(lambda: marked(mark) == [], 60, "the ranks' processes to end")
