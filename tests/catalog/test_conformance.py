"""The suite of every target that is priced and not yet compiled, for each of them."""

from pathlib import Path

from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import Provider
from skyc.providers.catalog_conformance import PricedConformance
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.jarvislabs.provider import JarvisLabsProvider
from skyc.providers.lambdalabs.provider import LambdaProvider
from skyc.providers.owned.provider import OwnedProvider
from skyc.providers.runpod.provider import RunPodProvider


class TestAzure(PricedConformance):
    def make_provider(self) -> Provider:
        return AzureProvider()


class TestGcp(PricedConformance):
    def make_provider(self) -> Provider:
        return GcpProvider()


class TestJarvisLabs(PricedConformance):
    def make_provider(self) -> Provider:
        return JarvisLabsProvider()


class TestLambda(PricedConformance):
    def make_provider(self) -> Provider:
        return LambdaProvider()


class TestRunPod(PricedConformance):
    def make_provider(self) -> Provider:
        return RunPodProvider()


class TestOwned(PricedConformance):
    owned_names = True

    def make_provider(self) -> Provider:
        return OwnedProvider()

    def catalog_home(self, scratch: Path) -> Path:
        machine = "{name: %s, cpus: 8, memory: 32, accelerators: %s, region: %s}"
        rows = [machine % ("big", "'my-fpga:2'", "office"), machine % ("small", "T4:1", "lab")]
        (scratch / "config.yaml").write_text("machines:\n" + "".join(f"- {row}\n" for row in rows))
        return scratch
