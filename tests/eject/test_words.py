"""What stands around ejected code."""

from __future__ import annotations

from pathlib import Path

from skyc.compiler.ir import DeploymentId, SiteId
from skyc.runtime.eject_words import backend_block, environment_script, readme

DIGITS, SITE = DeploymentId("digits"), SiteId("digits.aws-us-east-1")


def test_backends_terraform_knows_too() -> None:
    s3 = backend_block("s3://acme/team?region=eu-west-1", DIGITS, SITE)
    assert s3 is not None and s3.key == "_ejected/digits/digits.aws-us-east-1.tfstate"
    assert s3.place == f"s3://acme/team/{s3.key}"
    assert s3.text == (
        'terraform {\n  required_version = ">= 1.10"\n\n  backend "s3" {\n'
        '    bucket       = "acme"\n'
        '    key          = "team/_ejected/digits/digits.aws-us-east-1.tfstate"\n'
        '    region       = "eu-west-1"\n'
        "    encrypt      = true\n"
        "    use_lockfile = true\n"
        "  }\n}\n"
    )
    other = backend_block("s3://acme?endpoint=http://127.0.0.1:9", DIGITS, SITE)
    assert other is not None and "key  " in other.text and '"_ejected/digits' in other.text
    assert "use_path_style" in other.text and 's3 = "http://127.0.0.1:9"' in other.text
    local = backend_block("file:///shared/states", DIGITS, SITE)
    assert local is not None and 'path = "/shared/states/_ejected/digits/digits.aws-us-east-1.tfstate"' in local.text
    assert backend_block("gs://acme/team", DIGITS, SITE) is None, "then the state lies beside the code"


def test_the_readme_says_how_to_go_on_and_back(tmp_path: Path) -> None:
    rows = ((SITE, "aws", 13, "terraform.tfstate"),)
    text = readme(DIGITS, tmp_path, rows, own=False, version="1.2.3")
    assert "| `digits.aws-us-east-1/` | aws | 13 | `terraform.tfstate` |" in text
    assert "cd digits.aws-us-east-1\nterraform init\n" in text and "environment.sh" not in text
    assert "skyc eject digits --undo" in text and "skyc destroy digits" in text
    assert ". ./environment.sh\ncd" in readme(DIGITS, tmp_path, rows, own=True, version="1.2.3")


def test_paths_for_the_shell_are_quoted() -> None:
    script = environment_script(Path("/a b/mirror"), python="/p/python", home=Path("/h'ome"))
    assert "TF_CLI_CONFIG_FILE='/a b/mirror/terraform.rc'" in script and """SKYC_HOME='/h'"'"'ome'""" in script
