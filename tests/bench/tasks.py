"""Task files for the optimizer's figures, from a seeded generator: the same seed gives the same bytes.

Requests are drawn from what people ask for: mostly CPUs with or without memory, in three of ten cases an accelerator.
"""

from __future__ import annotations

import random
from itertools import pairwise

ACCELERATORS = ("T4:1", "L4:1", "A10G:1", "V100:1", "A100:1", "A100:8", "H100:8")
CPUS = (2, 4, 8, 16, 32)
GIB_PER_CPU = (2, 4, 8)
HOURS = (1, 2, 5, 12)
SIZES_GB = (1, 10, 50, 200)
WIDTH = 10
"""Tasks in a layer of a layered graph."""


def one(accelerator: str) -> str:
    return _task("train", f'accelerators: "{accelerator}"', 1)


def chain(count: int, gb: int, seed: int) -> str:
    """Tasks in a row, each handing `gb` to the next."""
    draw = random.Random(seed)
    documents = []
    for number in range(count):
        more = [f"needs: [t{number - 1}]", f"inputs: {{d{number - 1}: {gb}GB}}"] if number else []
        if number < count - 1:
            more.append(f"outputs: {{d{number}: {gb}GB}}")
        documents.append(_task(f"t{number}", _request(draw), draw.choice(HOURS), *more))
    return _file(documents)


def layered(count: int, edges: int, seed: int) -> str:
    """Tasks in layers; every one reads from some of the layer before, `edges` in all, between 1 and 200 GB each."""
    draw = random.Random(seed)
    layers = [range(first, min(first + WIDTH, count)) for first in range(0, count, WIDTH)]
    # Each task has one source at least; the rest is drawn from all pairs of neighbouring layers.
    joined = {(draw.choice(above), number) for above, layer in pairwise(layers) for number in layer}
    possible = [
        (first, second)
        for above, layer in pairwise(layers)
        for first in above
        for second in layer
        if (first, second) not in joined
    ]
    joined |= set(draw.sample(possible, edges - len(joined)))
    size = [draw.choice(SIZES_GB) for _ in range(count)]
    documents = []
    for number in range(count):
        sources = sorted(first for first, second in joined if second == number)
        more = [f"needs: [{', '.join(f't{source}' for source in sources)}]"]
        if sources:
            more.append(f"inputs: {{{', '.join(f'd{source}: {size[source]}GB' for source in sources)}}}")
        if any(first == number for first, _ in joined):
            more.append(f"outputs: {{d{number}: {size[number]}GB}}")
        documents.append(_task(f"t{number}", _request(draw), draw.choice(HOURS), *more))
    return _file(documents)


def choosing(count: int, edges: int, seed: int, deadline: str | None = None) -> str:
    """A layered graph in which three of five tasks may run on any of four accelerators, the quicker the dearer; what nobody waits
    for has the deadline."""
    draw = random.Random(seed)
    documents = []
    for document in layered(count, edges, seed).split("---\n"):
        name, _, _, *rest = document.splitlines()
        hours = draw.choice(HOURS)
        if draw.random() < 0.6:
            quicker = ", ".join(
                f'"{kind}": {round(hours * draw.choice(shares), 2)}'
                for kind, shares in (("L4:1", (0.5, 0.6, 0.8)), ("A100:1", (0.15, 0.2, 0.3)), ("H100:1", (0.08, 0.1, 0.15)))
            )
            lines = [
                name,
                'resources: {accelerators: {"T4:1", "L4:1", "A100:1", "H100:1"}}',
                f"hours: {{{quicker}, default: {hours}}}",
            ]
        else:
            lines = [name, f"resources: {{{_request(draw)}}}", f"hours: {hours}"]
        if deadline is not None and not any(line.startswith("outputs:") for line in rest):
            lines.append(f"deadline: {deadline}")
        documents.append("\n".join([*lines, *rest, ""]))
    return _file(documents)


def independent(count: int, seed: int) -> str:
    """Tasks that have nothing to do with each other."""
    draw = random.Random(seed)
    return _file(["execution: parallel\n", *(_task(f"t{i}", _request(draw), draw.choice(HOURS)) for i in range(count))])


def all_different(count: int) -> str:
    """Independent tasks no two of which ask for the same."""
    documents = [_task(f"t{i}", f"cpus: {i % 40 + 1}+, memory: {i // 40 * 4 + 1}+", 1 + i % 7) for i in range(count)]
    return _file(["execution: parallel\n", *documents])


def _request(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return f'accelerators: "{draw.choice(ACCELERATORS)}"'
    cpus = draw.choice(CPUS)
    return f"cpus: {cpus}+" if draw.random() < 0.5 else f"cpus: {cpus}+, memory: {cpus * draw.choice(GIB_PER_CPU)}+"


def _task(name: str, request: str, hours: int, *more: str) -> str:
    return "\n".join([f"name: {name}", f"resources: {{{request}}}", f"hours: {hours}", *more, "run: echo", ""])


def _file(documents: list[str]) -> str:
    return "---\n".join(documents)
