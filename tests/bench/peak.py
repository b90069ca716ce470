"""Runs skyc and writes its peak memory to a file: `python -P peak.py FILE ARGUMENT…`. Everything else is as with `skyc` itself.

The file gets two numbers in KiB: the peak of this process alone, and that of its largest finished child (Node, Terraform).
The first is the kernel's VmHWM: `ru_maxrss` of a child would begin at what its parent had when it forked.
"""

from __future__ import annotations

import atexit
import resource
import sys
from pathlib import Path


def tell(place: Path) -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    place.write_text(f"{own} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\n")


if __name__ == "__main__":
    atexit.register(tell, Path(sys.argv.pop(1)))
    from skyc.cli.main import main

    sys.exit(main())
