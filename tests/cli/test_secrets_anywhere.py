"""Secrets planted in ten places, and looked for in everything skyc prints and writes, whole, in pieces and encoded."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.diff.repository import Repo
from tests.lengths import takes_minutes

import skyc
from skyc.cli.main import main
from skyc.compiler.ir import Secret
from skyc.runtime.results import ReportFormat

FORMS: tuple[ReportFormat, ...] = ("text", "markdown", "json", "html")
PLANTED = {
    "inline": "inline-9fK2vQ7xLmZr",
    "second task": "second-3bN8wYt5HcDp",
    "header": "header-6gJ1kPs4RvXe",
    "environment": "environ-7hT2mBq9WzUa",
    "command line, from the environment": "cli-8sD4nFx1GyKo",
    "file": "file-2aV6pCj3LtMi",
    "several lines": "-----BEGIN PRIVATE KEY-----\nlines-5eR9uHw8QdNb\nlines-1tY7iJk2SfVc\n-----END PRIVATE KEY-----",
    "quotes and backslashes": 'quotes-4"wZ\\0xA$6{b}%c',
    "other letters": "letters-ünïcödé-3kP",
    "approved in no plan": "overridden-0qW5eRt6YuIo",
}
TASK = f"""\
name: pipeline
secrets: {{HEADER: {PLANTED["header"]}}}
---
name: first
resources: {{infra: INFRA, cpus: CPUS}}
hours: 1
secrets:
  INLINE: {PLANTED["inline"]}
  ENVIRON:
  CLI:
  FILE:
  LINES:
  QUOTES:
  LETTERS:
  OVERRIDDEN: {PLANTED["approved in no plan"]}
run: python train.py --key "$INLINE"
---
name: second
needs: [first]
resources: {{infra: INFRA, cpus: CPUS}}
hours: 1
secrets: {{SECOND: {PLANTED["second task"]}}}
run: echo done
"""
POLICY = (
    "rules: [{name: cheap, max: {per_run: $0.0001}, effect: warn}, {name: teams, require: {labels: [team]}, effect: warn}]\n"
)


def forms(secret: str) -> Iterator[bytes]:
    """What a secret would look like where it leaked: each of its lines, as it is, in JSON, in a URL and in base64."""
    for line in {secret, *(line for line in secret.splitlines() if not line.startswith("-----"))}:
        for text in {line, line.encode("unicode_escape").decode(), line.replace("\\", "\\\\").replace('"', '\\"'), quote(line)}:
            yield text.encode()
        for shift in range(3):
            # Three ways a text can lie in base64; the first and last characters depend on what is around it.
            yield base64.b64encode(b"\0" * shift + line.encode())[4:-4]


def leaks(where: str, content: bytes) -> list[str]:
    return [f"{place} in {where}" for place, secret in PLANTED.items() if any(form in content for form in forms(secret))]


def everything(folder: Path, without: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_relative_to(without):
            content = path.read_bytes()
            yield str(path.relative_to(folder)), content
            if content[:2] == b"\x1f\x8b":
                yield f"{path.name}, unpacked", zlib.decompress(content, 31)


@pytest.mark.terraform
@pytest.mark.parametrize("infra", ["local", pytest.param("aws/us-east-1", marks=takes_minutes)])
def test_no_secret_is_in_anything(
    infra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home, repo, out = tmp_path / "home", Repo(tmp_path / "repo"), tmp_path / "out"
    home.mkdir()
    out.mkdir()
    (home / "config.yaml").write_text("access: {ssh_from: [198.51.100.0/24]}\n")
    (home / "policy.yaml").write_text(POLICY)
    text = TASK.replace("INFRA", infra)
    repo.commit({"task.yaml": text.replace("CPUS", "1+"), "train.py": "1\n"})
    repo.put({"task.yaml": text.replace("CPUS", "2+")})
    (repo.root / "file").write_text(PLANTED["file"] + "\n")
    monkeypatch.chdir(repo.root)
    monkeypatch.delenv("SKYC_POLICY", raising=False)
    for name, place in (
        ("ENVIRON", "environment"),
        ("CLI", "command line, from the environment"),
        ("LINES", "several lines"),
        ("QUOTES", "quotes and backslashes"),
        ("LETTERS", "other letters"),
    ):
        monkeypatch.setenv(name, PLANTED[place])
    monkeypatch.setenv("OVERRIDDEN", "another value, which is longer")
    given = ["--secret", "CLI", "--secret-file", "FILE=file", "--secret", "OVERRIDDEN"]
    offline = ["--offline"] if infra != "local" else []
    task = ["task.yaml", "--home", str(home), *given]
    commands = [
        ["plan", *task, *offline],
        *(["plan", *task, "--emit", stage] for stage in ("parse", "resolve", "candidates", "optimize", "lower", "synth")),
        ["plan", *task, *offline, "-o", str(out / "plan.skyc"), "--timings"],
        ["explain", *task, "--why-not", "ibm"],
        ["explain", "task.yaml", "--field", "resources.cpus=4", *given, "--home", str(home)],
        *(["diff", "HEAD", "--home", str(home), "--format", form] for form in ("text", "markdown", "json", "html")),
        ["lock", *task],
        ["policy", "check", str(home / "policy.yaml"), "task.yaml", "--json", "--home", str(home)],
        ["plan", *task, *offline, "--policy", "nowhere.yaml"],
        ["status", "--home", str(home), "--json"],
    ]
    found: list[str] = []
    for command in commands:
        code = main(command)
        printed = "".join(capfd.readouterr())
        assert "Traceback" not in printed
        assert code == 0 or "nowhere.yaml" in command, printed
        found += leaks(" ".join(command), printed.encode())
    secrets = {name: Secret(PLANTED["file"]) for name in ("CLI", "FILE", "OVERRIDDEN")}
    plan = skyc.plan("task.yaml", home=home, secrets=secrets, offline=bool(offline))
    found += [leak for form in FORMS for leak in leaks(form, plan.report(form).encode())]
    for name, content in everything(tmp_path, without=repo.root):
        found += leaks(name, content)
    assert (out / "plan.skyc").exists() and (repo.root / "skyc.lock").exists()
    found += leaks("skyc.lock", (repo.root / "skyc.lock").read_bytes())
    assert found == []


def test_a_leak_would_be_seen() -> None:
    for place, secret in PLANTED.items():
        shown = secret.splitlines()[1] if "\n" in secret else secret
        assert leaks("x", f"a {shown} b".encode()) == [f"{place} in x"]
        assert leaks("x", base64.b64encode(f"ab {shown} b".encode())) == [f"{place} in x"]
