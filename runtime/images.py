"""Machine images the user names once for all tasks, from `images:` in `<home>/config.yaml`.

    images:
      ibm:
        us-south: r006-14140f94-fcc4-11e9-96e7-a72723715315       # machines without devices
        us-south/gpu: r006-2b3d1cf0-9c11-4b53-8b5c-2b9b1f6a0f0d   # machines with GPUs: it brings the driver

For targets whose images have another id in every region, so that skyc can name none itself without asking.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import FrozenMap

CONFIG = "config.yaml"
_PLACE = re.compile(r"[a-z0-9-]+(?:/gpu)?")


def read_images(home: Path) -> FrozenMap[str]:
    """`<target>/<region>` and `<target>/<region>/gpu` → image id; empty without a file or without the key. Raises SkycError."""
    path = home / CONFIG
    if not path.exists():
        return FrozenMap()
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise SkycError(
            error(
                "bad-config", "The configuration file cannot be read", f"{path}: {failure}", hint="correct or remove the file"
            )
        ) from failure
    section = config.get("images") if isinstance(config, dict) else None
    found: dict[str, str] = {}
    for target, places in _rows(section, "images", path):
        for place, image in _rows(places, f"images.{target}", path):
            if not _PLACE.fullmatch(place) or not isinstance(image, str) or not image:
                raise _odd(f"images.{target}.{place}", "is no image id of a region", path)
            found[f"{target}/{place}"] = image
    return FrozenMap(found)


def _rows(section: object, name: str, path: Path) -> list[tuple[str, object]]:
    if section is None:
        return []
    if not isinstance(section, dict):
        raise _odd(name, "is no mapping", path)
    return [(str(key), value) for key, value in section.items()]


def _odd(name: str, what: str, path: Path) -> SkycError:
    return SkycError(
        error(
            "bad-config",
            "The configuration file cannot be read",
            f"`{name}` in {path} {what}.",
            hint="write `images: {ibm: {us-south: IMAGE_ID, us-south/gpu: IMAGE_ID}}`",
        )
    )
