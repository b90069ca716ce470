"""`python -m tests.aws.permissions [ACTION …]`: prove every permission of docs/aws-operator-policy.json. `make iam` runs it.

First the whole policy must suffice, and what asks for which action is written down. Then each action is taken away in turn, and the life
that asks for it is lived again, in an empty account: a step must fail or stand still, and IAM must have refused that action and no other.
Needs the released provider in a mirror (SKYC_PROVIDER_MIRROR), and most of an hour.

What is proven is kept in `build/iam`, so a run that was cut off goes on where it was. It counts for the same policy, code, provider and
moto only. Exit codes: 0 every action is needed, or is known not to be provable, 1 not so, 2 no provider.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version as installed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.aws.moto_iam import Asked
from tests.aws.operator import ANOTHER_DISK, POLICY, Denied, Life, Operator, enforced
from tests.simulator.real_provider import mirror, version

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "iam"
STATEMENTS: list[dict[str, Any]] = json.loads(POLICY.read_text())["Statement"]
CODE = (
    "docs/aws-operator-policy.json",
    "providers/aws/*.py",
    "providers/rented/*.py",
    "runtime/storage/*.py",
    "tests/aws/moto_*.py",
    "tests/aws/operator.py",
    "tests/aws/permissions.py",
)
"""What a proof is about: when one of these changes, it is made again."""

UNPROVEN = {
    "iam:CreateServiceLinkedRole": "EC2 makes the role itself for the account's first spot machine; moto has no such roles",
}
"""Actions that no life here can show to be needed, with the reason. docs/aws.md says the same."""
TOLERATED = {
    "ec2:DescribeNetworkAcls": "without it a network's default ACL is not in the state, and a change of it goes unseen",
}
"""Actions that are asked for and that the released provider does without when they are denied, and what they are in the policy for."""

STANDSTILL = 60.0
"""Seconds after the first refusal for which the provider may repeat a refused call. Some calls it repeats for 20 minutes."""
ALONE = 30.0
"""Seconds in which nothing but refusals of one action is a standstill."""
LONGEST = 900
"""Seconds of one life."""
AT_ONCE = {Life.MACHINES: 2, Life.BUCKETS: 4}
"""Lives at a time. Those of buckets wait most of the time: the provider wants a bucket's rules settled for a minute."""

NEEDED, NOT_NEEDED, NOT_PROVEN = "needed", "not needed", "not proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    action: str
    says: str
    why: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """How a life ended. asked: action → the steps that asked for it. failure: empty when all steps were done. given_back: the action was
    allowed again when all stood still, after so many seconds."""

    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    judged: tuple[Asked, ...] = ()
    failure: str = ""
    given_back: float | None = None
    seconds: float = 0.0


def actions(statements: Sequence[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        yield from statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]


def without(action: str) -> list[dict[str, Any]]:
    """The policy with one action less."""
    left = [{**statement, "Action": [name for name in actions([statement]) if name != action]} for statement in STATEMENTS]
    return [statement for statement in left if statement["Action"]]


def verdict(action: str, lived: Lived) -> Verdict:
    """What a life without the action shows."""
    refusals = [judged for judged in lived.judged if not judged.granted]
    others = sorted({judged.action for judged in refusals} - {action})
    times = sum(judged.action == action for judged in refusals)
    if others:
        says, why = NOT_PROVEN, f"refused were also {', '.join(others)}"
    elif not times:
        says, why = NOT_PROVEN, f"failed, and not for want of it: {lived.failure}" if lived.failure else "nothing asked for it"
    elif lived.given_back is not None and not lived.failure:
        says, why = NEEDED, f"refused {times} times in {lived.given_back:.0f} s, nothing went on; given back, all was done"
    elif lived.given_back is not None:
        says, why = NOT_PROVEN, f"refused, and given back it did not end well: {lived.failure}"
    elif lived.failure:
        says, why = NEEDED, f"{lived.failure.partition(':')[0]}: refused, and the step failed"
    else:
        says, why = NOT_NEEDED, f"refused {times} times, and all was done without"
    return Verdict(action=action, says=says, why=why, seconds=lived.seconds)


def stands_still(judged: Sequence[Asked], now: float) -> float | None:
    """Seconds since the first refusal when refusals are all that still comes; None when something else may."""
    refusals = [row for row in judged if not row.granted]
    late = [row for row in judged if row.at > now - ALONE]
    if not refusals or now - refusals[0].at < STANDSTILL or not late or any(row.granted for row in late):
        return None
    return now - refusals[0].at


def lived(life: Life, statements: Sequence[dict[str, Any]], skip: frozenset[str] = frozenset()) -> Lived:
    """A life in an account of its own, which this process must not have used before."""
    from tests.aws.conftest import client, environment, pretended_account

    # Whose requests moto's server prints.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # An end that Terraform takes part in; it is waited for. A program in the background may have been started with interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="skyc-iam-") as scratch, pretended_account() as address:
        os.environ.pop("AWS_PROFILE", None)
        os.environ.update(environment(address))
        operator = Operator(Path(scratch) / "home", client, statements, life, cache=KEPT / "synth")
        given_back: list[float] = []
        asked: dict[str, tuple[str, ...]] = {}
        start, over, failure = time.monotonic(), threading.Event(), ""
        with enforced() as judged:

            def watch() -> None:
                while not over.wait(1.0):
                    since = stands_still(tuple(judged), time.monotonic())
                    if since is not None and not given_back:
                        given_back.append(since)
                        operator.allow(STATEMENTS)

            watcher = threading.Thread(target=watch)
            watcher.start()
            signal.alarm(LONGEST)
            try:
                asked = operator.live(skip)
            except Denied as why:
                failure = str(why)
            except KeyboardInterrupt:
                failure = f"not ended within {LONGEST} s"
            finally:
                signal.alarm(0)
                over.set()
                watcher.join()
            return Lived(
                asked=asked,
                judged=tuple(judged),
                failure=failure,
                given_back=given_back[0] if given_back else None,
                seconds=time.monotonic() - start,
            )


def trial(action: str, life: Life, skip: frozenset[str]) -> Verdict:
    return verdict(action, lived(life, without(action), skip))


@dataclass(kw_only=True)
class Record:
    """What is known so far, in a file."""

    key: str
    asked: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Life → action → the steps that asked for it, with the whole policy."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def read(cls, key: str) -> Record:
        try:
            document = json.loads((KEPT / "verdicts.json").read_text())
        except FileNotFoundError:
            return cls(key=key)
        if document["key"] != key:
            return cls(key=key)
        found = {name: Verdict(**row) for name, row in document["verdicts"].items()}
        # Anything else is tried again.
        return cls(
            key=key, asked=document["asked"], verdicts={name: row for name, row in found.items() if row.says == expected(name)}
        )

    def write(self) -> None:
        document = {**asdict(self), "verdicts": {name: asdict(row) for name, row in self.verdicts.items()}}
        fresh = KEPT / "verdicts.new"
        fresh.write_text(json.dumps(document, indent=1) + "\n")
        fresh.replace(KEPT / "verdicts.json")

    def place(self, action: str) -> tuple[Life, frozenset[str]] | None:
        """The life that asks for an action, and what of it can be left out; None when none does."""
        for life in Life:
            if steps := self.asked.get(life.value, {}).get(action):
                return life, frozenset() if steps == [ANOTHER_DISK] else frozenset({ANOTHER_DISK})
        return None


def key() -> str:
    """Of the policy, the code, and the programs that take part."""
    digest = hashlib.sha256(f"{version()} {installed('moto')}".encode())
    for pattern in CODE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(f"{path.relative_to(ROOT)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def pools() -> dict[Life, ProcessPoolExecutor]:
    """A new process for each life: moto has one account per process, and enforcement is a switch of the process."""
    made = {
        life: ProcessPoolExecutor(number, mp_context=get_context("spawn"), max_tasks_per_child=1)
        for life, number in AT_ONCE.items()
    }
    return {**made, Life.GANG: made[Life.MACHINES]}


def suffices(record: Record, workers: dict[Life, ProcessPoolExecutor]) -> bool:
    """Live all lives with the whole policy."""
    futures = {workers[life].submit(lived, life, STATEMENTS): life for life in Life if life.value not in record.asked}
    well = True
    for future in as_completed(futures):
        life, found = futures[future], future.result()
        refused = sorted({judged.action for judged in found.judged if not judged.granted})
        if found.failure or refused:
            well = False
            say(f"the policy does not suffice for {life.value}: {found.failure} (refused: {', '.join(refused) or 'nothing'})")
            continue
        say(f"the policy suffices for {life.value} ({found.seconds:.0f} s, {len(found.asked)} actions)")
        record.asked[life.value] = {action: list(steps) for action, steps in found.asked.items()}
        record.write()
    return well


def sweep(record: Record, workers: dict[Life, ProcessPoolExecutor], wanted: Sequence[str]) -> None:
    futures: dict[Future[Verdict], str] = {}
    for action in wanted:
        if action in record.verdicts or action in UNPROVEN:
            continue
        place = record.place(action)
        if place is None:
            record.verdicts[action] = Verdict(action=action, says=NOT_PROVEN, why="nothing asked for it")
        else:
            futures[workers[place[0]].submit(trial, action, *place)] = action
    if known := sum(record.verdicts[action].says == expected(action) for action in wanted if action in record.verdicts):
        say(f"{known} of {len(wanted)} are known from before")
    for number, future in enumerate(as_completed(futures), 1):
        found = future.result()
        record.verdicts[found.action] = found
        record.write()
        say(f"{number}/{len(futures)} {found.action}: {found.says} ({found.seconds:.0f} s; {found.why})")


def table(record: Record, wanted: Sequence[str]) -> list[str]:
    """A line for each action, in the policy's order."""
    rows = [_explained(record.verdicts.get(action) or _unproven(action)) for action in wanted]
    wide = max(len(row.action) for row in rows)
    lines = [f"{row.action:{wide}}  {row.says:10}  {row.why}" for row in rows]
    counts = ", ".join(f"{sum(row.says == says for row in rows)} {says}" for says in (NEEDED, NOT_NEEDED, NOT_PROVEN))
    return [*lines, "", f"{len(rows)} actions: {counts}"]


def _explained(row: Verdict) -> Verdict:
    return replace(row, why=f"{row.why}: {TOLERATED[row.action]}") if row.action in TOLERATED else row


def expected(action: str) -> str:
    return NOT_NEEDED if action in TOLERATED else NEEDED


def _unproven(action: str) -> Verdict:
    return Verdict(action=action, says=NOT_PROVEN, why=UNPROVEN.get(action, "not tried"))


def proven(record: Record, wanted: Sequence[str]) -> bool:
    """Whether each action is needed, or known for what it is, and no reason is older than what it is about."""
    asked = {action for rows in record.asked.values() for action in rows}
    return not asked & set(UNPROVEN) and all(
        record.verdicts[action].says == expected(action) for action in wanted if action not in UNPROVEN
    )


def main(arguments: list[str]) -> int:
    try:
        mirror()
    except pytest.skip.Exception as why:
        say(str(why))
        return 2
    everything = list(actions(STATEMENTS))
    wanted = [action for action in everything if action in arguments or not arguments]
    KEPT.mkdir(parents=True, exist_ok=True)
    record, workers = Record.read(key()), pools()
    try:
        if not suffices(record, workers):
            return 1
        sweep(record, workers, wanted)
    finally:
        for pool in workers.values():
            pool.shutdown(cancel_futures=True)
    print("\n".join(["", *table(record, wanted)]))
    return 0 if proven(record, wanted) else 1


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
