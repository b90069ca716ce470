"""`skyc policy ACTION`: rules that plans must meet. Each action is a module `cli/policy_<action>.py`."""

from __future__ import annotations

from ..actions import Actions

ACTIONS: dict[str, str] = {
    "check": "print a policy's rules, and what they say of task files",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc policy check policy.yaml                     does it parse, and what does it ask for?
  skyc policy check policy.yaml tasks/*.yaml        which of these would it forbid? Exit code 3 if any
"""

_CHOSEN = Actions("policy", ACTIONS)
add_arguments, run, still_going_on = _CHOSEN.add_arguments, _CHOSEN.run, _CHOSEN.still_going_on
