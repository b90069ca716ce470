"""The small grammars inside a task file: amounts, sizes, times, accelerators, places, names.

Contract: each `read_…` takes the text of one scalar and returns its value, or raises `Misread` with a reason in words. The
parser calls them to check, resolve calls them to convert, so both agree by construction. Numbers have at most 12 digits before
the point and 6 after it, so no text can become an amount that exhausts memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..ir import AcceleratorRequest, Bound, Infra

_NUMBER = r"\d{1,12}(?:\.\d{1,6})?"
_GIB = {
    "": Decimal(1),
    "b": Decimal(1) / 2**30,
    "k": Decimal(1) / 2**20,
    "m": Decimal(1) / 2**10,
    "g": Decimal(1),
    "t": Decimal(2**10),
    "p": Decimal(2**20),
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

LARGEST_GIB = Decimal(10**9)
LARGEST_COUNT = Decimal(10**6)
LONGEST_SECONDS = 10 * 366 * 86_400
NAME_LIMIT = 128
URI_LIMIT = 4096
"""Longer than any key or path that a store takes."""

_VARIABLES = re.compile(r"\$(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)


class Misread(ValueError):
    """A text that does not say what its field needs. `hint`: what to write instead."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def read_bound(text: str) -> Bound:
    """`8` (exactly) or `8+` (at least)."""
    match = re.fullmatch(rf"({_NUMBER})(\+?)", text.strip(), re.ASCII)
    if match is None:
        raise Misread("It is no amount.", "write `8` for exactly 8, or `8+` for at least 8")
    return Bound(amount=_positive(match[1], LARGEST_COUNT), exact=not match[2])


def read_memory(text: str) -> tuple[Bound | None, Bound | None]:
    """Memory in GiB, or memory per CPU in GiB for `4x`; exactly one of the two is set."""
    stripped = text.strip()
    match = re.fullmatch(rf"({_NUMBER})x(\+?)", stripped, re.ASCII)
    if match is not None:
        return None, Bound(amount=_positive(match[1], LARGEST_GIB), exact=not match[2])
    exact = not stripped.endswith("+")
    try:
        amount = read_size(stripped.removesuffix("+"))
    except Misread as misread:
        raise Misread(misread.reason, "write `32` or `32GB`, `32+` for at least that, or `4x` for 4 GiB per CPU") from None
    return Bound(amount=amount, exact=exact), None


def read_size(text: str) -> Decimal:
    """GiB. `100`, `100GB` and `100Gi` are the same: cloud sizes are powers of two whatever they are called."""
    match = re.fullmatch(rf"({_NUMBER})\s*(b|[kmgtp](?:ib?|b)?)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise Misread("It is no size.", "write `100` or `100GB`")
    amount = Decimal(match[1]) * _GIB[(match[2] or "")[:1].lower()]
    if amount <= 0 or amount > LARGEST_GIB:
        raise Misread(f"A size lies above 0 and is at most {LARGEST_GIB} GiB.", "write `100` or `100GB`")
    return amount


def read_duration(text: str) -> int:
    """Whole seconds. `300`, `90s`, `5m`, `1h30m`, `2d`."""
    stripped = text.strip()
    if re.fullmatch(r"\d{1,12}", stripped, re.ASCII):
        seconds = int(stripped)
    elif re.fullmatch(r"(?:\d{1,9}[smhdw])+", stripped, re.ASCII):
        seconds = sum(int(n) * _SECONDS[unit] for n, unit in re.findall(r"(\d+)([smhdw])", stripped))
    else:
        raise Misread("It is no length of time.", "write seconds, or `90s`, `5m`, `1h30m`, `2d`")
    if not 0 < seconds <= LONGEST_SECONDS:
        raise Misread("A length of time lies above 0 and below ten years.")
    return seconds


def read_hours(text: str) -> Decimal:
    """Hours. A bare number is hours; otherwise as `read_duration`."""
    stripped = text.strip()
    if re.fullmatch(_NUMBER, stripped, re.ASCII):
        hours = Decimal(stripped)
        if not 0 < hours <= LONGEST_SECONDS // 3600:
            raise Misread("A number of hours lies above 0 and below ten years.")
        return hours
    try:
        return Decimal(read_duration(stripped)) / 3600
    except Misread as misread:
        raise Misread(misread.reason, "write hours as `1.5`, or `90m`") from None


def read_money(text: str) -> Decimal:
    """US dollars: `5`, `5.50` or `$5.50`."""
    match = re.fullmatch(rf"\$?({_NUMBER})", text.strip(), re.ASCII)
    if match is None:
        raise Misread("It is no amount of US dollars.", "write `5.50`")
    return Decimal(match[1])


def read_deadline(text: str) -> tuple[str, Decimal | None]:
    """The deadline as written, and its hours when it is a length of time from the start; otherwise it is a date and time with its
    zone (`2027-01-31T18:00Z`)."""
    stripped = text.strip()
    if re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?\s*(?:Z|[+-]\d\d:?\d\d)", stripped, re.ASCII):
        try:
            datetime.fromisoformat(f"{stripped[:10]}T{''.join(stripped[11:].split())}")
        except ValueError:
            raise Misread("The calendar has no such time.", "check the day, the hour and the zone") from None
        return stripped, None
    try:
        return stripped, Decimal(read_duration(stripped)) / 3600
    except Misread:
        hint = "write `6h` from the start, or `2027-01-31T18:00Z` with the time zone"
        raise Misread("It is neither a length of time nor a date and time with a time zone.", hint) from None


def read_accelerator(text: str) -> AcceleratorRequest:
    """`H100:8`, or `H100` for one."""
    match = re.fullmatch(rf"([A-Za-z][A-Za-z0-9._-]{{0,63}})(?:\s*:\s*({_NUMBER}))?", text.strip(), re.ASCII)
    if match is None:
        raise Misread("It is no accelerator with a count.", "write `H100:8`")
    return AcceleratorRequest(name=match[1], count=_positive(match[2] or "1", Decimal(10_000)))


def read_infra(text: str) -> Infra:
    """`provider[/region[/zone]]`, with `*` for "any"."""
    parts = text.strip().split("/")
    if len(parts) > 3 or not all(re.fullmatch(r"\*|[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}", part, re.ASCII) for part in parts):
        raise Misread("It is no place.", "write `provider`, `provider/region` or `provider/region/zone`, with `*` for any")
    provider, region, zone = (*(None if part == "*" else part for part in parts), None, None)[:3]
    return Infra(provider=provider.lower() if provider else None, region=region, zone=zone)


def read_bucket_place(text: str) -> Infra:
    """`provider[/region]`: object storage has no zones."""
    infra = read_infra(text)
    if infra.zone is not None:
        raise Misread("Storage lies in a region, not in a zone.", "write `provider` or `provider/region`, with `*` for any")
    return infra


def read_place(text: str) -> str | None:
    """One part of a place: a name, or `*` for "any"."""
    if "/" in text:
        raise Misread("One name stands here, without `/`.", "write the whole place under `infra`")
    infra = read_infra(text)
    return None if infra.provider is None else text.strip()


def read_image_place(text: str) -> str:
    """`region`, `provider/region` or `provider`: what an image is written for."""
    infra = read_infra(text)
    if infra.zone is not None or "*" in text:
        raise Misread("An image lies in a region, not in a zone.", "write `region`, `provider/region` or `provider`")
    return text


def read_port(text: str) -> str:
    """`8080` or `8000-8010`."""
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text.strip(), re.ASCII)
    if match is None:
        raise Misread("It is no port.", "write `8080` or `8000-8010`")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 65_535:
        raise Misread("Ports lie between 1 and 65535, and a range goes upwards.")
    return str(first) if first == last else f"{first}-{last}"


def read_name(text: str) -> str:
    """A name of a task, a group or a Storage."""
    if "/" in text or "\\" in text or text in (".", "..") or text.startswith(".."):
        raise Misread("A name becomes a part of paths, so it may not be one itself.", "use letters, digits, `-`, `_` and `.`")
    if len(text) > NAME_LIMIT:
        raise Misread(f"A name has at most {NAME_LIMIT} characters; this one has {len(text)}.")
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text, re.ASCII) is None:
        raise Misread("A name begins with a letter or digit and holds letters, digits, `-`, `_` and `.` only.")
    return text


def read_name_pattern(text: str) -> str:
    """A name in which `$VAR` and `${VAR}` still stand for variables."""
    read_name(_VARIABLES.sub("x", text))
    return text


def read_flow(text: str) -> str:
    """What data is called: a URI, or a name (SkyPilot's `CLOUD` is one, too)."""
    if is_uri(text):
        scheme, _, rest = text.partition("://")
        read_uri(f"{scheme.lower()}://{rest}")
        return text
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", text, re.ASCII) is None:
        hint = "write `scheme://place`, the name of a Storage, or a name that a task outputs"
        raise Misread("A name holds letters, digits, `-`, `_` and `.` only, and a URI begins with `scheme://`.", hint)
    if len(text) > NAME_LIMIT:
        raise Misread(f"A name has at most {NAME_LIMIT} characters; this one has {len(text)}.", "choose a shorter one")
    return text


def read_flow_pattern(text: str) -> str:
    """As `read_flow`, where `$VAR` and `${VAR}` still stand for variables. One at the beginning may hold anything."""
    if _VARIABLES.match(text) is None:
        read_flow(_VARIABLES.sub("x", text))
    return text


def read_variable(text: str) -> str:
    """A name of an environment variable."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text, re.ASCII) is None:
        raise Misread("A variable's name begins with a letter or `_` and holds letters, digits and `_` only.")
    return text


def read_target(text: str) -> str:
    """A path on the node: relative to the workdir, below `~`, or absolute; never through `..`."""
    if not text.strip():
        raise Misread("A path is needed.")
    if ".." in text.split("/"):
        raise Misread("A path may not climb with `..`: it would leave the place it belongs to.", "write the path out")
    return text


def read_uri(text: str) -> str:
    """`scheme://…`."""
    if re.match(r"[a-z][a-z0-9+.-]*://\S", text, re.ASCII) is None:
        raise Misread("It is no URI.", "write `scheme://place`, such as `file:///data/checkpoints`")
    if len(text) > URI_LIMIT:
        raise Misread(f"A URI has at most {URI_LIMIT} characters; this one has {len(text)}.")
    return text


def is_uri(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text, re.ASCII) is not None


def _positive(text: str, largest: Decimal) -> Decimal:
    amount = Decimal(text)
    if not 0 < amount <= largest:
        raise Misread(f"An amount lies above 0 and is at most {largest}.")
    return amount


@dataclass(frozen=True, slots=True)
class Grammar:
    """One of the above as the field table names it: how it is called in messages, its check, its pattern for editors."""

    words: str
    check: Callable[[str], object]
    pattern: str | None = None


BOUND = Grammar("an amount such as `8` or `8+`", read_bound, r"^\s*\d+(\.\d+)?\+?\s*$")
MEMORY = Grammar(
    "an amount of memory such as `32`, `32+`, `32GB` or `4x`",
    read_memory,
    r"^\s*\d+(\.\d+)?\s*([bB]|[kKmMgGtTpP]([iI][bB]?|[bB])?|x)?\+?\s*$",
)
SIZE = Grammar("a size such as `100` or `100GB`", read_size, r"^\s*\d+(\.\d+)?\s*([bB]|[kKmMgGtTpP]([iI][bB]?|[bB])?)?\s*$")
DURATION = Grammar("a length of time such as `5m`", read_duration, r"^\s*(\d+|(\d+[smhdw])+)\s*$")
HOURS = Grammar("a number of hours such as `1.5`", read_hours, r"^\s*(\d+(\.\d+)?|(\d+[smhdw])+)\s*$")
MONEY = Grammar("an amount of US dollars such as `5.50`", read_money, r"^\s*\$?\d+(\.\d+)?\s*$")
DEADLINE = Grammar("a length of time or a date and time", read_deadline)
ACCELERATOR = Grammar(
    "an accelerator such as `H100:8`", read_accelerator, r"^\s*[A-Za-z][A-Za-z0-9._-]*(\s*:\s*\d+(\.\d+)?)?\s*$"
)
HOURS_ON = Grammar(
    "an accelerator such as `H100:8` or `default`", read_accelerator, r"^\s*[A-Za-z][A-Za-z0-9._-]*(\s*:\s*\d+(\.\d+)?)?\s*$"
)
INFRA = Grammar("a place such as `provider/region/zone`", read_infra)
BUCKET_PLACE = Grammar("a place such as `provider/region`", read_bucket_place)
PLACE = Grammar("a name of a place", read_place)
IMAGE_PLACE = Grammar("a place such as `region`, `provider/region` or `provider`", read_image_place, r"^[A-Za-z0-9]")
PORT = Grammar("a port such as `8080` or `8000-8010`", read_port, r"^\s*\d{1,5}(-\d{1,5})?\s*$")
NAME = Grammar("a name", read_name, r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
NAME_PATTERN = Grammar("a name", read_name_pattern, r"^[A-Za-z0-9$][A-Za-z0-9._${}-]*$")
VARIABLE = Grammar("a variable's name", read_variable, r"^[A-Za-z_][A-Za-z0-9_]*$")
FLOW = Grammar("a URI or a name of data", read_flow_pattern, r"^[A-Za-z0-9_$]")
TARGET = Grammar("a path on the node", read_target)
URI = Grammar("a URI", read_uri, r"^[a-z][a-z0-9+.-]*://")
