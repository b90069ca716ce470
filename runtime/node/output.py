"""From the bytes a rank writes to what a person may see: secrets out, text in, progress bars thinned.

`Scrubber` works on the byte stream, so a secret that arrives in two pieces, or over several lines, is still found.
`TextStream` makes valid text of it. Both hold a bounded amount: a secret's length, and one piece of a character.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

SHORTEST_SECRET = 6
"""Shorter values are not scrubbed: they would turn half of any output into stars."""

_SHORTEST_LINE = 12
STARS = b"******"

_LINES = re.compile(r"[^\n]*\n|[^\n]+")


class Scrubber:
    """Replaces secret values in a stream of bytes. A piece that might begin a secret is held back until it is decided."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values: set[bytes] = set()
        for secret in secrets:
            stripped = secret.strip()
            if len(stripped) >= SHORTEST_SECRET:
                values.add(stripped.encode(errors="surrogateescape"))
            lines = [line.strip() for line in stripped.splitlines()]
            if len(lines) > 1:  # a key printed line by line, perhaps indented
                values |= {line.encode(errors="surrogateescape") for line in lines if len(line) >= _SHORTEST_LINE}
        self._values = sorted(values, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(value) for value in self._values)) if values else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self._pattern is None:
            return data
        data = self._held + data
        # Hold back from the earliest place where a secret may have begun. A complete secret there is replaced first, unless
        # it may still grow into a longer one.
        cut = len(data) - self._open_length(data)
        done: list[bytes] = []
        position = 0
        for match in self._pattern.finditer(data):
            if match.start() >= cut:
                break
            done += [data[position : match.start()], STARS]
            position = match.end()
        cut = max(cut, position)
        done.append(data[position:cut])
        self._held = data[cut:]
        return b"".join(done)

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return self._pattern.sub(STARS, held) if self._pattern else held

    def _open_length(self, data: bytes) -> int:
        """Length of the longest end of `data` that is a proper beginning of a secret."""
        longest = 0
        for value in self._values:
            for length in range(min(len(value) - 1, len(data)), longest, -1):
                if data.endswith(value[:length]):
                    longest = length
                    break
        return longest


class TextStream:
    """Bytes to text: invalid UTF-8 becomes U+FFFD, `\\r\\n` becomes `\\n`, and of a progress bar's states within one piece
    only the last is kept, as a terminal would show."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._carriage = False

    def feed(self, data: bytes, *, last: bool = False) -> str:
        text = self._decoder.decode(data, last)
        if self._carriage:
            text = "\r" + text
            self._carriage = False
        if text.endswith("\r") and not last:  # perhaps the first half of a line end
            text = text[:-1]
            self._carriage = True
        if "\r" not in text:
            return text
        return "\n".join(self._visible(line) for line in text.replace("\r\n", "\n").split("\n"))

    @staticmethod
    def _visible(line: str) -> str:
        head, _, final = line.rpartition("\r")
        return f"\r{final}" if head or line.startswith("\r") else line


class Interleaver:
    """Joins the text of several ranks into one: each line of a gang begins with `(rank N) `, and no two ranks share a line.

    With one rank the text passes unchanged. With several, an unfinished line waits for its end, but not for longer than until
    `idle` is called or it has grown to `LONGEST_WAIT` characters; a line that had to be cut goes on under its prefix again.
    """

    LONGEST_WAIT = 16 * 1024

    def __init__(self, ranks: int) -> None:
        self._many = ranks > 1
        self._waiting: dict[int, str] = {}
        self._open: int | None = None
        """The rank whose unfinished line is the last thing written."""
        self._cut: set[int] = set()
        """Ranks with an unfinished line that another rank's line followed: a line end alone finishes it without a new line."""

    def add(self, rank: int, text: str) -> str:
        if not self._many:
            if text:
                self._open = None if text.endswith("\n") else rank
            return text
        text = self._waiting.pop(rank, "") + text
        whole, end, rest = text.rpartition("\n")
        if len(rest) < self.LONGEST_WAIT:
            if rest:
                self._waiting[rank] = rest
            return self._write(rank, whole + end)
        return self._write(rank, text)

    def idle(self) -> str:
        """What has waited for the end of its line."""
        return "".join(self._write(rank, self._waiting.pop(rank)) for rank in sorted(self._waiting))

    def finish(self) -> str:
        """Everything that waits, and the end of an unfinished line."""
        text = self.idle()
        if self._open is not None:
            text += "\n"
            self._cut.add(self._open)
            self._open = None
        return text

    def _write(self, rank: int, text: str) -> str:
        if not text:
            return ""
        out: list[str] = []
        if self._open is not None and self._open != rank:
            out.append("\n")
            self._cut.add(self._open)
            self._open = None
        if rank in self._cut:
            self._cut.discard(rank)
            text = text.removeprefix("\n")
        prefix = f"(rank {rank}) "
        for line in _LINES.findall(text):  # not splitlines, which also ends lines at form feeds and the like
            if line.startswith("\r"):
                out.append(f"\r{prefix}{line[1:]}")
            else:
                out.append(line if self._open == rank else prefix + line)
            self._open = None if line.endswith("\n") else rank
        return "".join(out)
