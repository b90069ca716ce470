"""Task files and command lines shown in the documentation are real ones."""

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from tests.docs.blocks import PAGES, ROOT, Block, blocks

from skyc.cli.main import COMMANDS, Command, Parser, _add_shared
from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import NodeRuntime
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.base import Access
from skyc.providers.registry import load_all

TASKS = [block for block in blocks() if block.language == "yaml" and block.note != "not a task"]
EXAMPLES = sorted((ROOT / "examples").glob("**/*.yaml"))
PROMPT = {"": "skyc ", "sh": "skyc ", "console": "$ skyc "}
"""How a command line begins; in a `console` block what has no prompt is output."""
LINES = [
    (block, line.removeprefix("$ "))
    for block in blocks()
    for line in block.text.splitlines()
    if block.language in PROMPT and line.startswith(PROMPT[block.language])
]


def compiled(path: Path, text: str, home: Path) -> Compilation:
    providers = {provider.name: provider for provider in load_all()}
    options = CompileOptions(
        providers=providers,
        home=home,
        runtime=NodeRuntime(python="3.11"),
        overrides=EnvOverrides.of(environ={}),
        access=lambda deployment: Access(ssh_from=("203.0.113.7/32",), login_key="key"),
    )
    return compile_source(SourceFile(path=str(path), text=text), options, until="lower")


def slugs(made: Compilation) -> list[str]:
    """What was said, but for a target that is only priced: a page may show a task for one."""
    return [diagnostic.slug for diagnostic in made.diagnostics if diagnostic.slug != "cannot-compile-yet"]


@pytest.mark.parametrize("block", TASKS, ids=str)
def test_a_task_in_a_page_compiles(block: Block, tmp_path: Path) -> None:
    made = compiled(tmp_path / "task.yaml", block.text, tmp_path / "home")
    said = slugs(made)
    kind, _, slug = block.note.partition(": ")
    assert said == ([slug] if kind == "error" else [])
    assert kind == "error" or made.placement is not None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_compiles(path: Path, tmp_path: Path) -> None:
    made = compiled(path, path.read_text(), tmp_path / "home")
    assert slugs(made) == []
    assert made.placement is not None


@pytest.mark.parametrize(("block", "line"), LINES, ids=[f"{block}-{line[:30]}" for block, line in LINES])
def test_a_command_line_is_understood(block: Block, line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0].partition("  #")[0])[1:]
    if words[0] in ("--version", "--help"):
        return
    assert words[0] in COMMANDS, f"{block}: {line}"
    command: Command = import_module(f"skyc.cli.commands.{words[0]}")
    parser = Parser(prog="skyc", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    _add_shared(parser, suppress=True)
    parser.parse_args(words[1 : words.index("--")] if "--" in words else words[1:])


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
