"""What released Terraform providers accept: small schemas of the types skyc emits, and a check of resource graphs against them.

`load_schema("aws")` gives a frozen `ProviderSchema`; `check(graph, schemas)` gives diagnostics. The files beside this are made
by `python -m skyc.providers.schemas build`; what they cannot know is in the overlays, written by hand. `providers.simulator`
serves the same schemas to real Terraform.
"""

from .check import check
from .load import load_schema, load_schemas, parse_schema
from .model import ProviderSchema, Rule, RuleKind, TypeSchema

__all__ = ["ProviderSchema", "Rule", "RuleKind", "TypeSchema", "check", "load_schema", "load_schemas", "parse_schema"]
