"""One suite over every engine present: what the driver promises, seen on real runs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError, Span
from skyc.compiler.terraform import Engine, Phase, checked, read_state, running, state_ids, state_outputs

from .conftest import Site, environ, module, thing

pytestmark = pytest.mark.terraform


def test_life_of_a_site(engine: Engine, site: Site) -> None:
    content = dict(module(a=thing(input="x"), b=thing(input="${terraform_data.a.output}")))
    content["output"] = {"name": {"value": "${terraform_data.b.output}"}}
    site.write(content)
    terraform = site.terraform(engine)
    assert terraform.state() is None and dict(terraform.outputs()) == {}

    plan = checked(terraform.plan())
    assert plan.has_changes and plan.plan_file is not None
    assert [entry["address"] for entry in terraform.show(plan.plan_file)["resource_changes"]] == [
        "terraform_data.a",
        "terraform_data.b",
    ]
    applied = checked(terraform.apply(plan.plan_file))
    assert applied.finished and not applied.interrupted and not applied.diagnostics
    done = {event.address for event in site.events if event.phase is Phase.COMPLETE and event.action == "create"}
    assert done == {"terraform_data.a", "terraform_data.b"}

    state = terraform.state()
    assert state is not None and state.resources == ("terraform_data.a", "terraform_data.b")
    file = site.directory / "terraform.tfstate"
    assert read_state(file) == state and len(state_ids(file)) == 2
    assert dict(terraform.outputs()) == {"name": "x"} == dict(state_outputs(file) or {})

    again = checked(terraform.plan())
    assert not again.has_changes and again.returncode == 0

    replaced = checked(terraform.plan(replace=["terraform_data.a"]))
    assert replaced.plan_file is not None
    actions = {e["address"]: e["change"]["actions"] for e in terraform.show(replaced.plan_file)["resource_changes"]}
    assert actions["terraform_data.a"] == ["delete", "create"]

    away = checked(terraform.plan(destroy=True))
    assert away.plan_file is not None
    checked(terraform.apply(away.plan_file))
    after = terraform.state()
    assert after is not None and after.resources == () and after.serial > state.serial and after.lineage == state.lineage


def test_everything_it_leaves_is_private(any_engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x")))
    terraform = site.terraform(any_engine)
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    terraform.show(plan.plan_file)
    checked(terraform.apply(plan.plan_file))
    found = [path for path in site.directory.rglob("*") if path.is_file() and path.name != "cdk.tf.json"]
    assert {path.name for path in found} >= {"plan", "stdout", "stderr", "run.json", "terraform.tfstate"}
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    # `show` prints secrets in clear: nothing of it stays.
    assert sorted(path.name.partition("-")[2] for path in (site.directory / "runs").iterdir()) == ["apply", "plan"]


def test_validate_and_failures_name_the_users_line(engine: Engine, site: Site) -> None:
    place = Span(file="task.yaml", line=7, column=3, end_line=7, end_column=9)
    terraform = site.terraform(engine, origin_of=lambda address: place if address == "terraform_data.b" else None)
    site.write(module(a=thing(input="x"), b=thing(input="x", colour="red")))
    run = terraform.validate()
    assert not run.ok and [(d.slug, d.span) for d in run.diagnostics] == [("terraform-error", place)]
    assert "colour" in run.diagnostics[0].detail

    site.write(module(b=thing(run="echo no such thing >&2; exit 3")))
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    failed = terraform.apply(plan.plan_file)
    assert failed.returncode == 1 and not failed.finished and not failed.interrupted
    assert failed.diagnostics[0].span == place and "Resource: terraform_data.b" in failed.diagnostics[0].detail
    assert any(event.phase is Phase.ERRORED for event in site.events)
    with pytest.raises(SkycError) as raised:
        checked(failed)
    assert raised.value.exit_code == 1


def test_no_secret_gets_out(engine: Engine, site: Site) -> None:
    secret = 'hunter2"<&>hunter2'
    block = thing(input="x", run="echo 'hunter2\"<&>hunter2'; exit 1")
    block["lifecycle"] = {
        "precondition": [{"condition": '${path.module == "nowhere"}', "error_message": f"the password is {secret}"}]
    }
    site.write(module(a=block))
    terraform = site.terraform(engine, secrets=(secret,))
    run = terraform.plan()
    assert not run.ok
    assert "the password is ‹secret›" in run.diagnostics[0].detail

    del block["lifecycle"]
    site.write(module(a=block))
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    failed = terraform.apply(plan.plan_file)
    assert not failed.ok
    told = "".join(event.message for event in site.events)
    assert "hunter2" not in told + repr(failed.diagnostics) and "‹secret›" in told


def test_hostile_environment_changes_nothing(engine: Engine, site: Site) -> None:
    hostile = environ() | {
        "TF_CLI_ARGS": "-destroy",
        "TF_CLI_ARGS_plan": "-target=terraform_data.none",
        "TF_VAR_word": "evil",
        "TF_WORKSPACE": "other",
        "TF_LOG": "trace",
        "TF_DATA_DIR": "/dev/null/nowhere",
        "TF_REATTACH_PROVIDERS": "{not json",
        "TF_CLI_CONFIG_FILE": str(site.home / "missing"),
    }
    site.write({**module(a=thing(input="${var.word}")), "variable": {"word": {"default": "good"}}})
    terraform = site.terraform(engine, environ=hostile)
    plan = checked(terraform.plan())
    assert plan.plan_file is not None and plan.diagnostics == ()
    changes = terraform.show(plan.plan_file)["resource_changes"]
    assert [(c["change"]["actions"], c["change"]["after"]["input"]) for c in changes] == [(["create"], "good")]
    assert (plan.plan_file.parent / "stderr").read_bytes() == b""


def test_a_stale_plan_is_refused(engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x")))
    terraform = site.terraform(engine)
    first, second = checked(terraform.plan()), checked(terraform.plan())
    assert first.plan_file is not None and second.plan_file is not None
    checked(terraform.apply(first.plan_file))
    late = terraform.apply(second.plan_file)
    assert [d.slug for d in late.diagnostics] == ["plan-stale"]
    with pytest.raises(SkycError) as raised:
        checked(late)
    assert raised.value.exit_code == 4


def test_a_plan_of_another_engine_is_refused(engine: Engine, any_engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x")))
    plan = checked(site.terraform(engine).plan())
    assert plan.plan_file is not None
    other = Engine(name=engine.name, version="9.9.9", argv=engine.argv)
    with pytest.raises(SkycError) as raised:
        site.terraform(other).apply(plan.plan_file)
    assert raised.value.exit_code == 4 and raised.value.diagnostics[0].slug == "plan-engine-changed"
    assert engine.version in raised.value.diagnostics[0].detail
    if engine.version == any_engine.version:
        return
    # Without our record beside it, Terraform's own refusal is told in the same words.
    moved = plan.plan_file.rename(site.home.parent / "moved-plan")
    run = site.terraform(any_engine).apply(moved)
    assert [d.slug for d in run.diagnostics] == ["plan-engine-changed"]


def test_import(engine: Engine, site: Site) -> None:
    site.write(module(a=thing()))
    terraform = site.terraform(engine)
    checked(terraform.import_("terraform_data.a", "-looks-like-a-flag"))
    state = terraform.state()
    assert state is not None and state.resources == ("terraform_data.a",)
    assert state_ids(site.directory / "terraform.tfstate") == {"-looks-like-a-flag"}
    twice = terraform.import_("terraform_data.a", "other")
    assert not twice.ok and "already" in twice.diagnostics[0].detail.lower()


def test_init_runs_where_it_has_something_to_do(engine: Engine, site: Site) -> None:
    (site.directory / "part").mkdir()
    (site.directory / "part" / "main.tf.json").write_text(json.dumps(module(deep=thing(input="x"))))
    site.write({"module": {"part": {"source": "./part"}}, "terraform": {"backend": {"local": {"path": "kept.tfstate"}}}})
    terraform = site.terraform(engine)
    assert terraform.state() is None
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    checked(terraform.apply(plan.plan_file))
    state = terraform.state()
    assert state is not None and state.resources == ("module.part.terraform_data.deep",)
    assert (site.directory / "kept.tfstate").exists() and not (site.directory / "terraform.tfstate").exists()
    inits = [path for path in (site.directory / "runs").iterdir() if path.name.endswith("-init")]
    assert len(inits) == 1, "a module that has not changed is not initialised again"


def test_a_missing_provider_is_a_diagnostic_of_init(any_engine: Engine, site: Site) -> None:
    config = site.home.parent / "offline.tfrc"
    config.write_text('provider_installation {\n filesystem_mirror {\n  path = "/nonexistent"\n }\n}\n')
    site.write({"resource": {"skyc_node": {"a": {}}}, "terraform": {"required_providers": {"skyc": {"source": "skyc/skyc"}}}})
    run = site.terraform(any_engine, environ=environ() | {"TF_CLI_CONFIG_FILE": str(config)}).plan()
    assert not run.ok and run.plan_file is None and "skyc/skyc" in run.diagnostics[0].detail


def test_junk_lines_and_unknown_types_do_no_harm(any_engine: Engine, site: Site) -> None:
    if len(any_engine.argv) > 1:
        pytest.skip("the embedded engine is not one program")
    noisy = site.home.parent / "noisy"
    noise = (
        '\x1b[1mjunk\n{"type":\n{"type": 7}\n[1]\n{"type":"from_the_future","hook":3}\n{"@level":"info","type":"apply_start"}'
    )
    script = f"#!/bin/sh\nprintf '%s\\n' '{noise}'\nhead -c 100000 /dev/zero\necho\nexec {any_engine.argv[0]} \"$@\"\n"
    noisy.write_text(script)
    noisy.chmod(0o700)
    site.write(module(a=thing(input="x")))
    terraform = site.terraform(Engine(name=any_engine.name, version=any_engine.version, argv=(str(noisy),)))
    plan = checked(terraform.plan())
    assert plan.has_changes and plan.plan_file is not None
    applied = checked(terraform.apply(plan.plan_file))
    assert applied.finished and applied.diagnostics == ()


def test_a_damaged_state_is_refused(any_engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x")))
    file = site.directory / "terraform.tfstate"
    for content in ("{", "[]", '{"version": 4}'):
        file.write_text(content)
        with pytest.raises(SkycError) as raised:
            site.terraform(any_engine).state()
        assert raised.value.diagnostics[0].slug == "state-damaged"
        assert state_ids(file) == frozenset()


def test_a_callback_that_fails_does_not_cut_the_run_short(any_engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x", run="sleep 0.2"), b=thing(needs="a")))
    terraform = site.terraform(any_engine)
    plan = checked(terraform.plan())
    assert plan.plan_file is not None

    def broken(event: object) -> None:
        raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError):
        site.terraform(any_engine, on_event=broken).apply(plan.plan_file)
    state = terraform.state()
    assert state is not None and state.resources == ("terraform_data.a", "terraform_data.b")
    assert running(site.directory) is None


def test_old_runs_go(any_engine: Engine, site: Site) -> None:
    runs = site.directory / "runs"
    for number in range(1, 40):
        (runs / f"{number:06d}-plan").mkdir(parents=True)
        (runs / f"{number:06d}-plan" / "plan").write_text("state in clear")
    (runs / "notes").mkdir()
    site.write(module(a=thing(input="x")))
    plan = checked(site.terraform(any_engine).plan())
    assert plan.plan_file == runs / "000040-plan" / "plan"
    assert len(list(runs.iterdir())) == 21 and Path(runs / "notes").is_dir()
