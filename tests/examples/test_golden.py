"""The Terraform of every example at every cloud is what is written beside this file, for a reviewer to read. `SKYC_BLESS=1` rewrites it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses
from skyc.compiler.synth import synth
from tests.examples.compiled import CLOUDS, EXAMPLES, NO_TASKS, lowered, modules, names
from tests.filetests.stage_runners import without_digests

GOLDEN = Path(__file__).parent / "golden"
REFUSED = {("pipeline.yaml", "ibm"): "no-such-accelerator"}
"""What cannot be made, and the reason that is said: IBM sells no spot machines, and the catalog knows no A100 there."""
OPEN = "two-nodes.yaml"
"""The example that is also compiled with a public address for each machine."""
FIRST_BOOT = re.compile(r'"(?:#cloud-config|\$\{base64encode\(\\"#cloud-config|I2Nsb3VkLWNvbmZpZ)(?:[^"\\]|\\.)*"')
"""What a machine boots with, which is thousands of characters in one line, and the same at all clouds: `tests/rented` is about it."""


MADE_AS = re.compile(r"(made-as=)[0-9a-f]+")
"""A digest of that, among other things."""


def written(module: dict[str, Any]) -> str:
    text = json.dumps(module, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return MADE_AS.sub(r"\1…", without_digests(FIRST_BOOT.sub('"(first boot)"', text)))


def answers(cloud: str) -> Iterator[tuple[Path, str]]:
    """File → what is to be in it."""
    for example in names():
        for site, module in modules(example, cloud):
            yield GOLDEN / cloud / example.removesuffix(".yaml").replace("/", "-") / f"{site}.tf.json", written(module)
    for site, module in modules(OPEN, cloud, Addresses.ALL):
        yield GOLDEN / cloud / f"{OPEN.removesuffix('.yaml')}-all-addresses" / f"{site}.tf.json", written(module)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_examples_become_the_terraform_that_was_reviewed(cloud: str) -> None:
    wanted = dict(answers(cloud))
    assert wanted
    there = set((GOLDEN / cloud).rglob("*.tf.json"))
    if os.environ.get("SKYC_BLESS") == "1":
        assert not os.environ.get("CI"), "CI does not bless"
        for path in there - set(wanted):
            path.unlink()
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return
    assert there == set(wanted), "an example, or a site of one, without its golden file: SKYC_BLESS=1 writes it"
    for path, text in wanted.items():
        assert text == path.read_text(), f"{path.relative_to(GOLDEN)}: read the diff, and bless it with SKYC_BLESS=1"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_example_can_be_made_or_says_why_not(cloud: str) -> None:
    for example in names():
        graphs, said = lowered(example, cloud)
        reason = REFUSED.get((example, cloud))
        if reason is None:
            assert graphs, f"{example} at {cloud}: {said}"
        else:
            assert not graphs and any(reason in item.detail for item in said), (example, cloud)


def test_there_are_examples() -> None:
    assert {"hello.yaml", "two-nodes.yaml", "pipeline.yaml", "digits/task.yaml"} <= set(names())
    assert all((EXAMPLES / name).parts[len(EXAMPLES.parts)] not in NO_TASKS for name in names())
    assert {cloud for _, cloud in REFUSED} <= set(CLOUDS) and {example for example, _ in REFUSED} <= set(names())


def test_what_is_compared_is_what_synth_writes(tmp_path: Path) -> None:
    """The modules here are made without the CDK, which takes a second for each."""
    graph = lowered("two-nodes.yaml", "gcp")[0][0]
    ((_, module),) = modules("two-nodes.yaml", "gcp")
    assert json.loads(synth(graph, cache=tmp_path)[1]) == module
