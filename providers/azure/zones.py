"""Azure's availability zones: which regions have them.

Source: learn.microsoft.com/azure/reliability/regions-list, "Azure regions list" (availability zones of each region: three, or none). Which
sizes are in which of them is another matter, and differs between subscriptions.
"""

from __future__ import annotations

from ...compiler.ir import FrozenMap

_ZONED = (
    *("australiaeast", "austriaeast", "belgiumcentral", "brazilsouth", "canadacentral", "centralindia", "centralus"),
    *("chilecentral", "eastasia", "eastus", "eastus2", "francecentral", "germanywestcentral", "indonesiacentral"),
    *("israelcentral", "italynorth", "japaneast", "japanwest", "koreacentral", "malaysiawest", "mexicocentral"),
    *("newzealandnorth", "northeurope", "norwayeast", "polandcentral", "qatarcentral", "southafricanorth", "southcentralus"),
    *("southeastasia", "spaincentral", "swedencentral", "switzerlandnorth", "uaenorth", "uksouth", "westeurope", "westus2"),
    "westus3",
)
WITHOUT = frozenset(
    (
        *("australiacentral", "australiacentral2", "australiasoutheast", "brazilsoutheast", "canadaeast", "francesouth"),
        *("germanynorth", "jioindiacentral", "jioindiawest", "koreasouth", "northcentralus", "norwaywest", "southafricawest"),
        *("southindia", "swedensouth", "switzerlandwest", "uaecentral", "ukwest", "westcentralus", "westindia", "westus"),
    )
)
"""Regions of that list that have none. A region that is younger than the list is in neither."""
ZONES: FrozenMap[tuple[str, ...]] = FrozenMap(
    {region: tuple(f"{region}-{number}" for number in (1, 2, 3)) for region in _ZONED}
)
"""Region → its zones, as skyc calls them: Azure numbers them, in each subscription in another way."""
