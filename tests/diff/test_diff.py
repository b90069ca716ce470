"""`skyc diff` as a call, on real repositories: what pairs, what is compiled, what is said."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.diff.repository import Repo

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Action
from skyc.compiler.revisions import DeploymentDiff, Kind, RevisionDiff
from skyc.runtime.revisions import compiling
from skyc.runtime.revisions.compiling import Workshop

TRAIN = """\
name: train
workdir: ../src
resources: {infra: aws/us-east-1, instance_type: m5.xlarge}
hours: 4
envs: {LR: "0.917", TOKEN: null}
secrets: {KEY: null}
run: python train.py
"""
LOCAL = "name: NAME\nresources: {infra: local, cpus: 1+}\nrun: echo hi\n"


def local(name: str, **more: str) -> str:
    return LOCAL.replace("NAME", name) + "".join(f"{key}: {value}\n" for key, value in more.items())


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("SKYC_HOME", raising=False)
    made = Repo(tmp_path / "repo")
    made.commit({"src/train.py": "x = 1\n", "jobs/train.yaml": TRAIN, "jobs/two.yaml": local("two")})
    return made


def compared(repo: Repo, base: str = "main", head: str | None = None, **more: Any) -> RevisionDiff:
    return skyc.diff(base, head, directory=repo.root, **more)


def kinds(found: RevisionDiff) -> dict[str, Kind]:
    return {row.deployment: row.kind for row in found.deployments}


def only(found: RevisionDiff) -> DeploymentDiff:
    (row,) = found.deployments
    return row


def test_nothing_differs_and_nothing_is_written(repo: Repo, tmp_path: Path) -> None:
    before = subprocess.run(["git", "status", "--porcelain=v2"], cwd=repo.root, capture_output=True, text=True).stdout
    index = (repo.root / ".git" / "index").read_bytes()
    (repo.root / "src" / "train.py").touch()  # the index's times are stale now, and stay so
    found = compared(repo)
    assert (found.deployments, found.unchanged, found.exit_code) == ((), 2, 0)
    assert "no differences · 2 deployments" in found.report("text")
    assert (repo.root / ".git" / "index").read_bytes() == index
    assert before == ""
    assert not (tmp_path / "nobody").exists()


def test_added_changed_and_removed_with_money_place_resources_and_job(repo: Repo) -> None:
    repo.put(
        {
            "jobs/train.yaml": TRAIN.replace("m5.xlarge", "m5.2xlarge")
            .replace('"0.917"', '"0.923"')
            .replace("train.py", "train.py -v"),
            "jobs/two.yaml": None,
            "jobs/new.yaml": local("fresh"),
        }
    )
    found = compared(repo)
    assert kinds(found) == {"train": Kind.CHANGED, "fresh": Kind.ADDED, "two": Kind.REMOVED}
    train = found.deployments[0]
    assert train.before is not None and train.after is not None
    assert train.before.total is not None and train.after.total is not None
    assert train.after.total > train.before.total
    assert [placed.instance_type for placed in train.after.placements] == ["m5.2xlarge"]
    assert {change.address: change.action for site in train.changes for change in site.changes}[
        "aws_instance.main-0"
    ] is Action.REPLACE
    assert [(job.field, job.lines) for job in train.jobs] == [
        ("run", ("-python train.py", "+python train.py -v")),
        ("env LR changed", ()),
        ("resources", ()),
    ]
    text = found.report("text")
    assert "1 added · 1 changed · 1 removed · 0 unchanged" in text
    assert "m5.xlarge" in text and "skyc destroy two" in text
    assert "compiled, not compared with what exists" in text
    # No value of a variable, and no place of the comparison's own, is anywhere.
    for format in ("text", "markdown", "json"):
        said = found.report(format)
        assert "0.923" not in said and "a-value-nobody-gave" not in said and "skyc-diff-" not in said


def test_a_comment_in_the_file_is_no_difference(repo: Repo) -> None:
    repo.put({"jobs/train.yaml": "# a remark\n" + TRAIN})
    assert (compared(repo).deployments, compared(repo).unchanged) == ((), 2)


def test_a_file_that_moves_is_the_same_deployment(repo: Repo) -> None:
    repo.put({"jobs/two.yaml": None, "tasks/second.yml": local("two")})
    row = only(compared(repo))
    assert (row.kind, row.path, row.previous_path) == (Kind.CHANGED, "tasks/second.yml", "jobs/two.yaml")
    assert (row.changes, row.jobs) == ((), ())


def test_a_name_that_changes_is_another_deployment(repo: Repo) -> None:
    repo.put({"jobs/two.yaml": local("zwei")})
    assert kinds(compared(repo)) == {"zwei": Kind.ADDED, "two": Kind.REMOVED}


def test_code_changes_the_job_and_compiles_nothing(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object, **named: object) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(compiling, "compile_source", never)
    repo.put({"src/train.py": "x = 2\n", "src/new.py": "y = 1\n"})
    row = only(compared(repo))
    assert (row.deployment, row.code, row.before, row.after) == ("train", ("src/new.py", "src/train.py"), None, None)
    assert "the job's code changes: src/new.py, src/train.py" in compared(repo).report("text")


def test_what_is_ignored_is_no_code(repo: Repo) -> None:
    repo.commit({"src/.skyignore": "*.log\n", ".gitignore": "*.tmp\n"})
    repo.put({"src/run.log": "1\n", "src/x.tmp": "1\n"})
    assert compared(repo).deployments == ()
    repo.put({"src/run.txt": "1\n"})
    assert only(compared(repo)).code == ("src/run.txt",)


def test_a_lock_beside_a_task_is_an_input_of_it(repo: Repo) -> None:
    repo.put({"jobs/skyc.lock": "1\n", "skyc.lock": "1\n"})
    found = compared(repo)
    said = ("jobs/skyc.lock differs: what the task is compiled with when it is locked",)
    assert {row.deployment: row.notes for row in found.deployments} == {"train": said, "two": said}


def test_a_policy_that_changes_has_its_task_compiled_again(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    base = repo.commit({"jobs/two.yaml": local("two", policy="../rules.yaml"), "rules.yaml": "rules: []\n"})
    seen: list[tuple[str, str]] = []
    original = Workshop.compile

    def watched(self: Workshop, side: str, snapshot: Any, path: str, content: bytes, sketch: Any, read: Any) -> Any:
        made = original(self, side, snapshot, path, content, sketch, read)
        seen.append((side, (Path(made.root) / "rules.yaml").read_text()))
        return made

    monkeypatch.setattr(Workshop, "compile", watched)
    compared(repo, base)
    assert seen == []
    repo.put({"rules.yaml": "rules: [] # more\n"})
    compared(repo, base)
    assert seen == [("base", "rules: []\n"), ("head", "rules: [] # more\n")]


CHEAP = """\
rules:
  - name: cheap-runs
    max: {per_run: LIMIT}
"""


def test_rules_of_the_repository_and_of_the_command_line(repo: Repo, tmp_path: Path) -> None:
    dear = TRAIN.replace("m5.xlarge", "m5.2xlarge")
    base = repo.commit({"jobs/train.yaml": TRAIN + "policy: ../rules.yaml\n", "rules.yaml": CHEAP.replace("LIMIT", "$1.00")})
    repo.put({"jobs/train.yaml": dear + "policy: ../rules.yaml\n"})
    found = compared(repo, base)
    (broken,) = (result for result in only(found).policies if not result.met)
    assert (found.exit_code, broken.rule, broken.source) == (3, "cheap-runs", "rules.yaml:3")
    assert "`cheap-runs`, deny:" in found.report("markdown") and "skyc-diff-" not in found.report("json")
    # A rule that is made wider is a change of the task it holds for, and is compiled on both sides with its own text.
    repo.put({"rules.yaml": CHEAP.replace("LIMIT", "$2.00")})
    assert compared(repo, base).exit_code == 0
    # A rule that is made narrower denies a task that nobody touched.
    repo.put({"jobs/train.yaml": TRAIN + "policy: ../rules.yaml\n", "rules.yaml": CHEAP.replace("LIMIT", "$0.10")})
    found = compared(repo, base)
    assert (found.exit_code, only(found).deployment, only(found).kind) == (3, "train", Kind.CHANGED)
    # The organisation's, which both sides are held to: it denies what is new and leaves alone what was so before.
    outside = tmp_path / "organisation.yaml"
    outside.write_text(CHEAP.replace("cheap-runs", "cheaper").replace("LIMIT", "$0.50"))
    repo.put({"jobs/train.yaml": TRAIN + "policy: ../rules.yaml\n# touched\n", "rules.yaml": CHEAP.replace("LIMIT", "$1.00")})
    assert compared(repo, base, policies=[outside]).deployments == ()
    repo.put({"jobs/new.yaml": TRAIN.replace("name: train", "name: fresh")})
    found = compared(repo, base, policies=[outside])
    assert (found.exit_code, only(found).deployment) == (3, "fresh")


def test_a_path_that_goes_is_an_error_of_a_file_that_did_not_change(repo: Repo) -> None:
    repo.commit({"jobs/two.yaml": local("two", workdir="../code"), "code/a.py": "1\n"})
    base = repo.git("rev-parse", "HEAD").strip()
    repo.put({"code/a.py": None})
    row = only(compared(repo, base))
    assert (row.kind, [said.slug for said in row.diagnostics]) == (Kind.FAILED, ["missing-workdir"])


def test_what_does_not_compile_at_head_is_an_error_at_its_line(repo: Repo) -> None:
    repo.put({"jobs/two.yaml": local("two", hours="soon"), "jobs/bad.yaml": "name: bad\nrun: 'echo\n"})
    found = compared(repo)
    assert (found.exit_code, found.failed) == (1, True)
    assert kinds(found) == {"jobs/bad.yaml": Kind.FAILED, "two": Kind.FAILED}
    by_name = {row.deployment: row.diagnostics[0] for row in found.deployments}
    assert by_name["jobs/bad.yaml"].slug == "unclosed-quote"
    span = by_name["two"].span
    assert span is not None and (span.file, span.line) == ("jobs/two.yaml", 4)
    assert "jobs/two.yaml:4:" in found.report("text") and "jobs/two.yaml:4:" in found.report("markdown")


def test_what_did_not_compile_at_base_is_a_note(repo: Repo) -> None:
    base = repo.commit({"jobs/two.yaml": local("two", hours="soon")})
    repo.put({"jobs/two.yaml": local("two", hours="2")})
    found = compared(repo, base)
    row = only(found)
    assert (row.kind, row.before, found.exit_code) == (Kind.CHANGED, None, 0)
    assert "does not compile at the base" in row.notes[0]
    # Nor is a broken file that nobody touched anybody's error.
    repo.commit({"jobs/two.yaml": local("two", hours="soon")})
    assert compared(repo).deployments == ()


def test_two_files_of_one_deployment(repo: Repo) -> None:
    repo.put({"jobs/copy.yaml": local("two")})
    found = compared(repo)
    row = only(found)
    assert (row.kind, row.path, row.diagnostics[0].slug) == (Kind.FAILED, "jobs/copy.yaml", "two-files")
    assert "`jobs/copy.yaml` and `jobs/two.yaml`" in row.diagnostics[0].detail
    repo.put({"jobs/copy.yaml": local("two", hours="soon")})
    assert [said.slug for said in only(compared(repo)).diagnostics] == ["two-files", "bad-value"]
    repo.put({"jobs/copy.yaml": local("two")})
    # It was so before: nothing this branch could be blamed for.
    repo.commit()
    found = compared(repo)
    assert (found.deployments, found.exit_code) == ((), 0)
    assert [said.slug for said in found.diagnostics] == ["two-files"]


def test_the_merge_base_is_compared_and_with_exact_the_revision_itself(repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "work")
    repo.commit({"jobs/mine.yaml": local("mine")})
    repo.git("checkout", "-q", "main")
    repo.commit({"jobs/theirs.yaml": local("theirs")})
    repo.git("checkout", "-q", "work")
    found = compared(repo)
    assert kinds(found) == {"mine": Kind.ADDED}
    assert found.base.merge_base and str(found.base) == "merge base of main"
    assert kinds(compared(repo, exact=True)) == {"mine": Kind.ADDED, "theirs": Kind.REMOVED}
    assert kinds(compared(repo, "main", "work")) == {"mine": Kind.ADDED}
    assert compared(repo, "work", "work").deployments == ()


def test_paths_choose_files(repo: Repo) -> None:
    repo.put(
        {
            "jobs/two.yaml": local("two", hours="2"),
            "more/a.yaml": local("a"),
            "more/b.yaml": local("b"),
            "odd.txt": local("odd"),
        }
    )
    assert set(kinds(compared(repo))) == {"two", "a", "b"}
    assert set(kinds(compared(repo, paths=["more"]))) == {"a", "b"}
    assert set(kinds(compared(repo, paths=["**/a.yaml", "jobs/*.yaml"]))) == {"a", "two"}
    assert set(kinds(compared(repo, paths=["!more/b.yaml"]))) == {"two", "a"}
    assert set(kinds(compared(repo, paths=["odd.txt"]))) == {"odd"}
    inside = skyc.diff("main", directory=repo.root / "more", paths=["a.yaml", "../jobs"])
    assert set(kinds(inside)) == {"a", "two"}
    for paths, slug in ((["nowhere.yaml"], "no-such-path"), (["../../etc"], "outside-repository")):
        with pytest.raises(SkycError) as failure:
            compared(repo, paths=paths)
        assert failure.value.diagnostics[0].slug == slug


def test_variables_are_given_as_a_plan_takes_them(repo: Repo) -> None:
    named = "name: job-${WHO}\nenvs: {WHO: null}\nresources: {infra: local}\nrun: echo\n"
    repo.put({"jobs/named.yaml": named})
    assert only(compared(repo)).diagnostics[0].slug == "secret-in-plan"
    assert kinds(compared(repo, env={"WHO": "ann"})) == {"job-ann": Kind.ADDED}


def test_a_link_leads_nowhere_outside(repo: Repo, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text(local("stolen"))
    (repo.root / "jobs" / "link.yaml").symlink_to(secret)
    assert compared(repo).deployments == ()
    base = repo.commit()
    assert compared(repo, base).deployments == ()


def test_same_bytes_whatever_the_order(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.put({f"jobs/n{number}.yaml": local(f"n{number}") for number in range(6)})
    repo.put({"jobs/two.yaml": local("two", hours="2"), "jobs/n9.yaml": local("two")})
    from skyc.runtime.revisions import git

    plain = git._rows
    chance = random.Random(3)

    def shuffled(output: bytes) -> Any:
        rows = list(plain(output))
        chance.shuffle(rows)
        return iter(rows)

    made: dict[tuple[str, str], Any] = {}
    original = Workshop.compile

    def remembered(self: Workshop, side: str, snapshot: Any, path: str, content: bytes, sketch: Any, read: Any) -> Any:
        if (side, path) not in made:
            made[side, path] = original(self, side, snapshot, path, content, sketch, read)
        return made[side, path]

    monkeypatch.setattr(Workshop, "compile", remembered)
    expected = [compared(repo).report(format) for format in ("text", "markdown", "json")]
    monkeypatch.setattr(git, "_rows", shuffled)
    for _ in range(10):
        found = compared(repo)
        assert [found.report(format) for format in ("text", "markdown", "json")] == expected


def test_json_says_all_of_it(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD").strip()
    repo.put({"jobs/train.yaml": TRAIN.replace("m5.xlarge", "m5.2xlarge")})
    document = json.loads(compared(repo).report("json"))
    assert (document["schema"], document["compared"]) == ("skyc.diff/v1", False)
    assert document["base"] == {"label": "main", "commit": base, "merge_base": False}
    assert document["head"] == {"label": "working tree", "commit": None}
    assert document["counts"] == {"added": 0, "changed": 1, "removed": 0, "failed": 0, "unchanged": 1}
    (row,) = document["deployments"]
    assert (row["before"]["placements"][0]["instance_type"], row["after"]["placements"][0]["nodes"]) == ("m5.xlarge", 1)
    paths = {change["address"]: [a["path"] for a in change["attributes"]] for change in row["changes"]}
    assert "instance_type" in paths["aws_instance.main-0"]


def test_what_revisions_are_not_known(repo: Repo, tmp_path: Path) -> None:
    def slug(base: str, directory: Path | None = None, **more: Any) -> tuple[str, str]:
        with pytest.raises(SkycError) as failure:
            skyc.diff(base, directory=directory or repo.root, **more)
        said = failure.value.diagnostics[0]
        return said.slug, f"{said.detail} {said.hint}"

    assert slug("maim")[0] == "unknown-revision"
    assert slug("--upload-pack=x")[0] == "unknown-revision"
    assert "two words" in slug("main..HEAD")[1]
    assert slug("main", tmp_path)[0] == "not-a-repository"
    repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repo.root}", tmp_path / "shallow"], check=True)
    found, words = slug("HEAD~2", tmp_path / "shallow")
    assert (found, "fetch-depth: 0" in words) == ("unknown-revision", True)
    subprocess.run(["git", "-C", tmp_path / "shallow", "checkout", "-q", "--detach"], check=True)
    subprocess.run(["git", "-C", tmp_path / "shallow", "branch", "-q", "-D", "main"], check=True)
    assert "write `origin/main`" in slug("main", tmp_path / "shallow")[1]
    repo.git("checkout", "-q", "--orphan", "other")
    repo.commit({"b": "1"})
    assert slug("main")[0] == "no-merge-base"
    assert compared(repo, exact=True).deployments == ()


def test_an_empty_repository_has_no_head(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "new")
    with pytest.raises(SkycError) as failure:
        skyc.diff("main", directory=repo.root)
    assert failure.value.diagnostics[0].slug == "unknown-revision"
