"""A deployment is handed from home to home through each kind of store, without Terraform: what the long tests do with it, in little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skyc.runtime.backend.index import read_index
from skyc.runtime.backend.lease import who_holds
from skyc.runtime.backend.opening import listed
from skyc.runtime.backend.settings import conditional
from tests.backend.conftest import OTHERS
from tests.backend.test_sync import DEMO, INDEX, STATE, Home


@pytest.mark.parametrize("kind", OTHERS)
def test_from_home_to_home(kind: str, place: Callable[[str], str], tmp_path: Path) -> None:
    uri = place(kind)
    first, second = (Home(tmp_path / name, tmp_path / "unused") for name in ("a", "b"))
    first.apply(conditional(uri))
    with second.command(conditional(uri)) as remote:
        assert not remote.refused
        assert second.state.read_bytes() == first.state.read_bytes()
        assert (second.path / "deployments/demo/ssh/login").read_text() == "key of a"
    second.apply(conditional(uri), 2)
    with first.command(conditional(uri)):
        assert first.serial() == second.serial() == 2
    objects = conditional(uri)
    assert listed(objects) == ("demo",)
    assert objects.get(STATE) == first.state.read_bytes()
    assert read_index(objects.get(INDEX)).intents == () and who_holds(objects, DEMO) is None
    # An emptied state is not one that nothing is in.
    objects.put(STATE, b"")
    with first.command(conditional(uri)) as remote:
        (refusal,) = remote.refused.values()
    (said,) = refusal.diagnostics
    assert said.slug == "backend-state-refused"
    tool = {"gs": "gcloud storage cp", "az": "az storage blob upload"}.get(kind)
    assert [command.startswith(tool or "") for command in said.commands] == ([True] if tool else [])
    # Of a deployment that is gone nothing is left but the note that it was there.
    objects.put(STATE, first.state.read_bytes())
    with second.command(conditional(uri)) as remote:
        remote.store.forget_deployment(DEMO)
        (second.path / "deployments/demo/ssh/login").unlink()
    assert sorted(objects.list("")) == [INDEX, "demo/lease.json"]
