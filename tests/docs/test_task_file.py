"""docs/task-file.md lists every field, with the words of the field table itself."""

import os
from collections.abc import Iterator
from pathlib import Path

from skyc.compiler.parse import fields
from skyc.compiler.parse.kinds import Entries, Field, Kind, ListOf, OneOf, Record

PAGE = Path(__file__).parents[2] / "docs" / "task-file.md"
BEGIN = "<!-- fields: begin (written by SKYC_BLESS=1 pytest tests/docs) -->\n"
END = "<!-- fields: end -->"

TABLES = (
    ("The task", fields.TASK),
    ("`resources`", fields.RESOURCES),
    ("`groups.<name>`", fields.GROUPS.record),
    ("`storage.<name>`", fields.STORAGE.record),
    ("`file_mounts.<path>`, when it is a mapping", fields.FILE_MOUNTS.record),
    ("`checkpoint`", fields.CHECKPOINT),
    ("`affinity`", fields.AFFINITY),
    ("`affinity.same` and `affinity.distinct`", fields.SAME),
    ("A document of its own before several tasks", fields.HEADER),
)


def own(field: Field) -> bool:
    """Fields SkyPilot writes for itself, known by their underscore, are accepted and not for people to write."""
    return not field.name.startswith("_")


def table(record: Record) -> str:
    rows = ["| field | meaning |", "|---|---|"]
    for field in filter(own, record.fields):
        later = " *Later.*" if field.later else ""
        rows.append(f"| `{field.name}` | {field.doc.replace('|', chr(92) + '|')}{later} |")
    return "\n".join(rows)


def wanted() -> str:
    return "\n".join(f"### {title}\n\n{table(record)}\n" for title, record in TABLES)


def test_the_page_says_what_the_table_says() -> None:
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    listed, found, tail = rest.partition(END)
    assert found
    if os.environ.get("SKYC_BLESS"):
        assert not os.environ.get("CI"), "CI must not rewrite what it checks"
        PAGE.write_text(head + BEGIN + wanted() + END + tail)
        return
    assert listed == wanted()


def records(kind: Kind) -> Iterator[Record]:
    """Every record that can be reached through fields that are supported today."""
    match kind:
        case Record():
            yield kind
            for field in kind.fields:
                if field.later is None:
                    yield from records(field.kind)
        case Entries():
            yield from records(kind.record)
        case ListOf():
            yield from records(kind.item)
        case OneOf():
            for one in kind.kinds:
                yield from records(one)
        case _:
            return


def test_no_supported_record_is_left_out() -> None:
    """A new mapping in the file needs a table of its own here. An alternative has the fields of `resources`, `distinct` has those
    of `same`."""
    listed = {record.name for _, record in TABLES} | {"alternative", "distinct"}
    found = {record.name for record in records(fields.TASK)}
    assert found - listed == set()
