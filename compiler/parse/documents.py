"""parse: the text of a file to the spec the user wrote, with the place of everything in it."""

from __future__ import annotations

from ..diagnostics import Diagnostic, SourceFile, SourceMap, Span, error, has_errors
from ..ir import HeaderSpec, SpecFile, SpecPath, TaskSpec
from .fields import CHECKPOINT, HEADER, MEANT, RESOURCES, TASK
from .nodes import Mapping, Node, compose
from .reader import Reader, homes
from .words import found

_HEADER_FIELDS = frozenset(row.name for row in HEADER.fields)
_HOMES = homes(("task", TASK.fields), ("resources", RESOURCES.fields), ("checkpoint", CHECKPOINT.fields))


def parse(source: SourceFile) -> tuple[SpecFile | None, SourceMap, tuple[Diagnostic, ...]]:
    """Read a task file. The spec is None exactly when there is an error among the diagnostics.

    Never raises, whatever the text. Several documents are several tasks; a first one that only names the whole is its header.
    """
    nodes, complaints = compose(source)
    if nodes is None:
        return None, SourceMap(source), complaints
    reader = Reader(meant=MEANT, homes=_HOMES, diagnostics=list(complaints))
    documents = [node for node in nodes if node is not None]
    header: HeaderSpec | None = None
    if len(documents) > 1 and _is_header(documents[0]):
        header = reader.read(HEADER, documents.pop(0), SpecPath(("header",)))
    tasks: list[TaskSpec] = []
    for index, node in enumerate(documents):
        path = SpecPath(("tasks", index))
        if not isinstance(node, Mapping):
            detail = f"A task is a mapping with fields such as `run`; this is {found(node)}."
            reader.diagnostics.append(error("not-a-task", "The file does not hold a task", detail, span=node.span))
            continue
        task = reader.read(TASK, node, path)
        reader.spans[path] = node.entries[0][0].span if node.entries else node.span
        tasks.append(task)
    if not documents:
        hint = "write at least `run: …`"
        reader.diagnostics.append(
            error(
                "empty-file",
                "The file holds no task",
                "It has nothing but space and comments.",
                span=_top(source),
                hint=hint,
            )
        )
    diagnostics = tuple(reader.diagnostics)
    place = SourceMap(source, reader.spans)
    if has_errors(diagnostics):
        return None, place, diagnostics
    return SpecFile(documents=tuple(tasks), header=header), place, diagnostics


def _is_header(node: Node) -> bool:
    return isinstance(node, Mapping) and bool(node.entries) and _HEADER_FIELDS.issuperset(node.keys())


def _top(source: SourceFile) -> Span:
    return Span(file=source.path, line=1, column=1, end_line=1, end_column=2)
