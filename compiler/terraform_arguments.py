"""What Terraform is started with: its arguments and its environment.

Contract: nothing of the caller's environment changes what a command means (`TF_CLI_ARGS`, `TF_VAR_…`, `TF_WORKSPACE` and the like
are dropped), and no argument holds a secret or a variable. Credentials, proxies and plugin settings pass as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..providers.base import Attachment

_DROPPED_PREFIXES = ("TF_LOG", "TF_CLI_ARGS", "TF_VAR_", "TF_TEMP_LOG")
_DROPPED = frozenset({"TF_WORKSPACE", "TF_REATTACH_PROVIDERS", "TF_DATA_DIR", "TF_INPUT", "TF_IN_AUTOMATION"})
_GARBAGE_PERCENT = "200"
"""Of Go's garbage collector, for Terraform and its providers, which live for seconds: most of them goes into reading a provider's schema.
Twice Go's own 100 takes 12 % to 18 % off the processor time of AWS's and adds 40 MB to its 300; more adds memory and little else."""
_CONFIG_FILES = frozenset({"TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"})


def arguments(command: str, *positional: str, directory: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """`plan -input=false …`: a command with its options and positional arguments, without the program's name.

    Options are named with underscores. True is a bare flag, None leaves it out, a list repeats it. python-terraform does the
    spelling and nothing more: its runner cannot be interrupted. `directory` must hold no state, because it would be read.
    """
    from python_terraform import IsFlagged, Terraform

    flags = {name: IsFlagged if value is True else value for name, value in options.items()}
    spelt = Terraform(working_dir=str(directory)).generate_cmd_string(command, *positional, **flags)
    return tuple(map(str, spelt[1:]))


def environment(environ: Mapping[str, str], *, data: Path, reattach: Sequence[Attachment]) -> dict[str, str]:
    """The environment Terraform gets. `data` is its own directory for providers and the backend's settings."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_DROPPED_PREFIXES)
        and name not in _DROPPED
        # Terraform writes a warning outside its JSON about a file that is not there.
        and not (name in _CONFIG_FILES and not Path(value).is_file())
    }
    kept |= {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(data)}
    kept.setdefault("GOGC", _GARBAGE_PERCENT)
    if reattach:
        kept["TF_REATTACH_PROVIDERS"] = json.dumps({one.source: _reattachment(one) for one in reattach})
    return kept


def _reattachment(attachment: Attachment) -> dict[str, object]:
    return {
        "Protocol": "grpc",
        "ProtocolVersion": attachment.protocol_version,
        "Pid": attachment.pid,
        "Test": True,
        "Addr": {"Network": "unix", "String": attachment.socket},
    }
