"""The suite of every target that is priced and not yet compiled, for each of them."""

from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import Provider
from skyc.providers.catalog_conformance import PricedConformance
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.jarvislabs.provider import JarvisLabsProvider
from skyc.providers.lambdalabs.provider import LambdaProvider
from skyc.providers.runpod.provider import RunPodProvider


class TestAws(PricedConformance):
    def make_provider(self) -> Provider:
        return AwsProvider()


class TestAzure(PricedConformance):
    def make_provider(self) -> Provider:
        return AzureProvider()


class TestGcp(PricedConformance):
    def make_provider(self) -> Provider:
        return GcpProvider()


class TestIbm(PricedConformance):
    def make_provider(self) -> Provider:
        return IbmProvider()


class TestJarvisLabs(PricedConformance):
    def make_provider(self) -> Provider:
        return JarvisLabsProvider()


class TestLambda(PricedConformance):
    def make_provider(self) -> Provider:
        return LambdaProvider()


class TestRunPod(PricedConformance):
    def make_provider(self) -> Provider:
        return RunPodProvider()
