"""Make a node's files: its environments (`providers/environments.py`), and what its processes may see.

Contract
- Runtime environments live at `<home>/runtimes/<digest>`, shared by all nodes that pin the same Python and Ray, and appear there
  whole or not at all. One process builds at a time; the lock lives as long as the script does, even if this process is killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..environments import Environments, packages_of, render
from .record import NodeRecord, write_atomically

BOOTSTRAP_SECONDS = 600.0
"""A first build downloads Ray (70 MB); later ones link from uv's cache in about a second."""


class BootstrapError(Exception):
    """A node's environment could not be made. `log` is where the output is."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def environments_of(record: NodeRecord) -> Environments:
    """Where this node's environments are. Raises BootstrapError when nothing here can make them."""
    import uv

    try:
        program = uv.find_uv_bin()
    except FileNotFoundError as failure:
        raise BootstrapError(f"uv is not installed beside skyc: {failure}") from failure
    packages = packages_of(record.ray)
    interpreter = _interpreter(record.python)
    text = json.dumps([interpreter, sys.version if record.python == _running() else record.python, packages])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Environments(
        uv=program,
        interpreter=interpreter,
        runtime=Path(record.home) / "runtimes" / digest,
        user=record.directory / "env",
        packages=packages,
    )


def _running() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _interpreter(version: str) -> str:
    """The interpreter skyc runs on when that is the version asked for; otherwise its number, for uv to find."""
    if version != _running():
        return version
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return str(Path(base).resolve())


def make_environments(record: NodeRecord, environments: Environments, environment: Mapping[str, str]) -> None:
    """Run the script. Doing it again changes nothing that is complete. Raises BootstrapError with the end of its output."""
    script = record.directory / "bootstrap.sh"
    log = record.directory / "logs" / "bootstrap.log"
    write_atomically(script, render(environments).encode(), 0o700)
    runtimes = environments.runtime.parent
    runtimes.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(runtimes / f".{environments.runtime.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    bash = shutil.which("bash")
    if bash is None:
        raise BootstrapError("bash was not found on PATH; a node's environment is made by a bash script")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with log.open("ab") as stream:
            done = subprocess.run(
                [bash, str(script)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=record.directory,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,
                timeout=BOOTSTRAP_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired as failure:
        raise BootstrapError(f"making the environment took longer than {BOOTSTRAP_SECONDS:.0f} s", log) from failure
    finally:
        os.close(lock)
    if done.returncode != 0:
        raise BootstrapError(f"making the environment failed with status {done.returncode}", log)


_PASSED = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "USER", "LOGNAME")
_PASSED_PREFIXES = ("LC_", "PIP_", "UV_", "SSL_CERT_", "NVIDIA_", "NCCL_")
_NEVER_PASSED = ("UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_SYSTEM_PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
_PASSED_SUFFIXES = ("_proxy", "_PROXY", "_CA_BUNDLE", "_CA_CERTS")


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment a node's processes see: how to reach package indexes and devices, and no credentials.

    HOME is the node's own, so caches and pip's and uv's configuration are named explicitly: installing again stays quick.
    """
    chosen = {name: value for name, value in environ.items() if _passes(name)}
    chosen.setdefault("PATH", os.defpath)
    chosen.setdefault("LANG", "C.UTF-8")
    home = Path(environ.get("HOME") or Path.home())
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    chosen.setdefault("PIP_CACHE_DIR", str(cache / "pip"))
    chosen.setdefault("UV_CACHE_DIR", str(cache / "uv"))
    for name, file in (("PIP_CONFIG_FILE", config / "pip/pip.conf"), ("UV_CONFIG_FILE", config / "uv/uv.toml")):
        if name not in chosen and file.is_file():
            chosen[name] = str(file)
    return chosen


def _passes(name: str) -> bool:
    # Where uv or pip would install is the node's business; a caller's own active environment must not leak in.
    return name not in _NEVER_PASSED and (
        name in _PASSED or name.startswith(_PASSED_PREFIXES) or name.endswith(_PASSED_SUFFIXES)
    )


def node_environment(record: NodeRecord, environ: Mapping[str, str], all_devices: Iterable[int]) -> dict[str, str]:
    """The environment of the supervisor, of Ray and so of every job on the node."""
    chosen = base_environment(environ)
    chosen.update(
        HOME=str(record.directory / "home"),
        SKYC_NODE_LIFE=record.id,
        SKYC_NODE=record.name,
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(record.directory / "token"),
        RAY_USAGE_STATS_ENABLED="0",
        # `ray job stop` gives the ranks time to end and the last checkpoint to be saved, where Ray's own 3 s would lose it.
        RAY_JOB_STOP_WAIT_TIME_S="60",
    )
    if tuple(all_devices):
        chosen["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in record.devices)
    return chosen
