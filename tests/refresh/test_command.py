"""`skyc catalog refresh` as a person and a program see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.fakes import FakeApi

from skyc.cli.catalog_refresh import document
from skyc.cli.main import main
from skyc.compiler.diagnostics import error, warning
from skyc.providers.refresh import Failure
from skyc.runtime.catalog_refresh import CloudRefresh, PartFacts, PriceMove, RefreshState

from .conftest import kind, offer, part, put
from .fakes import clouds
from .fakes.server import FakeServer, Reply

BEFORE = PartFacts(offers=10, types=2, priced=8, spot_priced=0, as_of="2021-02", digest="a")
AFTER = PartFacts(offers=12, types=3, priced=8, spot_priced=4, as_of="2021-02 … 2026-11-25", digest="b")
MOVE = PriceMove(instance_type="p5.48xlarge", region="us-east-1", before=Decimal("98.32"), after=Decimal("55.04"))
FINE = CloudRefresh(
    provider="aws", state=RefreshState.REFRESHED, before=BEFORE, after=AFTER, changed=7, moves=(MOVE,), notes=("A gap.",)
)
PARTIAL = CloudRefresh(
    provider="azure",
    state=RefreshState.PARTIAL,
    before=BEFORE,
    after=BEFORE,
    failures=(Failure(where="westus", reason="it was silent", remedy="Again."),),
    diagnostics=(warning("catalog-partly-refreshed", "A part could not be refreshed.", "azure: westus"),),
)
SKIPPED = CloudRefresh(
    provider="lambda",
    state=RefreshState.SKIPPED,
    before=BEFORE,
    diagnostics=(warning("no-credentials", "It needs credentials.", "Set LAMBDA_API_KEY."),),
)
FAILED = CloudRefresh(
    provider="gcp", state=RefreshState.FAILED, diagnostics=(error("catalog-not-refreshed", "It could not be read.", "why"),)
)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ((FINE,), 0),
        ((FINE, PARTIAL, SKIPPED), 0),
        ((PARTIAL,), 0),
        ((FINE, FAILED), 1),
        ((SKIPPED,), 1),
        ((FAILED,), 1),
    ],
)
def test_exit_codes(results: tuple[CloudRefresh, ...], code: int) -> None:
    assert main(["catalog", "refresh"], api=FakeApi(refreshed=results)) == code


def test_what_is_asked_for(tmp_path: Path) -> None:
    fake = FakeApi(refreshed=(FINE,))
    argv = ["catalog", "refresh", "--cloud", "aws", "--cloud", "gcp", "--region", "r", "--accept-loss", "--no-wait"]
    assert main([*argv, "--home", str(tmp_path)], api=fake) == 0
    assert fake.calls == [
        (
            "catalog_refresh",
            {"clouds": ["aws", "gcp"], "regions": ["r"], "accept_loss": True, "home": tmp_path, "wait": 0.0},
        )
    ]
    fake.calls.clear()
    assert main(["--home", str(tmp_path), "catalog", "refresh"], api=fake) == 0
    assert fake.calls[0][1] == {"clouds": None, "regions": None, "accept_loss": False, "home": tmp_path, "wait": None}


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["catalog", "refresh"], api=FakeApi(refreshed=(FINE, PARTIAL, SKIPPED, FAILED)))
    out, err = capsys.readouterr()
    assert out == (
        "CLOUD   STATE      OFFERS   PRICED  CHANGED  PRICES OF\n"
        "aws     refreshed  10 → 12  8       7        2021-02 … 2026-11-25\n"
        "azure   partial    10       8       0        2021-02\n"
        "lambda  skipped    10       8       0        2021-02\n"
        "gcp     failed     –        –       0        –\n"
        "\n"
        "CLOUD  TYPE         REGION     BEFORE  NOW     CHANGE\n"
        "aws    p5.48xlarge  us-east-1  $98.32  $55.04  -44.0 %\n"
    )
    for slug in ("error[catalog-not-refreshed]", "warning[catalog-partly-refreshed]", "warning[no-credentials]"):
        assert slug in err


def test_json() -> None:
    found = json.loads(document((FINE, PARTIAL)))
    assert found["schema"] == "skyc.catalog-refresh/v1"
    fine, partial = found["clouds"]
    assert fine["after"] == {
        "offers": 12,
        "types": 3,
        "priced": 8,
        "spot_priced": 4,
        "as_of": "2021-02 … 2026-11-25",
        "digest": "b",
    }
    assert fine["moves"][0] == {
        "instance_type": "p5.48xlarge",
        "region": "us-east-1",
        "before": "98.32",
        "after": "55.04",
        "change": "-0.4402",
    }
    assert partial["failures"] == [{"where": "westus", "reason": "it was silent", "remedy": "Again."}]
    assert partial["diagnostics"][0]["slug"] == "catalog-partly-refreshed"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["catalog"], "the following arguments are required: ACTION"),
        (["catalog", "refesh"], "invalid choice"),
        (["catalog", "refresh", "--clod", "x"], "There is no option '--clod'"),
    ],
)
def test_a_wrong_command_line(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv, api=FakeApi()) == 1
    assert text in capsys.readouterr().err


def skyc(home: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process, with nothing of this machine's own credentials."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    return subprocess.run(
        [sys.executable, "-m", "skyc.cli.main", *argv, "--home", str(home)],
        env={**inherited, "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_secret_is_in_any_output(server: FakeServer, tmp_path: Path) -> None:
    """Seven secrets in the environment, most of them refused, with everything said that can be said."""
    secrets = {
        "LAMBDA_API_KEY": "SECRET-1",
        "JL_API_KEY": "SECRET-2",
        "GOOGLE_API_KEY": "SECRET-3",
        "IC_API_KEY": "SECRET-4",
        "RUNPOD_API_KEY": "SECRET-5",
        "AZURE_CLIENT_SECRET": "SECRET-6",
        "AWS_SECRET_ACCESS_KEY": "SECRET-7",
        "AWS_SESSION_TOKEN": "SECRET-8",
    }
    places = {"AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "c", "AZURE_SUBSCRIPTION_ID": "s", "AWS_ACCESS_KEY_ID": "AKIA"}
    names = ("AWS_PRICE_LIST", "AZURE_PRICES", "AZURE_LOGIN", "GCP_BILLING", "IBM_CATALOG", "IBM_IAM", "RUNPOD", "LAMBDA")
    urls = {f"SKYC_{name}_URL": server.url for name in (*names, "JARVISLABS")} | {"AWS_ENDPOINT_URL_EC2": server.url}
    small = kind("small")
    for name in ("aws", "azure", "gcp", "ibm", "runpod", "lambda"):
        put(tmp_path, part(name, [small], [offer(small, "r", None, "7")]))
    refusal = b"<Response><Errors><Error><Code>AuthFailure</Code><Message>SECRET-8</Message></Error></Errors></Response>"
    server.post("/", lambda _: Reply(status=401, body=refusal))
    clouds.lambda_types(server, "SECRET-1", {"cpu_4x_general": clouds.lambda_type(20, ["r"], vcpus=4)})
    done = skyc(tmp_path, "catalog", "refresh", "-v", "--json", "--accept-loss", **secrets, **places, **urls)
    assert done.stdout, done.stderr
    states = {cloud["cloud"]: cloud["state"] for cloud in json.loads(done.stdout)["clouds"]}
    assert states["lambda"] == "refreshed", done.stderr
    assert set(states.values()) == {"refreshed", "failed"}
    assert done.returncode == 1
    sent = "".join(asked.text + repr(asked.headers.items()) for asked in server.asked)
    assert all(f"SECRET-{number}" in sent for number in (1, 2, 3, 4, 5, 6, 8)), "a test that sends nothing proves nothing"
    kept = "".join(path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    for place in (done.stdout, done.stderr, kept, "".join(asked.path + repr(asked.query) for asked in server.asked)):
        assert "SECRET" not in place
    assert "Traceback" not in done.stderr
