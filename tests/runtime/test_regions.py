"""Regions that the accounts have, as config.yaml says and as a refresh was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import CheckReport
from skyc.runtime.regions import encode_regions, read_regions, told_regions, with_regions

PROVIDERS = {"aws": AwsProvider(), "azure": AzureProvider()}


def written(home: Path, text: str) -> Path:
    (home / "config.yaml").write_text(text)
    return home


def test_what_is_declared_and_what_was_told_come_together(tmp_path: Path) -> None:
    assert read_regions(tmp_path, PROVIDERS) == ()
    assert read_regions(written(tmp_path, "regions:\naccess: {ssh_from: 203.0.113.7}\n"), PROVIDERS) == ()
    # One alone needs no list, and one that every account has says nothing.
    written(tmp_path, "regions:\n  azure: germanynorth\n  aws: [eu-south-2, us-east-1]\n")
    assert read_regions(tmp_path, PROVIDERS) == ("aws/eu-south-2", "azure/germanynorth")
    # The catalog that comes with skyc has no offer there, and a refresh may bring some.
    written(tmp_path, "regions: {aws: mx-central-1}\n")
    assert read_regions(tmp_path, PROVIDERS) == ("aws/mx-central-1",)
    written(tmp_path, "regions:\n  azure: germanynorth\n  aws: [eu-south-2, us-east-1]\n")
    assert read_regions(tmp_path, PROVIDERS) == ("aws/eu-south-2", "azure/germanynorth")
    told = told_regions(tmp_path, "aws")
    told.parent.mkdir()
    told.write_bytes(encode_regions(("us-east-1", "eu-west-1", "me-south-1", "eu-south-2")))
    assert read_regions(tmp_path, PROVIDERS) == ("aws/eu-south-2", "aws/me-south-1", "azure/germanynorth")
    told.write_text("{")
    assert read_regions(tmp_path, PROVIDERS) == ("aws/eu-south-2", "azure/germanynorth")


@pytest.mark.parametrize(
    ("text", "slug", "hint"),
    [
        ("aws: [eu-sout-2]", "bad-region", "`eu-south-2`"),
        ("asure: germanynorth", "bad-region", "`azure`"),
        ("aws: {eu-south-2: true}", "wrong-type", ""),
    ],
)
def test_what_is_no_region_is_said_with_its_line(tmp_path: Path, text: str, slug: str, hint: str) -> None:
    with pytest.raises(SkycError) as caught:
        read_regions(written(tmp_path, f"# mine\nregions:\n  {text}\n"), PROVIDERS)
    (found,) = caught.value.diagnostics
    assert found.slug == slug and found.span is not None and found.span.line == 3
    assert hint in (found.hint or "")


def test_a_check_names_the_line_for_what_the_account_has_and_nothing_uses() -> None:
    report = CheckReport(provider="aws", usable=True, facts=FrozenMap({}), regions=("eu-south-2", "me-south-1"))
    assert with_regions(report, ("aws/eu-south-2", "aws/me-south-1")).diagnostics == ()
    (note,) = with_regions(report, ("aws/me-south-1",)).diagnostics
    assert note.slug == "regions-not-used" and note.hint is not None
    assert "eu-south-2" in note.detail and "me-south-1" not in note.detail
    assert "regions: {aws: [eu-south-2, me-south-1]}" in note.hint and note.commands == ("skyc catalog refresh --cloud aws",)
