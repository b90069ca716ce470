"""Opens the catalog in one format and answers one question: `python -P store_child.py FORMAT PATH QUESTION`.

Writes to standard error, because that is what the benchmark keeps of a process: the seconds that importing took, the seconds from
there to the answer, and the answer, so that the formats can be held against each other. Each reader is what a sensible program
would do with that format.

Questions: `accelerator` asks for the lowest price of eight A100. `reasons` is what the compiler asks: how many offers fail each of
four requirements, and how many fail exactly one, which is what relaxing it would gain.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

STARTED = time.perf_counter()
CPUS, MEMORY, ARCH, CEILING = 8_000, 32_000, "arm64", 1_000_000_000


def columns(path: str, question: str) -> tuple[float, object]:
    """skyc's own format: one file per provider, columns that are used as they lie there."""
    from pathlib import Path

    import numpy

    from skyc.providers.snapshot import read_part

    imported = time.perf_counter()
    prices = []
    counts = numpy.zeros(5, dtype=numpy.int64)
    for file in sorted(Path(path).glob("*.skyc")):
        offers = read_part(file).offers
        types = offers.types
        if question == "accelerator":
            name = numpy.array([name == "A100" for name in types.accelerators], dtype=bool)
            mask = numpy.zeros(len(types.names), dtype=bool)
            mask[types.device_type[name[types.device_name] & (types.device_count == 8_000)]] = True
            prices += offers.on_demand[mask[offers.type] & (offers.on_demand >= 0)].tolist()
            continue
        arch = numpy.array([arch != ARCH for arch in types.archs], dtype=bool)
        fails = numpy.stack(
            [
                (types.cpus < CPUS)[offers.type],
                (types.memory < MEMORY)[offers.type],
                arch[types.arch][offers.type],
                (offers.on_demand < 0) | (offers.on_demand > CEILING),
            ]
        )
        counts += [*fails.sum(axis=1), (fails.sum(axis=0) == 1).sum()]
    return imported, min(prices) if question == "accelerator" else counts.tolist()


def sqlite(path: str, question: str) -> tuple[float, object]:
    """One file, indexes on what is asked for."""
    import sqlite3

    imported = time.perf_counter()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        if question == "accelerator":
            kinds = "select type from devices where name = 'A100' and count = 8000"
            (answer,) = base.execute(f"select min(on_demand) from offers where on_demand >= 0 and type in ({kinds})").fetchone()
            return imported, answer
        (row,) = base.execute(
            "select sum(c), sum(m), sum(a), sum(p), sum(c + m + a + p = 1) from"
            " (select cpus < ? c, memory < ? m, arch <> ? a, on_demand < 0 or on_demand > ? p"
            " from offers join types on type = id)",
            (CPUS, MEMORY, ARCH, CEILING),
        )
    return imported, list(row)


def csv_gz(path: str, question: str) -> tuple[float, object]:
    """Text, as the tables the catalog is made from."""
    import csv
    import gzip

    imported = time.perf_counter()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return imported, _of_rows(csv.reader(stream), question)


def pickled(path: str, question: str) -> tuple[float, object]:
    """A list of tuples."""
    import pickle
    from pathlib import Path

    imported = time.perf_counter()
    return imported, _of_rows(pickle.loads(Path(path).read_bytes()), question)


def _of_rows(rows: Iterable[Sequence[str]], question: str) -> object:
    """Row: provider, region, zone, type, cpus, memory, arch, devices, on-demand, spot, source, date, estimated."""
    best = 2**62
    counts = [0] * 5
    for row in rows:
        price = int(row[8])
        if question == "accelerator":
            if 0 <= price < best and "A100:8000" in row[7].split(";"):
                best = price
            continue
        fails = (int(row[4]) < CPUS, int(row[5]) < MEMORY, row[6] != ARCH, not 0 <= price <= CEILING)
        alone = sum(fails) == 1
        counts = [count + failed for count, failed in zip(counts, (*fails, alone), strict=True)]
    return best if question == "accelerator" else counts


READERS = {"columns": columns, "sqlite": sqlite, "csv.gz": csv_gz, "pickle": pickled}

if __name__ == "__main__":
    imported, answer = READERS[sys.argv[1]](sys.argv[2], sys.argv[3])
    text = str(answer).replace(" ", "")
    sys.stderr.write(f"{imported - STARTED:.6f} {time.perf_counter() - imported:.6f} {text}\n")
