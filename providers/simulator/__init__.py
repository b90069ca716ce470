"""A simulated cloud: serves a provider's schema to real Terraform as that provider, with a world kept in one JSON file.

It is attached to a run as skyc's own provider is (`TF_REATTACH_PROVIDERS`), so real Terraform validates, plans, applies,
refreshes and destroys against it, without a network or an account. `simulate` starts it, `World` looks into its world and
changes it behind Terraform's back, and a YAML file of faults makes it fail as the real cloud does.

What it accepts is **schema-valid**, nothing more: it knows shapes, enums and rules between fields, no prices, images or accounts.
"""

from .attach import SIMULATED, simulate
from .world import World, WorldResource

__all__ = ["SIMULATED", "World", "WorldResource", "simulate"]
