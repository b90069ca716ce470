"""The reader of generated code, on a small file in the generator's form."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from skyc.providers.schemas.wheel import WheelFormatError, read_archive

TYPE = """
function thingDiskToHclTerraform(struct) {
    const attrs = {
        size: {
            value: cdktn.numberToHclTerraform(struct.size),
            isBlock: false,
            type: "simple",
            storageClassType: "number",
        },
    };
}
class ThingDiskOutputReference extends cdktn.ComplexObject {
    // size - computed: false, optional: true, required: false
    get size() {
        return this.getNumberAttribute('size');
    }
}
class ThingFactsOutputReference extends cdktn.ComplexObject {
    // zones - computed: true, optional: false, required: false
    get zones() {
        return cdktn.Fn.tolist(this.getListAttribute('zones'));
    }
}
class Thing extends cdktn.TerraformResource {
    // facts - computed: true, optional: false, required: false
    _facts = new ThingFactsList(this, "facts", false);
    // name - computed: false, optional: false, required: true
    get name() {
        return this.GETTER('name');
    }
    // tags - computed: true, optional: true, required: false
    get tags() {
        return this.getStringMapAttribute('tags');
    }
    // disk - computed: false, optional: false, required: true
    _disk = new ThingDiskList(this, "disk", true);
    synthesizeHclAttributes() {
        const attrs = {
            name: {
                value: cdktn.stringToHclTerraform(this._name),
                isBlock: false,
                type: "simple",
                storageClassType: "string",
            },
            tags: {
                value: cdktn.hashMapperHcl(cdktn.stringToHclTerraform)(this._tags),
                isBlock: false,
                type: "map",
                storageClassType: "stringMap",
            },
            disk: {
                value: cdktn.listMapperHcl(thingDiskToHclTerraform, true)(this._disk.internalValue),
                isBlock: true,
                type: "set",
                storageClassType: "ThingDiskList",
            },
        };
    }
}
"""
PROVIDER = "\nclass CloudProvider extends cdktn.TerraformProvider {\n    synthesizeHclAttributes() {\n    }\n}\n"
PACKAGE = json.dumps({"cdktf": {"provider": {"version": "1.2.3"}}})


def archive(folder: Path, text: str) -> Path:
    path = folder / "provider.tgz"
    files = {"package.json": PACKAGE, "lib/provider/index.js": PROVIDER, "lib/big-thing/index.js": text}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
    return path


def test_it_reads_types_flags_and_nesting(tmp_path: Path) -> None:
    path = archive(tmp_path, TYPE.replace("GETTER", "getStringAttribute"))
    version, provider, bodies = read_archive(path, ["x_big_thing"], prefix="x")
    assert (version, provider) == ("1.2.3", {})
    assert bodies["x_big_thing"] == {
        "attributes": {
            "facts": {"type": ["list", ["object", {"zones": ["set", "string"]}]], "computed": True},
            "name": {"type": "string", "required": True},
            "tags": {"type": ["map", "string"], "optional": True, "computed": True},
        },
        "block_types": {
            "disk": {
                "nesting_mode": "set",
                "min_items": 1,
                "block": {"attributes": {"size": {"type": "number", "optional": True}}},
            }
        },
    }


def test_it_never_guesses(tmp_path: Path) -> None:
    stranger = TYPE.replace("GETTER", "getOddAttribute").replace('storageClassType: "string"', 'storageClassType: "odd"')
    with pytest.raises(WheelFormatError, match="name"):
        read_archive(archive(tmp_path, stranger), ["x_big_thing"], prefix="x")
    with pytest.raises(WheelFormatError, match="x_other"):
        read_archive(archive(tmp_path, TYPE), ["x_big_thing", "x_other"], prefix="x")
