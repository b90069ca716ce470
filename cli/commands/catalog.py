"""`skyc catalog ACTION`: the machines and prices skyc knows. Each action is a module `cli/catalog_<action>.py`."""

from __future__ import annotations

from ..actions import Actions

ACTIONS: dict[str, str] = {
    "show": "print what the catalog knows, and how old it is",
    "refresh": "ask the clouds for today's offers",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc catalog show                             each target's part: how much it knows, how old it is
  skyc catalog refresh                          every cloud that can be asked from here
  skyc catalog refresh --cloud aws --cloud gcp  these two
"""

_CHOSEN = Actions("catalog", ACTIONS)
add_arguments, run, still_going_on = _CHOSEN.add_arguments, _CHOSEN.run, _CHOSEN.still_going_on
