"""Telling a target's errors apart by the codes its API documents.

Contract: pure. Terraform passes on what a provider says, and the provider what the API said: text with a code in it. `forms` say where
in that text a code stands, `codes` what it means. A code no table knows is OTHER: prose is never guessed at. Where a provider drops the
code and keeps the API's own sentence, `sentences` recognise that sentence by its fixed form, and name the code it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..compiler.diagnostics import Diagnostic, Severity
from ..compiler.ir import Failure, FailureKind, GroupPlacement, Reach

LONGEST = 400
"""Characters of an error that are kept to be shown."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code means. `only`: where the API uses the code for other things too, what its message must hold."""

    kind: FailureKind
    reach: Reach | None = None
    only: re.Pattern[str] | None = None


Meanings: TypeAlias = Meaning | tuple[Meaning, ...]
"""Of one code; of several the first counts whose text it is."""


def _type(placement: GroupPlacement) -> str:
    return f"{placement.instance_type} {placement.market.value}"


def _unnamed(text: str) -> str:
    return ""


def _nowhere(region: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """How one target says no. `pool`: see `Provider.quota_pool`; `permission`: the one a refusal names, or ""."""

    codes: Mapping[str, Meanings] = field(default_factory=dict)
    forms: tuple[re.Pattern[str], ...] = ()
    """Each with the code as its first group."""
    sentences: tuple[tuple[re.Pattern[str], str], ...] = ()
    permission: Callable[[str], str] = _unnamed
    pool: Callable[[GroupPlacement], str] = _type
    on_request: Callable[[str], bool] = _nowhere
    """Whether an account has a region only where it asked for it (`Provider.on_request`)."""
    closed: frozenset[str] = frozenset()
    """Codes that say in such a region that the account does not have it, whatever they mean elsewhere."""


NO_WORDS = Vocabulary()
"""Of a target whose errors are not told apart."""


NO_REGION = Meaning(FailureKind.NOT_OFFERED, Reach.REGION)
"""The account does not have the region."""


def read(diagnostics: Sequence[Diagnostic], words: Vocabulary, region: str = "") -> tuple[Failure, ...]:
    """One failure per error, in their order. region: where they were said; empty where that is not known."""
    return tuple(_read(found, words, region) for found in diagnostics if found.severity is Severity.ERROR)


def _read(found: Diagnostic, words: Vocabulary, region: str) -> Failure:
    text = f"{found.summary}\n{found.detail}"
    unknown = ""
    closed = bool(region) and words.on_request(region)
    for code in _codes(text, words):
        meaning = NO_REGION if closed and code in words.closed else _meaning(words.codes.get(code, ()), text)
        if meaning is None:
            unknown = unknown or code
            continue
        return Failure(
            kind=meaning.kind,
            code=code,
            detail=_short(text),
            reach=meaning.reach,
            permission=words.permission(text) if meaning.kind is FailureKind.PERMISSION else "",
            resource=found.resource,
        )
    return Failure(kind=FailureKind.OTHER, code=unknown, detail=_short(text), resource=found.resource)


def _meaning(meanings: Meanings, text: str) -> Meaning | None:
    each = meanings if isinstance(meanings, tuple) else (meanings,)
    return next((meaning for meaning in each if meaning.only is None or meaning.only.search(text)), None)


def _codes(text: str, words: Vocabulary) -> Iterator[str]:
    for form in words.forms:
        yield from (match[1] for match in form.finditer(text))
    for sentence, code in words.sentences:
        if sentence.search(text):
            yield code


def _short(text: str) -> str:
    said = " ".join(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Resource: "))
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"


def first_group(pattern: str) -> Callable[[str], str]:
    """What a pattern's first group matches in a text, or ""."""
    compiled = re.compile(pattern)

    def named(text: str) -> str:
        match = compiled.search(text)
        return match[1] if match else ""

    return named
