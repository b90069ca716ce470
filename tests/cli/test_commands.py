"""Every command through `main`, with a fake of the public calls: what it asks for, prints, and exits with."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from skyc.cli.main import COMMANDS, main
from skyc.cli.screen import _paint_diff
from skyc.compiler.diagnostics import SkycError, Span, error, warning
from skyc.compiler.ir import Action, JobAction, Secret
from skyc.runtime.job import JobKind
from skyc.runtime.results import DestroyOutcome, Outcome, Progress, ProgressKind

from .fakes import FIELD_EFFECT, JOB, STATUS, FakeApi, plan


class Terminal(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeApi:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("SKYC_HOME", str(tmp_path / "home"))
    return FakeApi()


def call(fake: FakeApi) -> tuple[str, dict[str, Any]]:
    (only,) = fake.calls
    return only


def say(kind: ProgressKind, text: str, *, resource: str | None = None) -> Progress:
    return Progress(kind=kind, stage="apply", text=text, resource=resource)


# plan


def test_plan_prints_the_report_on_standard_output(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "t.yaml"], api=fake) == 0
    out, err = capsys.readouterr()
    assert out == fake.planned.report("text")
    assert "1 to add" in out
    assert err == ""
    name, given = call(fake)
    assert (name, given["path"], given["deployment"], given["emit"], given["destroy"]) == (
        "plan",
        Path("t.yaml"),
        None,
        None,
        False,
    )


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_plan_json_has_a_schema(fake: FakeApi, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert main(["plan", "t.yaml", *options], api=fake) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "skyc.plan/v1"


def test_plan_markdown_emit_and_timings(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "t.yaml", "--format", "markdown", "--timings"], api=fake) == 0
    out, err = capsys.readouterr()
    assert out.startswith("<!-- skyc:plan/v1")
    assert err.splitlines() == ["parse              1.2 ms", "plan            1500.0 ms"]
    fake.planned = plan(emitted="graph digits\n")
    assert main(["plan", "t.yaml", "--emit", "resolve", "--destroy"], api=fake) == 0
    assert capsys.readouterr().out == "graph digits\n"
    assert fake.calls[-1][1]["emit"] == "resolve"
    assert fake.calls[-1][1]["destroy"] is True


def test_plan_html_is_a_page(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "t.yaml", "--format", "html"], api=fake) == 0
    assert capsys.readouterr().out == fake.planned.report("html") != ""


@pytest.mark.parametrize(
    ("line", "style"),
    [
        ("  + skyc_node.main-0", "32"),
        ("  - skyc_node.main-0", "31"),
        ("  x skyc_node.main-0", "31"),
        ("  ~ skyc_node.main-0", "33"),
        ("-/+ skyc_node.main-0", "31"),
        ("+/- skyc_node.main-0", "31"),
        ("! destroys skyc_node.main-0", "33;1"),
        ("      - value", ""),
        ("      + value", ""),
        ("  x: at a place", ""),
        ("  = skyc_node.main-0 (was skyc_node.old)", ""),
    ],
)
def test_a_line_has_the_colour_of_its_sign(line: str, style: str) -> None:
    painted = f"\x1b[{style}m{line}\x1b[0m\n" if style else f"{line}\n"
    assert _paint_diff(f"{line}\n") == painted


@pytest.mark.parametrize(
    ("actions", "job", "code"),
    [
        ((Action.CREATE,), JobAction.NOTHING, 2),
        ((Action.NO_OP,), JobAction.NOTHING, 0),
        ((Action.NO_OP,), JobAction.FOLLOW, 0),
        ((Action.NO_OP,), JobAction.RUN, 2),
        ((Action.NO_OP,), JobAction.RESUME, 2),
    ],
)
def test_only_the_detailed_exit_code_says_changes(
    fake: FakeApi, actions: tuple[Action, ...], job: JobAction, code: int
) -> None:
    fake.planned = plan(*actions, job=job)
    assert main(["plan", "t.yaml"], api=fake) == 0
    assert main(["plan", "t.yaml", "--detailed-exitcode"], api=fake) == code


def test_a_plan_goes_into_a_file(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "t.yaml", "-o", "p.skyc"], api=fake) == 0
    assert fake.calls[-1][1]["out"] == Path("p.skyc")
    assert "    skyc apply p.skyc\n" in capsys.readouterr().err
    fake.planned = plan(Action.CREATE, offline=True)
    assert main(["plan", "t.yaml", "-o", "p.skyc", "--offline"], api=fake) == 0
    assert "cannot be applied" in capsys.readouterr().err
    assert main(["plan", "t.yaml", "-o", "roots", "--emit=synth"], api=fake) == 0
    assert (fake.calls[-1][1]["emit"], fake.calls[-1][1]["out"]) == ("synth", Path("roots"))
    for other in ("--destroy", "--emit=lower"):
        assert main(["plan", "t.yaml", "-o", "p.skyc", other], api=fake) == 1
        assert "error[no-plan-file]" in capsys.readouterr().err


def test_apply_takes_the_fingerprint_that_was_reviewed(fake: FakeApi) -> None:
    assert main(["apply", "t.yaml", "-y", "--plan", "29b12832831e0c17"], api=fake) == 0
    assert fake.calls[-1][1]["fingerprint"] == "29b12832831e0c17"


def test_what_an_apply_and_a_destroy_are_held_to(fake: FakeApi) -> None:
    given = ["-y", "--policy", "p.yaml", "--approve", "rule"]
    assert main(["apply", "task.yaml", "--locked", *given], api=fake) == 0
    assert (fake.calls[-1][1]["locked"], fake.policies, fake.approved) == (True, (Path("p.yaml"),), ("rule",))
    assert main(["destroy", "digits", "-y", "--policy", "q.yaml", "--approve", "other"], api=fake) == 0
    assert (fake.policies, fake.approved) == ((Path("q.yaml"),), ("other",))


def test_stages_are_those_of_the_pipeline() -> None:
    from skyc.cli.commands.plan import STAGES as known
    from skyc.compiler.pipeline import STAGES

    assert known == STAGES


# variables and secrets


def test_variables_and_secrets_reach_the_call_and_no_printer(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-from-here")
    monkeypatch.setenv("HERE", "x=y")
    (tmp_path / "key").write_text("line 1\nline 2\n")
    argv = ["plan", "t.yaml", "--env", "A=1=2", "--env", "HERE", "--secret", "TOKEN", "--secret-file", f"KEY={tmp_path}/key"]
    assert main(argv, api=fake) == 0
    given = call(fake)[1]
    assert dict(given["env"]) == {"A": "1=2", "HERE": "x=y"}
    assert dict(given["secrets"]) == {"TOKEN": Secret("hunter2-from-here"), "KEY": Secret("line 1\nline 2")}
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_secret_on_the_command_line_is_refused_without_repeating_it(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        "--secret",
        "A=hunter2",
        "--secret",
        "NOT_SET_ANYWHERE",
        "--secret-file",
        "B=/no/such/file",
        "--env",
        "ALSO_NOT_SET",
    ]
    assert main(["plan", "t.yaml", *wrong], api=fake) == 1
    err = capsys.readouterr().err
    assert [line.split("]")[0] for line in err.splitlines() if line.startswith("error")] == [
        "error[env-not-set",
        "error[secret-file",
        "error[secret-not-set",
        "error[secret-on-command-line",
    ]
    assert "hunter2" not in err
    assert fake.calls == []
    for argv in (["--secert", "A=hunter2"], ["--secert=A=hunter2"], ["--secret", "PATH", "hunter2"]):
        assert main(["plan", "t.yaml", *argv], api=fake) == 1
        assert "hunter2" not in capsys.readouterr().err


def test_a_secret_file_that_is_no_text_is_not_quoted(fake: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"hunter2\xff\xfe")
    assert main(["plan", "t.yaml", "--secret-file", f"K={tmp_path}/key"], api=fake) == 1
    err = capsys.readouterr().err
    assert "it is not UTF-8 text" in err
    assert "xff" not in err


# apply and destroy


def test_apply_without_a_terminal_shows_the_plan_and_needs_yes(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "t.yaml"], api=fake) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "1 to add" in err
    assert "error[needs-approval]" in err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1), ("yy\n", 1)])
def test_apply_asks(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["apply", "t.yaml"], api=fake) == code
    err = capsys.readouterr().err
    assert "Apply this plan? [y/N] " in err
    assert ("nothing was done" in err) == bool(code)


def test_apply_sends_the_jobs_lines_alone_to_standard_output(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.planned = plan(Action.CREATE, diagnostics=(warning("not-yet-supported", "A field is read only.", "Wait."),))
    fake.progress = (
        say(ProgressKind.STEP, "Terraform applies"),
        say(ProgressKind.RESOURCE, "created", resource="skyc_node.main-0"),
        say(ProgressKind.NOTE, "a note\x1b[2J"),
        say(ProgressKind.STEP, "the job runs"),
        say(ProgressKind.OUTPUT, "epoch 1\tloss \x1b[31m0.5\x1b[0m [bold]"),
        say(ProgressKind.OUTPUT, ""),
    )
    assert main(["apply", "t.yaml", "-y", "--rerun", "--detach", "--no-wait"], api=fake) == 0
    out, err = capsys.readouterr()
    assert out == "epoch 1\tloss \x1b[31m0.5\x1b[0m [bold]\n\n"
    assert err.splitlines()[-5:] == [
        "apply: Terraform applies",
        "  skyc_node.main-0: created",
        "  a note\ufffd[2J",
        "apply: the job runs",
        "job digits-1-1 succeeded after 4 min 05 s",
    ]
    assert err.count("warning[not-yet-supported]") == 1, "said with the plan, and not again at the end"
    given = call(fake)[1]
    assert (given["rerun"], given["detach"], given["wait"]) == (True, True, 0.0)


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (Outcome.SUCCEEDED, 0, "succeeded"),
        (Outcome.ALREADY_SUCCEEDED, 0, "--rerun"),
        (Outcome.DETACHED, 0, "skyc logs -f digits"),
        (Outcome.FAILED, 1, "failed with exit code 7 on rank 1: rank 1 ended"),
        (Outcome.CANCELLED, 1, "cancelled"),
        (Outcome.LOST, 1, "The next apply takes it up again"),
    ],
)
def test_how_an_apply_ended_is_said_and_exits(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], outcome: Outcome, code: int, text: str
) -> None:
    fake.outcome = outcome
    assert main(["apply", "t.yaml", "-y"], api=fake) == code
    assert text in capsys.readouterr().err
    assert call(fake)[1]["wait"] is None


def test_a_lost_command_is_not_promised_to_resume(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcome = Outcome.LOST
    fake.jobs = (dataclasses.replace(JOB, kind=JobKind.EXEC, run=0),)
    assert main(["exec", "digits", "--", "date"], api=fake) == 1
    said = capsys.readouterr().err
    assert "next apply" not in said
    assert "skyc status digits" in said


def test_destroy_asks_says_what_went_and_what_stays(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["destroy", "digits", "-y"], api=fake) == 0
    err = capsys.readouterr().err
    assert "destroys skyc_node.main-0" in err
    assert err.endswith("digits is destroyed: 1 resource removed\nkept: results at file:///s/results\n")
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert main(["destroy", "digits", "--purge"], api=fake) == 1
    assert "its storage and its history? [y/N] " in capsys.readouterr().err
    assert fake.calls[-1] == ("destroy", {"deployment": "digits", "purge": True, "wait": None})
    fake.destroy_outcome = DestroyOutcome.NOTHING
    assert main(["destroy", "digits", "-y"], api=fake) == 0
    assert "nothing of digits is left" in capsys.readouterr().err


# what reads


def test_status_table_and_json(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.statuses = (dataclasses.replace(STATUS, working="`skyc apply` is working on it.", jobs=(JOB,) * 7),)
    assert main(["status"], api=fake) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits · active · local · $0.00/h · /p/task.yaml"
    assert lines[1:4] == [
        "  `skyc apply` is working on it.",
        "  NODE    GROUP  RANK  CPUS  MEMORY   ACCELERATORS  HEALTH",
        "  main-0  main   0     1     2.0 GiB  T4:1          healthy",
    ]
    assert lines[5] == "  digits-1-1  1, attempt 1  failed (exit 7, rank 1)  2026-01-02 03:04:05  4 min 05 s  $0.24"
    assert lines[-1] == "  … and 2 earlier: skyc queue digits"
    fake.statuses = (STATUS,)
    assert main(["status", "digits", "--json", "--no-refresh"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.status/v1"
    (deployment,) = document["deployments"]
    assert deployment["nodes"][0]["accelerators"] == {"T4": 1}
    assert deployment["created"] == "2026-01-02T03:04:05Z"
    job = deployment["jobs"][0]
    assert (job["exit_code"], job["hourly"], job["paid"], job["state"]) == (7, "3.6", "0.245", "failed")
    assert fake.calls[-1] == ("status", {"deployment": "digits", "refresh": False, "home": None})


def test_status_of_nothing_says_how_to_begin(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.statuses = ()
    assert main(["status"], api=fake) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "skyc apply" in err
    assert main(["status", "--json"], api=fake) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "skyc.status/v1", "deployments": []}


def test_logs_pass_through(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.lines = ("a\x1b[0m", "  b  ")
    assert main(["logs", "-f", "digits", "digits-1-1"], api=fake) == 0
    assert capsys.readouterr().out == "a\x1b[0m\n  b  \n"
    assert call(fake)[1] == {"deployment": "digits", "job": "digits-1-1", "follow": True}
    assert main(["logs", "digits", "--json"], api=fake) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(entry["schema"], entry["line"]) for entry in found] == [("skyc.log/v1", "a\x1b[0m"), ("skyc.log/v1", "  b  ")]


def test_queue_and_cancel(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "digits", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["deployment"], len(document["jobs"])) == ("skyc.queue/v1", "digits", 1)
    assert main(["cancel", "digits", "digits-1-1"], api=fake) == 0
    assert "digits-1-1" in capsys.readouterr().out
    assert fake.calls[-1] == ("cancel", {"deployment": "digits", "job": "digits-1-1"})
    fake.jobs = ()
    assert main(["cancel", "digits"], api=fake) == 0
    assert main(["queue", "digits"], api=fake) == 0
    assert capsys.readouterr().err.splitlines() == ["No job of digits is running.", "digits has no jobs."]


@pytest.mark.parametrize(
    ("argv", "command", "nodes"),
    [
        (["--", "echo $HOME | wc"], "echo $HOME | wc", None),
        (["--nodes", "1", "--", "ls", "-l", "a b", "--json"], "ls -l 'a b' --json", 1),
        (["--", "a", "--", "b"], "a -- b", None),
    ],
)
def test_exec_takes_a_program_or_shell_text(fake: FakeApi, argv: list[str], command: str, nodes: int | None) -> None:
    assert main(["exec", "digits", *argv], api=fake) == 0
    assert call(fake)[1] == {"deployment": "digits", "command": command, "nodes": nodes}


@pytest.mark.parametrize(
    ("argv", "slug"), [([], "no-command"), (["--"], "no-command"), (["--nodes", "0", "--", "x"], "bad-usage")]
)
def test_exec_of_nothing(fake: FakeApi, capsys: pytest.CaptureFixture[str], argv: list[str], slug: str) -> None:
    assert main(["exec", "digits", *argv], api=fake) == 1
    assert f"error[{slug}]" in capsys.readouterr().err


def test_check_fails_when_no_target_is_usable(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"], api=fake) == 0
    assert capsys.readouterr().out.splitlines()[1] == "local   usable  cpus 2"
    fake.usable = False
    assert main(["check"], api=fake) == 1
    assert "error[no-engine]" in capsys.readouterr().err
    assert main(["check", "--json"], api=fake) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["targets"][0]["diagnostics"][0]["slug"]) == ("skyc.check/v1", "no-engine")


def test_mirror_prints_lines_for_a_shell(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "my mirror"], api=fake) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "export TF_CLI_CONFIG_FILE='my mirror/terraform.rc'"
    assert second.startswith("export SKYC_PYTHON=/")


def test_schema_is_json(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], api=fake) == 0
    assert json.loads(capsys.readouterr().out) == fake.schema("task")
    for of in ("report", "policy", "plan-file"):
        assert main(["schema", f"--{of}"], api=fake) == 0
        assert fake.calls[-1] == ("schema", {"of": of})


# options of every command


@pytest.mark.parametrize("before", [True, False])
def test_options_of_every_command_may_stand_on_either_side(
    fake: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    option = ["--home", "h"]
    assert main([*option, "check"] if before else ["check", *option], api=fake) == 0
    assert call(fake)[1]["home"] == tmp_path / "h"


# failures


def test_a_diagnostic_shows_the_line_it_is_about(fake: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "t.yaml")
    Path(path).write_text("name: x\ncpu: \x1b[31m8\n")
    span = Span(file=path, line=2, column=1, end_line=2, end_column=4)
    fake.fails = SkycError(
        error("unknown-field", "This field is not known.", span=span, hint="did you mean 'cpus'?"), exit_code=3
    )
    assert main(["plan", path], api=fake) == 3
    assert capsys.readouterr().err == (
        "error[unknown-field]: This field is not known.\n"
        f" --> {path}:2:1\n  |\n2 | cpu: \ufffd[31m8\n  | ^^^\n  hint: did you mean 'cpus'?\n"
    )


def test_a_place_in_a_file_that_is_gone_is_still_named(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    span = Span(file="/no/such/t.yaml", line=2, column=1, end_line=2, end_column=4)
    fake.fails = SkycError(error("unknown-field", "This field is not known.", span=span), exit_code=4)
    assert main(["plan", "t.yaml"], api=fake) == 4
    assert "--> /no/such/t.yaml:2:1" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_ctrl_c_says_what_goes_on(fake: FakeApi, capsys: pytest.CaptureFixture[str], name: str) -> None:
    fake.fails = KeyboardInterrupt()
    argv = {"plan": ["t.yaml"], "explain": ["t.yaml"], "apply": ["t.yaml", "-y"], "exec": ["digits", "--", "x"]}.get(
        name, ["digits"]
    )
    if name in ("check", "schema", "offers"):
        argv = []
    if name in ("backend", "catalog"):
        argv = ["show"]
    if name == "eject":
        argv = ["digits", "--undo"]
    if name == "policy":
        argv = ["check", "p.yaml"]
    assert main([name, *argv], api=fake) == 130
    err = capsys.readouterr().err
    assert err.startswith("\ninterrupted: ")
    assert len(err.splitlines()[1]) > len("interrupted: nothing")


def test_ctrl_c_with_the_calls_own_words(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    from skyc.runtime.results import Interrupted

    fake.fails = Interrupted("Terraform finished what it had begun.", "skyc apply t.yaml")
    assert main(["apply", "t.yaml", "-y"], api=fake) == 130
    expected = "\ninterrupted: Terraform finished what it had begun.\n\n    skyc apply t.yaml\n"
    assert capsys.readouterr().err.endswith(expected)


def test_a_bug_is_kept_in_a_file_without_values(fake: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake.fails = ZeroDivisionError("inside")
    home = tmp_path / "elsewhere"
    assert main(["apply", "private-name.yaml", "-y", "--env", "A=private-value", "--home", str(home)], api=fake) == 1
    err = capsys.readouterr().err
    assert "error[internal-error]" in err
    assert "This is our bug" in err
    assert "Traceback" not in err
    (report,) = (home / "crash").iterdir()
    assert str(report) in err.replace("\n  ", " ")
    assert report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "ZeroDivisionError: inside" in text
    assert "command: apply; given: env, home, objective, path, yes" in text
    assert "private" not in text


def test_a_full_disk_is_not_called_a_bug(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    fake.fails = OSError(28, "No space left on device", "/h/x")
    assert main(["apply", "t.yaml", "-y"], api=fake) == 1
    assert "error[disk-full]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "No command is given."),
        (["aply"], "did you mean 'apply'?"),
        (["plan"], "the following arguments are required: TASK"),
        (["plan", "t.yaml", "--jsn"], "did you mean '--json'?"),
        (["plan", "t.yaml", "--emit", "sinth"], "invalid choice: 'sinth'"),
        (["--hom", "x", "plan"], "error[bad-usage]"),
        (["queue"], "DEPLOYMENT"),
    ],
)
def test_a_wrong_command_line_exits_with_1(
    fake: FakeApi, capsys: pytest.CaptureFixture[str], argv: list[str], text: str
) -> None:
    assert main(argv, api=fake) == 1  # never 2, which means changes
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[bad-usage]: ")
    assert text in err
    assert "usage: skyc" in err
    assert fake.calls == []


def test_ssh_runs_what_the_target_says_and_exits_as_it_does(fake: FakeApi, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ssh", "digits", "1", "--", "ls", "a b"], api=fake) == 0
    assert capfd.readouterr().out == "from the node"
    assert fake.calls[-1] == ("shell", {"deployment": "digits", "node": "1", "command": "ls 'a b'"})
    assert main(["ssh", "digits", "--print"], api=fake) == 0
    assert capfd.readouterr().out == "printf %s 'from the node'\n"
    assert fake.calls[-1] == ("shell", {"deployment": "digits", "node": None, "command": None})


def test_stop_and_start_say_which_way(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", "digits", "--lose-local-disks", "--no-wait"], api=fake) == 0
    assert fake.calls[-1] == ("stop", {"deployment": "digits", "lose_local": True, "wait": 0.0})
    err = capsys.readouterr().err
    assert "1 machine stopped; still paid: disks $0.0562/h, NAT gateway ?/h" in err and "skyc start digits" in err
    assert main(["start", "digits"], api=fake) == 0
    assert fake.calls[-1] == ("start", {"deployment": "digits", "wait": None})
    assert "1 machine started; its Ray answers" in capsys.readouterr().err
    fake.switched = ()
    assert main(["stop", "digits"], api=fake) == 0
    assert not fake.calls[-1][1]["lose_local"]
    assert "all machines of digits were stopped already; the disks stay" in capsys.readouterr().err
    assert main(["start", "digits"], api=fake) == 0
    assert "all machines were running" in capsys.readouterr().err


def test_eject(fake: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["eject", "digits", "-o", str(tmp_path / "away")], api=fake) == 0
    name, given = fake.calls[-1]
    assert (name, given["directory"], given["undo"], given["dry_run"]) == ("eject", tmp_path / "away", False, False)
    out = capsys.readouterr().out
    assert f"digits is written to {tmp_path / 'away'}; terraform 1.15.5 would change nothing" in out
    assert "digits.local · 1 resource · state: terraform.tfstate" in out and "README.md" in out
    assert main(["eject", "digits", "-o", "away", "--dry-run", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.eject/v1" and document["recorded"] is False
    assert document["sites"][0]["files"] == ["main.tf"]
    assert main(["eject", "digits", "--undo"], api=fake) == 0
    assert "skyc's again" in capsys.readouterr().out
    assert main(["eject", "digits", "--undo", "-o", "x"], api=fake) == 1


def test_explain_a_field(fake: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["explain", "resources.disk_size"], api=fake) == 0
    assert fake.calls[-1][1]["field"] == "resources.disk_size" and fake.calls[-1][1]["path"] is None
    assert capsys.readouterr().out == (
        "skyc explain · resources.disk_size\n\n"
        "  local  replaces all nodes, and the task counts as changed · 100 → 200\n"
        "         replace skyc_node.main-0 (disk)\n"
        "         goes: disks and local data of those nodes\n"
        "         stays: checkpoints\n"
    )
    for words in (["t.yaml", "--field", "resources.disk_size=300"], ["resources.disk_size=300", "t.yaml"]):
        assert main(["explain", *words], api=fake) == 0
        name, given = fake.calls[-1]
        assert (name, given["field"], given["path"], given["value"]) == (
            "explain_field",
            "resources.disk_size",
            Path("t.yaml"),
            "300",
        )
    capsys.readouterr()
    assert main(["explain", "--fields"], api=fake) == 0
    assert capsys.readouterr().out == (
        "FIELD                LOCAL               RENTED\nresources.disk_size  replaces all nodes  in place\n"
    )
    assert main(["explain", "--fields", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.fields/v1" and document["effects"][0]["goes"] == list(FIELD_EFFECT.lost)
    assert main(["explain"], api=fake) == 1
    assert "error[nothing-to-explain]" in capsys.readouterr().err


def test_lock(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lock", "a.yaml", "b.yaml", "--no-hashes", "--env", "A=1"], api=fake) == 0
    name, given = fake.calls[-1]
    assert (name, given["paths"], given["hashes"], dict(given["env"])) == (
        "lock",
        (Path("a.yaml"), Path("b.yaml")),
        False,
        {"A": "1"},
    )
    assert capsys.readouterr().out == "/p/skyc.lock is written\n  tools.ray: 2.59.0 → 2.60.0\n"
    assert main(["lock", "a.yaml", "--json"], api=fake) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.lock-result/v1" and document["changed"][0]["after"] == "2.60.0"
