"""What Google takes as labels (cloud.google.com/compute/docs/labeling-resources, "Requirements for labels": lower-case letters, digits, `_`
and `-`, and letters of other scripts; the bytes and the categories of letters are those of the Bigtable admin API's `labels`)."""

from __future__ import annotations

from ..rented.labels import Form, Rules, of_categories
from .facts import PROVIDER

_MOST = 63
_MOST_BYTES = 128
_LETTER = ("Ll", "Lo")
_TAKES = of_categories((*_LETTER, "Nd"), "_-")
LABELS = Rules(
    target=PROVIDER,
    cloud="Google",
    says=f"Google takes lower-case letters, digits, `_` and `-`, at most {_MOST}, and a letter first in a name",
    name=Form(takes=_TAKES, begins=of_categories(_LETTER, ""), most=_MOST, most_bytes=_MOST_BYTES, lower=True),
    value=Form(takes=_TAKES, most=_MOST, most_bytes=_MOST_BYTES, lower=True),
    reserved=("goog",),
    most=64,
)
OWN = 4
"""Labels beside the user's: skyc's three, and the one by which Terraform's provider says that it made the machine."""
