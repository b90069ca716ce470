"""Whatever a file holds, the front end answers with a value or with diagnostics that have a place; it never raises."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyc.compiler.diagnostics import Diagnostic, SourceFile, has_errors, render
from skyc.compiler.ir import canonical
from skyc.compiler.parse import decode, fields, parse
from skyc.compiler.printer import print_ir
from skyc.compiler.resolve import EnvOverrides, resolve

from ..filetest import SEPARATOR, discover

QUICK = settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
NOWHERE = Path("/nonexistent")
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""
OFFERED = EnvOverrides.of(env={"A": "a"}, secrets={"KEY": "k"}, environ={"HOME": "/home/me"})


def inputs() -> tuple[str, ...]:
    return tuple(path.read_text().partition(f"\n{SEPARATOR}\n")[0] + "\n" for path in discover())


INPUTS = inputs()


def front_end(source: SourceFile) -> None:
    """Run everything and check what holds for every text."""
    spec, place, complaints = parse(source)
    assert (spec is None) == has_errors(complaints)
    said: tuple[Diagnostic, ...] = complaints
    if spec is not None:
        assert print_ir(spec) == print_ir(spec)
        resolved, more = resolve(spec, place, stem="task", directory=NOWHERE, overrides=OFFERED)
        assert (resolved is None) == has_errors(more)
        said += more
        if resolved is not None:
            canonical(resolved.graph)
            print_ir(resolved.graph)
    for diagnostic in said:
        assert diagnostic.span is not None, diagnostic
        assert 1 <= diagnostic.span.line <= len(LINE_BREAK.split(source.text)) + 1
        assert diagnostic.summary and "\n" not in diagnostic.summary
        render(diagnostic, source).encode("utf-8", "surrogatepass")


def words() -> st.SearchStrategy[str]:
    """The fields' own names, so that random files reach the reader's depths, among hostile text."""
    records = (
        fields.TASK,
        fields.RESOURCES,
        fields.CHECKPOINT,
        fields.STORAGE.record,
        fields.HEADER,
        fields.AFFINITY,
        fields.SAME,
    )
    names = sorted({field.name for record in records for field in record.fields})
    return (
        st.sampled_from(names)
        | st.text(max_size=8)
        | st.sampled_from(["<<", "", "~", "no", "A", "KEY", "a/b", "..", "$A", "s3://b", "H100:8", "default"])
    )


def scalars() -> st.SearchStrategy[object]:
    spelled = st.sampled_from(
        [
            "H100:8",
            "4x",
            "32GB+",
            "5m",
            "$A",
            "${KEY}",
            "${",
            "~/x",
            "file:///x",
            "s3://b",
            "file://..",
            "local/*",
            "../x",
            "\0",
        ]
    )
    numbers = st.integers() | st.floats() | st.dates() | st.datetimes()
    return st.none() | st.booleans() | numbers | spelled | st.text(max_size=12) | st.binary(max_size=4)


def shapes() -> st.SearchStrategy[object]:
    return st.recursive(
        scalars(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words(), inner, max_size=5), max_leaves=12
    )


@QUICK
@given(st.text() | st.text(alphabet=" \t\n-:{}[]&*!|>'\"%@`#?,ax0~<", max_size=60))
def test_any_text(text: str) -> None:
    front_end(SourceFile(path="task.yaml", text=text))


@QUICK
@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    source, complaints = decode(content, "task.yaml")
    assert (source is None) == has_errors(complaints)
    if source is not None:
        front_end(source)


@settings(QUICK, max_examples=50)
@given(st.lists(st.dictionaries(words(), shapes(), max_size=5), min_size=1, max_size=3))
def test_any_shape(documents: list[object]) -> None:
    front_end(SourceFile(path="task.yaml", text=yaml.safe_dump_all(documents, allow_unicode=True)))


@QUICK
@given(st.data())
def test_a_damaged_file(data: st.DataObject) -> None:
    """A real file with a stretch removed, doubled or replaced."""
    text = data.draw(st.sampled_from(INPUTS))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    put = data.draw(
        st.sampled_from(["", text[start:end] * 2, "\t", "\n", "- ", ": ", "*a ", "&a ", "<<: ", "!x "]) | st.text(max_size=3)
    )
    front_end(SourceFile(path="task.yaml", text=text[:start] + put + text[end:]))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_do_not_change_the_task(ending: str) -> None:
    text = "run: |\n  echo one\n  echo two\nenvs:\n  A: b\n".replace("\n", ending)
    spec, _, _ = parse(SourceFile(path="task.yaml", text=text))
    assert spec is not None
    assert spec.documents[0].run == "echo one\necho two\n"
