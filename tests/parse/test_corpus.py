"""Real task files written for SkyPilot: each is read, and what is refused is refused for a reason that is listed here.

The files are not part of this repository. `SKYC_CORPUS` names their folder; without it `../shared/corpus/skypilot` is tried.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import Severity, render
from skyc.compiler.parse import parse, read_source
from skyc.compiler.printer import print_ir
from skyc.compiler.resolve import EnvOverrides, resolve

from .documents import schema_errors

CORPUS = Path(os.environ.get("SKYC_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus" / "skypilot")
FILES = tuple(sorted(CORPUS.rglob("*.yaml"))) if CORPUS.is_dir() else ()

ABSENT = frozenset({"missing-source", "missing-workdir", "missing-variable", "not-a-directory"})
"""Complaints about files and variables that are not here."""


@pytest.mark.skipif(not FILES, reason="no corpus of SkyPilot tasks (set SKYC_CORPUS)")
def test_the_corpus_is_read() -> None:
    assert len(FILES) >= 150
    refused: dict[str, list[str]] = {}
    slugs: Counter[str] = Counter()
    graphs = 0
    for path in FILES:
        name = str(path.relative_to(CORPUS))
        source, complaints = read_source(path, shown=name)
        assert source is not None, complaints
        spec, place, complaints = parse(source)
        if spec is not None:
            assert not (wrong := schema_errors(source.text)), f"{name}: the parser accepts what the schema refuses: {wrong}"
            assert print_ir(spec)
            resolved, more = resolve(spec, place, stem=path.stem, directory=path.parent, overrides=EnvOverrides())
            complaints += more
            graphs += resolved is not None
        slugs.update(diagnostic.slug for diagnostic in complaints)
        errors = [d for d in complaints if d.severity is Severity.ERROR and d.slug not in ABSENT]
        if errors:
            refused[name] = [render(error, source) for error in errors]
    assert set(refused) == REFUSED, "\n\n".join(f"{name}\n{chr(10).join(said)}" for name, said in refused.items())
    assert graphs >= 120
    assert slugs["not-yet-supported"] >= 50


REFUSED = frozenset(
    {
        # The bucket's name is left for the reader to fill in.
        "examples/spot/bert_qa.yaml",
        "examples/spot/lightning_cifar10.yaml",
        "examples/spot/resnet.yaml",
        # Describes one bucket in two mounts. Here a Storage is described once and mounted by its name.
        "examples/using_file_mounts_with_env_vars.yaml",
    }
)
"""Files that need a change before skyc takes them."""
