"""Regions that an account has because it asked for them, from `regions:` in `<home>/config.yaml`.

    regions:
      aws: [eu-south-2, ap-east-1]
      azure: germanynorth

Which regions have to be asked for is a target's own knowledge (`Provider.on_request`). Nothing is placed in one unless it is said here, a
task's `infra` names it, or the account told a refresh of the catalog that it has it: that is in `<home>/catalog/<cloud>.regions.json`.
Regions that every account has may be said too, and change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, Severity, SkycError, SourceMap, error
from ..compiler.ir import SpecPath
from ..compiler.parse.kinds import ListOf, MapOf, Text
from ..compiler.parse.nearest import nearest
from ..compiler.parse.reader import Reader
from ..providers.base import CheckReport, Provider
from .config_entry import config_entry

FORMAT = 1
_TOLD = ".regions.json"
_KIND = MapOf(ListOf(Text(), single=True))


def told_regions(home: Path, provider: str) -> Path:
    """Where a refresh keeps what a cloud told."""
    return home / "catalog" / f"{provider}{_TOLD}"


def encode_regions(regions: Collection[str]) -> bytes:
    return json.dumps({"format": FORMAT, "regions": sorted(regions)}, indent=1).encode() + b"\n"


def read_regions(home: Path, providers: Mapping[str, Provider]) -> tuple[str, ...]:
    """`<provider>/<region>`, sorted: those on request that the accounts have, as it is declared and as the clouds told. Raises SkycError
    with every mistake in what is declared."""
    return tuple(sorted({*declared_regions(home, providers), *_told(home, providers)}))


def declared_regions(home: Path, providers: Mapping[str, Provider]) -> tuple[str, ...]:
    """Those in config.yaml, in file order; none without a file or without the key. Raises SkycError with every mistake."""
    entry = config_entry(home, "regions")
    if entry is None:
        return ()
    # What else is wrong with the file is said by who reads that.
    reader = Reader(meant={}, homes={}, diagnostics=[])
    read: Mapping[str, tuple[str, ...]] = reader.read(_KIND, entry.value, SpecPath(("regions",)), entry.key) or {}
    sources = SourceMap(entry.source, reader.spans)
    found = []
    for target, names in read.items():
        known = _known(target, providers, home)
        for name in names:
            # One that the catalog does not have yet may come with its next refresh.
            if target in providers and providers[target].on_request(name):
                found.append(f"{target}/{name}")
            elif name not in known:
                reader.diagnostics.append(_unknown(target, name, known, providers, sources))
    if reader.diagnostics:
        raise SkycError(*reader.diagnostics)
    return tuple(found)


def _known(target: str, providers: Mapping[str, Provider], home: Path) -> frozenset[str]:
    if target not in providers:
        return frozenset()
    return frozenset(place.region for place in providers[target].catalog(home=home).offers.places)


def _unknown(
    target: str, name: str, known: Collection[str], providers: Mapping[str, Provider], sources: SourceMap
) -> Diagnostic:
    what, close = f"`{target}` has no region `{name}`.", nearest(name, known)
    if target not in providers:
        what, close = f"There is no target `{target}`.", nearest(target, providers)
    return error(
        "bad-region",
        "A region in the configuration is not known",
        f"`regions.{target}` in config.yaml: {what}",
        span=sources.find(SpecPath(("regions", target))),
        hint=f"did you mean `{close}`?" if close else None,
    )


def _told(home: Path, providers: Mapping[str, Provider]) -> Iterator[str]:
    """What the last refreshes were told. A file that cannot be read says nothing: the next refresh writes it anew."""
    for path in sorted((home / "catalog").glob(f"*{_TOLD}")):
        name = path.name.removesuffix(_TOLD)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            regions = [str(region) for region in content["regions"]] if content["format"] == FORMAT else []
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if name in providers:
            yield from (f"{name}/{region}" for region in regions if providers[name].on_request(region))


def with_regions(report: CheckReport, admitted: Collection[str]) -> CheckReport:
    """A check's report with a note of regions that the account has, on request, and that nothing is placed in yet."""
    left = [region for region in report.regions if f"{report.provider}/{region}" not in admitted]
    if not left:
        return report
    # All of them, for the line takes the place of the one there is.
    mine = {place.partition("/")[2] for place in admitted if place.startswith(f"{report.provider}/")}
    line = ", ".join(sorted({*mine, *left}))
    note = Diagnostic(
        severity=Severity.NOTE,
        slug="regions-not-used",
        summary="The account has regions that nothing is placed in",
        detail=f"`{report.provider}`: {', '.join(left)}. Only accounts that asked for them have these, so skyc waits to be told.",
        hint=f"write `regions: {{{report.provider}: [{line}]}}` in config.yaml, or run the command below, which keeps them",
        commands=(f"skyc catalog refresh --cloud {report.provider}",),
    )
    return replace(report, diagnostics=(*report.diagnostics, note))
