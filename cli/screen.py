"""Where the command line prints. One place, so that streams, colour and the live line are decided once.

Standard output: what was asked for (reports, tables, JSON, the job's output). Standard error: all else. On a terminal, work
that lasts over a second has a live line on standard error; elsewhere each step is one plain line without times, so logs of
two runs can be compared. A closed standard error is no reason to stop an apply, so failures to write there are passed over.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..compiler.diagnostics import Diagnostic, Severity, SourceFile, in_reading_order, render
from ..runtime.results import Progress, ProgressKind

if TYPE_CHECKING:
    from rich.progress import Progress as LiveProgress
    from rich.progress import TaskID

LIVE_AFTER = 0.8
"""Seconds. What is quicker needs no live line."""
LARGEST_SOURCE = 1 << 20
RED, GREEN, YELLOW, BLUE, BOLD, DIM = "31", "32", "33", "34", "1", "2"
DIFF_COLORS = {"+": GREEN, "-": RED, "x": RED, "-/+": RED, "+/-": RED, "~": YELLOW, "!": f"{YELLOW};{BOLD}"}
_SIGN = re.compile(r"  ([+~x-])(?= )|(-/\+|\+/-|!)(?= )")
"""The sign a report's line begins with: a resource's in a column of three, a caution's in the first. Everything else is indented
otherwise, so no value that happens to begin with a sign takes on its colour."""


def wants_color(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Colour goes to terminals only, and not where the user or the terminal says no (no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def harmless(text: str) -> str:
    """Text from files and machines without what moves a terminal's cursor or turns the reading direction."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in text)


class Screen:
    """The two streams of a command. A context manager: leaving it takes the live line away."""

    def __init__(self, *, color: bool = True) -> None:
        self._color_out = color and wants_color(sys.stdout)
        self._color_err = color and wants_color(sys.stderr)
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._line = LiveLine(color=self._color_err) if self.live else None
        self._step: Progress | None = None
        self._mutex = threading.RLock()
        self._said: set[Diagnostic] = set()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.hide_live()

    # Standard output

    def output(self, line: str) -> None:
        """A line of the job, as it came."""
        with self._mutex:
            self.hide_live()
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def document(self, text: str) -> None:
        """Text that was asked for: JSON, a stage's output."""
        self.hide_live()
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def report(self, text: str, *, to_error: bool = False) -> None:
        """A plan's report, coloured by the sign at the beginning of a line."""
        self.hide_live()
        color = self._color_err if to_error else self._color_out
        painted = "".join(_paint_diff(line) if color else line for line in text.splitlines(keepends=True))
        if to_error:
            self._write(painted)
        else:
            sys.stdout.write(painted)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
        """Columns. Nothing is cut off where standard output is not a terminal."""
        self.hide_live()
        cells = [[harmless(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            self._rich_table(headings, cells, indent)
            return
        widths = [max(len(row[column]) for row in [list(headings), *cells]) for column in range(len(headings))]
        for row in [list(headings), *cells]:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            sys.stdout.write(" " * indent + line + "\n")

    def _rich_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], indent: int) -> None:
        from rich.console import Console
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for heading in headings:
            table.add_column(heading, no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = Console(file=sys.stdout, no_color=not self._color_out, highlight=False, markup=False, emoji=False)
        # A narrow terminal wraps whole lines itself; folding cells would tear job ids apart.
        console.width = max(console.width, indent + console.measure(table, options=console.options.update(width=4096)).maximum)
        console.print(Padding(table, (0, 0, 0, indent)))

    # Standard error

    def note(self, text: str) -> None:
        """A line for the person who waits."""
        with self._mutex:
            self.hide_live()
            self._write(harmless(text).rstrip("\n") + "\n")

    def diagnostics(self, found: Iterable[Diagnostic]) -> None:
        """Each with its source line, in reading order, and once: what a plan has said, the end of its apply does not repeat."""
        sources: dict[str, SourceFile | None] = {}
        blocks = []
        fresh = [diagnostic for diagnostic in found if diagnostic not in self._said]
        self._said.update(fresh)
        for diagnostic in in_reading_order(fresh):
            file = diagnostic.span.file if diagnostic.span else None
            if file is not None and file not in sources:
                sources[file] = _source(file)
            text = harmless(render(diagnostic, sources.get(file) if file else None))
            blocks.append(self._paint_header(text, diagnostic.severity))
        if blocks:
            with self._mutex:
                self.hide_live()
                self._write("\n\n".join(blocks) + "\n")

    def interrupted(self, detail: str, commands: Iterable[str]) -> None:
        lines = ["", "interrupted" + (f": {detail}" if detail else "")]
        for command in commands:
            lines += ["", f"    {command}"]
        self.note("\n".join(lines))

    def progress(self, progress: Progress) -> None:
        """Show one piece of progress. May be called from any thread."""
        if progress.kind is ProgressKind.OUTPUT:
            self._finish_step(progress)
            self.output(f"{progress.task} | {progress.text}" if progress.task is not None else progress.text)
            return
        with self._mutex:
            text = harmless(progress.text)
            if progress.kind is ProgressKind.STEP:
                self._finish_step(progress)
                self._step = progress
                if self._line is not None:
                    self._line.show(text)
                else:
                    self._write(f"{progress.stage}: {text}\n")
            else:
                prefix = f"  {progress.resource}: " if progress.resource else "  "
                self._permanent(prefix + text)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A live line for a call that reports no progress of its own. Silent where there is no terminal."""
        if self._line is not None:
            self._line.show(text)
        try:
            yield
        finally:
            self.hide_live()

    def ask(self, question: str) -> bool:
        """Yes or no from the terminal; anything but yes, and the end of input, is no."""
        with self._mutex:
            self.hide_live()
            self._write(f"{question} [y/N] ")
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            self._write("\n")
        return answer.strip().lower() in ("y", "yes")

    def hide_live(self) -> None:
        if self._line is not None:
            self._line.hide()

    def _finish_step(self, after: Progress) -> None:
        """On a terminal, a step that took a while leaves a line behind."""
        step, self._step = self._step, None
        if step is None or self._line is None:
            return
        self._line.hide()
        seconds = after.elapsed - step.elapsed
        if seconds >= 1:
            self._write(self._styled("✓ ", GREEN) + f"{harmless(step.text)} " + self._styled(f"{seconds:.1f} s", DIM) + "\n")

    def _permanent(self, line: str) -> None:
        if self._line is None or not self._line.print_above(line):
            self._write(line + "\n")

    def _paint_header(self, text: str, severity: Severity) -> str:
        color = {Severity.ERROR: RED, Severity.WARNING: YELLOW, Severity.NOTE: BLUE}[severity]
        word, colon, rest = text.partition(":")
        return self._styled(word + colon, f"{color};{BOLD}") + rest

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._color_err else text

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass


class LiveLine:
    """One line that says what goes on and for how long, shown once that has lasted `LIVE_AFTER`."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._mutex = threading.RLock()
        self._timer: threading.Timer | None = None
        self._shown: tuple[LiveProgress, TaskID] | None = None

    def show(self, text: str) -> None:
        self.hide()
        with self._mutex:
            self._timer = threading.Timer(LIVE_AFTER, self._appear, [text])
            self._timer.daemon = True
            self._timer.start()

    def hide(self) -> None:
        with self._mutex:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._shown is not None:
                shown, self._shown = self._shown, None
                shown[0].stop()

    def print_above(self, line: str) -> bool:
        """Print a line that stays, if the live line is there."""
        with self._mutex:
            if self._shown is None:
                return False
            self._shown[0].console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
            return True

    def _appear(self, text: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        with self._mutex:
            if self._timer is not threading.current_thread():
                return  # hidden, or replaced, while this was loading
            console = Console(file=sys.stderr, no_color=not self._color)
            columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
            live = RichProgress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._shown = (live, live.add_task(text, total=None))
            live.start()


def _paint_diff(line: str) -> str:
    found = _SIGN.match(line)
    if found is None:
        return line
    body, end = (line[:-1], "\n") if line.endswith("\n") else (line, "")
    return f"\x1b[{DIFF_COLORS[found[1] or found[2]]}m{body}\x1b[0m{end}"


def _source(path: str) -> SourceFile | None:
    """The file a diagnostic points into, if it can be read."""
    try:
        if Path(path).stat().st_size > LARGEST_SOURCE:
            return None
        return SourceFile(path=path, text=Path(path).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None
