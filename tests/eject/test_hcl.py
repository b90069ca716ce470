"""Root modules in Terraform's own language: what they say, and how they are laid out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.hcl import UnknownSchema, hcl_files
from skyc.compiler.ir import JsonObject
from skyc.providers.registry import blocks_of

SYNTHESIZED = sorted((Path(__file__).parents[1] / "filetests" / "synth").glob("*.test"))


def written(module: JsonObject) -> dict[str, str]:
    return {name: content.decode() for name, content in hcl_files(module, blocks_of, head="Made by a test.").items()}


def resource(**arguments: Any) -> str:
    return written({"resource": {"aws_instance": {"x": arguments}}})["main.tf"]


def modules(path: Path) -> list[JsonObject]:
    """The modules a file of the synth tests expects."""
    rest = path.read_text().split("\n-----\n", 1)[1]
    found = []
    while "{" in rest:
        module, end = json.JSONDecoder().raw_decode(rest[rest.index("{") :])
        found.append(module)
        rest = rest[rest.index("{") + end :]
    return found


def test_blocks_attributes_and_what_is_terraforms_own() -> None:
    assert resource(
        ami="ami-1",
        tags={"a b": "x", "team": "${aws_vpc.site.id}"},
        metadata_options={"http_tokens": "required"},
        ebs_block_device=[{"device_name": "a"}, {"device_name": "b"}],
        depends_on=["aws_route.out"],
        lifecycle={"ignore_changes": ['tags["skyc-plan"]'], "prevent_destroy": True},
    ) == (
        "# Made by a test.\n"
        "\n"
        'resource "aws_instance" "x" {\n'
        '  ami = "ami-1"\n'
        "  tags = {\n"
        '    "a b" = "x"\n'
        "    team  = aws_vpc.site.id\n"
        "  }\n"
        "  depends_on = [aws_route.out]\n"
        "\n"
        "  ebs_block_device {\n"
        '    device_name = "a"\n'
        "  }\n"
        "\n"
        "  ebs_block_device {\n"
        '    device_name = "b"\n'
        "  }\n"
        "\n"
        "  metadata_options {\n"
        '    http_tokens = "required"\n'
        "  }\n"
        "\n"
        "  lifecycle {\n"
        '    ignore_changes  = [tags["skyc-plan"]]\n'
        "    prevent_destroy = true\n"
        "  }\n"
        "}\n"
    )


def test_texts_keep_every_character() -> None:
    said = resource(a='say "hi"\\now\t\x1b', b="$${not} %%{a} template", c='x-${split("/", aws_vpc.site.id)[2]}-"y"')
    assert r'a = "say \"hi\"\\now\t\u001b"' in said
    assert 'b = "$${not} %%{a} template"' in said
    assert 'c = "x-${split("/", aws_vpc.site.id)[2]}-\\"y\\""' in said


def test_long_texts_become_files_with_nothing_left_to_escape() -> None:
    script = "#!/bin/sh\necho $${HOME} %%{x}\n"
    coded = base64.b64encode(b"#!/bin/sh\n" + b"echo hello\n" * 9).decode()
    files = written(
        {"resource": {"aws_instance": {"x": {"user_data": script, "user_data_base64": coded, "ami": "two\nlines ${a.b.c}"}}}}
    )
    assert files["files/aws_instance.x.user_data"] == "#!/bin/sh\necho ${HOME} %{x}\n"
    assert files["files/aws_instance.x.user_data_base64"].startswith("#!/bin/sh\necho hello\n")
    assert 'user_data        = file("${path.module}/files/aws_instance.x.user_data")' in files["main.tf"]
    assert 'filebase64("${path.module}/files/aws_instance.x.user_data_base64")' in files["main.tf"]
    # What is decided at apply cannot stand in a file.
    assert r'ami              = "two\nlines ${a.b.c}"' in files["main.tf"]


def test_json_is_written_as_values_only_where_the_bytes_stay() -> None:
    assert "a = jsonencode({\n    b = [1, true]\n  })" in resource(a='{"b":[1,true]}')
    assert r'a = "{\"b\": 1}"' in resource(a='{"b": 1}')
    assert "jsonencode" not in resource(a='{"b":"${aws_vpc.site.id}"}')


def test_a_type_nobody_knows_stays_json() -> None:
    with pytest.raises(UnknownSchema, match="acme_thing"):
        hcl_files({"resource": {"acme_thing": {"x": {}}}}, blocks_of, head="")


@pytest.mark.parametrize("path", SYNTHESIZED, ids=lambda path: path.name)
def test_what_skyc_compiles_can_be_written(path: Path) -> None:
    for module in modules(path):
        files = written(module)
        for kind in ("resource", "provider", "output"):
            names = [name for named in module.get(kind, {}).values() for name in (named if kind == "resource" else [""])]
            text = "".join(files.get(name, "") for name in ("main.tf", "providers.tf", "outputs.tf"))
            assert text.count(f'\n{kind} "') == len(names)
