"""How each cloud names things and how it says no. One module per cloud, all with the same functions."""

from ..making import Cloud
from .aws import AWS
from .azurerm import AZURERM
from .google import GOOGLE
from .ibm import IBM

CLOUDS: dict[str, Cloud] = {cloud.name: cloud for cloud in (AWS, AZURERM, GOOGLE, IBM)}
