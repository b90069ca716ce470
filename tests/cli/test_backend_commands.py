"""`skyc backend` through `main`: what it asks for and how it reads."""

from __future__ import annotations

import json

import pytest

from skyc.cli.main import main

from .fakes import FakeApi


@pytest.fixture
def fake() -> FakeApi:
    return FakeApi()


def test_create_says_what_to_write_where(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = "backend create s3://acme-states/team --region eu-west-1 --endpoint https://s3.test --kms-key arn:1"
    assert main(line.split(), api=fake) == 0
    given = {"uri": "s3://acme-states/team", "region": "eu-west-1", "endpoint": "https://s3.test", "key": "arn:1"}
    assert fake.calls == [("backend_create", given)]
    out, err = capsys.readouterr()
    assert "s3://acme-states/team is made" in err
    assert out.endswith("on every machine that is to share it:\n\nstate: s3://acme-states/team\n")
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["PROPERTY", "versions"]


def test_show_tells_who_works_and_what_was_cut_off(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backend", "show"], api=fake) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["digits"].endswith("active      1      11         `skyc apply` (process 7 on box)")
    assert rows["train"].endswith("1 cut off")
    assert "unreadable" in rows["odd"]
    assert rows["TLS"].split()[2] == "no" and rows["encryption"].split()[1] == "–"


def test_show_as_json(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backend", "show", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.backend/v1"
    assert [row["name"] for row in document["deployments"]] == ["digits", "train", "odd"]
    assert document["properties"][2] == {"name": "encryption", "holds": None, "detail": "not told"}


def test_a_home_without_one(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.backend = None
    assert main(["backend", "show"], api=fake) == 0
    assert "skyc backend create s3://" in capsys.readouterr().err
    assert main(["backend", "show", "--json"], api=fake) == 0
    assert json.loads(capsys.readouterr().out)["uri"] is None
