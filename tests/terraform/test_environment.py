"""What Terraform finds in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.terraform_arguments import environment


@pytest.mark.parametrize(("said", "found"), [({}, "200"), ({"GOGC": "50"}, "50")])
def test_garbage_is_collected_less_often_unless_somebody_says_how_often(
    said: dict[str, str], found: str, tmp_path: Path
) -> None:
    assert environment(said, data=tmp_path, reattach=())["GOGC"] == found
