"""All targets. A new one is a folder and one line here; third parties use the entry-point group `skyc.providers`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from .base import Provider

BUILT_IN: dict[str, str] = {
    "aws": "skyc.providers.aws.provider:AwsProvider",
    "azure": "skyc.providers.azure.provider:AzureProvider",
    "gcp": "skyc.providers.gcp.provider:GcpProvider",
    "ibm": "skyc.providers.ibm.provider:IbmProvider",
    "jarvislabs": "skyc.providers.jarvislabs.provider:JarvisLabsProvider",
    "lambda": "skyc.providers.lambdalabs.provider:LambdaProvider",
    "local": "skyc.providers.local.client:LocalProvider",
    "owned": "skyc.providers.owned.provider:OwnedProvider",
    "runpod": "skyc.providers.runpod.provider:RunPodProvider",
}


def names() -> tuple[str, ...]:
    """Names of every installed target, sorted."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in entry_points(group="skyc.providers"))}))


def load(name: str) -> Provider:
    """The target called `name`. Raises KeyError for one that is not installed."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        provider: Provider = getattr(import_module(module), attribute)()
        return provider
    for entry in entry_points(group="skyc.providers"):
        if entry.name == name:
            loaded: Provider = entry.load()()
            return loaded
    raise KeyError(name)


def load_all() -> tuple[Provider, ...]:
    return tuple(load(name) for name in names())
