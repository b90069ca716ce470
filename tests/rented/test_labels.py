"""What becomes of the user's labels, in one way at all clouds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.ir import NodeRuntime
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.aws.labels import LABELS as AWS
from skyc.providers.azure.labels import LABELS as AZURE
from skyc.providers.gcp.labels import LABELS as GOOGLE
from skyc.providers.ibm.labels import LABELS as IBM
from skyc.providers.registry import load
from skyc.providers.rented.labels import Labels, Rules, labels_of, one_text

CLOUDS = (AWS, AZURE, GOOGLE, IBM)
# As each cloud's documentation has it, written another way than in its folder.
NAMES = {
    "aws": r"[\w\s.:/=+\-@²³¹¼-¾]{1,128}",
    "azure": r"[^<>%&\\?/]{1,512}",
    "gcp": r"[a-z][a-z0-9_-]{0,62}",
    "ibm": r"[A-Za-z0-9 _.:-]{1,128}",
}
VALUES = {
    "aws": r"[\w\s.:/=+\-@²³¹¼-¾]{0,256}",
    "azure": r"(?s:.){0,256}",
    "gcp": r"[a-z0-9_-]{0,63}",
    "ibm": r"[A-Za-z0-9 _.:-]{0,128}",
}


def written(rules: Rules, **labels: str) -> dict[str, str]:
    made = labels_of(labels, rules, own=3)
    assert not made.refused
    return dict(made.written)


def of(rules: Rules, labels: dict[str, str]) -> Labels:
    return labels_of(labels, rules, own=3)


RESERVED = ("skyc", "aws", "azure", "goog", "microsoft", "windows", "name")
LATIN = some.text(some.characters(max_codepoint=0xFF), max_size=80)


@pytest.mark.parametrize("rules", CLOUDS, ids=[rules.target for rules in CLOUDS])
@settings(max_examples=40)
@given(wanted=some.dictionaries(LATIN, LATIN, max_size=8))
def test_whatever_is_asked_for_is_written_as_the_cloud_takes_it_and_none_is_lost(rules: Rules, wanted: dict[str, str]) -> None:
    labels = of(rules, wanted)
    if labels.refused:
        assert any(name.lower().lstrip("-(").startswith(RESERVED) for name in wanted)
        return
    assert len(labels.written) == len({rules.same(*label) for label in labels.written.items()}) == len(wanted)
    for name, value in labels.written.items():
        if rules is not GOOGLE or name.isascii():
            assert re.fullmatch(NAMES[rules.target], name), name
        if rules is not GOOGLE or value.isascii():
            assert re.fullmatch(VALUES[rules.target], value), value
        assert rules is not IBM or len(one_text(name, value)) <= 128
    # The same in whatever order they stand in the file, and what is written so is not touched again.
    assert of(rules, dict(reversed(wanted.items()))) == labels
    again = of(rules, dict(labels.written))
    assert again.written == labels.written and not again.changed


@pytest.mark.parametrize(
    ("rules", "name", "value", "expected"),
    [
        (AWS, "owner", "Müller (Zürich)", ("owner", "Müller -Zürich")),
        (AWS, "owner", "Müller, Zürich", ("owner", "Müller- Zürich")),
        (AWS, "kubernetes.io/role", "a=b@c", ("kubernetes.io/role", "a=b@c")),
        (AZURE, "owner", "Müller, Zürich", ("owner", "Müller, Zürich")),
        (AZURE, "kubernetes.io/role", "50%", ("kubernetes.io-role", "50%")),
        (GOOGLE, "owner", "Müller, Zürich", ("owner", "müller-zürich")),
        (GOOGLE, "kubernetes.io/role", "A", ("kubernetes-io-role", "a")),
        (GOOGLE, "9lives", "", ("label-9lives", "")),
        (IBM, "owner", "Müller, Zürich", ("owner", "Muller- Zurich")),
        (IBM, "Team", "Research", ("Team", "Research")),
    ],
)
def test_a_label_is_rewritten_as_little_as_the_cloud_asks_for(
    rules: Rules, name: str, value: str, expected: tuple[str, str]
) -> None:
    labels = of(rules, {name: value})
    assert dict(labels.written) == dict([expected]) and bool(labels.changed) is (expected != (name, value))


@pytest.mark.parametrize(
    ("rules", "labels", "kept"),
    [
        (AZURE, {"Team": "a", "team": "b"}, "Team"),
        (GOOGLE, {"Team": "a", "team": "b"}, "team"),
        (AWS, {"a,b": "x", "a;b": "y", "a-b": "z"}, "a-b"),
        (IBM, {"Team": "x", "team": "x"}, "Team"),
    ],
)
def test_labels_that_would_be_written_alike_are_told_apart_and_that_is_said(
    rules: Rules, labels: dict[str, str], kept: str
) -> None:
    made = of(rules, labels)
    assert len(made.written) == len(labels) and made.written[kept] == labels[kept]
    assert len(made.changed) == len(labels) - 1 and all(f"beside `{kept}`" in text for text in made.changed)


def test_no_other_labels_fall_together_at_ibm() -> None:
    """A tag is a whole text there, and its name may be another's."""
    assert written(IBM, Team="a", team="b") == {"Team": "a", "team": "b"}


@pytest.mark.parametrize("rules", CLOUDS, ids=[rules.target for rules in CLOUDS])
def test_long_labels_that_differ_stay_different(rules: Rules) -> None:
    one, other = (written(rules, team="x" * 600 + end)["team"] for end in "ab")
    assert one != other and len(one) > 50
    names = [*of(rules, {"x" * 600 + end: "" for end in "ab"}).written]
    assert len(names) == 2


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        *((rules, "skyc-deployment") for rules in CLOUDS),
        *((rules, "SKYC-site") for rules in CLOUDS),
        (AWS, "aws:cloudformation:stack-name"),
        (AWS, "Name"),
        (AZURE, "Windows-version"),
        (GOOGLE, "Goog-x"),
        (GOOGLE, "(skyc-plan)"),
    ],
)
def test_what_is_not_the_users_is_refused(rules: Rules, name: str) -> None:
    labels = of(rules, {name: "x"})
    assert labels.refused and not labels.written


@pytest.mark.parametrize(("rules", "fit"), [(AWS, 47), (AZURE, 47), (GOOGLE, 61)])
def test_more_labels_than_there_may_be_are_refused(rules: Rules, fit: int) -> None:
    assert not of(rules, {f"k{index}": "v" for index in range(fit)}).refused
    assert of(rules, {f"k{index}": "v" for index in range(fit + 1)}).refused


@pytest.mark.parametrize(
    ("place", "machine", "shown"),
    [
        ("aws/us-east-1", "m6i.large", "Müller- Zürich"),
        ("gcp/us-central1", "n2-standard-4", "müller-zürich"),
        ("ibm/us-south", "bx2-8x32, image_id: r006-14140f94-fcc4-11e9-96e7-a72723715315", "Muller- Zurich"),
        ("azure/eastus", "Standard_D4s_v5", ""),
    ],
)
def test_that_a_label_is_rewritten_is_said_once_at_its_line(tmp_path: Path, place: str, machine: str, shown: str) -> None:
    text = (
        f"name: train\nresources:\n  {{infra: {place}, instance_type: {machine},\n"
        '  labels: {owner: "Müller, Zürich"}}\nrun: echo hi\n'
    )
    cloud = place.partition("/")[0]
    options = CompileOptions(
        providers={cloud: load(cloud)},
        home=tmp_path,
        runtime=NodeRuntime(python="3.11"),
        overrides=EnvOverrides.of(environ={}),
    )
    made = compile_source(SourceFile(path="task.yaml", text=text), options, until="lower")
    said = [found for found in made.diagnostics if found.slug == "label-rewritten"]
    assert [shown in found.detail and found.span is not None for found in said] == ([True] if shown else [])
    assert all(found.span is not None and found.span.line == 4 for found in said)
    assert made.graphs is not None and (shown or "Müller, Zürich").lower() in str(made.graphs).lower()
