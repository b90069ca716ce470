"""The files of examples/ci: safe for forks, pinned, and their scripts run as the services would run them.

The scripts are taken from the files and run by bash in a clone of a made-up project, with the variables GitHub and GitLab give a job,
against servers of this machine that speak the comment APIs. Installing and logging in are the services' part and are not run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from tests.diff.repository import AUTHOR, Repo
from tests.diff.services import JOB, World, github, gitlab
from tests.lengths import takes_minutes

from skyc.cli.main import COMMANDS, Command, Parser, _add_shared

CI = Path(__file__).parents[2] / "examples" / "ci"
FILES = sorted(path for path in CI.rglob("*") if path.suffix == ".yml")
ACTION, DIFF, APPLY = CI / "github/action.yml", CI / "github/workflows/skyc-diff.yml", CI / "github/workflows/skyc-apply.yml"
LAB = CI / "gitlab/.gitlab-ci.yml"
TASK = "name: NAME\nresources: {infra: local, cpus: 1+}\nrun: echo hi\n"


def read(path: Path) -> Any:
    # `on:` is a word in a workflow, and a truth value in YAML 1.1.
    return yaml.load(path.read_text(), yaml.BaseLoader)


def steps(path: Path) -> Iterator[dict[str, Any]]:
    document = read(path)
    for job in document.get("jobs", {}).values():
        yield from job["steps"]
    yield from document.get("runs", {}).get("steps", ())


def test_there_are_four_files() -> None:
    assert sorted([ACTION, DIFF, APPLY, LAB]) == FILES


@pytest.mark.parametrize("path", [ACTION, DIFF, APPLY], ids=lambda path: path.name)
def test_what_runs_at_github_is_pinned_and_takes_no_text_into_scripts(path: Path) -> None:
    lines = path.read_text()
    for step in steps(path):
        if "uses" in step and not step["uses"].startswith("./"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            assert re.search(rf"{re.escape(step['uses'])} # v\d+\.\d+\.\d+\n", lines), "a person reads the version"
        script = step.get("run", "")
        # What `${{ }}` holds can be a branch's name, and a branch's name can be a command.
        assert "${{" not in script
        if path == ACTION and script:
            assert step["shell"] == "bash"


def installs() -> list[str]:
    """Every line of the files that installs skyc."""
    found = [step["run"] for path in (ACTION, APPLY) for step in steps(path) if "pip install" in step.get("run", "")]
    lab = [line for job in read(LAB).values() if isinstance(job, dict) for line in job.get("before_script", ())]
    return found + [line for line in lab if "pip install" in line]


def sources() -> list[str]:
    """What the files say where skyc comes from, and the forms that the page names."""
    page = (CI.parents[1] / "docs" / "pull-requests.md").read_text()
    told = re.findall(r"^\| `((?:@|==)[^`]+)`", page, re.MULTILINE)
    assert len(told) == 4
    return [read(ACTION)["inputs"]["skyc"]["default"], read(APPLY)["env"]["SKYC"], read(LAB)["variables"]["SKYC"], *told]


def test_one_variable_says_where_skyc_comes_from() -> None:
    """And whatever it says is a requirement as pip reads them."""
    version = tomllib.loads((CI.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert len(installs()) == 5
    for line in installs():
        (requirement,) = re.findall(
            r'^python -m pip install --quiet --disable-pip-version-check "(skyc(?:\[[\w,]+\])?) \$SKYC"$', line
        )
        for source in sources():
            text = re.sub(r"\$\{\{ github\.workspace \}\}|\$CI_PROJECT_DIR", "/builds/jobs", source)
            found = Requirement(f"{requirement} {text}")
            assert found.name == "skyc" and found.extras <= {"aws", "ray", "embedded"}
            assert version in text or "COMMIT" in text
            assert found.url is None or found.url.startswith(
                ("file:///builds/jobs/ci/skyc-", "git+https://HOST/", "https://HOST/")
            )


def test_the_diff_holds_nothing_a_fork_may_not_have() -> None:
    document = read(DIFF)
    assert list(document["on"]) == ["pull_request"]
    assert document["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert document["concurrency"]["cancel-in-progress"] == "true"
    (job,) = document["jobs"].values()
    assert not {"permissions", "environment", "secrets"} & set(job)
    (checkout,) = (step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"] == {"fetch-depth": "0", "persist-credentials": "false"}
    for path in (ACTION, DIFF, APPLY):
        assert "secrets." not in path.read_text() and "pull_request_target:" not in path.read_text()


def test_accounts_are_for_environments_after_a_merge() -> None:
    document = read(APPLY)
    assert document["on"] == {"push": {"branches": ["main"]}}
    assert {name: (job["environment"], job["permissions"]) for name, job in document["jobs"].items()} == {
        "plan": ("plan", {"contents": "read", "id-token": "write"}),
        "apply": ("production", {"contents": "read", "id-token": "write"}),
    }
    assert document["jobs"]["apply"]["needs"] == "plan"
    lab = read(LAB)
    assert lab["skyc-diff"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]
    assert "id_tokens" not in lab["skyc-diff"]
    for name in ("skyc-plan", "skyc-apply"):
        assert lab[name]["extends"] == ".with-an-account"
    assert lab["skyc-apply"]["rules"][0]["when"] == "manual"


def command_lines() -> Iterator[tuple[str, str]]:
    for path in FILES:
        scripts = [step["run"] for step in steps(path) if "run" in step] if path != LAB else []
        if path == LAB:
            scripts = [line for job in read(LAB).values() if isinstance(job, dict) for line in job.get("script", ())]
        for script in scripts:
            for line in script.splitlines():
                if line.strip().startswith("skyc "):
                    yield path.name, line.strip()


@pytest.mark.parametrize(("name", "line"), list(command_lines()))
def test_every_command_line_is_understood(name: str, line: str) -> None:
    words = shlex.split(re.split(r" >>? ", line)[0])[1:]
    command: Command = import_module(f"skyc.cli.commands.{words[0]}")
    assert words[0] in COMMANDS
    parser = Parser(prog="skyc", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    _add_shared(parser, suppress=True)
    parser.parse_args(words[1 : words.index("--")] if "--" in words else words[1:])


@pytest.fixture
def project(tmp_path: Path) -> Repo:
    """A clone, on a branch that adds a task and changes another, as a CI service checks it out."""
    origin = Repo(tmp_path / "origin")
    origin.commit({"jobs/one.yaml": TASK.replace("NAME", "one"), "jobs/two.yaml": TASK.replace("NAME", "two")})
    subprocess.run(["git", "clone", "-q", origin.root, tmp_path / "clone"], check=True)
    clone = Repo(tmp_path / "clone")
    clone.git("checkout", "-q", "--detach")
    clone.commit(
        {"jobs/new.yaml": TASK.replace("NAME", "fresh"), "jobs/two.yaml": TASK.replace("NAME", "two").replace("hi", "ho")}
    )
    return clone


def ran(
    script: str, directory: Path, environ: dict[str, str], *, leaves_no_trace: bool = True
) -> subprocess.CompletedProcess[str]:
    """A script as GitHub's and GitLab's runners start bash, with an empty home and no variable of this machine's."""
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # What makes nodes downloads packages, as this machine is set up for.
    base = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8"} if leaves_no_trace else {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=directory,
        env={**base, **AUTHOR, **environ},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert not leaves_no_trace or list(home.iterdir()) == []
    return done


def action_script(expressions: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The composite action's own step, with its variables as GitHub would fill them."""
    (step,) = (step for step in steps(ACTION) if step["name"] == "Compare")
    given = read(ACTION)["inputs"]

    def filled(text: str) -> str:
        for _ in range(2):  # a default holds an expression itself
            text = re.sub(
                r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: expressions.get(found[1], str(given[found[1]]["default"])), text
            )
            text = text.replace("${{ github.base_ref }}", "main").replace("${{ github.token }}", expressions["github.token"])
        assert "${{" not in text
        return text

    return step["run"], {name: filled(value) for name, value in step["env"].items()}


def event(folder: Path, *, fork: bool = False) -> Path:
    theirs = {"full_name": "mallory/jobs" if fork else "acme/jobs"}
    request = {"number": 7, "head": {"repo": theirs}, "base": {"repo": {"full_name": "acme/jobs"}}}
    place = folder / "event.json"
    place.write_text(json.dumps({"pull_request": request}))
    return place


def at_github(world: World, project: Repo, *, fork: bool = False, token: str = JOB) -> subprocess.CompletedProcess[str]:
    script, given = action_script({"github.token": token, "paths": read(DIFF)["jobs"]["diff"]["steps"][1]["with"]["paths"]})
    folder = project.root.parent
    environ = {
        **given,
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": world.url,
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event(folder, fork=fork)),
        "GITHUB_REPOSITORY": "acme/jobs",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    return ran(script, project.root, environ)


@pytest.mark.e2e
def test_the_action_comments_edits_and_fails_for_what_does_not_compile(project: Repo) -> None:
    with github() as world:
        done = at_github(world, project)
        assert (done.returncode, "the comment was written: https://" in done.stderr) == (0, True), done.stderr
        assert "1 added · 1 changed · 0 removed · 1 unchanged" in done.stdout
        (body,) = world.bodies()
        assert body.startswith("<!-- skyc:diff/v1 name=default -->\n") and "`fresh`" in body and "+ echo ho" in body
        assert (project.root.parent / "summary.md").read_text() == body
        project.commit({"jobs/new.yaml": "name: fresh\nrun: echo\nhours: soon\n"})
        done = at_github(world, project)
        assert done.returncode == 1
        (body,) = world.bodies()
        assert "1 with errors" in body and "jobs/new.yaml:3" in body
        assert JOB not in f"{done.stdout} {done.stderr} {body}"


@pytest.mark.e2e
def test_the_action_passes_for_a_fork_and_tells_nobody_but_the_summary(project: Repo) -> None:
    with github() as world:
        done = at_github(world, project, fork=True, token="")
        assert (done.returncode, world.asked, world.comments) == (0, [], [])
        assert "no comment was written: the pull request comes from a fork" in done.stderr
        assert "`fresh`" in (project.root.parent / "summary.md").read_text()


@pytest.mark.e2e
def test_the_template_of_gitlab_writes_a_note_and_an_artifact(project: Repo) -> None:
    project.git("update-ref", "-d", "refs/remotes/origin/main")  # a job's clone has its own branch only
    script = "\n".join(read(LAB)["skyc-diff"]["script"])
    with gitlab() as world:
        environ = {
            "CI_API_V4_URL": world.url,
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "11",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "11",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "SKYC_GITLAB_TOKEN": "glpat-token",
        }
        done = ran(script, project.root, environ)
        assert done.returncode == 0, done.stderr
        (note,) = world.bodies()
        artifact = (project.root / "skyc-diff.md").read_text()
    assert note == artifact and "`fresh`" in note


@pytest.mark.ray
@pytest.mark.e2e
@takes_minutes
def test_what_was_approved_is_applied_and_nothing_else(project: Repo) -> None:
    project.git("checkout", "-q", "--detach", "origin/main")
    scripts = {step["name"]: step["run"] for step in steps(APPLY) if "run" in step}
    folder = project.root.parent
    output, summary = folder / "output", folder / "summary.md"
    environ = {
        "TASK": "jobs/one.yaml",
        "SKYC_HOME": str(folder / "skyc"),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    done = ran(scripts["Plan"], project.root, environ, leaves_no_trace=False)
    assert done.returncode == 0, done.stderr
    assert summary.read_text().startswith("<!-- skyc:plan/v1")
    name, _, fingerprint = output.read_text().strip().partition("=")
    assert (name, bool(re.fullmatch(r"[0-9a-f]{12,64}", fingerprint))) == ("fingerprint", True)
    approved = {**environ, "FINGERPRINT": fingerprint}
    try:
        project.put({"jobs/one.yaml": TASK.replace("NAME", "one").replace("hi", "something else")})
        assert ran(scripts["Apply what was approved"], project.root, approved, leaves_no_trace=False).returncode == 4
        project.put({"jobs/one.yaml": TASK.replace("NAME", "one")})
        done = ran(scripts["Apply what was approved"], project.root, approved, leaves_no_trace=False)
        assert done.returncode == 0, done.stderr
    finally:
        assert ran("skyc destroy one -y", project.root, environ, leaves_no_trace=False).returncode == 0
