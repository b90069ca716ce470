"""A process of skyc's to interrupt and kill: plans and applies a site, printing one JSON line per event and one for the result."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from skyc.compiler.terraform import Engine, Event, Patience, Terraform, checked


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def tell(event: Event) -> None:
    say(phase=event.phase.value, action=event.action, address=event.address, message=event.message)


def main(directory: str, home: str, engine: str, inherit: str) -> None:
    # A test run in the background starts its children with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    terraform = Terraform(
        Engine(**{**json.loads(engine), "argv": tuple(json.loads(engine)["argv"])}),
        Path(directory),
        home=Path(home),
        environ=dict(os.environ),
        inherit=tuple(int(number) for number in inherit.split(",") if number),
        on_event=tell,
        patience=Patience(lock=0, grace=60),
    )
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    run = terraform.apply(plan.plan_file)
    say(result=run.returncode, interrupted=run.interrupted, killed=run.killed, ok=run.ok)
    try:
        terraform.plan()
    except KeyboardInterrupt:
        say(next="refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
