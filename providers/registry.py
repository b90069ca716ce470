"""All targets. A new one is a folder and one line here; third parties use the entry-point group `skyc.providers`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..compiler.ir import FrozenMap, Meaning, Meanings
from .base import Buckets, Provider

if TYPE_CHECKING:
    from .refresh import Refresh

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

CLOUDS: dict[str, str] = {
    "aws": "aws",
    "azure": "azure",
    "gcp": "gcp",
    "ibm": "ibm",
    "jarvislabs": "jarvislabs",
    "lambda": "lambdalabs",
    "runpod": "runpod",
}
"""Providers with a price list that can be refreshed → their folders. `lambda` is a word of Python's own."""


BUCKETS: dict[str, str] = {"az": "azure", "gs": "gcp", "s3": "aws"}
"""URI schemes of buckets that skyc can make for states → the folders whose `bucket` module does."""


def buckets(scheme: str) -> Buckets | None:
    """Who makes buckets of this scheme; None when nobody does."""
    return cast("Buckets", import_module(f".{BUCKETS[scheme]}.bucket", __package__)) if scheme in BUCKETS else None


def refresher(name: str) -> Refresh:
    """The `refresh` of one of `CLOUDS`."""
    found: Refresh = import_module(f".{CLOUDS[name]}.refresh", __package__).refresh
    return found


def shipped_catalog(name: str) -> Path:
    """Where the catalog part that came with skyc is, for one of `CLOUDS`."""
    return Path(__file__).parent / CLOUDS[name] / "catalog.skyc"


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


def meanings() -> Meanings:
    """What changes of resources mean to a reviewer, as each target says in a module `review` beside its own. A target without one says
    nothing, as one that is only priced has nothing to say."""
    targets = [*BUILT_IN.values(), *(entry.value for entry in entry_points(group="skyc.providers"))]
    packages = sorted({target.partition(":")[0].rpartition(".")[0] for target in targets})
    found: dict[str, Meaning] = {}
    for package in packages:
        if package and find_spec(f"{package}.review") is not None:
            review = import_module(f"{package}.review")
            found |= {**review.MEANINGS, **dict.fromkeys(review.PLAIN, Meaning())}
    return FrozenMap(found)


def write_mirror(directory: Path) -> Path:
    """A filesystem mirror through which Terraform finds skyc's own provider without skyc. Its CLI configuration. Raises OSError."""
    from .local.client import DEFINITION
    from .tfplugin.mirror import write_mirror as write

    return write(directory, DEFINITION)


def host_keys(name: str, *, home: Path) -> FrozenMap[tuple[str, ...]]:
    """Machine → fingerprints of its SSH host keys, of a target whose machines are declared; nothing for one that makes its own. Raises
    SkycError for a declaration that cannot be read."""
    if name != "owned":
        return FrozenMap()
    from .owned.provider import OwnedProvider

    return OwnedProvider().host_keys(home=home)


def uv_version() -> str:
    """The uv that makes the environments of rented nodes."""
    from .rented.cloud_init import UV_VERSION

    return UV_VERSION


def example(name: str) -> Provider:
    """The target as it is for everyone (`examples.py`): not this machine, and no machines of the user's."""
    from .examples import ExampleMachine, ExampleOwned

    made_up: dict[str, type[Provider]] = {"local": ExampleMachine, "owned": ExampleOwned}
    return made_up[name]() if name in made_up else load(name)


def blocks_of(name: str) -> FrozenMap[Any] | None:
    """`shapes.blocks_of`: which parts of a resource, or of a provider's configuration, are blocks; None for what nobody here knows."""
    from .shapes import blocks_of as find

    return find(name)


def forces_new(type_: str, path: str) -> bool:
    """`shapes.forces_new`: whether a change of this argument makes another one of the resource."""
    from .shapes import forces_new as find

    return find(type_, path)


def load_all() -> tuple[Provider, ...]:
    return tuple(load(name) for name in names())
