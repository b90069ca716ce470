"""`skyc explain FIELD`: what a change of one field does to what stands, found by compiling a task before and after it.

Contract: nothing is written by hand about a field. Both versions are compiled as for an offline plan, their resource graphs compared
(`compiler/effects.py`), and the providers' schemas say what a changed argument does. So an answer holds for the task it was found with;
what only a cloud knows (that a disk cannot shrink) a plan tells.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.buckets import KnownBucket
from ..compiler.diagnostics import Diagnostic, Severity, SkycError, SourceFile, error
from ..compiler.effects import Change, Effect, GraphEffect, Touched, effect_of
from ..compiler.field_paths import FieldPath, canonical, field_paths, written
from ..compiler.ir import FrozenMap, NodeRuntime, digest
from ..compiler.pipeline import Compilation, CompileOptions, compile_source
from ..compiler.resolve import EnvOverrides
from ..providers.base import Access, Capability, Provider
from ..providers.registry import example, forces_new
from .field_probes import BASE, FIRST, PROBES, TARGETS, Document, Probe, Target
from .request import EXAMPLE_KEY
from .session import Session

if TYPE_CHECKING:
    from .request import Request

_ACCESS = Access(
    ssh_from=("203.0.113.0/24",),
    login_key=EXAMPLE_KEY,
    host_key="example\n",
    host_key_public=EXAMPLE_KEY,
    storage_accounts=FrozenMap(
        {
            name: f"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{name}"
            for name in ("teama", "teamb")
        }
    ),
)
"""Constant, so that answers are the same everywhere. The key is nobody's."""
_REGIONS = ("au-syd", "br-sao", "ca-mon", "ca-tor", "eu-de", "eu-es", "eu-gb", "jp-osa", "jp-tok", "us-east", "us-south")
_IMAGE = "r000-14140f94-fcc4-11e9-96e7-a72723715315"
NOT_YET = "does nothing yet"
REFUSED = "refused"
NOT_MADE = "nothing is made there yet"
NOT_THERE = "not to be had there"
"""The example before the change cannot be compiled: the target lacks what the field asks for, whatever its value."""
JOB_ONLY = "the job only"
_SHOWN_CAUSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEffect:
    """What a change of a field does at one target, or for one task.

    effect: an `Effect`'s words, or one of those above. job: the task counts as changed, so a finished one runs again. causes: resources
    and their arguments. lost, stays: what goes with nodes that end, and what does not. detail: why it is refused, or what else was said.
    """

    field: str
    where: str
    before: str
    after: str
    effect: str
    job: bool = False
    causes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    detail: str = ""


def of_targets(field: str) -> tuple[FieldEffect, ...]:
    """One answer per target, for an example task. Raises SkycError for a field nobody knows."""
    known = _known(field)
    if known.later is not None:
        return (_later(known, "every target"),)
    shared = dataclasses.replace(known, path=canonical(known.path))
    with _Bench() as bench:
        return tuple(bench.answer(shared, PROBES[shared.path], target) for target in TARGETS)


def of_all_fields(targets: Iterable[str] = ()) -> tuple[FieldEffect, ...]:
    """Answers for every field that does something, once for all places it can stand in; by field, then target."""
    wanted = frozenset(targets)
    known = {entry.path: entry for entry in field_paths()}
    with _Bench() as bench:
        return tuple(
            bench.answer(known[path], PROBES[path], target)
            for path in known
            if path in PROBES
            for target in TARGETS
            if not wanted or target.name in wanted
        )


def _known(field: str) -> FieldPath:
    from ..compiler.parse import nearest

    path = written(field)
    rows = {entry.path: entry for entry in field_paths()}
    if path in rows:
        return rows[path]
    inner = sorted(name for name in rows if name.startswith(f"{path}."))
    guess = nearest(path, list(rows))
    raise SkycError(
        error(
            "no-such-field",
            "There is no such field",
            f"`{field}` is no field of a task file."
            + (f" It holds fields of its own, such as `{inner[0]}`: ask for one of them." if inner else ""),
            hint=None if inner or guess is None else f"did you mean `{guess}`?",
            commands=("skyc explain --fields",),
        )
    )


def _later(known: FieldPath, where: str) -> FieldEffect:
    return FieldEffect(
        field=known.path, where=where, before="", after="", effect=NOT_YET, detail=f"Once it does, it {known.later}."
    )


class _Bench:
    """A folder in which example tasks are compiled. Bases are compiled once."""

    def __init__(self) -> None:
        self._providers: dict[str, Provider] = {}
        self._made: dict[str, Compilation] = {}

    def __enter__(self) -> _Bench:
        self._folder = tempfile.TemporaryDirectory(prefix="skyc-fields-")
        for name in ("one", "two"):
            (Path(self._folder.name) / name).mkdir()
            (Path(self._folder.name) / name / "rules.yaml").write_text(f"rules: [{{name: {name}, max: {{nodes: 1000}}}}]\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def answer(self, known: FieldPath, probe: Probe, target: Target) -> FieldEffect:
        words, (old, new) = target.words, probe.values[:2]
        shown = (_shown(_filled(old, words)), _shown(_filled(new, words)))
        if Capability.LOWER not in self._provider(target.name).capabilities:
            return FieldEffect(field=known.path, where=target.name, before=shown[0], after=shown[1], effect=NOT_MADE)
        base = _merged(BASE, probe.beside)
        if target.one_machine and "instance_type" in base["resources"] and "instance_type" not in known.path:
            base["resources"] = {**BASE["resources"], **base["resources"], "cpus": "4", "memory": "16"}
            base["resources"].pop("instance_type")
        at = "IN_ZONE_A" if known.path.endswith(".zone") else "PLACE"
        first: Document = {**_merged(BASE, {"num_nodes": None}), "name": FIRST, "run": "python prep.py"}
        first["resources"]["infra"] = at
        steps = _steps(known.path)
        documents = [{"name": "whole"}, first, base] if probe.first else [base]
        index = 0 if known.path.startswith("header.") else len(documents) - 1
        texts = []
        for value in (old, new):
            made = copy.deepcopy(documents)
            _put(made[index], steps, value)
            texts.append(_text(made, words))
        before = self._compiled(texts[0], target)
        after = self._compiled(texts[1], target, _standing(before))
        return _compared(known.path, target.name, *shown, before, after)

    def _provider(self, name: str) -> Provider:
        return self._providers.setdefault(name, example(name))

    def _compiled(self, text: str, target: Target, known: tuple[KnownBucket, ...] = ()) -> Compilation:
        """`known`: the buckets that are there already."""
        key = f"{target.name}\n{known}\n{text}"
        if key not in self._made:
            # What an example names elsewhere is to be had too.
            names = sorted({target.name, *(each.name for each in TARGETS if re.search(rf"\b{each.name}\b", text))})
            self._made[key] = _compile(
                SourceFile(path=f"{self._folder.name}/task.yaml", text=text),
                CompileOptions(
                    providers={name: self._provider(name) for name in names},
                    home=Path(self._folder.name) / "home",
                    runtime=NodeRuntime(python="3.12"),
                    overrides=EnvOverrides.of(environ={}),
                    access=lambda _: _ACCESS,
                    known=lambda _: known,
                    images=FrozenMap({f"ibm/{region}{kind}": _IMAGE for region in _REGIONS for kind in ("", "/gpu")}),
                    offline=True,
                ),
            )
        return self._made[key]


def _standing(made: Compilation) -> tuple[KnownBucket, ...]:
    """The buckets of a compilation, as they are known once it is applied: they stay where they are."""
    return tuple(
        KnownBucket(
            name=bucket.storage.name,
            provider=bucket.location.provider,
            region=bucket.location.region,
            persistent=bucket.storage.persistent,
        )
        for bucket in made.buckets
    )


def _compile(source: SourceFile, options: CompileOptions) -> Compilation:
    return compile_source(source, options, until="lower")


def of_task(session: Session, request: Request, field: str, value: str | None) -> FieldEffect:
    """The answer for the user's own file: the field is changed in it, and both are compiled as an offline plan is.

    value: what it is changed to, as YAML; None: something else than it is. Raises SkycError for a field nobody knows, a value that is no
    YAML, and a file that cannot be compiled.
    """
    import yaml

    from .refusals import refused
    from .request import compile_request

    known = _known(field)
    if known.later is not None:
        return _later(known, str(request.path))
    probe = PROBES[canonical(known.path)]
    before = compile_request(session, dataclasses.replace(request, offline=True), until="lower")
    if before.failed:
        raise refused(before)
    documents: list[Document] = [document for document in yaml.safe_load_all(before.source.text) if document]
    index = next((n for n, document in enumerate(documents) if not _is_header(document)), 0)
    index = 0 if known.path.startswith("header.") else index
    steps = _own_steps(field, known.path, documents[index])
    old = _get(documents[index], steps)
    words = _words_of(before)
    candidates = [_filled(each, words) for each in probe.values]
    new = _read(field, value) if value is not None else next((each for each in candidates if each not in (old, None)), None)
    _put(documents[index], steps, new)
    text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    standing = (*before.options.known(before.deployment), *_standing(before))
    known_after = tuple({bucket.name: bucket for bucket in standing}.values())
    after = _compile(
        SourceFile(path=before.source.path, text=text), dataclasses.replace(before.options, known=lambda _: known_after)
    )
    return _compared(field, str(request.path), _shown(old), _shown(new), before, after)


def _read(field: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise SkycError(
            error("bad-value-to-try", "The value to try cannot be read", f"`{field}={value}`: it is no YAML.", hint="quote it")
        ) from None


def _is_header(document: Document) -> bool:
    return not {"run", "resources", "setup", "workdir", "groups"} & set(document)


def _words_of(made: Compilation) -> Mapping[str, str]:
    """Values for a probe's words where the task is: of the target it is placed at."""
    assert made.placement is not None
    chosen = made.placement.placements[0].provider
    target = next((each for each in TARGETS if each.name == chosen), TARGETS[0])
    return target.words


def _compared(field: str, where: str, old: str, new: str, before: Compilation, after: Compilation) -> FieldEffect:
    answer = partial(FieldEffect, field=field, where=where, before=old, after=new)
    if before.failed:
        said = _first_error(before.diagnostics)
        return answer(effect=NOT_THERE, detail=f"{said.slug}: {_sentence(said)}")
    if after.failed:
        said = _first_error(after.diagnostics)
        return answer(effect=REFUSED, detail=f"{said.slug}: {_sentence(said)}")
    assert before.graphs is not None and after.graphs is not None
    found = effect_of(before.graphs, after.graphs, forces_new)
    job = _tasks(before) != _tasks(after)
    effect = JOB_ONLY if found.effect is Effect.NOTHING and job else found.effect.value
    lost, stays = _lost(found, after)
    return answer(effect=effect, job=job, causes=_causes(found), lost=lost, stays=stays, detail=_remarks(before, after))


def _tasks(made: Compilation) -> tuple[str, ...]:
    assert made.graph is not None
    return tuple(digest(task) for task in made.graph.tasks)


def _causes(found: GraphEffect) -> tuple[str, ...]:
    """The resources that decide: machines and what is made anew first."""
    order = {Change.REPLACE: 0, Change.DELETE: 1, Change.CREATE: 2, Change.UPDATE: 3}
    rows = sorted(found.touched, key=lambda row: (order[row.change], not row.machine, row.address))
    if found.effect is Effect.MOVES:
        rows = [row for row in rows if row.machine]
    return tuple(f"{row.change.value} {row.address}{_because(row)}" for row in rows)


def _because(row: Touched) -> str:
    if not row.causes:
        return ""
    more = len(row.causes) - _SHOWN_CAUSES
    return f" ({', '.join(row.causes[:_SHOWN_CAUSES])}{f' and {more} more' if more > 0 else ''})"


def _lost(found: GraphEffect, after: Compilation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What goes with nodes that end, and what does not."""
    if not any(row.machine and row.change in (Change.REPLACE, Change.DELETE) for row in found.touched):
        return (), ()
    assert after.graph is not None
    lost = ["disks and local data of those nodes"]
    if any(task.checkpoint is not None for task in after.graph.tasks):
        return tuple(lost), ("checkpoints",)
    return (*lost, "the job's progress, since it has no checkpoint"), ()


def _remarks(before: Compilation, after: Compilation) -> str:
    """What is said of the new file and was not of the old one."""
    said = [found for found in after.diagnostics if found.severity is not Severity.ERROR]
    known = {found.slug for found in before.diagnostics}
    return "; ".join(dict.fromkeys(f"{found.slug}: {found.summary}" for found in said if found.slug not in known))


def _first_error(said: Iterable[Diagnostic]) -> Diagnostic:
    return next(found for found in said if found.severity is Severity.ERROR)


def _sentence(said: Diagnostic) -> str:
    return said.summary


def _steps(path: str) -> tuple[str, ...]:
    names = {"groups": "probed", "storage": "data", "file_mounts": "data"}
    parts = path.removeprefix("header.").split(".")
    return tuple(names[parts[n - 1]] if part in ("NAME", "PATH") and n else part for n, part in enumerate(parts))


def _own_steps(field: str, path: str, document: Document) -> tuple[str, ...]:
    """Where the field is in the user's document: names are theirs, or the first there is."""
    given, parts = field.removeprefix("header.").split("."), path.removeprefix("header.").split(".")
    steps: list[str] = []
    for number, part in enumerate(parts):
        here = _get(document, tuple(steps))
        if part in ("NAME", "PATH"):
            wanted = given[number] if number < len(given) else part
            known = list(here) if isinstance(here, dict) else []
            part = wanted if wanted not in ("NAME", "PATH") else next(iter(known), "data")
        steps.append(part)
    return tuple(steps)


def _get(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _put(document: Document, steps: tuple[str, ...], value: Any) -> None:
    for step in steps[:-1]:
        if not isinstance(document.get(step), dict):
            document[step] = {}
        document = document[step]
    if value is None:
        document.pop(steps[-1], None)
    else:
        document[steps[-1]] = value


def _merged(base: Document, more: Document) -> Document:
    """Mappings are merged, None takes a field away."""
    made = copy.deepcopy(base)
    for name, value in more.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict):
            held = made.get(name)
            made[name] = _merged(held if isinstance(held, dict) else {}, value)
        else:
            made[name] = copy.deepcopy(value)
    return made


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {_filled(name, words): _filled(item, words) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, words) for item in value]
    return words.get(value, value) if isinstance(value, str) else value


def _text(documents: list[Document], words: Mapping[str, str]) -> str:
    import yaml

    return yaml.safe_dump_all([_filled(document, words) for document in documents], sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> str:
    import yaml

    if value is None:
        return "absent"
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n...\n").strip()
