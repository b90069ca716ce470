"""Where the values of `envs` and `secrets` come from, and what may be written out with `${NAME}`.

Rules, in this order:

- a value given on the command line wins over the file's, the file's over the environment; the environment is asked only for names
  the file declares without a value;
- what stands under `secrets`, and every env without a value, is secret: its value is a `Secret` and its name is all a Task holds;
- `${NAME}` in a name, path or URI puts the value into the plan. That is allowed for values written in the file, and for an env
  given with `--env` (then it is no secret any more); for every other secret it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..diagnostics import Diagnostic, SourceMap, error, warning
from ..ir import FrozenMap, Secret, SpecPath, TaskSpec
from ..parse.nearest import nearest
from ..parse.words import placed

_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvOverrides:
    """What the command line and the environment offer. All values are masked: which of them are secret, the file says."""

    env: FrozenMap[Secret] = field(default_factory=FrozenMap)
    secrets: FrozenMap[Secret] = field(default_factory=FrozenMap)
    environment: FrozenMap[Secret] = field(default_factory=FrozenMap)

    @classmethod
    def of(
        cls,
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> EnvOverrides:
        """`env`: from `--env`; `secrets`: from `--secret`; `environ`: the environment variables that may be read."""
        return cls(env=_masked(env), secrets=_masked(secrets), environment=_masked(environ))


def _masked(values: Mapping[str, str] | None) -> FrozenMap[Secret]:
    return FrozenMap({name: Secret(value) for name, value in (values or {}).items()})


@dataclass(slots=True)
class Scope:
    """One task's variables while it is resolved, and the place complaints go to."""

    source: SourceMap
    directory: Path
    overrides: EnvOverrides
    diagnostics: list[Diagnostic] = field(default_factory=list)
    public: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, Secret] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    _given: set[str] = field(default_factory=set)

    def complain(
        self, slug: str, summary: str, detail: str, path: SpecPath, *, hint: str | None = None, commands: tuple[str, ...] = ()
    ) -> None:
        self.diagnostics.append(error(slug, summary, detail, span=self.source.find(path), hint=hint, commands=commands))

    def warn(self, slug: str, summary: str, detail: str, path: SpecPath, *, hint: str | None = None) -> None:
        self.diagnostics.append(warning(slug, summary, detail, span=self.source.find(path), hint=hint))

    def declare(self, task: TaskSpec) -> None:
        """Find a value for everything the task declares, and for everything the command line adds to it."""
        offered = self.overrides
        for name, value in (task.envs or {}).items():
            self.declared.add(name)
            if name in offered.secrets:
                self.hidden[name] = offered.secrets[name]
            elif value is not None:
                self.public[name] = offered.env[name].reveal() if name in offered.env else value
            elif name in offered.env:
                self.hidden[name] = offered.env[name]
                self._given.add(name)
            elif name in offered.environment:
                self.hidden[name] = offered.environment[name]
            else:
                self._missing(name, task.origin.child("envs").child(name), f"pass `--env {name}=…`, or set it and try again")
        for name, secret in (task.secrets or {}).items():
            path = task.origin.child("secrets").child(name)
            if name in self.declared:
                detail = f"`{name}` stands under `envs` and under `secrets`."
                self.complain("conflicting-fields", "Two fields contradict", detail, path, hint="keep the one under `secrets`")
                continue
            self.declared.add(name)
            found = offered.secrets.get(name) or offered.env.get(name) or secret or offered.environment.get(name)
            if found is None:
                self._missing(name, path, f"set it and pass `--secret {name}`")
            else:
                self.hidden[name] = found
        for name, given in offered.env.items():
            if name not in self.declared:
                self.public[name] = given.reveal()
        for name, given in offered.secrets.items():
            if name not in self.declared:
                self.public.pop(name, None)
                self.hidden[name] = given

    def _missing(self, name: str, path: SpecPath, hint: str) -> None:
        detail = f"`{name}` has no value in the file, none was passed, and the environment has no variable of that name."
        self.complain("missing-variable", "A variable has no value", detail, path, hint=hint)

    def expand(self, text: str, path: SpecPath) -> str | None:
        """`text` with `$NAME` and `${NAME}` replaced; None when one of them cannot be (then a complaint is added)."""
        failed = False

        def value(match: re.Match[str]) -> str:
            nonlocal failed
            name = match[1] or match[2]
            if name in self._given:
                # Asked for in the open, used in the open.
                self._given.discard(name)
                self.public[name] = self.hidden.pop(name).reveal()
            if name in self.public:
                return self.public[name]
            failed = True
            if name in self.hidden:
                detail = f"`{name}` is secret, and this value becomes a part of the plan, which is stored and shown."
                hint = f"give `{name}` a value under `envs`, or pass it with `--env`"
                self.complain("secret-in-plan", "A secret would be written into the plan", detail, path, hint=hint)
            elif name not in self.declared:
                close = nearest(name, self.declared | set(self.public))
                hint = f"did you mean `{close}`?" if close else f"add `{name}` under `envs`"
                detail = f"{placed(match[0])} names a variable that this task does not declare."
                self.complain("unknown-variable", "A variable is not declared", detail, path, hint=hint)
            return ""

        expanded = _REFERENCE.sub(value, text)
        return None if failed else expanded

    def home(self) -> str:
        """The user's home directory, for `~`."""
        found = self.overrides.environment.get("HOME")
        return found.reveal() if found is not None else str(Path.home())
