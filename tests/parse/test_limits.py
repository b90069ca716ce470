"""Hostile and useless files are refused quickly, by name."""

import time
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.parse import decode, parse, read_source
from skyc.compiler.parse.syntax import SIZE_LIMIT
from skyc.compiler.resolve import EnvOverrides, resolve

BILLION_LAUGHS = "config:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
MERGED = "config:\n  a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"  a{n}: &a{n} {{k{n}: *a{n - 1}, l{n}: *a{n - 1}, <<: *a{n - 1}}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        (BILLION_LAUGHS, "too-many-values"),
        (MERGED, "too-many-values"),
        ("config: [" + "x," * 50_000 + "]", "too-many-values"),
        ("config: " + "[" * 100_000, "too-deep"),
        ("config: " + "{a: " * 100_000, "too-deep"),
        ("- " * 100_000, "too-deep"),
        ("num_nodes: " + "9" * 400_000, "out-of-range"),
        ("resources: {cpus: " + "9" * 400_000 + "}", "bad-value"),
        ("resources: {max_hourly_cost: 1.0e+999999999}", "out-of-range"),
        ("envs: {A: " + "1:" * 100_000 + "1}", "surprise-scalar"),
        ("run: \0", "nul-character"),
        ("run: \x1b[31m", "bad-character"),
    ],
    ids=[
        "aliases",
        "merges",
        "long-list",
        "lists",
        "mappings",
        "dashes",
        "digits",
        "amount",
        "exponent",
        "base-60",
        "nul",
        "escape",
    ],
)
def test_a_hostile_file_is_refused_soon(text: str, slug: str) -> None:
    started = time.process_time()
    spec, _, said = parse(SourceFile(path="task.yaml", text=text))
    assert spec is None
    assert slug in {diagnostic.slug for diagnostic in said}
    assert all(len(diagnostic.detail) < 1000 for diagnostic in said)
    # Generous: bounded work takes well under a second, unbounded work does not end.
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b"run: caf\xe9\n", "not-utf8"),
        ("run: echo\n".encode("utf-16"), "not-utf8"),
        (b"#" * (SIZE_LIMIT + 1), "file-too-large"),
    ],
)
def test_bytes_that_are_no_text(content: bytes, slug: str) -> None:
    source, said = decode(content, "task.yaml")
    assert source is None
    assert [diagnostic.slug for diagnostic in said] == [slug]


def test_the_place_of_a_wrong_byte() -> None:
    _, (said,) = decode("name: x\nrun: é".encode() + b"\xff\n", "task.yaml")
    assert said.span is not None
    assert (said.span.line, said.span.column) == (2, 7)


def test_the_largest_file_and_a_byte_order_mark() -> None:
    source, said = decode(b"\xef\xbb\xbfrun: x #".ljust(SIZE_LIMIT, b"#"), "task.yaml")
    assert source is not None and not said
    assert source.text.startswith("run: x")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    slugs = [
        read_source(path)[1][0].slug for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "a\0b", tmp_path / ("x" * 300))
    ]
    assert slugs == ["no-such-file", "not-a-file", "unreadable-file", "unreadable-file"]


def test_a_common_file_is_read_in_no_time() -> None:
    lines = ["name: train", "resources: {cpus: 2+, memory: 4x}", "envs:"]
    lines += [f"  VARIABLE_{n}: value-{n}" for n in range(40)]
    lines += ["run: |", *(f"  echo {n}" for n in range(20))]
    source = SourceFile(path="task.yaml", text="\n".join(lines))
    best = 1.0
    for _ in range(5):
        started = time.process_time()
        spec, place, _ = parse(source)
        assert spec is not None
        resolved, _ = resolve(spec, place, stem="task", directory=Path("/nonexistent"), overrides=EnvOverrides())
        assert resolved is not None
        best = min(best, time.process_time() - started)
    assert best < 0.1
