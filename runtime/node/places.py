"""Where a path of the user's task lies on a node, and whether it may be written.

Rules: a relative path is below `<directory>/workdir`, `~` and `~/x` are below `<directory>/home`, an absolute path is itself
but only on a node that belongs to the task alone. No path may leave its base, neither by `..` nor through a symbolic link on
the way. The last component may be a link: it is replaced, never followed.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path


class OutsideNode(ValueError):
    """The path would be written outside the places the task owns. The message is a sentence."""


def place(target: str, directory: str, *, whole_machine: bool) -> str:
    """The absolute path of `target` on a node with this directory. Pure. Raises OutsideNode."""
    if "\0" in target:
        raise OutsideNode("The path holds a NUL character.")
    if target == "~" or target.startswith("~/"):
        base, rest = f"{directory}/home", target[2:]
    elif target.startswith("~"):
        raise OutsideNode(f"`{target}` names another user's home; only `~` and `~/…` exist on a node.")
    elif target.startswith("/"):
        if not whole_machine:
            raise OutsideNode(f"`{target}` is absolute, and the machine is shared with what else runs there.")
        base, rest = "/", target
    else:
        base, rest = f"{directory}/workdir", target
    path = posixpath.normpath(posixpath.join(base, rest.lstrip("/")))
    if base != "/" and path != base and not path.startswith(base + "/"):
        raise OutsideNode(f"`{target}` leads out of its directory through `..`.")
    return path


def check_way(path: str, directory: str) -> None:
    """Raises OutsideNode when a symbolic link between the node's directory and `path` leads out of that directory.

    Only paths below the directory are checked: an absolute path on a whole machine is the user's own choice.
    """
    if path != directory and not path.startswith(directory + "/"):
        return
    root = os.path.realpath(directory)
    parent = os.path.realpath(Path(path).parent)
    if parent != root and not parent.startswith(root + "/"):
        raise OutsideNode(f"`{path}` would be written through a symbolic link to `{parent}`.")
