"""What Azure takes as tags (learn.microsoft.com/azure/azure-resource-manager/management/tag-resources, "Limitations")."""

from __future__ import annotations

from ..rented.labels import Form, Rules
from .facts import PROVIDER

LABELS = Rules(
    target=PROVIDER,
    cloud="Azure",
    says="Azure takes no `<>%&\\?/` in a tag's name, at most 512 characters in it and 256 in its value, and no two names that differ in"
    " case alone",
    name=Form(takes=lambda character: character not in "<>%&\\?/", most=512),
    value=Form(takes=lambda _: True, most=256),
    reserved=("azure", "microsoft", "windows"),
    most=50,
    folds=True,
)
