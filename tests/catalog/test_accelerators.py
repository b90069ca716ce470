"""Names of accelerators: one per device, the spellings people use, and what meets a request."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.ir import accelerators
from skyc.compiler.ir.accelerators import DEVICES, asked, canonical, close, from_driver, matching

SPELLINGS = st.sampled_from([spelling for device in DEVICES for spelling in (device.name, *device.aliases)])


def test_no_spelling_means_two_devices() -> None:
    seen: dict[str, str] = {}
    for device in DEVICES:
        for spelling in (device.name, *device.aliases):
            other = seen.setdefault(accelerators._key(spelling), device.name)
            assert other == device.name, f"{spelling} is {other} and {device.name}"


def test_variants_have_their_devices_memory() -> None:
    for device in DEVICES:
        if device.variant_of is not None:
            whole = accelerators.device(device.variant_of)
            assert whole is not None and whole.variant_of is None, f"{device.name} is a variant of a variant"
            assert whole.memory_gb == device.memory_gb, f"{device.name} is another device than {whole.name}"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("h100", "H100"),
        ("A100-80", "A100-80GB"),
        ("a100 80gb", "A100-80GB"),
        ("v5e", "tpu-v5litepod"),
        ("H100-80GB-HBM3", "H100-SXM"),
        ("RTX PRO 4500", "RTXPRO4500"),
        ("A6000", "RTXA6000"),
        ("rtx_4090", "RTX4090"),
        ("Qualcomm AI100", "AI100"),
        ("H1000", None),
    ],
)
def test_spellings(written: str, name: str | None) -> None:
    assert canonical(written) == name


def test_a_request_is_met_by_every_form_of_the_same_chip() -> None:
    assert matching("H100") == ("H100", "H100-MEGA", "H100-PCIE", "H100-SXM")
    assert matching("h100-sxm") == ("H100-SXM",)
    assert matching("A100") == ("A100", "A100-PCIE", "A100-SXM"), "80 GB is another device"
    assert "H100-NVL" not in matching("H100"), "94 GB is another device"
    assert matching("my-fpga") == ("my-fpga",)


@pytest.mark.parametrize(
    ("written", "count", "name", "devices"),
    [
        ("tpu-v4-8", "1", "tpu-v4", "4"),
        ("tpu-v5litepod-16", "1", "tpu-v5litepod", "16"),
        ("v5e-8", "2", "tpu-v5litepod", "16"),
        ("tpu-v6e", "8", "tpu-v6e", "8"),
        ("A100-80", "8", "A100-80GB", "8"),
        ("my-fpga-2", "1", "my-fpga-2", "1"),
    ],
)
def test_a_slice_is_its_chips(written: str, count: str, name: str, devices: str) -> None:
    assert asked(written, Decimal(count)) == (name, Decimal(devices))


def test_a_misspelt_name_has_a_suggestion() -> None:
    assert close("H10O") == "H100"
    assert close("RTX4O90") == "RTX4090"
    assert close("banana") is None


def test_names_from_the_driver() -> None:
    names = {
        ("NVIDIA A100-SXM4-80GB", "80"): "A100-80GB",
        ("NVIDIA A100-SXM4-40GB", "40"): "A100",
        ("NVIDIA A100 PCIe", "80"): "A100-80GB",
        ("Tesla T4", "15"): "T4",
        ("NVIDIA H100 80GB HBM3", "80"): "H100",
        ("Tesla V100-SXM2-16GB", "16"): "V100",
        ("Tesla V100-SXM2-32GB", "32"): "V100-32GB",
        ("NVIDIA GeForce RTX 4090", "24"): "RTX4090",
        ("NVIDIA L4", "22"): "L4",
        ("Something Else", "4"): "Something-Else",
    }
    assert {given: from_driver(given[0], Decimal(given[1])) for given in names} == names


@given(SPELLINGS)
def test_a_canonical_name_is_its_own_spelling(spelling: str) -> None:
    name = canonical(spelling)
    assert name is not None
    assert canonical(name) == name
    assert name in matching(spelling)
    assert canonical(spelling.upper()) == canonical(spelling.lower()) == name
