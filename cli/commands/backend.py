"""`skyc backend ACTION`: the place where several machines share states. Each action is a module `cli/backend_<action>.py`."""

from __future__ import annotations

from ..actions import Actions

ACTIONS: dict[str, str] = {
    "create": "make a bucket that is private, encrypted and versioned, and can be locked",
    "show": "print how the backend of this home is, and what is in it",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc backend create s3://acme-skyc-states/team    make it, and print the lines for config.yaml
  skyc backend create gs://acme-skyc-states/team --region europe-west4
  skyc backend show                                 is it reachable, what is in it, who works on it
"""

_CHOSEN = Actions("backend", ACTIONS)
add_arguments, run, still_going_on = _CHOSEN.add_arguments, _CHOSEN.run, _CHOSEN.still_going_on
