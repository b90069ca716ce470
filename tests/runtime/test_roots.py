"""`skyc plan --emit synth -o DIR`: what is written where, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import SiteId
from skyc.runtime.roots import Roots, write_roots

HEAD, BUCKET = SiteId("train.aws-us-east-1"), SiteId("data.storage")
ROOTS: Roots = {HEAD: {"cdk.tf.json": b"{}\n", ".terraform.lock.hcl": b"# held\n"}, BUCKET: {"cdk.tf.json": b'{"a": 1}\n'}}


def written(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_each_site_is_a_root_of_its_own_and_again_the_same(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "roots"
    write_roots(directory, ROOTS)
    there = {
        "data.storage/cdk.tf.json": b'{"a": 1}\n',
        "train.aws-us-east-1/.terraform.lock.hcl": b"# held\n",
        "train.aws-us-east-1/cdk.tf.json": b"{}\n",
    }
    assert written(directory) == there
    assert (directory / HEAD).stat().st_mode & 0o077 == 0
    # What Terraform keeps stays, and a changed task is written over the earlier one.
    (directory / HEAD / ".terraform").mkdir()
    (directory / BUCKET / "terraform.tfstate").write_bytes(b"state")
    write_roots(directory, {**ROOTS, BUCKET: {"cdk.tf.json": b"{}\n"}})
    assert written(directory) == there | {"data.storage/cdk.tf.json": b"{}\n", "data.storage/terraform.tfstate": b"state"}


@pytest.mark.parametrize("strange", ["README", "train.aws-us-east-1/main.tf", "gone.aws-us-east-1/terraform.tfstate"])
def test_where_other_files_are_nothing_is_written(tmp_path: Path, strange: str) -> None:
    (tmp_path / strange).parent.mkdir(exist_ok=True)
    (tmp_path / strange).write_bytes(b"mine")
    with pytest.raises(SkycError) as caught:
        write_roots(tmp_path, ROOTS)
    (said,) = caught.value.diagnostics
    assert said.slug == "directory-in-use" and f"`{strange.removesuffix('/terraform.tfstate')}`" in said.detail
    assert said.hint is not None and "where one has moved, destroy with its root" in said.hint
    assert written(tmp_path) == {strange: b"mine"}


def test_what_is_no_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, slug in ((tmp_path / "file", "directory-in-use"), (tmp_path / "file" / "below", "roots-not-written")):
        with pytest.raises(SkycError) as caught:
            write_roots(place, ROOTS)
        assert caught.value.diagnostics[0].slug == slug
