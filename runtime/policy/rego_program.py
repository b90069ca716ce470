"""Evaluates Rego files with regopy: JSON on standard input, JSON on standard output. A program of its own, because native code that does
not end can only be killed.

Input: `{"modules": {name: text}, "input": {…}}`. Output as conftest's: `[{"namespace", "failures": [{"msg"}], "warnings": [{"msg"}]}]`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

RULES = {"deny": "failures", "violation": "failures", "warn": "warnings"}
"""Rules that count, in any package, and what their messages are."""


def evaluated(modules: Mapping[str, str], given: object) -> list[dict[str, Any]]:
    """Raises ValueError for Rego that cannot be evaluated."""
    from regopy import Interpreter, RegoError

    engine = Interpreter()
    try:
        for name, text in modules.items():
            engine.add_module(name, text)
        engine.set_input_term(json.dumps(given))
        answer = engine.query("data")
        if not answer.ok():
            raise ValueError(str(answer))
        found = json.loads(str(answer))
    except RegoError as failure:
        raise ValueError(str(failure)) from failure
    return [row for whole in found["expressions"] for row in _packages(whole, "")]


def _packages(value: object, name: str) -> Iterator[dict[str, Any]]:
    if not isinstance(value, dict):
        return
    said: dict[str, list[dict[str, str]]] = {"failures": [], "warnings": []}
    for rule, kind in RULES.items():
        if rule in value:
            said[kind] += [{"msg": text} for text in _messages(value[rule], f"{name}.{rule}")]
    if RULES.keys() & value.keys():
        yield {"namespace": name, **said}
    for key, inner in value.items():
        if key not in RULES:
            yield from _packages(inner, f"{name}.{key}".lstrip("."))


def _messages(value: object, where: str) -> list[str]:
    """Raises ValueError for what is no set of messages: a rule in an old form of Rego must not pass for one that found nothing."""
    if not isinstance(value, list):
        raise ValueError(f"`{where}` is no set of messages: write `contains msg if {{ … }}`")
    return [str(row["msg"]) if isinstance(row, dict) and "msg" in row else str(row) for row in value]


def main() -> int:
    request = json.load(sys.stdin)
    try:
        sys.stdout.write(json.dumps(evaluated(request["modules"], request["input"])))
    except ValueError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
