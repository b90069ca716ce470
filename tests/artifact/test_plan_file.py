"""The file's form: what is written is read, what is described is valid, and nothing else is ever taken for one."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from skyc.compiler.artifact import plan_file
from skyc.compiler.artifact.plan_file import NotAPlan, PlanFile, looks_like_one, read, schema, written
from skyc.compiler.diagnostics import SkycError, SourceFile
from skyc.runtime.apply import locked, site_context
from skyc.runtime.plan_files import compared_file, is_plan_file, read_plan_file, writable, write_plan_file
from skyc.runtime.planning import planned
from skyc.runtime.plans import plan_result
from tests.failover import fake_terraform
from tests.failover.pretended import Account, opened

SECRET = "hunter2-hunter2"
TASK = f"""\
name: train
resources: {{infra: aws/us-east-1, instance_type: g5.xlarge}}
num_nodes: 2
workdir: .
run: python train.py
secrets:
  TOKEN: "{SECRET}"   # {SECRET}
storage:
  data: {{placement: auto, size_gb: 5}}
outputs: {{data: 5GB}}
"""


def made(account: Account, text: str = TASK, name: str = "task") -> PlanFile:
    """What `skyc plan -o` writes."""
    request, compilation = account.compiled(text, name)
    with locked(account.session, compilation.deployment, command="skyc plan", wait=0) as lock_fd:
        context = site_context(account.session, compilation.deployment, lock_fd, compilation)
        with planned(account.session, request, compilation, context) as plan:
            return compared_file(account.session, plan, plan_result(plan))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> PlanFile:
    with pytest.MonkeyPatch.context() as patch:
        fake_terraform.install(patch)
        folder = tmp_path_factory.mktemp("plan")
        (folder / "train.py").write_text("print(1)")
        with opened(folder / "home") as account:
            return made(account)


@pytest.fixture(scope="module")
def data(plan: PlanFile) -> bytes:
    return written(plan)[0]


def test_a_real_one_is_as_the_schema_says_and_comes_back(plan: PlanFile, data: bytes) -> None:
    found, digest = read(data)
    assert found == plan
    assert written(found) == (data, digest)
    described = schema()
    Draft202012Validator.check_schema(described)
    Draft202012Validator(described).validate(json.loads(data))
    assert len(plan.sites) == 2 and all(site.plan for site in plan.sites)
    assert plan.placement.fallbacks and plan.fingerprints is not None and plan.fingerprints.changes is not None
    assert [tree.files.keys() for tree in plan.trees] and "train.py" in dict(plan.trees[0].files)
    with pytest.raises(Exception, match="digest"):
        Draft202012Validator(described).validate({**json.loads(data), "digest": "x"})


def test_no_secret_is_in_it(data: bytes, plan: PlanFile) -> None:
    assert SECRET.encode() not in data
    assert "hunter2" not in plan.task.text
    assert [len(line) for line in plan.task.text.splitlines()] == [len(line) for line in TASK.splitlines()]
    assert set(plan.secrets) == {"TOKEN"} and len(plan.secrets["TOKEN"]) == 64
    for site in plan.sites:
        assert site.plan is not None and SECRET.encode() not in site.plan and SECRET not in site.module


def test_a_task_files_secrets_become_crosses() -> None:
    text = 'run: "*"\nsecrets:\n  A: a*b\n  B: |\n    one\n    o*e\nenvs: {X: "*"}\n'
    shown = SourceFile(path="t", text=text).shown
    assert shown == 'run: "*"\nsecrets:\n  A: xxx\n  B: x\n    xxx\n    xxx\nenvs: {X: "*"}\n'


def changed(change: Callable[[dict[str, Any]], None], data: bytes, *, sealed: bool = True) -> bytes:
    """Edited by somebody who knows how to seal it again."""
    document = json.loads(data)
    change(document["plan"])
    body = json.dumps(document["plan"]).encode()
    digest = hashlib.sha256(body).hexdigest() if sealed else document["digest"]
    return b'{"format":"skyc.plan-file/2","digest":"%s","plan":%s}' % (digest.encode(), body)


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(deployment="../../x"),
        lambda plan: plan.update(deployment=""),
        lambda plan: plan["sites"][0].update(site="../../../etc"),
        lambda plan: plan["sites"][0].update(site="/etc/x"),
        lambda plan: plan["sites"][0].update(site="a..b"),
        lambda plan: plan["sites"][0].update(site=plan["sites"][1]["site"]),
        lambda plan: plan["sites"][0]["graph"].update(deployment="other"),
        lambda plan: plan["sites"][0].update(plan="no base64 §"),
        lambda plan: plan["placement"].update(total="NaN"),
        lambda plan: plan["placement"].update(placements=[]),
        lambda plan: plan["jobs"][0]["plan"].update(task="other"),
        lambda plan: plan["jobs"][0].update(last_run="1"),
        lambda plan: plan.update(kind="odd"),
        lambda plan: plan.pop("settings"),
        lambda plan: plan.update(sites=7),
    ],
)
def test_what_no_plan_is_like_is_refused(change: Callable[[dict[str, Any]], None], data: bytes) -> None:
    assert read(changed(lambda plan: None, data))[0].deployment == "train"
    with pytest.raises(NotAPlan) as caught:
        read(changed(change, data))
    assert not caught.value.newer


def test_an_edit_that_is_not_sealed_is_noticed(data: bytes, plan: PlanFile) -> None:
    with pytest.raises(NotAPlan, match="edited, or cut off"):
        read(changed(lambda row: row.update(home="elsewhere"), data, sealed=False))
    with pytest.raises(NotAPlan):
        read(json.dumps(json.loads(data), indent=1).encode())


@settings(max_examples=40)
@given(where=st.integers(0, 10**9), cut=st.booleans(), byte=st.integers(1, 255))
def test_every_damage_ends_in_one_message(data: bytes, where: int, cut: bool, byte: int) -> None:
    place = where % len(data)
    other = data[:place] if cut else data[:place] + bytes([data[place] ^ byte]) + data[place + 1 :]
    try:
        found, _ = read(other)
    except NotAPlan as failure:
        assert len(str(failure)) < 400
    else:
        # Only the final line end, the version, or space around the parts can change without a notice.
        assert written(found)[0] == data


def test_newer_versions(data: bytes) -> None:
    assert read(data.replace(b"skyc.plan-file/2", b"skyc.plan-file/2.7", 1))[0].deployment == "train"
    later = changed(lambda plan: plan.update(weather="fine"), data)
    assert read(later)[0] == read(data)[0], "a minor version adds fields"
    with pytest.raises(NotAPlan) as caught:
        read(data.replace(b"skyc.plan-file/2", b"skyc.plan-file/3", 1))
    assert caught.value.newer


def test_what_is_too_large_is_not_read(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "LARGEST", 100)
    with pytest.raises(NotAPlan, match="more than"):
        read(data)


def test_it_is_told_by_its_content(tmp_path: Path, plan: PlanFile) -> None:
    place = tmp_path / "task.yaml"
    write_plan_file(place, plan)
    assert is_plan_file(place)
    assert looks_like_one(b'\n {\n "format": "skyc.plan-file/9"') and not looks_like_one(b"name: skyc.plan-file/2")
    task = tmp_path / "plan.skyc"
    task.write_text(TASK)
    assert not is_plan_file(task) and not is_plan_file(tmp_path) and not is_plan_file(tmp_path / "no")


def test_the_file_is_its_owners_alone(tmp_path: Path, plan: PlanFile) -> None:
    place = tmp_path / "plan.skyc"
    before = os.umask(0)
    try:
        write_plan_file(place, plan)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        place.chmod(0o644)
        reader = place.open("rb")
        write_plan_file(place, replace(plan, home="another"))
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        with reader:
            assert read(reader.read())[0] == plan, "who has the old file open goes on reading the old one"
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.skyc"]


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b'{"format":"skyc.plan-file/2"', "plan-file-damaged"),
        (b'{"format":"skyc.plan-file/3","digest":"x","plan":{}}', "plan-file-newer"),
        (None, "plan-file-unreadable"),
    ],
)
def test_what_a_person_is_told(tmp_path: Path, content: bytes | None, slug: str) -> None:
    place = tmp_path / "plan.skyc"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(SkycError) as caught:
        read_plan_file(place)
    assert (caught.value.diagnostics[0].slug, caught.value.exit_code) == (slug, 1 if content is None else 4)
    with pytest.raises(SkycError) as caught:
        write_plan_file(tmp_path / "no" / "plan.skyc", PLAN_LIKE)
    assert caught.value.diagnostics[0].slug == "plan-file-not-written"


def test_a_plan_file_takes_the_place_of_no_device_and_no_task(tmp_path: Path) -> None:
    task, pipe, earlier = tmp_path / "task.yaml", tmp_path / "pipe", tmp_path / "plan.skyc"
    task.write_text("run: echo hi\n")
    earlier.write_text("an earlier plan")
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(task)
    for place, why in ((pipe, "no file"), (tmp_path, "no file"), (task, "the task file"), (tmp_path / "link", "the task file")):
        with pytest.raises(SkycError) as caught:
            writable(place, task)
        assert why in caught.value.diagnostics[0].detail
    writable(earlier, task)
    writable(tmp_path / "new", tmp_path / "no-such-task")


PLAN_LIKE: Any = SourceFile(path="p", text="t")
"""Anything that can be written: the place is wrong."""
