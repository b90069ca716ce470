"""The user's labels as a cloud takes them: one way to rewrite them for all clouds, each of which says in `Rules` what it takes.

Contract: pure. What a cloud takes is left as it is. Of all else a character that it does not take becomes the plain letter in it (`ü` is
`u`), and a run of others a hyphen; a text that is too long is cut, and ends with a hash of all of it; one of which nothing is left is a
hash. Labels that would be written alike are told apart by a hash of their names. So the same label is written the same everywhere in a
deployment, and none takes another's place. Refused are only names that the cloud, or skyc, has for itself, and too many labels.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, warning
from ...compiler.ir import FrozenMap, ResourceRequest
from .remarks import refused

OURS = "skyc-"
"""How all names begin that skyc finds its own resources by."""
_HASH = 8
_SHOWN = 60
_GONE = "\0"
"""For what is not taken, while a text is rewritten. One that is in the text itself goes the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a name or a value may be. takes: whether a character may be in it; begins: whether it may be the first. most, most_bytes:
    characters, and bytes in UTF-8. lower: upper case is written in lower case."""

    takes: Callable[[str], bool]
    most: int
    begins: Callable[[str], bool] = lambda _: True
    most_bytes: int | None = None
    lower: bool = False

    def fits(self, text: str) -> bool:
        if self.lower and text != text.lower():
            return False
        return all(map(self.takes, text)) and (not text or self.begins(text[0])) and not self.is_long(text)

    def is_long(self, text: str) -> bool:
        return len(text) > self.most or (self.most_bytes is not None and len(text.encode()) > self.most_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a cloud takes as labels. says: the same as a sentence without its point. reserved: lower-case beginnings of names that are the
    cloud's own; ours: names that skyc itself writes, beside those that begin with OURS. most: labels on a machine, skyc's among them; None
    for no limit. folds: names that differ in case alone are one. one_text: name and value are one text of so many characters, in which case
    does not count."""

    target: str
    cloud: str
    says: str
    name: Form
    value: Form
    reserved: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()
    most: int | None = None
    folds: bool = False
    one_text: int | None = None

    def same(self, name: str, value: str) -> str:
        """Equal for labels that the cloud cannot have side by side."""
        if self.one_text is not None:
            return one_text(name, value)
        return name.lower() if self.folds else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """written: as the cloud takes them. changed: those of the user's that are written otherwise, as `Team: A → team: a`. refused: why some
    cannot be written at all, as sentences."""

    written: FrozenMap[str]
    changed: tuple[str, ...]
    refused: tuple[str, ...]


def one_text(name: str, value: str) -> str:
    """A label where a cloud has no pairs and no case."""
    return f"{name}:{value}".lower() if value else name.lower()


def labels_of(wanted: Mapping[str, str], rules: Rules, *, own: int) -> Labels:
    """own: how many labels skyc writes beside them."""
    written: dict[str, str] = {}
    changed: list[str] = []
    why: list[str] = []
    taken: dict[str, str] = {}
    called: dict[str, str] = {}

    def held(key: str, text: str) -> str | None:
        """The label of the user's that is written like that."""
        return called.get(key, taken.get(rules.same(key, text)))

    # What is taken as it is comes first, and is never the one that gives way.
    each = [(label, _rewritten(*label, rules)) for label in wanted.items()]
    for (name, value), (key, text) in sorted(each, key=lambda pair: (pair[0] != pair[1], pair)):
        reason = _not_ours_to_give(name, key, rules)
        if reason:
            why.append(reason)
            continue
        beside = ""
        other = held(key, text)
        if other is not None:
            beside = f", beside `{_short(other)}`"
            key, text = _apart((name, value), (key, text), rules, held)
        taken[rules.same(key, text)] = called[key] = name
        written[key] = text
        if (key, text) != (name, value) and (rules.one_text is None or one_text(key, text) != one_text(name, value)):
            changed.append(f"`{_short(name)}: {_short(value)}` → `{_short(key)}: {_short(text)}`{beside}")
    if rules.most is not None and len(written) + own > rules.most:
        why.append(
            f"{rules.cloud} takes {rules.most} on a machine, {own} of them are skyc's, and there are {len(written)} more."
        )
    return Labels(written=FrozenMap(dict(sorted(written.items()))), changed=tuple(changed), refused=tuple(why))


def about(request: ResourceRequest, labels: Labels, rules: Rules) -> Iterator[Diagnostic]:
    """What a reviewer should know about the labels of a request."""
    for why in labels.refused:
        yield refused(request, "labels", rules.target, why, hint="rename the label, or drop it")
    if labels.changed:
        field = request.origin.child("labels")
        verb = "is" if len(labels.changed) == 1 else "are"
        detail = f"`{field}` on `{rules.target}`: {rules.says}. Written {verb} {'; '.join(labels.changed)}."
        yield warning("label-rewritten", "A label is written in another form", detail, subject=field)


def of_categories(categories: Iterable[str], others: str) -> Callable[[str], bool]:
    """For `Form.takes`: characters whose Unicode category begins with one of these, and these others."""
    kinds = tuple(categories)
    return lambda character: character in others or unicodedata.category(character).startswith(kinds)


def _not_ours_to_give(name: str, key: str, rules: Rules) -> str:
    """Why a name cannot be the user's; nothing where it can."""
    for prefix in (OURS, *rules.reserved):
        if name.lower().startswith(prefix) or key.lower().startswith(prefix):
            return (
                f"{_short(name)!r} begins with `{prefix}`, which {'skyc' if prefix == OURS else rules.cloud} keeps for itself."
            )
    return f"`{key}` is what skyc itself writes." if key in rules.ours else ""


def _rewritten(name: str, value: str, rules: Rules) -> tuple[str, str]:
    key = _as(name, rules.name) or _hash(name)
    if not rules.name.begins(key[0]):
        key = _cut(f"label-{key}", name, rules.name)
    text = _as(value, rules.value)
    if rules.one_text is not None and len(one_text(key, text)) > rules.one_text:
        key = _cut(key, name, Form(takes=rules.name.takes, most=rules.one_text // 2))
        text = _cut(text, value, Form(takes=rules.value.takes, most=rules.one_text - len(key) - 1))
    return key, text


def _apart(
    label: tuple[str, str], rewritten: tuple[str, str], rules: Rules, held: Callable[[str, str], str | None]
) -> tuple[str, str]:
    """Rewritten so that it is like no other."""
    form, (whole, value), (start, text) = rules.name, label, rewritten
    if rules.one_text is not None:
        text = _cut(text, value, Form(takes=rules.value.takes, most=rules.one_text // 2))
        form = Form(takes=form.takes, most=rules.one_text - len(text) - 1)
    while True:
        key = _ending(start, whole, form)
        if held(key, text) is None:
            return key, text
        # Somebody has a label with this very hash.
        whole += " "


def _as(text: str, form: Form) -> str:
    if form.fits(text):
        return text
    whole = unicodedata.normalize("NFC", text.lower() if form.lower else text)
    plain = "".join(character if form.takes(character) else _letters(character, form) for character in whole)
    plain = re.sub(f"{_GONE}+", _GONE, plain).strip(_GONE).replace(_GONE, "-")
    return _cut(plain or _hash(text), text, form)


def _letters(character: str, form: Form) -> str:
    """What a character is made of, without accents; _GONE where that is not taken either."""
    parts = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    return "".join(parts) if parts and all(map(form.takes, parts)) else _GONE


def _cut(text: str, whole: str, form: Form) -> str:
    return _ending(text, whole, form) if form.is_long(text) else text


def _ending(text: str, whole: str, form: Form) -> str:
    """`text`, as much of it as there is room for, and a hash of `whole`."""
    tail = f"-{_hash(whole)}"
    start = text[: form.most - len(tail)]
    while form.is_long(start + tail):
        start = start[:-1]
    return start.rstrip("-") + tail


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
