"""Machines the user owns, from `machines:` in `<home>/config.yaml`.

Contract: `read_machines` reads the file with the tools a task file is read with, so each mistake has its line, and `part_of` is
pure. A machine without a price is free to use: its owner has paid for it. Nodes get whole machines.

    machines:
      - name: big
        cpus: 64
        memory: 512
        accelerators: H100:8
        price_per_hour: 4.50
        count: 2
        region: office
        labels: {team: vision}
        host_key: ssh-ed25519 AAAA…
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, SourceFile, SourceMap, error, warning
from ...compiler.ir import Accelerator, FrozenMap, SpecPath, accelerators
from ...compiler.ir.catalog import ANY_REGION, CatalogPart, PriceStep, Rates, TransferRule
from ...compiler.ir.spec import AcceleratorsSpec
from ...compiler.parse import amounts, read_source
from ...compiler.parse.kinds import Accelerators, Choice, Field, ListOf, MapOf, Number, Record, Text, Whole
from ...compiler.parse.nodes import Mapping, compose
from ...compiler.parse.reader import Reader
from ..snapshot import OfferRow, TypeRow, build_part
from .host_keys import fingerprint, is_private, problem

PROVIDER = "owned"
REGION = "owned"
"""Where a machine without a region is."""
FREE = "owned: free unless config says otherwise"
CONFIG = "config.yaml"
_OWN = "the owner's own network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One entry as it is written; absent stays None."""

    origin: SpecPath
    name: str | None = None
    cpus: Decimal | None = None
    memory: str | None = None
    accelerators: AcceleratorsSpec | None = None
    arch: str | None = None
    price_per_hour: str | None = None
    count: int | None = None
    region: str | None = None
    labels: FrozenMap[str] | None = None
    host_key: tuple[str, ...] | None = None


MACHINE = Record(
    "machine",
    (
        Field("name", Text(amounts.NAME), "What the machine is called; it stands where an instance type does."),
        Field("cpus", Number(), "Its CPUs."),
        Field("memory", Text(amounts.SIZE, numbers=True), "Its memory in GiB."),
        Field("accelerators", Accelerators(), "What it has, as `H100:8` or as a mapping from name to number."),
        Field("arch", Choice(("x86_64", "arm64")), "Its processors; default x86_64."),
        Field("price_per_hour", Text(amounts.MONEY, numbers=True), "US dollars per hour for one of it; default nothing."),
        Field("count", Whole(1, 100_000), "How many of it there are; default 1."),
        Field("region", Text(amounts.NAME), "A label for the place it is in; default `owned`."),
        Field("labels", MapOf(Text(numbers=True)), "What tasks may ask for with `labels`."),
        Field(
            "host_key", ListOf(Text(), single=True), "Its SSH host keys, in OpenSSH's form; of `count` machines all of theirs."
        ),
    ),
    Machine,
)
_MEANT = {
    "cpu": "cpus",
    "cores": "cpus",
    "gpu": "accelerators",
    "gpus": "accelerators",
    "mem": "memory",
    "price": "price_per_hour",
    "hourly": "price_per_hour",
    "number": "count",
    "host_keys": "host_key",
    "hostkey": "host_key",
    "ssh_host_key": "host_key",
}


def read_machines(home: Path) -> tuple[tuple[Machine, ...], tuple[Diagnostic, ...]]:
    """The declared machines, in file order; none without a file or without the key. Never raises for what a file holds."""
    path = home / CONFIG
    if not path.exists():
        return (), ()
    source, said = read_source(path)
    if source is None:
        # The same reader serves task files, and calls what it reads one.
        return (), (error("bad-config", "The configuration file cannot be read", said[0].detail, hint="correct or remove it"),)
    nodes, complaints = compose(source)
    if nodes is None:
        return (), complaints
    top = next((node for node in nodes if node is not None), None)
    entries = {key.text: (key, value) for key, value in top.entries} if isinstance(top, Mapping) else {}
    if "machines" not in entries:
        return (), complaints
    key, value = entries["machines"]
    reader = Reader(meant=_MEANT, homes={}, diagnostics=list(complaints))
    read: tuple[Machine, ...] = reader.read(ListOf(MACHINE), value, SpecPath(("machines",)), key) or ()
    reader.diagnostics += _mistakes(read, SourceMap(SourceFile(path=source.path, text=source.text), reader.spans))
    return read, tuple(reader.diagnostics)


def _mistakes(machines: tuple[Machine, ...], sources: SourceMap) -> Iterator[Diagnostic]:
    """What no single field shows to be wrong."""
    seen: set[str] = set()
    for machine in machines:
        for name in ("name", "cpus", "memory"):
            if getattr(machine, name) is None:
                yield error(
                    "missing-field",
                    "A field that is needed is missing",
                    f"A machine needs `{name}`: without it no task can be placed on it.",
                    span=sources.find(machine.origin),
                    hint=f"add `{name}: …`",
                )
        if machine.cpus is not None and machine.cpus <= 0:
            yield error(
                "out-of-range",
                "A number is out of range",
                "A machine has more than 0 CPUs.",
                span=sources.find(machine.origin.child("cpus")),
            )
        if machine.name in seen:
            yield error(
                "duplicate-machine",
                "Two machines have one name",
                f"`{machine.name}` already stands further up.",
                span=sources.find(machine.origin.child("name")),
                hint="use `count` for several equal ones, or rename one",
            )
        seen.add(machine.name or "")
        yield from _wrong_keys(machine, sources)
        for text in machine.accelerators.items if machine.accelerators else ():
            asked = amounts.read_accelerator(text).name
            if accelerators.canonical(asked) is None:
                close = accelerators.close(asked)
                yield warning(
                    "unknown-accelerator",
                    "An accelerator is not known",
                    f"`{asked}` is taken as a name of your own: only a task that asks for `{asked}` gets it.",
                    span=sources.find(machine.origin.child("accelerators")),
                    hint=f"did you mean `{close}`?" if close else None,
                )


def _wrong_keys(machine: Machine, sources: SourceMap) -> Iterator[Diagnostic]:
    """Without a place for a private key: its line would be shown."""
    for number, text in enumerate(machine.host_key or ()):
        if is_private(text):
            yield error(
                "private-host-key",
                "A private key stands in the configuration",
                f"{sources.source.path}: `host_key` of the machine `{machine.name}` is a private key. Whoever can read the file can"
                " pass for that machine: make it a new one, and write the public half of that here.",
                hint="the public half is in /etc/ssh/ssh_host_ed25519_key.pub on the machine",
            )
        elif (why := problem(text)) is not None:
            yield error(
                "bad-host-key",
                "A host key cannot be read",
                f"Key {number + 1} of the machine `{machine.name}` {why}. It has the form `ssh-ed25519 AAAA… comment`.",
                span=sources.find(machine.origin.child("host_key")),
                hint="copy /etc/ssh/ssh_host_ed25519_key.pub from the machine, or the part of ssh-keyscan's line after the name",
            )


def host_keys_of(machines: tuple[Machine, ...]) -> FrozenMap[tuple[str, ...]]:
    """Machine → fingerprints of its host keys, sorted, of machines that were read without an error; those without a key are left out."""
    return FrozenMap(
        {
            machine.name: tuple(sorted({fingerprint(text) for text in machine.host_key}))
            for machine in machines
            if machine.name is not None and machine.host_key
        }
    )


def part_of(machines: tuple[Machine, ...]) -> CatalogPart:
    """The offers of machines that were read without an error. Pure."""
    types = tuple(_type(machine) for machine in machines)
    offers = tuple(_offer(machine, kind) for machine, kind in zip(machines, types, strict=True))
    rates = _rates({offer.region for offer in offers})
    return build_part(PROVIDER, types, offers, rates, sells_spot=False, as_of="now")


def _rates(regions: set[str]) -> Rates:
    """Beside the machines nothing is charged: their disks and their network are the owner's, who pays for them anyway."""
    nothing = (PriceStep(above=Decimal(0), price=Decimal(0)),)
    destinations = ("other-region", "internet") if len(regions) > 1 else ("internet",)
    return Rates(
        transfers=tuple(
            TransferRule(source=ANY_REGION, destination=destination, steps=nothing, price_source=_OWN, as_of="undated")
            for destination in destinations
        )
    )


def _type(machine: Machine) -> TypeRow:
    assert machine.name is not None and machine.memory is not None, "checked when it was read"
    return TypeRow(
        name=machine.name,
        cpus=machine.cpus,
        memory_gb=amounts.read_size(machine.memory),
        accelerators=_devices(machine.accelerators),
        arch=machine.arch or "x86_64",
        local_disk_gb=None,
        labels=machine.labels or FrozenMap(),
    )


def _devices(spec: AcceleratorsSpec | None) -> tuple[Accelerator, ...]:
    counts: dict[str, Decimal] = {}
    for text in spec.items if spec is not None else ():
        wanted = amounts.read_accelerator(text)
        name, count = accelerators.asked(wanted.name, wanted.count)
        counts[name] = counts.get(name, Decimal(0)) + count
    return tuple(
        Accelerator(name=name, count=count, memory_gb=found.memory_gb if (found := accelerators.device(name)) else None)
        for name, count in sorted(counts.items())
    )


def _offer(machine: Machine, kind: TypeRow) -> OfferRow:
    price = machine.price_per_hour
    return OfferRow(
        type=kind.key,
        region=machine.region or REGION,
        zone=None,
        on_demand=Decimal(0) if price is None else amounts.read_money(price),
        source=FREE if price is None else f"{CONFIG}: {machine.origin}.price_per_hour",
        as_of="undated",
        capacity=machine.count or 1,
    )
