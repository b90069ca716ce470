"""What the catalog costs: listing offers as a user does, and its format beside others that hold the same rows.

The other formats are written here, for the comparison, and nowhere else.
"""

from __future__ import annotations

import csv
import gzip
import pickle
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.build_catalog import FOLDERS
from skyc.providers.snapshot import read_part
from skyc.providers.stored import CATALOG_FILE

from .child import SKYC, Scratch, run
from .figures import Figure, NotMeasured

PROVIDERS = Path(__file__).resolve().parents[2] / "providers"
CHILD = Path(__file__).with_name("store_child.py")
QUESTIONS = (("accelerator", "find eight A100"), ("reasons", "count rejections"))
FORMATS = (
    ("columns", "columns (what skyc ships)"),
    ("sqlite", "SQLite with indexes"),
    ("csv.gz", "CSV, gzip"),
    ("pickle", "pickle of rows"),
)


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when a command fails."""
    count = 3 if quick else 9
    home = scratch.home("offers")
    for what, words, budget in (
        ("`skyc offers --accelerator A100:8`, whole process", ("offers", "--accelerator", "A100:8"), 0.5),
        ("`skyc offers` without a filter, whole process", ("offers",), 0.5),
        ("`skyc catalog show`, whole process", ("catalog", "show"), None),
    ):
        run(scratch, (*SKYC, *words), home=home)
        samples = tuple(run(scratch, (*SKYC, *words), home=home).seconds for _ in range(count))
        yield Figure(what=what, unit="s", samples=samples, budget=budget)
    yield from _stores(scratch, count)


def _stores(scratch: Scratch, count: int) -> Iterator[Figure]:
    """The formats beside each other. Raises NotMeasured when they do not agree: then one of them was asked something else."""
    places = _written(scratch.root / "stores")
    yield from (
        Figure(what=f"store, {title}: size", unit="MB", samples=(_size(places[name]) / 1e6,)) for name, title in FORMATS
    )
    for question, words in QUESTIONS:
        answers = set()
        for name, title in FORMATS:
            # The first one compiles bytecode and fills the file cache.
            timed = [_asked(scratch, name, places[name], question) for _ in range(count + 1)][1:]
            answers |= {answer for _, _, answer in timed}
            if question == QUESTIONS[0][0]:
                yield Figure(what=f"store, {title}: imports", unit="s", samples=tuple(each[0] for each in timed))
            yield Figure(what=f"store, {title}: open and {words}", unit="s", samples=tuple(each[1] for each in timed))
        if len(answers) != 1:
            raise NotMeasured(f"the formats do not agree on how to {words}: {sorted(answers)}")


def _asked(scratch: Scratch, name: str, place: Path, question: str) -> tuple[float, float, str]:
    """(seconds of imports, seconds from there to the answer, answer) of one fresh process."""
    done = run(scratch, (sys.executable, "-P", str(CHILD), name, str(place), question))
    imports, seconds, answer = done.stderr.split()
    return float(imports), float(seconds), answer


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir()) if place.is_dir() else place.stat().st_size


def _written(root: Path) -> dict[str, Path]:
    """The shipped catalog in every format. Returns where each lies."""
    places = {name: root / name for name, _ in FORMATS}
    places["columns"].mkdir(parents=True)
    parts = []
    for provider, folder in FOLDERS:
        file = PROVIDERS / folder / CATALOG_FILE
        shutil.copy2(file, places["columns"] / f"{provider}.skyc")
        parts.append(read_part(file))
    rows = [row for part in parts for row in _rows(part)]
    places["pickle"].write_bytes(pickle.dumps(rows, protocol=pickle.HIGHEST_PROTOCOL))
    with gzip.open(places["csv.gz"], "wt", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    _write_sqlite(places["sqlite"], parts)
    return places


def _rows(part: CatalogPart) -> Iterator[tuple[object, ...]]:
    """The part as flat rows; amounts in thousandths, prices in nano-dollars, -1 for what is not known."""
    offers, types = part.offers, part.offers.types
    devices = ["" for _ in types.names]
    for kind, name, count in zip(
        types.device_type.tolist(), types.device_name.tolist(), types.device_count.tolist(), strict=True
    ):
        devices[kind] = ";".join(filter(None, (devices[kind], f"{types.accelerators[name]}:{count}")))
    columns = (offers.type, offers.place, offers.on_demand, offers.spot, offers.source, offers.estimated)
    for kind, place, on_demand, spot, source, estimated in zip(*(column.tolist() for column in columns), strict=True):
        yield (
            part.provider,
            offers.places[place].region,
            offers.places[place].zone or "",
            types.names[kind],
            int(types.cpus[kind]),
            int(types.memory[kind]),
            types.archs[int(types.arch[kind])],
            devices[kind],
            on_demand,
            spot,
            *offers.sources[source],
            int(estimated),
        )


def _write_sqlite(place: Path, parts: list[CatalogPart]) -> None:
    """Types apart from offers, as in the shipped format, with an index on everything a question filters by."""
    with sqlite3.connect(place) as base:
        base.executescript(
            """
            create table types (id integer primary key, provider, name, cpus, memory, arch);
            create table devices (type, name, count);
            create table places (id integer primary key, provider, region, zone);
            create table sources (id integer primary key, provider, source, as_of);
            create table offers (type, place, on_demand, spot, source, estimated);
            """
        )
        for number, part in enumerate(parts):
            offers, types, first = part.offers, part.offers.types, number * 100_000
            base.executemany(
                "insert into types values (?, ?, ?, ?, ?, ?)",
                (
                    (first + i, part.provider, name, int(types.cpus[i]), int(types.memory[i]), types.archs[int(types.arch[i])])
                    for i, name in enumerate(types.names)
                ),
            )
            base.executemany(
                "insert into devices values (?, ?, ?)",
                (
                    (
                        first + int(types.device_type[j]),
                        types.accelerators[int(types.device_name[j])],
                        int(types.device_count[j]),
                    )
                    for j in range(len(types.device_type))
                ),
            )
            base.executemany(
                "insert into places values (?, ?, ?, ?)",
                ((first + i, part.provider, at.region, at.zone) for i, at in enumerate(offers.places)),
            )
            base.executemany(
                "insert into sources values (?, ?, ?, ?)",
                ((first + i, part.provider, *source) for i, source in enumerate(offers.sources)),
            )
            columns = (offers.type, offers.place, offers.on_demand, offers.spot, offers.source, offers.estimated)
            base.executemany(
                "insert into offers values (?, ?, ?, ?, ?, ?)",
                (
                    (first + kind, first + at, on_demand, spot, first + source, estimated)
                    for kind, at, on_demand, spot, source, estimated in zip(*(c.tolist() for c in columns), strict=True)
                ),
            )
        base.executescript(
            "create index offers_by_type on offers (type, on_demand); create index devices_by_name on devices (name, count);"
        )
    with sqlite3.connect(place) as base:
        base.execute("vacuum")
