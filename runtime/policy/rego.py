"""Rules in Rego: the plan's document given to `conftest` where it is on PATH, else to the engine of the extra `skyc[rego]`.

Contract: runs exactly the modules that were read with the policy, with an environment that holds nothing of the caller's. `deny` and
`violation` of any package have the rule's effect, `warn` warns. Without an engine, and whenever one fails, the rule denies.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...compiler.ir import JsonObject, PolicyEffect, PolicyResult
from ...compiler.policy.evaluate import in_order
from ...compiler.policy.rules import Rego, Rule
from .plugins import denied

CONFTEST = "conftest"
SECONDS = 30.0
PROGRAM = Path(__file__).with_name("rego_program.py")


class RegoFailed(Exception):
    """An engine gave no answer."""


def ask_rego(rule: Rule, asked: JsonObject, environ: Mapping[str, str]) -> tuple[PolicyResult, ...]:
    """What the Rego files of a rule say. asked: the document they are evaluated on."""
    assert isinstance(rule.check, Rego)
    engine = shutil.which(CONFTEST, path=environ.get("PATH", ""))
    try:
        if engine is not None:
            answer = _conftest(engine, rule.check, asked)
        elif find_spec("regopy") is not None:
            answer = _regopy(rule.check, asked)
        else:
            raise RegoFailed("there is no `conftest` on PATH, and the extra `skyc[rego]` is not installed")
        said = tuple(_results(rule, answer))
    except RegoFailed as failure:
        return (denied(rule, f"The Rego files in `{rule.check.directory}` were not evaluated: {failure}."),)
    return in_order(said) or (PolicyResult(rule=rule.name, effect=rule.effect, met=True, source=rule.source),)


def _conftest(engine: str, check: Rego, asked: JsonObject) -> Any:
    with tempfile.TemporaryDirectory(prefix="skyc-rego-") as folder:
        for name, text in check.modules.items():
            place = Path(folder, "policy", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        argv = [engine, "test", "--policy", str(Path(folder, "policy")), "--all-namespaces", "--output", "json"]
        # Exit code 1 means that something was denied, and also that it went wrong.
        code, answer = _run([*argv, "--parser", "json", "-"], json.dumps(asked), folder, codes=(0, 1))
        if code and not any(isinstance(row, dict) and row.get("failures") for row in _rows(answer)):
            raise RegoFailed("conftest ended with exit code 1 and named nothing that is denied")
        return answer


def _regopy(check: Rego, asked: JsonObject) -> Any:
    request = json.dumps({"modules": dict(check.modules), "input": asked})
    with tempfile.TemporaryDirectory(prefix="skyc-rego-") as folder:
        # By its path, so that it does not matter how this skyc was found; -P: nothing beside it is imported.
        _, answer = _run([sys.executable, "-P", str(PROGRAM)], request, folder, codes=(0,))
        return answer


def _rows(answer: Any) -> list[Any]:
    """An answer about no package at all is none: a directory whose rules have other names must not pass for one that is met."""
    if not isinstance(answer, list) or not answer:
        raise RegoFailed("no package has a rule `deny`, `violation` or `warn`")
    return answer


def _run(argv: list[str], text: str, folder: str, *, codes: tuple[int, ...]) -> tuple[int, Any]:
    """The exit code and the JSON that was printed."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=SECONDS, env=environ, cwd=folder, check=False
        )
    except subprocess.TimeoutExpired:
        raise RegoFailed(f"it took longer than {SECONDS:g} s") from None
    except OSError as failure:
        raise RegoFailed(f"`{Path(argv[0]).name}`: {failure.strerror}") from failure
    try:
        if done.returncode not in codes:
            raise ValueError
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        words = " ".join(done.stderr.split())[:300] or f"exit code {done.returncode} without a word"
        raise RegoFailed(words.rstrip(".")) from None


def _results(rule: Rule, answer: Any) -> Iterator[PolicyResult]:
    try:
        for row in _rows(answer):
            for kind, effect in (("failures", rule.effect), ("warnings", PolicyEffect.WARN)):
                for found in row.get(kind) or ():
                    yield PolicyResult(
                        rule=rule.name,
                        effect=effect,
                        met=False,
                        message=_sentence(str(found["msg"])),
                        source=rule.source,
                        approvers=rule.approvers,
                    )
    except (AttributeError, KeyError, TypeError):
        raise RegoFailed("its answer is not what conftest prints") from None


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?")) else f"{line}."
