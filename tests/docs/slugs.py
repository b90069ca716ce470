"""Every slug a diagnostic of ours can carry, read from the source.

A slug is written in one of six ways: as the first argument of a call that makes or passes on a diagnostic, as `slug=…`, as the
value of a name `slug`, as a constant that is used as one, as the second column of a table of known messages, or printed as
`error[slug]`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("compiler", "runtime", "providers", "cli")
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAKERS = frozenset({"error", "warning", "make", "complain", "warn", "_mount_error", "MountFailed", "_unset"})
"""`make` stands for `error` or `warning` where a call chooses between them."""
PRINTED = re.compile(r"error\[([a-z0-9-]+)\]")
STORAGE = "runtime/storage/base.py"


def literals(node: ast.expr | None) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if SLUG.fullmatch(text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from literals(body)
            yield from literals(orelse)
        case ast.Tuple(elts=[first, *_]):
            yield from literals(first)
        case _:
            return


def constants(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            for text in literals(node.value):
                found[node.targets[0].id] = text
    return found


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def _in_call(call: ast.Call, known: dict[str, str]) -> Iterator[str]:
    places = [keyword.value for keyword in call.keywords if keyword.arg == "slug"]
    if _name(call) in MAKERS and call.args:
        places.append(call.args[0])
    for place in places:
        yield from literals(place)
        if isinstance(place, ast.Name) and place.id in known:
            yield known[place.id]


def _in_assignment(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        first = target.elts[0] if isinstance(target, ast.Tuple) else target
        if isinstance(first, ast.Name) and first.id == "slug":
            yield from literals(node.value)
            if isinstance(node.value, ast.IfExp):
                yield from (text for arm in (node.value.body, node.value.orelse) for text in literals(arm))


def _in_table(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Rows `(pattern, slug, summary, detail, hint)`."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    # Several values for several names are no table.
    if isinstance(node.value, ast.Tuple) and not isinstance(targets[0], ast.Tuple):
        for row in node.value.elts:
            if isinstance(row, ast.Tuple) and len(row.elts) == 5:
                yield from literals(row.elts[1])


def in_source() -> dict[str, str]:
    """Slug → the first file that says it."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            known = constants(tree)
            place = str(path.relative_to(ROOT))
            for node in ast.walk(tree):
                texts: Iterator[str] = iter(())
                if isinstance(node, ast.Call):
                    texts = _in_call(node, known)
                elif isinstance(node, ast.Assign | ast.AnnAssign):
                    texts = iter([*_in_assignment(node), *_in_table(node)])
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts = iter(PRINTED.findall(node.value))
                for text in texts:
                    found.setdefault(text, place)
    from skyc.runtime.storage.base import StoreFault

    for fault in StoreFault:
        found[f"storage-{fault.value}"] = STORAGE
    return found
