"""What EC2 takes as tags (EC2 user guide, "Tag your Amazon EC2 resources", restrictions; the pattern is that of the API's `Tag` in
EFS and ECS, whose set of characters is the same). Tags are not in the machine's metadata here, which would allow less in a name."""

from __future__ import annotations

from ..rented.labels import Form, Rules, of_categories
from .facts import PROVIDER

_TAKES = of_categories(("L", "N", "Z"), "_.:/=+-@")
LABELS = Rules(
    target=PROVIDER,
    cloud="AWS",
    says="AWS takes letters, digits, spaces and `_.:/=+-@` in a tag, at most 128 in its name and 256 in its value",
    name=Form(takes=_TAKES, most=128),
    value=Form(takes=_TAKES, most=256),
    reserved=("aws:",),
    ours=frozenset({"Name"}),
    most=50,
)
