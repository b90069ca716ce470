"""What tasks of one file say about each other, against the definitions written out: data flows, affinities, shared Storages."""

import itertools
import time
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from skyc.compiler.diagnostics import Diagnostic, SourceFile, SourceMap, has_errors
from skyc.compiler.ir import FrozenMap, TaskGraph, TaskId
from skyc.compiler.ir.flows import flow_sources
from skyc.compiler.parse import parse
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.compiler.resolve.storages import store_conflicts

QUICK = settings(max_examples=60, deadline=None, database=None)
NAMES = tuple("abcd")
LEVELS = ("cloud", "region", "zone")


def resolved(*documents: dict[str, object]) -> tuple[TaskGraph | None, tuple[Diagnostic, ...], SourceMap]:
    text = yaml.safe_dump_all({"run": "echo", **document} for document in documents)
    spec, sources, said = parse(SourceFile(path="task.yaml", text=text))
    assert spec is not None, said
    found, said = resolve(spec, sources, stem="task", directory=Path("/nonexistent"), overrides=EnvOverrides())
    assert (found is None) == has_errors(said)
    return found.graph if found is not None else None, said, sources


def slugs(said: tuple[Diagnostic, ...]) -> set[str]:
    return {diagnostic.slug for diagnostic in said}


@QUICK
@given(st.data())
def test_an_input_comes_from_the_newest_output_that_is_needed(data: st.DataObject) -> None:
    edges = {name: data.draw(st.sets(st.sampled_from(NAMES[:index]))) if index else set() for index, name in enumerate(NAMES)}
    writers = data.draw(st.sets(st.sampled_from(NAMES)))
    documents: list[dict[str, object]] = [
        {"name": name, "needs": sorted(edges[name]), **({"outputs": {"x": 1}} if name in writers else {})} for name in NAMES
    ]
    reader: dict[str, object] = {"name": "reader", "needs": data.draw(st.lists(st.sampled_from(NAMES), unique=True))}
    graph, said, _ = resolved(*documents, {**reader, "inputs": {"x": 1}})

    def before(name: str) -> set[str]:
        needs = set(edges.get(name, ())) if name != "reader" else set(reader["needs"])  # type: ignore[call-overload]
        return needs.union(*map(before, needs)) if needs else needs

    candidates = before("reader") & writers
    newest = {one for one in candidates if not any(one in before(other) for other in candidates)}
    if len(newest) == 1:
        assert graph is not None and not said
        assert flow_sources(graph.tasks)[TaskId("reader")] == FrozenMap({"x": (TaskId(newest.pop()),)})
    else:
        assert slugs(said) == ({"ambiguous-input"} if newest else {"unknown-input"})


def satisfiable(wishes: list[tuple[str, bool, str, str]]) -> bool:
    """Whether three tasks can be put somewhere among three clouds of three regions of three zones each."""
    zones = list(itertools.product(range(3), repeat=3))
    # The first task's place can be any: they are all alike.
    for places in itertools.product(zones, repeat=2):
        at = dict(zip("abc", (zones[0], *places), strict=True))
        if all(
            (at[one][: LEVELS.index(level) + 1] == at[other][: LEVELS.index(level) + 1]) is same
            for one, same, level, other in wishes
        ):
            return True
    return False


@QUICK
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(LEVELS), st.sampled_from("abc")).filter(
            lambda wish: wish[0] != wish[3]
        ),
        max_size=5,
        unique=True,
    )
)
def test_affinities_are_refused_exactly_when_no_place_meets_them(wishes: list[tuple[str, bool, str, str]]) -> None:
    documents: list[dict[str, object]] = []
    for name in "abc":
        affinity: dict[str, dict[str, list[str]]] = {"same": {}, "distinct": {}}
        for one, same, level, other in wishes:
            if one == name:
                affinity["same" if same else "distinct"].setdefault(level, []).append(other)
        documents.append({"name": name, "affinity": affinity})
    graph, said, _ = resolved(*documents)
    assert slugs(said) == (set() if satisfiable(wishes) else {"conflicting-affinity"})
    if graph is not None:
        kept = {(task.id, wish.same, wish.level.value, wish.task) for task in graph.tasks for wish in task.affinities}
        assert kept == set(wishes)


def test_a_storage_of_two_tasks_is_one_place() -> None:
    described = {"uri": "file:///data", "size_gb": 5}
    graph, said, _ = resolved(
        {"name": "a", "file_mounts": {"/in": {"name": "data"}}}, {"name": "b", "storage": {"data": described}}
    )
    assert graph is not None and not said
    first, second = (task.storages[0] for task in graph.tasks)
    assert (first.uri, first.size_gb) == (second.uri, second.size_gb) == ("file:///data", Decimal(5))


@pytest.mark.parametrize(
    ("storage", "slug"),
    [
        ({"store": "blob", "infra": "one/north"}, None),
        ({"store": "blob", "infra": "one", "placement": "auto"}, None),
        ({"store": "blob", "infra": "two"}, "conflicting-fields"),
        ({"uri": "blob://x", "infra": "two"}, "conflicting-fields"),
        ({"uri": "shared://x", "infra": "two"}, None),
        ({"uri": "foreign://x", "infra": "two"}, None),
        ({"uri": "blob://x", "infra": "elsewhere"}, None),
        ({"uri": "blob://x"}, None),
        ({"placement": "auto", "infra": "two"}, None),
    ],
)
def test_a_store_lies_where_infra_says(storage: dict[str, object], slug: str | None) -> None:
    graph, said, sources = resolved({"name": "a", "storage": {"data": storage}})
    assert graph is not None and not said
    found = store_conflicts(graph.tasks, {"one": ("blob", "shared"), "two": ("shared", "bin")}, sources)
    assert [diagnostic.slug for diagnostic in found] == ([slug] if slug else [])
    assert all(diagnostic.span is not None and diagnostic.span.line > 1 for diagnostic in found)


@pytest.mark.parametrize("shape", ["chain", "everyone", "affinities"])
def test_many_tasks_are_joined_soon(shape: str) -> None:
    count = {"chain": 1200, "everyone": 100, "affinities": 1200}[shape]
    texts = []
    for number in range(count):
        text = f"name: t{number}\nrun: echo\n"
        if shape == "affinities" and number:
            text += f"affinity: {{same: {{zone: t{number - 1}}}, distinct: {{zone: t0}}}}\n"
        if shape == "everyone":
            text += f"needs: [{', '.join(f't{other}' for other in range(number))}]\n"
        if shape != "affinities":
            text += "outputs: {x: 1}\n" + ("inputs: {x: 1}\n" if number else "")
        texts.append(text)
    spec, sources, said = parse(SourceFile(path="task.yaml", text="---\n".join(texts)))
    assert spec is not None, said
    started = time.process_time()
    _, said = resolve(spec, sources, stem="task", directory=Path("/nonexistent"), overrides=EnvOverrides())
    # Generous: bounded work takes well under a second, unbounded work does not end.
    assert time.process_time() - started < 5
    assert slugs(said) == ({"conflicting-affinity"} if shape == "affinities" else set())
