"""The Terraform driver: every command skyc gives, and what came of it.

Contract
- Whether a command did what it should is told by its exit code alone; diagnostics explain. A result is returned, not raised: a
  partial apply is a fact to work with. `checked(run)` raises for those who cannot go on.
- An interrupt (Ctrl-C, SIGTERM, `stop()`) first lets Terraform end. Then `apply` and `import_` return with `interrupted` set,
  because what they did must be looked at; every other command raises KeyboardInterrupt (after `stop()`: SkycError). From then on
  nothing that plans or changes starts any more; reading still works.
- No variable is ever passed, so none can differ between plan and apply; no secret is in an argument, a plan or a diagnostic.
- An engine applies only plans of its own family and version. `init` runs only where it has something to do.

How a process is run, tailed and ended is `terraform_process`; this module and `terraform_engine` alone start Terraform.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..providers.base import Attachment
from . import terraform_process as process
from .diagnostics import Diagnostic, SkycError, error, has_errors, warning
from .ir import FrozenMap, JsonObject
from .scrub import Scrubber
from .terraform_arguments import arguments, environment
from .terraform_engine import Engine, find_engine
from .terraform_files import (
    STATE_FILE,
    ModuleNeeds,
    StateFacts,
    is_encrypted,
    local_state,
    module_needs,
    output_values,
    parsed_state,
    read_state,
    state_facts,
    state_ids,
    state_outputs,
)
from .terraform_plugins import plugin_cache
from .terraform_process import Ended, Launch, RunFacts, StopSwitch
from .terraform_runs import ApplyRun, CommandRun, Patience, PlanRun, Survivor, checked, stopped
from .terraform_stream import (
    DISK_FULL,
    PLAN_ENGINE_CHANGED,
    STATE_LOCKED,
    Event,
    OriginOf,
    Phase,
    Reading,
    diagnostic_of,
    first_error,
    spoken,
    text_diagnostic,
)

__all__ = [
    "ApplyRun",
    "CommandRun",
    "Engine",
    "Event",
    "Patience",
    "Phase",
    "PlanRun",
    "RunFacts",
    "StateFacts",
    "Survivor",
    "Terraform",
    "checked",
    "find_engine",
    "read_state",
    "running",
    "state_ids",
    "state_outputs",
    "wait_for",
]

RUNS = "runs"
CHANGING = frozenset({"apply", "import"})
ROOM = 4 << 20
"""Bytes that must be free before anything is planned or changed: room for the state and the run's files."""


def running(directory: Path) -> RunFacts | None:
    """The newest Terraform run in a site's directory that is still going on, whoever started it."""
    return process.running(directory / RUNS)


def wait_for(
    run: RunFacts,
    *,
    timeout: float | None = None,
    secrets: Sequence[str] = (),
    on_event: Callable[[Event], None] | None = None,
    origin_of: OriginOf | None = None,
) -> Survivor:
    """Wait for a run that another skyc left behind, passing on its events from the first."""
    reading = Reading(Scrubber(secrets), origin_of)
    ended = process.wait_for(run, timeout, _teller(reading, on_event))
    finished = ended and reading.finished is not None and not has_errors(reading.diagnostics)
    return Survivor(run=run, ended=ended, finished=finished, diagnostics=reading.diagnostics)


def _teller(reading: Reading, on_event: Callable[[Event], None] | None) -> Callable[[bytes], None]:
    def on_line(line: bytes) -> None:
        event = reading.line(line)
        if event is not None and on_event is not None:
            on_event(event)

    return on_line


class Terraform:
    """Terraform in one site's directory. One command at a time; `stop` may be called from any thread.

    `directory` holds the root module and becomes Terraform's working directory; runs are kept below `runs/` in it, and the state
    beside it unless the module names a backend. `inherit`: file descriptors (a lock) that must stay open for as long as
    Terraform runs. `secrets`: values that no text of ours may hold.
    """

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        *,
        home: Path,
        environ: Mapping[str, str],
        reattach: tuple[Attachment, ...] = (),
        inherit: tuple[int, ...] = (),
        secrets: tuple[str, ...] = (),
        on_event: Callable[[Event], None] | None = None,
        origin_of: OriginOf | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.engine = engine
        self.directory = directory.absolute()
        self._home = home.absolute()
        self._reattach = reattach
        self._inherit = (*inherit, *(attachment.lifeline for attachment in reattach))
        self._scrubber = Scrubber(secrets)
        self._on_event = on_event
        self._origin_of = origin_of
        self._patience = patience or Patience()
        self._environ = environment(environ, data=self._data, reattach=reattach)
        self._stop = StopSwitch()

    @property
    def version(self) -> str:
        return self.engine.version

    def stop(self, *, force: bool = False) -> None:
        """Ask what runs to end, once, and let nothing more start. `force` kills it: its state may then lack resources."""
        self._stop.stop(force=force)

    def init(self) -> CommandRun:
        """Install providers and set up the backend. Other commands do this themselves where it is needed."""
        needs = self._needs()
        with plugin_cache(self._home, self._environ) as (cache, extra):
            lent = cache.lend(self.directory, needs.packages)
            run, _ = self._change("init", extra=extra)
            if lent and not run.ok:
                # Packages that are others now, or another platform's home.
                cache.take_back(self.directory, needs.packages)
                run, _ = self._change("init", extra=extra)
            if run.ok:
                cache.keep(self.directory, needs.packages)
        if run.ok:
            with contextlib.suppress(OSError):
                self._initialised.write_text(self._needs().digest)
        return run

    def validate(self) -> CommandRun:
        """Check the module against the providers' schemas."""
        prepared = self._prepare()
        if prepared is not None:
            return prepared
        ended, out, errors = self._read("validate", no_color=True, json=True)
        try:
            found = [item for item in json.loads(out)["diagnostics"] if isinstance(item, dict)]
        except (ValueError, KeyError, TypeError):
            found = []
        said = tuple(diagnostic_of(item, scrubber=self._scrubber, origin_of=self._origin_of) for item in found)
        return CommandRun(**self._facts("validate", ended, said, errors))

    def plan(
        self,
        *,
        destroy: bool = False,
        refresh_only: bool = False,
        refresh: bool = True,
        replace: Sequence[str] = (),
        target: Sequence[str] = (),
    ) -> PlanRun:
        """Plan into a private file. Exit code 2 of `-detailed-exitcode` becomes `has_changes`. target: only these addresses, and what they
        depend on; none: everything."""
        prepared = self._prepare()
        if prepared is not None:
            return PlanRun(**_fields(prepared), plan_file=None, has_changes=False)
        run, files = self._change(
            "plan",
            detailed_exitcode=True,
            out=process.PLAN,
            destroy=True if destroy else None,
            refresh_only=True if refresh_only else None,
            refresh=None if refresh else "false",
            replace=list(replace),
            target=list(target),
        )
        plan_file = files / process.PLAN
        return PlanRun(**_fields(run), plan_file=plan_file if plan_file.exists() else None, has_changes=run.returncode == 2)

    def show(self, plan_file: Path) -> JsonObject:
        """The plan as JSON. It holds secrets in clear: hand it to `change_set` and to nothing else. Raises SkycError."""
        self._same_engine(plan_file)
        ended, out, errors = self._read("show", str(plan_file.absolute()), no_color=True, json=True)
        try:
            value = json.loads(out) if ended.returncode == 0 else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise SkycError(text_diagnostic(errors or out, scrubber=self._scrubber, summary="The plan cannot be read"))
        return value

    def apply(self, plan_file: Path) -> ApplyRun:
        """Do exactly what the plan says. Raises SkycError (exit code 4) for a plan of another engine."""
        self._same_engine(plan_file)
        prepared = self._prepare()
        if prepared is not None:
            return ApplyRun(**_fields(prepared), finished=False)
        reading = self._reading()
        run, _ = self._change("apply", str(plan_file.absolute()), reading=reading)
        return ApplyRun(**_fields(run), finished=run.ok and reading.finished is not None)

    def import_(self, address: str, id: str) -> CommandRun:
        """Take what exists under `id` into the state as `address`."""
        prepared = self._prepare()
        if prepared is not None:
            return prepared
        run, _ = self._change("import", address, id, speaks_json=False)
        return run

    def outputs(self) -> Mapping[str, Any]:
        """Output values by name; empty without a state. Raises SkycError."""
        state = self._local_state()
        if state is not None:
            return FrozenMap(output_values(state))
        if not self._needs().remote_state and not (self.directory / STATE_FILE).exists():
            return FrozenMap()
        return FrozenMap(output_values(self._state_command("output", json=True, no_color=True) or {}))

    def state(self) -> StateFacts | None:
        """The state's identity and what is in it, None when there is none. Raises SkycError when it cannot be read."""
        state = self._local_state()
        if state is not None:
            return state_facts(state, str(self.directory / STATE_FILE))
        if not self._needs().remote_state and not (self.directory / STATE_FILE).exists():
            return None
        pulled = self._state_command("state pull")
        return state_facts(pulled, "the backend's state") if pulled is not None else None

    # What the commands are made of.

    def _local_state(self) -> JsonObject | None:
        """The state beside the module, when that is where it is and we can read it."""
        if self._needs().remote_state:
            return None
        state = local_state(self.directory / STATE_FILE)
        return None if state is None or is_encrypted(state) else state

    def _state_command(self, command: str, **options: Any) -> JsonObject | None:
        prepared = self._prepare()
        if prepared is not None:
            raise SkycError(*prepared.diagnostics)
        ended, out, errors = self._read(command, **options)
        if ended.returncode != 0:
            raise SkycError(text_diagnostic(errors or out, scrubber=self._scrubber, summary="The state cannot be read"))
        return parsed_state(out.encode(), "the backend's state") if out.strip() else None

    @property
    def _data(self) -> Path:
        return self.directory / ".terraform"

    @property
    def _initialised(self) -> Path:
        return self._data / "skyc-init"

    def _needs(self) -> ModuleNeeds:
        return module_needs(
            self.directory,
            registry=self.engine.registry,
            attached=[attachment.source for attachment in self._reattach],
            engine=str(self.engine),
        )

    def _prepare(self) -> CommandRun | None:
        """`init` where it is needed and has not been done. The failed run, or None when all is well."""
        needs = self._needs()
        if not needs.must_init:
            return None
        with contextlib.suppress(OSError):
            if self._initialised.read_text() == needs.digest:
                return None
        run = self.init()
        return None if run.ok else run

    def _files(self, command: str) -> Path:
        return process.private_directory(self.directory / RUNS, command.replace(" ", "-"))

    def _launch(self, command: str, files: Path, spelt: tuple[str, ...], environ: Mapping[str, str]) -> Launch:
        changes = command in CHANGING
        return Launch(
            command=command,
            engine=(self.engine.name, self.engine.version),
            argv=(*self.engine.argv, *spelt),
            directory=self.directory,
            environ=environ,
            files=files,
            inherit=self._inherit,
            limit=self._patience.change if changes else self._patience.read,
            grace=self._patience.grace if changes else self._patience.read_grace,
        )

    def _go_on(self) -> None:
        """Raise if we were asked to stop."""
        if self._stop.interrupted:
            raise KeyboardInterrupt
        if self._stop.requests:
            raise SkycError(stopped(), exit_code=130)

    def _reading(self) -> Reading:
        return Reading(self._scrubber, self._origin_of)

    def _note(self, text: str) -> None:
        if self._on_event is not None:
            self._on_event(Event(phase=Phase.NOTE, message=text))

    def _change(
        self,
        command: str,
        *positional: str,
        reading: Reading | None = None,
        speaks_json: bool = True,
        extra: Mapping[str, str] | None = None,
        **options: Any,
    ) -> tuple[CommandRun, Path]:
        """Run a command that plans or changes something; its files are kept."""
        self._go_on()
        self._must_have_room()
        files = self._files(command)
        if "out" in options:
            options["out"] = str(files / options["out"])
        common = {"input": "false", "no_color": True, "json": True if speaks_json else None}
        locking = {"lock_timeout": f"{self._patience.lock:g}s"}
        spelt = arguments(command, *positional, directory=files, options={**common, **locking, **options})
        reading = reading or self._reading()
        launch = self._launch(command, files, spelt, {**self._environ, **(extra or {})})
        ended = process.run(launch, stop=self._stop, on_line=_teller(reading, self._on_event), on_note=self._note)
        if ended.interrupted and command not in CHANGING:
            self._go_on()
        said = _text(files / process.ERRORS) if speaks_json else _text(files / process.OUTPUT) + _text(files / process.ERRORS)
        return CommandRun(**self._facts(command, ended, reading.diagnostics, said)), files

    def _read(self, command: str, *positional: str, **options: Any) -> tuple[Ended, str, str]:
        """Run a command that only reads: what it printed, of which no file stays. Raises SkycError when it is interrupted."""
        files = self._files(command)
        stop = StopSwitch()
        try:
            spelt = arguments(command, *positional, directory=files, options=options)
            launch = self._launch(command, files, spelt, self._environ)
            ended = process.run(launch, stop=stop, on_line=lambda line: None, on_note=self._note)
            out, errors = _text(files / process.OUTPUT), _text(files / process.ERRORS)
        finally:
            process.discard(files)
        if stop.requests:
            self._stop.interrupt()
            self._go_on()
        return ended, out, errors

    def _facts(self, command: str, ended: Ended, said: tuple[Diagnostic, ...], text: str) -> dict[str, Any]:
        """The fields every result shares, with what Terraform did not say itself added to its diagnostics."""
        diagnostics = list(said)
        failed = ended.returncode not in ((0, 2) if command == "plan" else (0,))
        if ended.killed:
            diagnostics.append(
                error(
                    "terraform-killed",
                    "Terraform was killed before it could save its state",
                    f"`{command}` was asked to stop and did not end in time. What it was making may exist without being recorded.",
                    hint="run the command again: skyc looks for what the state lacks",
                )
            )
        if ended.timed_out:
            limit = spoken(self._launch_limit(command))
            diagnostics.append(error("terraform-timeout", "Terraform took too long", f"`{command}` was stopped after {limit}."))
        if failed and first_error(diagnostics, DISK_FULL) is None and self._room() < ROOM // 4:
            diagnostics.append(_disk_full(self.directory, "Terraform may have left a state that is cut off."))
        if failed and not has_errors(diagnostics):
            summary = f"Terraform {command} failed with exit code {ended.returncode}"
            diagnostics.append(text_diagnostic(text, scrubber=self._scrubber, summary=summary))
        if first_error(diagnostics, STATE_LOCKED) is not None and (other := running(self.directory)) is not None:
            diagnostics.append(
                warning(
                    "run-still-going",
                    "A Terraform run of this site is still working",
                    f"`{other.command}`, process {other.pid or 'unknown'}, was left behind by a skyc that is gone.",
                    hint="it ends by itself; skyc waits for it at the next command",
                )
            )
        return {
            "returncode": ended.returncode,
            "diagnostics": tuple(dict.fromkeys(diagnostics)),
            "interrupted": ended.interrupted,
            "killed": ended.killed,
            "timed_out": ended.timed_out,
            "seconds": ended.seconds,
        }

    def _launch_limit(self, command: str) -> float:
        return (self._patience.change if command in CHANGING else self._patience.read) or 0.0

    def _room(self) -> int:
        try:
            return shutil.disk_usage(self.directory).free
        except OSError:
            return ROOM

    def _must_have_room(self) -> None:
        """Refuse before anything is made that could not be recorded."""
        with contextlib.suppress(FileNotFoundError):
            needed = ROOM + 4 * (self.directory / STATE_FILE).stat().st_size
            if self._room() < needed:
                raise SkycError(_disk_full(self.directory, f"At least {needed >> 20} MiB are needed. Nothing was changed."))
            return
        if self._room() < ROOM:
            raise SkycError(_disk_full(self.directory, f"At least {ROOM >> 20} MiB are needed. Nothing was changed."))

    def _same_engine(self, plan_file: Path) -> None:
        """The run that made a plan tells its engine. A plan without one is Terraform's own to refuse."""
        made = process.facts_of(plan_file.parent)
        if made is None or (_family(made.engine), made.engine_version) == (_family(self.engine.name), self.engine.version):
            return
        raise SkycError(
            error(
                PLAN_ENGINE_CHANGED,
                "The plan was made by another Terraform",
                f"It was made by {made.engine} {made.engine_version}; here runs {self.engine}. "
                "A saved plan can be applied only by the very version that made it. Nothing was changed.",
                hint=f"use {made.engine} {made.engine_version}, or make and review a new plan",
            ),
            exit_code=4,
        )


def _family(name: str) -> str:
    return "tofu" if name == "tofu" else "terraform"


def _fields(run: CommandRun) -> dict[str, Any]:
    names = ("returncode", "diagnostics", "interrupted", "killed", "timed_out", "seconds")
    return {name: getattr(run, name) for name in names}


def _text(file: Path) -> str:
    return file.read_text(errors="replace")


def _disk_full(place: Path, consequence: str) -> Diagnostic:
    return error(
        DISK_FULL,
        "The disk is full",
        f"There is too little space left where `{place}` is. {consequence}",
        hint="free some space, then run the command again",
    )
