"""What a message about a field that nobody wrote is shown at."""

import pytest

from skyc.compiler.diagnostics import SourceFile, SourceMap, error, located
from skyc.compiler.ir import SpecPath
from skyc.compiler.parse import parse

TEXT = """\
resources:
  cloud: azure
  instance_type: Standard_B2s
  use_spot: true
  any_of:
  - region: eastus
  - accelerators: A10:1
groups:
  worker:
    num_nodes: 2
    resources: {market: spot}
run: echo hi
"""
TASK = SpecPath(("tasks", 0))
BASE = TASK.child("resources")
FIRST, SECOND = (BASE.child("any_of").child(number) for number in (0, 1))
WORKER = TASK.child("groups").child("worker").child("resources")
SOURCES: SourceMap = parse(SourceFile(path="t.yaml", text=TEXT))[1]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (BASE.child("market"), 4),
        (BASE.child("image_id"), 3),
        (BASE.child("infra"), 2),
        (FIRST.child("infra"), 6),
        (FIRST.child("market"), 4),
        (SECOND.child("image_id"), 7),
        (SECOND.child("infra"), 2),
        (WORKER.child("use_spot"), 11),
        (WORKER.child("instance_type"), 3),
        # Nothing has brought it: what holds it.
        (SECOND.child("labels"), 7),
        (TASK.child("num_nodes"), 1),
    ],
    ids=str,
)
def test_the_line_is_that_of_what_brought_a_field(path: SpecPath, line: int) -> None:
    span = SOURCES.find(path)
    assert span is not None and span.line == line


def test_the_message_names_the_field_that_stands_there() -> None:
    subject = BASE.child("market")
    said = located(error("unsupported-here", "No", f"`{subject}` on `azure`: never.", subject=subject), SOURCES)
    assert said.detail == "`tasks[0].resources.use_spot` on `azure`: never."
    kept = located(error("unsupported-here", "No", f"`{FIRST.child('labels')}`.", subject=FIRST.child("labels")), SOURCES)
    assert kept.detail == f"`{FIRST.child('labels')}`."
