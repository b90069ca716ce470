"""The environment of a user's process on a node: the node's own, cleaned of Ray's, plus what SPEC promises.

Ray's worker processes carry settings meant for Ray's own tasks (OMP_NUM_THREADS=1, an empty CUDA_VISIBLE_DEVICES). A rank
gets what the node was started with instead, which is the raylet's environment, the parent of this process.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Protocol

from ..job import JobFile, JobNode

_RAY_KEPT = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
"""What a user's own `ray.init()` needs to join the cluster."""

_DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_PRELOAD")


class CheckpointPlace(Protocol):
    @property
    def directory(self) -> str: ...

    @property
    def facts_json(self) -> str: ...


def node_environment() -> dict[str, str]:
    """What the node was started with, without Ray's and Python's own settings."""
    base = _environ_of(os.getppid()) or dict(os.environ)
    kept = {name: os.environ[name] for name in _RAY_KEPT if name in os.environ}
    return {name: value for name, value in base.items() if not name.startswith("RAY_") and name not in _DROPPED} | kept


def _environ_of(pid: int) -> dict[str, str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in content.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, mark, value in pairs if mark and name}


def rank_environment(
    job: JobFile, node: JobNode, job_dir: str, values: dict[str, str], checkpoint: CheckpointPlace | None
) -> dict[str, str]:
    """`values` are the user's envs and secrets; they win over the node's variables but not over those skyc sets."""
    request = job.request
    env = node_environment()
    real_home = pwd.getpwuid(os.getuid()).pw_dir
    env.setdefault("XDG_CACHE_HOME", f"{real_home}/.cache")  # package caches are shared with the machine's user
    env.setdefault("LANG", "C.UTF-8")
    env["PYTHONUNBUFFERED"] = "1"
    env |= values
    user_path = values.get("PATH") or env.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    env["PATH"] = f"{node.user_bin}:{user_path}"
    env["VIRTUAL_ENV"] = str(Path(node.user_bin).parent)
    env["HOME"] = f"{node.directory}/home"
    env["PWD"] = f"{node.directory}/workdir"
    env["PYTHONPATH"] = f"{values['PYTHONPATH']}:{node.bundle}" if values.get("PYTHONPATH") else node.bundle
    ips = "\n".join(each.ip for each in job.nodes)
    both = {
        "NODE_RANK": str(node.rank),
        "NODE_IPS": ips,
        "NUM_NODES": str(len(job.nodes)),
        "NUM_GPUS_PER_NODE": str(node.gpus),
        "TASK_ID": request.run_id or request.id,
    }
    for name, value in both.items():
        env[f"SKYC_{name}"] = env[f"SKYPILOT_{name}"] = value
    env["SKYC_GROUP"] = node.group
    env["SKYC_JOB_ID"] = request.id
    env["SKYC_JOB_DIR"] = job_dir
    if checkpoint is not None:
        env["SKYC_CHECKPOINT_DIR"] = checkpoint.directory
        env["SKYC_CHECKPOINT"] = checkpoint.facts_json
    return env
