"""The script that makes a node's environments, the token, and what a node's processes see."""

from __future__ import annotations

import shlex
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from skyc.providers.environments import Environments, render
from skyc.providers.local import bootstrap
from skyc.providers.local.bootstrap import base_environment, node_environment
from skyc.providers.tokens import token_of

from .conftest import record_of


def environments(home: Path) -> Environments:
    return Environments(
        uv="/opt/my tools/uv",
        interpreter="/usr/bin/python3.11",
        runtime=home / "runtimes" / ("0" * 16),
        user=home / "deployments" / "d" / "nodes" / "n" / "env",
        packages=("ray[default]==2.60.0", "psutil==7.2.2"),
    )


def test_it_is_a_function_and_every_value_is_quoted(tmp_path: Path) -> None:
    home = tmp_path / 'it\'s $(touch pwned) `here`; "x"'
    given = environments(home)
    script = render(given)
    assert script == render(given)
    assert f"runtime={shlex.quote(str(given.runtime))}\n" in script
    assert " 'ray[default]==2.60.0'" in script
    assignments = "".join(line for line in script.splitlines(keepends=True) if line.startswith(("uv=", "runtime=", "environ")))
    said = subprocess.run(
        ["bash", "-c", assignments + 'printf "%s\\n" "$uv" "$runtime" "$environment"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == [given.uv, str(given.runtime), str(given.user)]
    assert not Path("pwned").exists()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_it_never_replaces_anything_but_an_environment(tmp_path: Path) -> None:
    good = environments(tmp_path)
    for runtime in ("", "/", "runtimes/" + "0" * 16, "/x/runtimes/y", "/x/" + "0" * 16, str(tmp_path)):
        with pytest.raises(ValueError):
            render(replace(good, runtime=Path(runtime)))
    for user in ("", "/", "env", "/env", "/home/env", "nodes/n/env", str(tmp_path)):
        with pytest.raises(ValueError):
            render(replace(good, user=Path(user)))


def test_a_name_the_template_does_not_get_is_an_error() -> None:
    engine = jinja2.Environment(undefined=jinja2.StrictUndefined)
    text = Path(bootstrap.__file__).parents[2].joinpath("templates/bootstrap/node.sh.j2").read_text()
    engine.filters["quote"] = shlex.quote
    with pytest.raises(jinja2.UndefinedError):
        engine.from_string(text).render(uv="uv")


def test_everybody_gets_the_same_token_and_nobody_else_reads_it(home: Path) -> None:
    begin = threading.Barrier(8)
    seen: list[str] = []

    def ask() -> None:
        begin.wait()
        seen.append(token_of(home, "d"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(seen)) == 1 and len(seen[0]) == 64
    folder = home / "deployments" / "d"
    assert [entry.name for entry in folder.iterdir()] == ["token"]
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert token_of(home, "e") != seen[0]


def test_no_credential_of_the_caller_reaches_a_node(home: Path) -> None:
    caller = {"PATH": "/bin", "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "s", "GITHUB_TOKEN": "s", "HF_TOKEN": "s", "RAY_ADDRESS": "x",
              "VIRTUAL_ENV": "/v", "PYTHONPATH": "/p", "UV_PYTHON": "3.9", "PIP_INDEX_URL": "https://i", "https_proxy": "p",
              "AWS_CA_BUNDLE": "/ca.pem"}  # fmt: skip
    kept = base_environment(caller)
    assert {name for name in kept if name in caller} == {"PATH", "PIP_INDEX_URL", "https_proxy", "AWS_CA_BUNDLE"}
    assert kept["UV_CACHE_DIR"] == "/home/me/.cache/uv"
    record = record_of(home, devices=(1,))
    own = node_environment(record, caller, (0, 1))
    assert own["HOME"] == str(record.directory / "home")
    assert own["SKYC_NODE_LIFE"] == record.id and own["CUDA_VISIBLE_DEVICES"] == "1"
    assert own["RAY_AUTH_MODE"] == "token" and "s" not in own.values()
