"""One copy of each Terraform provider's package for all sites of a home, below `cache/terraform-plugins`.

Contract: an `init` takes a package from the cache as it lies there only when the site's own lock file names its hashes. Without that
Terraform deletes it, installs it again and so breaks every run that looks at it meanwhile, of another site or another skyc ("there is no
package … cached in …", reproduced). So a site that has no lock file yet begins with the one that the last `init` for the same providers
recorded. It saves the second download too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = ".terraform.lock.hcl"
VARIABLE = "TF_PLUGIN_CACHE_DIR"


@dataclass(frozen=True, slots=True)
class PluginCache:
    """Lock files by what was asked for. recorded: where they lie; None: the home cannot be written, and nothing is kept."""

    recorded: Path | None

    def lend(self, site: Path, packages: str) -> bool:
        """Give a site without a lock file the recorded one. packages: names what it needs; empty: nothing that could be lent."""
        if self.recorded is None or not packages or (site / LOCK_FILE).exists():
            return False
        try:
            text = (self.recorded / packages).read_bytes()
            (site / LOCK_FILE).write_bytes(text)
        except OSError:
            return False
        return True

    def take_back(self, site: Path, packages: str) -> None:
        """The lent one does not fit what can be had now: forget it, here and in the cache."""
        assert self.recorded is not None
        (self.recorded / packages).unlink(missing_ok=True)
        (site / LOCK_FILE).unlink(missing_ok=True)

    def keep(self, site: Path, packages: str) -> None:
        """Record what an `init` has written into a site, for the next one."""
        if self.recorded is None or not packages:
            return
        with contextlib.suppress(OSError):
            text = (site / LOCK_FILE).read_bytes()
            self.recorded.mkdir(exist_ok=True, mode=0o700)
            fresh = self.recorded / f"{packages}.new"
            fresh.write_bytes(text)
            fresh.replace(self.recorded / packages)


@contextlib.contextmanager
def plugin_cache(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[PluginCache, dict[str, str]]]:
    """Hold the cache for one `init`, for it is not made for two at once; with what to add to Terraform's environment. A user's own
    cache is left to the user. Where it cannot be made there is none: it only saves time."""
    directory = home / "cache" / "terraform-plugins"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield PluginCache(None), {}
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield PluginCache(directory.with_name("terraform-locks")), {} if VARIABLE in environ else {VARIABLE: str(directory)}
    finally:
        os.close(descriptor)
