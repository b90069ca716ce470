"""The README's example is the file in examples/, and the plan it shows is what skyc prints now."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, blocks

from skyc.cli.main import COMMANDS, main

README = [block for block in blocks() if block.page.name == "README.md" and block.page.parent == ROOT]


@pytest.mark.terraform
def test_the_plan_shown_is_the_plan_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The task asks for fixed amounts, so the text is the same on every machine.
    (shown,) = (block.text for block in README if block.text.startswith("$ skyc plan "))
    command, _, expected = shown.partition("\n")
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    out = io.StringIO()
    with redirect_stdout(out):
        code = main([*command.split()[2:], "--home", str(tmp_path / "home"), "--no-color"])
    assert (code, _without_fingerprint(out.getvalue())) == (0, _without_fingerprint(expected))
    assert " --plan " in expected


def _without_fingerprint(text: str) -> str:
    """It names what a machine makes, and differs from one to the next."""
    return re.sub(r"(?<= --plan )[0-9a-f]{16}$", "…", text, flags=re.MULTILINE)


def test_the_explanation_shown_is_the_one_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = (block.text for block in README if block.text.startswith("$ skyc explain "))
    command, _, expected = shown.partition("\n")
    monkeypatch.chdir(ROOT)
    code = main([*command.split()[2:], "--home", str(tmp_path / "home"), "--no-color"])
    assert (code, capsys.readouterr().out) == (0, expected)


def test_the_task_shown_is_the_example() -> None:
    shown = next(block.text for block in README if block.language == "yaml")
    lines = (ROOT / "examples" / "hello.yaml").read_text().splitlines(keepends=True)
    assert shown == "".join(line for line in lines if not line.startswith("#"))


def test_every_command_is_in_the_table() -> None:
    text = (ROOT / "README.md").read_text()
    rows = {
        line.split("`")[1].split()[1]: line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| `skyc ")
    }
    assert rows == COMMANDS
