"""Images named in config.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap
from skyc.runtime.images import read_images


def test_images_are_read_by_target_and_place(tmp_path: Path) -> None:
    assert read_images(tmp_path) == FrozenMap()
    (tmp_path / "config.yaml").write_text("access: {ssh_from: 203.0.113.7}\n")
    assert read_images(tmp_path) == FrozenMap()
    (tmp_path / "config.yaml").write_text("images:\n  ibm:\n    us-south: r006-1\n    us-south/gpu: r006-2\n")
    assert read_images(tmp_path) == FrozenMap({"ibm/us-south": "r006-1", "ibm/us-south/gpu": "r006-2"})


@pytest.mark.parametrize("text", ["ibm", "{ibm: r006-1}", "{ibm: {us-south: 7}}", "{ibm: {us-south/tpu: r006-1}}", "[1, 2"])
def test_what_is_no_image_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(f"images: {text}\n")
    with pytest.raises(SkycError) as caught:
        read_images(tmp_path)
    assert caught.value.diagnostics[0].slug == "bad-config" and "images" in caught.value.diagnostics[0].detail
