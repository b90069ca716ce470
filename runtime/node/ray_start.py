"""Run Ray's own command line on a node, on loopback only when asked.

Contract: `python ray_start.py [--loopback] ARGS…` behaves as `ray ARGS…` and ends when its parent does. It runs in a node's
pinned environment, by path, so it needs Ray and the standard library and nothing of skyc.

`--loopback` exists for nodes that share one machine. Ray on Linux replaces 127.0.0.1 by the machine's address and then listens
on every interface; there is no option against it. With three of the names below changed before Ray reads them, every port of
head and workers stays on 127.0.0.1. The fourth leaves out the server for `ray://` addresses, which nobody uses here and which takes two
seconds of processor time to start. Nodes on machines of their own run Ray unchanged.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run Ray with `arguments`; the return value is its exit status."""
    _end_with_parent()
    loopback = arguments[:1] == ["--loopback"]
    if loopback:
        arguments = arguments[1:]
        # Set before Ray is imported, and inherited: the raylet, the agents and the workers read it too.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray._private import ray_constants, services
    from ray.scripts import scripts

    if loopback:
        services.resolve_ip_for_localhost = lambda host: host
        services.get_node_ip_address = lambda address=None: "127.0.0.1"
        # The variable above turned clusters off for Ray's own address logic; `ray start --address` must still be allowed.
        ray_constants.ENABLE_RAY_CLUSTER = True
        # What Ray asks itself before it starts that server; there is no option against it either.
        scripts.get_ray_client_dependency_error = lambda: ImportError("not wanted")  # type: ignore[attr-defined]
    sys.argv = ["ray", *arguments]
    status: object = scripts.main()  # type: ignore[no-untyped-call]
    return status if isinstance(status, int) else 0


def _end_with_parent() -> None:
    """Ask the kernel for SIGKILL when the supervisor ends: a node is whole, or it is dead at once.

    `ray start --block` asked the same for its own children, so all of Ray goes with it. Its way of ending by SIGTERM takes
    seconds, in which a job could still report success from a node that everybody else calls dead.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent or parent == 1:
        sys.exit("the supervisor of this node has ended")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
