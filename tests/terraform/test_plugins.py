"""The cache of provider packages: an `init` of one site leaves alone what another site's run may be looking at."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from tests.terraform.conftest import Site, environ

from skyc.compiler.terraform import Engine
from skyc.compiler.terraform_plugins import LOCK_FILE

SOURCE = "registry.terraform.io/acme/rocket"
MODULE = {"terraform": {"required_providers": {"rocket": {"source": SOURCE, "version": "1.2.3"}}}}


def mirror(folder: Path, content: str) -> dict[str, str]:
    """A package nobody runs, and an environment in which Terraform installs nothing but it."""
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = folder / "mirror" / SOURCE / "1.2.3" / f"{platform.system().lower()}_{machine}"
    package.mkdir(parents=True, exist_ok=True)
    (package / "terraform-provider-rocket_v1.2.3").write_text(content)
    (package / "terraform-provider-rocket_v1.2.3").chmod(0o755)
    rc = folder / "mirror.rc"
    rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{folder}/mirror"\n  }}\n}}\n')
    return {**environ(), "TF_CLI_CONFIG_FILE": str(rc)}


@pytest.mark.terraform
def test_a_package_in_the_cache_stays_where_it_is(any_engine: Engine, tmp_path: Path) -> None:
    tells = mirror(tmp_path, "first")
    sites = [Site(tmp_path / name) for name in ("a", "b", "c")]
    for site in sites:
        site.home = tmp_path / "home"
        site.write(MODULE)
    assert sites[0].terraform(any_engine, environ=tells).init().ok
    (entry,) = (tmp_path / "home" / "cache" / "terraform-plugins").glob("*/acme/rocket/1.2.3/*")
    installed = entry.lstat()
    assert sites[1].terraform(any_engine, environ=tells).init().ok
    assert (entry.lstat().st_ino, entry.lstat().st_mtime_ns) == (installed.st_ino, installed.st_mtime_ns)
    locks = [(site.directory / LOCK_FILE).read_text() for site in sites[:2]]
    assert locks[0] == locks[1]
    assert "h1:" in locks[0]

    # Another package of that version, as a mirror may come to have: what is recorded must not stand in its way.
    mirror(tmp_path, "second")
    assert sites[2].terraform(any_engine, environ=tells).init().ok
    assert (sites[2].directory / LOCK_FILE).read_text() != locks[0]
