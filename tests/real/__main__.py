"""`python -m tests.real CLOUD`: plan, apply, output, destroy, and a proof by tag that nothing is left.

Exit codes: 0 all of it, 1 something failed (what is left is named), 2 refused before anything was made. Whatever happens once an apply
began, Ctrl-C included, the deployment is destroyed and looked for; the home stays below `.skyc/e2e` until nothing is left, for
`skyc destroy` by hand.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import skyc
from skyc.compiler.diagnostics import SkycError, render
from skyc.compiler.ir import DeploymentId
from skyc.runtime.results import Outcome, Plan, Progress, ProgressKind

from .settings import Refused, Settings, settings
from .sweep import left

HOMES = Path(__file__).parents[2] / ".skyc" / "e2e"
TASK = """\
name: {deployment}
resources:
  infra: {cloud}
  cpus: 1+
  memory: 1+
budget: {most}
run: echo "{word}"
"""
DESTROYS = 3
"""Tries: a cloud may refuse to remove a network that was in use a moment ago."""
PASSED, FAILED, REFUSED = 0, 1, 2


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        say("usage: python -m tests.real CLOUD")
        return REFUSED
    try:
        chosen = settings(argv[0], os.environ)
    except Refused as why:
        say(f"refused: {why}")
        return REFUSED
    signal.signal(signal.SIGTERM, _interrupt)
    deployment = DeploymentId(f"e2e-{chosen.cloud}-{secrets.token_hex(3)}")
    home = HOMES / deployment
    home.mkdir(parents=True, mode=0o700)
    try:
        code = Life(chosen, deployment, home).live()
    except Refused as why:
        say(f"refused: {why}")
        code = REFUSED
    if code == FAILED:
        say(f"the home stays: {home}")
    else:
        shutil.rmtree(home)
    return code


class Life:
    """`lines`: what the job printed."""

    def __init__(self, chosen: Settings, deployment: DeploymentId, home: Path) -> None:
        self.chosen, self.deployment, self.home = chosen, deployment, home
        self.word = f"skyc-{secrets.token_hex(8)}"
        self.lines: list[str] = []
        self.task = home / "task.yaml"

    def live(self) -> int:
        """Raises Refused while nothing has been made."""
        (self.home / "config.yaml").write_text(f"access: {{ssh_from: [{self.chosen.ssh_from}]}}\n")
        text = TASK.format(deployment=self.deployment, cloud=self.chosen.cloud, most=self.chosen.most, word=self.word)
        self.task.write_text(text)
        try:
            plan = skyc.plan(self.task, home=self.home, on_progress=self._heard)
        except SkycError as failure:
            raise Refused(_said(failure)) from None
        allowed(plan, self.chosen.most)
        say(plan.report("text"))
        began = time.monotonic()
        passed = False
        try:
            passed = self._applied()
        except SkycError as failure:
            say(_said(failure))
        except KeyboardInterrupt:
            say("interrupted; what was made is removed, which takes some minutes")
        finally:
            gone = self._removed(plan)
            say(f"{time.monotonic() - began:.0f} s, at most ${spent(plan, time.monotonic() - began)} by the plan's prices")
        return PASSED if passed and gone else FAILED

    def _applied(self) -> bool:
        result = skyc.apply(self.task, home=self.home, confirm=self._agrees, on_progress=self._heard)
        if result.outcome is not Outcome.SUCCEEDED:
            say(f"the job ended as {result.outcome.value}")
            return False
        if not any(self.word in line for line in self.lines):
            say(f"the job's output does not hold {self.word}")
            return False
        say("the job ran, and its output came home")
        return True

    def _agrees(self, plan: Plan) -> bool:
        """Prices and placements could be others by now."""
        try:
            allowed(plan, self.chosen.most)
        except Refused as why:
            say(str(why))
            return False
        return True

    def _removed(self, plan: Plan) -> bool:
        assert plan.placement is not None
        regions = {placement.region for placement in (*plan.placement.placements, *plan.placement.fallbacks)}
        with uninterrupted():
            for _ in range(DESTROYS):
                try:
                    skyc.destroy(str(self.deployment), purge=True, home=self.home, on_progress=self._heard)
                    break
                except SkycError as failure:
                    say(_said(failure))
                    if failure.diagnostics[0].slug == "unknown-deployment":
                        break
            try:
                found = left(self.chosen.cloud, self.deployment, regions, say)
            except SkycError as failure:
                say(_said(failure))
                return False
        for item in found:
            say(f"LEFT: {item}")
        if not found:
            say(f"nothing carries the tag of {self.deployment} in {', '.join(sorted(regions))}")
        return not found

    def _heard(self, progress: Progress) -> None:
        if progress.kind is ProgressKind.OUTPUT:
            self.lines.append(progress.text)
        say(f"  {progress.stage}: {progress.text}")


def allowed(plan: Plan, most: Decimal) -> None:
    """Raises Refused for a plan that cannot be carried out, or whose worst case for one hour is above the limit or unknown."""
    if plan.failed or plan.placement is None:
        raise Refused("; ".join(f"{item.slug}: {item.detail}" for item in plan.diagnostics) or "there is no placement")
    nodes = sum(placement.num_nodes for placement in plan.placement.placements)
    if nodes != 1:
        raise Refused(f"the plan has {nodes} machines, and one was asked for")
    worst = plan.placement.worst_case
    if worst is None:
        raise Refused("the plan's worst case is not known")
    if plan.hours > 1:
        raise Refused(f"the plan is for {plan.hours} h")
    if worst > most:
        raise Refused(f"one hour may cost ${worst}, and SKYC_E2E_MAX_USD is {most}")


def spent(plan: Plan, seconds: float) -> Decimal:
    """US dollars, at the worst hourly price, for as long as anything can have been there."""
    assert plan.placement is not None and plan.placement.worst_case is not None
    return (plan.placement.worst_case * Decimal(seconds) / 3600).quantize(Decimal("0.0001"))


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C is answered and not obeyed: whoever stops here pays for what is left."""

    def asked(number: int, frame: Any) -> None:
        say("what was made is being removed; this ends by itself")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said(failure: SkycError) -> str:
    return "\n".join(render(item) for item in failure.diagnostics)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
