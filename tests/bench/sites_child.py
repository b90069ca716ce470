"""Plans and applies every site of a task file with real Terraform and simulated clouds: `python -P sites_child.py TASK FOLDER`.

The home is SKYC_HOME. Writes to standard error, because that is what the benchmark keeps of a process: one JSON object of seconds.
Compiling is not among them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from skyc.compiler.synth import FILE_NAME
from skyc.compiler.terraform import PlanRun, Terraform, checked, find_engine
from skyc.providers.simulator import simulate
from skyc.runtime.request import Request, compile_request
from skyc.runtime.session import open_session
from skyc.runtime.side_by_side import side_by_side


def main(task: Path, folder: Path) -> None:
    engine = find_engine(environ=os.environ)
    with open_session() as session, contextlib.ExitStack() as stack:
        made = compile_request(session, Request(path=task, env={}, secrets={}, offline=True))
        assert made.graphs and made.synthesized, made.diagnostics
        sites: list[Terraform] = []
        for graph, text in zip(made.graphs, made.synthesized, strict=True):
            directory, world = folder / graph.site, folder / f"{graph.site}-world"
            directory.mkdir(parents=True)
            world.mkdir()
            (directory / FILE_NAME).write_text(text.text, encoding="utf-8")
            names = [need.name for need in graph.requirements]
            attached = stack.enter_context(simulate(names, home=world, registry=engine.registry))
            sites.append(Terraform(engine, directory, home=session.home, environ=os.environ, reattach=attached))

        def plan(site: Terraform) -> Callable[[], PlanRun]:
            return lambda: checked(site.plan())

        work = [(site, plan(site)) for site in sites]
        taken: dict[str, float] = {}
        began = time.perf_counter()

        def take(name: str) -> None:
            nonlocal began
            taken[name] = time.perf_counter() - began
            began = time.perf_counter()

        for site in sites:
            checked(site.plan())
        take("one")
        plans = side_by_side(work)
        take("four")
        for site, planned in zip(sites, plans, strict=True):
            assert planned.plan_file is not None
            checked(site.apply(planned.plan_file))
        take("apply")
        after = side_by_side(work)
        take("unchanged")
        assert not any(run.has_changes for run in after), "a plan of what was just made has something to do"
    print(json.dumps(taken), file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
