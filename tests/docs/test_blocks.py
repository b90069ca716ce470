"""Task files and command lines shown in the documentation are real ones."""

import argparse
import re
import shlex
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import pytest
from tests.docs.blocks import PAGES, ROOT, Block, blocks

import skyc
from skyc.cli.main import COMMANDS, Command, Parser, _add_shared
from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import NodeRuntime, PolicyResult
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.policy.evaluate import PolicyInput
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.base import Access
from skyc.providers.registry import load_all

YAML = [block for block in blocks() if block.language == "yaml" and block.note != "not a task"]
POLICIES = [block for block in YAML if block.note.startswith("policy")]
TASKS = [block for block in YAML if block not in POLICIES]
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


JUDGED = """\
name: train
hours: 40
resources: {infra: aws/us-east-1, accelerators: "A10G:4", use_spot: true, labels: {team: ml-vision, cost-center: "7"}}
run: python train.py
"""
"""What the policies in pages are held against."""


@pytest.mark.parametrize("block", POLICIES, ids=str)
def test_a_policy_in_a_page_says_what_its_comment_says(block: Block, tmp_path: Path) -> None:
    """`<!-- policy: a, b -->` after it: the rules that the task above does not meet, or none."""
    (tmp_path / "policy.yaml").write_text(block.text)
    (tmp_path / "train.yaml").write_text(JUDGED)
    (tmp_path / "policy").mkdir()
    rego = next((other.text for other in blocks() if other.language == "rego" and other.page == block.page), "")
    (tmp_path / "policy" / "page.rego").write_text(rego)
    found = skyc.policy_check(tmp_path / "policy.yaml", [tmp_path / "train.yaml"], home=tmp_path / "home")
    (task,) = found.tasks
    assert not task.failed, task.diagnostics
    said = {name for row in task.diagnostics for name in re.findall(r"^Rule `([a-z-]+)`", row.detail, re.MULTILINE)}
    compared = {row.rule for row in task.results if "nothing was compared" in row.message}
    assert said - compared == {name.strip() for name in block.note.partition(":")[2].split(",") if name.strip()}


def test_the_plug_in_in_the_page_is_one() -> None:
    from tests.policy.cases import TASK, an_input

    names: dict[str, Callable[[PolicyInput], Iterable[PolicyResult]]] = {}
    (block,) = (block for block in blocks() if block.page.name == "policy.md" and block.language == "python")
    exec(block.text, names)
    assert list(names["judge"](an_input())) == []
    (result,) = names["judge"](an_input(f"num_nodes: 3\n{TASK}"))
    assert result.message == "train has 3 nodes without accelerators."


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
