"""`skyc catalog refresh`: ask the clouds for today's offers, show what changed, and say what could not be asked."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..compiler.diagnostics import diagnostic_object
from ..compiler.ir import JsonObject, decimal_text
from .screen import LIVE_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as LiveProgress
    from rich.progress import TaskID

    from ..providers.refresh import RefreshProgress
    from ..runtime.catalog_refresh import CloudRefresh, PartFacts
    from .api import Api
    from .screen import Screen

HEADINGS = ("CLOUD", "STATE", "OFFERS", "PRICED", "CHANGED", "PRICES OF")
MOVE_HEADINGS = ("CLOUD", "TYPE", "REGION", "BEFORE", "NOW", "CHANGE")
MOVES_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cloud", metavar="NAME", action="append", default=None, help="only this cloud; may be repeated")
    parser.add_argument("--region", metavar="REGION", action="append", default=None, help="only this region; may be repeated")
    parser.add_argument(
        "--accept-loss", action="store_true", default=False, help="write a catalog that has lost many of its offers too"
    )
    parser.add_argument(
        "--no-wait", action="store_true", default=False, help="if another refresh is at work, stop instead of waiting for it"
    )
    parser.add_argument("--json", action="store_true", default=False, help="print JSON (skyc.catalog-refresh/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    """Exits with 1 when a cloud failed, or when none could be asked."""
    with _shown(screen) as tell:
        results = api.catalog_refresh(
            arguments.cloud,
            regions=arguments.region,
            accept_loss=arguments.accept_loss,
            home=arguments.home,
            wait=0.0 if arguments.no_wait else None,
            on_progress=tell,
        )
    if arguments.json:
        screen.document(document(results))
    else:
        screen.table(HEADINGS, [_row(result) for result in results])
        moves = _move_rows(results)
        if moves:
            screen.document("\n")
            screen.table(MOVE_HEADINGS, moves)
    screen.diagnostics(diagnostic for result in results for diagnostic in result.diagnostics)
    written = any(result.after is not None and not result.failed for result in results)
    return 0 if written and not any(result.failed for result in results) else 1


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "clouds that were done keep their new prices; the others have those of before.", ()


def _row(result: CloudRefresh) -> tuple[str, ...]:
    before, after = result.before, result.after

    def both(name: str) -> str:
        old, new = (str(getattr(part, name)) if part else "–" for part in (before, after))
        return old if after is None or old == new else f"{old} → {new}"

    shown = after or before
    dates = shown.as_of if shown else "–"
    return (result.provider, result.state.value, both("offers"), both("priced"), str(result.changed), dates)


def _move_rows(results: Sequence[CloudRefresh]) -> list[tuple[str, ...]]:
    moves = [(result.provider, move) for result in results for move in result.moves]
    moves.sort(key=lambda pair: (-abs(pair[1].change), pair[0], pair[1].instance_type, pair[1].region))
    return [
        (
            provider,
            move.instance_type,
            move.region,
            f"${decimal_text(move.before)}",
            f"${decimal_text(move.after)}",
            f"{move.change * 100:+.1f} %",
        )
        for provider, move in moves[:MOVES_SHOWN]
    ]


# JSON


def document(results: Sequence[CloudRefresh]) -> str:
    """`skyc.catalog-refresh/v1`; see `cli/encode.py` for the rules of all documents."""
    content: JsonObject = {"schema": "skyc.catalog-refresh/v1", "clouds": [_cloud(result) for result in results]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _cloud(result: CloudRefresh) -> JsonObject:
    return {
        "cloud": result.provider,
        "state": result.state.value,
        "before": _part(result.before),
        "after": _part(result.after),
        "prices_changed": result.changed,
        "moves": [
            {
                "instance_type": move.instance_type,
                "region": move.region,
                "before": decimal_text(move.before),
                "after": decimal_text(move.after),
                "change": decimal_text(move.change.quantize(Decimal("0.0001"))),
            }
            for move in result.moves
        ],
        "failures": [
            {"where": failure.where, "reason": failure.reason, "remedy": failure.remedy} for failure in result.failures
        ],
        "notes": list(result.notes),
        "diagnostics": [diagnostic_object(diagnostic) for diagnostic in result.diagnostics],
    }


def _part(facts: PartFacts | None) -> JsonObject | None:
    if facts is None:
        return None
    return {
        "offers": facts.offers,
        "types": facts.types,
        "priced": facts.priced,
        "spot_priced": facts.spot_priced,
        "as_of": facts.as_of,
        "digest": facts.digest,
    }


# Progress


@contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[RefreshProgress], None]]:
    """A bar per cloud on a terminal, once it has lasted a moment; elsewhere one plain line when a cloud begins."""
    if not screen.live:
        yield _Lines(screen).tell
        return
    bars = _Bars()
    try:
        yield bars.tell
    finally:
        bars.stop()


class _Lines:
    """One line per cloud: a log has no use for every region of it."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said: set[str] = set()
        self._mutex = threading.Lock()

    def tell(self, progress: RefreshProgress) -> None:
        with self._mutex:
            if progress.provider in self._said:
                return
            self._said.add(progress.provider)
        self._screen.note(f"catalog: {progress.provider or progress.text}")


class _Bars:
    """Live bars; may be told from any thread."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._mutex = threading.Lock()
        self._live: LiveProgress | None = None
        self._bars: dict[str, TaskID] = {}

    def tell(self, progress: RefreshProgress) -> None:
        with self._mutex:
            if self._live is None:
                if time.monotonic() - self._began < LIVE_AFTER:
                    return
                self._live = self._start()
            name = progress.provider
            if name not in self._bars:
                self._bars[name] = self._live.add_task(name, total=None)
            self._live.update(
                self._bars[name],
                completed=progress.done,
                total=progress.total or None,
                description=f"{name:<10} {progress.text}",
            )

    def stop(self) -> None:
        with self._mutex:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _start(self) -> LiveProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns: list[Any] = [
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        ]
        live = RichProgress(*columns, console=Console(file=sys.stderr), transient=True, redirect_stdout=False)
        live.start()
        return live
