"""Machines a user declares: what they become, and that every mistake is shown at its line."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import Diagnostic, Severity, SkycError, render
from skyc.compiler.ir import FrozenMap, Market
from skyc.providers.owned.machines import FREE, read_machines
from skyc.providers.owned.provider import OwnedProvider
from skyc.providers.snapshot import decode, encode, offer_rows, type_rows


def written(home: Path, text: str) -> Path:
    (home / "config.yaml").write_text(text)
    return home


def test_machines_are_offers(tmp_path: Path) -> None:
    text = """
local: {price_per_hour: 0.25}
machines:
- name: big
  cpus: 64
  memory: 512GB
  accelerators: {h100: 8}
  price_per_hour: $4.50
  count: 2
  region: office
- name: pi
  cpus: 4
  memory: 7.5
  arch: arm64
"""
    part = OwnedProvider().catalog(home=written(tmp_path, text))
    big, pi = type_rows(part)
    assert (big.name, big.cpus, big.memory_gb, big.arch) == ("big", Decimal(64), Decimal(512), "x86_64")
    assert [(device.name, device.count, device.memory_gb) for device in big.accelerators] == [("H100", Decimal(8), Decimal(80))]
    assert (pi.name, pi.memory_gb, pi.arch, pi.accelerators) == ("pi", Decimal("7.5"), "arm64", ())
    first, second = offer_rows(part)
    assert (first.region, first.zone, first.on_demand, first.capacity) == ("office", None, Decimal("4.50"), 2)
    assert first.source == "config.yaml: machines[0].price_per_hour"
    assert (second.region, second.on_demand, second.source) == ("owned", Decimal(0), FREE)
    assert part.offering(1, Market.ON_DEMAND).capacity == 1


@pytest.mark.parametrize("text", [None, "", "local: {}\n", "machines: []\n", "machines:\n"])
def test_without_machines_there_is_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        written(tmp_path, text)
    part = OwnedProvider().catalog(home=tmp_path)
    assert len(part.offers.type) == 0
    assert OwnedProvider().check(home=tmp_path).facts["machines"] == "0"


def first_error(home: Path, text: str) -> Diagnostic:
    with pytest.raises(SkycError) as caught:
        OwnedProvider().catalog(home=written(home, text))
    return caught.value.diagnostics[0]


@pytest.mark.parametrize(
    ("entry", "slug", "line"),
    [
        ("{name: a, cpus: 8}", "missing-field", 2),
        ("{name: a, cpus: 0, memory: 1}", "out-of-range", 2),
        ("{name: a, cpus: 8, memory: much}", "bad-value", 2),
        ("{name: a, cpus: 8, memory: 1, count: 0}", "out-of-range", 2),
        ("{name: a, cpus: 8, memory: 1, price_per_hour: -1}", "bad-value", 2),
        ("{name: a, cpus: 8, memory: 1, gpus: T4}", "unknown-field", 2),
        ("{name: a, cpus: 8, memory: 1, arch: mips}", "unknown-value", 2),
        ("{name: a, cpus: 8, memory: 1, labels: [a]}", "wrong-type", 2),
        ("{name: a/b, cpus: 8, memory: 1}", "bad-name", 2),
        ("{name: a, cpus: 8, memory: 1}\n- {name: a, cpus: 8, memory: 1}", "duplicate-machine", 3),
        ("text", "wrong-type", 2),
        ("{name: a, cpus: [", "unclosed-bracket", 3),
    ],
)
def test_a_mistake_is_shown_at_its_line(tmp_path: Path, entry: str, slug: str, line: int) -> None:
    found = first_error(tmp_path, f"machines:\n- {entry}\n")
    assert found.slug == slug
    assert found.span is not None
    assert found.span.line == line
    report = OwnedProvider().check(home=tmp_path)
    assert [diagnostic.slug for diagnostic in report.diagnostics][:1] == [slug]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5JDIs29NDpINRFKXiYrRJI90l7IPAJxudOiK5cVFbj"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7"


def test_host_keys_are_kept_as_ssh_keygen_shows_them(tmp_path: Path) -> None:
    text = (
        "machines:\n"
        f"- {{name: two, cpus: 8, memory: 1, count: 2, host_key: ['{KEY} root@two', '{OTHER}']}}\n"
        f"- {{name: one, cpus: 8, memory: 1, host_key: {KEY}}}\n"
        "- {name: none, cpus: 8, memory: 1}\n"
    )
    found = OwnedProvider().host_keys(home=written(tmp_path, text))
    (tmp_path / "key.pub").write_text(KEY)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert found["one"] == (f"ssh-ed25519 {shown[1]}",)
    assert sorted(found) == ["one", "two"] and len(found["two"]) == 2 and found["one"][0] in found["two"]
    assert OwnedProvider().catalog(home=tmp_path).digest, "a key makes no other offer"


@pytest.mark.parametrize(
    ("key", "slug", "words"),
    [
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAK", "bad-host-key", "begins with none of ssh-ed25519, "),
        (KEY[:60], "bad-host-key", "is no whole ssh-ed25519 key"),
        (KEY.replace("ssh-ed25519", "ssh-rsa"), "bad-host-key", "is no whole ssh-rsa key"),
        ("ssh-ed25519", "bad-host-key", "is a kind of key and no key"),
        (f"host {KEY}", "bad-host-key", "begins with none of"),
        (f"{KEY}\\n{KEY}", "bad-host-key", "more than one line"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\\nhunter2", "private-host-key", "`host_key` of the machine `a` is a private key"),
    ],
)
def test_what_is_no_host_key(tmp_path: Path, key: str, slug: str, words: str) -> None:
    found = first_error(tmp_path, f'machines:\n- {{name: a, cpus: 8, memory: 1, host_key: ["{OTHER}", "{key}"]}}\n')
    assert found.slug == slug and words in found.detail
    assert (key.partition(" ")[2] or "AAAAC3") not in render(found)
    # The line of a private key would be shown with it.
    assert (found.span is None) == (slug == "private-host-key")


def test_a_name_of_ones_own_is_a_warning(tmp_path: Path) -> None:
    home = written(tmp_path, "machines: [{name: a, cpus: 8, memory: 1, accelerators: H10O}]\n")
    _, said = read_machines(home)
    assert [(diagnostic.severity, diagnostic.slug, diagnostic.hint) for diagnostic in said] == [
        (Severity.WARNING, "unknown-accelerator", "did you mean `H100`?")
    ]
    assert OwnedProvider().catalog(home=home).offers.types.accelerators == ("H10O",)


def test_labels_are_declared_and_kept(tmp_path: Path) -> None:
    text = "machines:\n- {name: a, cpus: 8, memory: 1, labels: {team: vision, row: 7}}\n- {name: b, cpus: 8, memory: 1}\n"
    part = OwnedProvider().catalog(home=written(tmp_path, text))
    assert part.offers.types.labels == (FrozenMap({"row": "7", "team": "vision"}), FrozenMap())
    assert decode(encode(part), name="owned").offers.types.labels == part.offers.types.labels
    assert [row.labels for row in type_rows(part)] == list(part.offers.types.labels)
    other = OwnedProvider().catalog(home=written(tmp_path, text.replace("vision", "speech")))
    assert other.digest != part.digest, "a plan made with other labels is another plan"


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SkycError) as caught:
        OwnedProvider().catalog(home=tmp_path)
    assert [diagnostic.slug for diagnostic in caught.value.diagnostics] == ["bad-config"]


def test_the_example_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text()
    (example,) = (block.partition("```")[0] for block in page.split("```yaml\n")[1:])
    part = OwnedProvider().catalog(home=written(tmp_path, example))
    assert [(row.type[0], row.capacity) for row in offer_rows(part)] == [("dgx", 2), ("tower", 1)]
    assert part.offers.types.accelerators == ("A100-80GB",)
