"""Real Terraform, from validate to destroy, against each simulated cloud."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import ResourceGraph
from skyc.compiler.terraform import Terraform, find_engine
from tests.schemas import graphs
from tests.schemas.graphs import ALL, changed

from .conftest import Site, said

pytestmark = pytest.mark.terraform

INSTANCE = "aws_instance.node"


def only_id(site: Site, type_: str) -> str:
    (found,) = site.world.resources(type_)
    return found.id


@pytest.mark.parametrize("name", ALL)
def test_from_validate_to_destroy(site: Site, name: str) -> None:
    graph: ResourceGraph = ALL[name]()
    site.write(graph)
    assert site.terraform.validate().ok
    addresses = {str(node.address) for node in graph.resources}
    assert site.changes() == {address: ["create"] for address in addresses}
    run = site.apply()
    assert run.finished, said(run)
    assert {found.id for found in site.world.resources()} == site.ids()
    assert site.changes() == {}
    run = site.apply(destroy=True)
    assert run.finished, said(run)
    assert site.world.resources() == ()


def test_the_same_input_makes_the_same_world(site: Site) -> None:
    site.write(graphs.aws_machine())
    assert site.apply().finished
    first = site.world.path.read_bytes()
    assert site.world.path.stat().st_mode & 0o777 == 0o600
    site.world.path.unlink()
    (site.directory / "terraform.tfstate").unlink()
    assert site.apply().finished
    assert site.world.path.read_bytes() == first


def test_the_embedded_engine_too(site: Site) -> None:
    try:
        engine = find_engine("embedded", environ=os.environ)
    except SkycError:
        pytest.skip("no embedded engine on this machine")
    site.write(graphs.google_machine())
    terraform = Terraform(engine, site.directory, home=site.home, environ=os.environ, reattach=site.attachments)
    plan = terraform.plan()
    assert plan.plan_file is not None, plan.diagnostics
    assert terraform.apply(plan.plan_file).finished
    assert not terraform.plan().has_changes


def test_facts_are_of_the_clouds_own_form(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    (found,) = site.world.resources("aws_instance")
    facts = found.attributes
    assert facts["arn"] == f"arn:aws:ec2:us-east-1:123456789012:instance/{found.id}"
    assert found.id.startswith("i-")
    assert len(found.id) == 19
    assert (facts["availability_zone"], facts["instance_state"]) == ("us-east-1a", "running")
    assert facts["private_ip"].startswith("10.")
    assert facts["subnet_id"] == only_id(site, "aws_subnet")


def test_what_forces_a_replacement_replaces(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    site.write(changed(graphs.aws_machine(), INSTANCE, ami="ami-0fedcba9876543210"))
    plan = site.plan()
    (change,) = [found for found in plan["resource_changes"] if found["address"] == INSTANCE]
    assert change["change"]["actions"] == ["delete", "create"]
    assert change["change"]["replace_paths"] == [["ami"]]
    assert change["action_reason"] == "replace_because_cannot_update"
    before = only_id(site, "aws_instance")
    assert site.apply().finished
    assert only_id(site, "aws_instance") != before


def test_what_does_not_is_changed_in_place(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    before = only_id(site, "aws_instance")
    site.write(changed(graphs.aws_machine(), INSTANCE, instance_type="g5.2xlarge", tags={"team": "a"}))
    assert site.changes() == {INSTANCE: ["update"]}
    assert site.apply().finished
    (found,) = site.world.resources("aws_instance")
    assert (found.id, found.attributes["instance_type"]) == (before, "g5.2xlarge")
    assert found.attributes["tags_all"] == {"team": "a"}
    assert site.changes() == {}


def test_drift_of_what_is_configured_is_put_right(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    site.world.change("aws_instance", only_id(site, "aws_instance"), tags={"who": "a hand"})
    assert site.changes() == {INSTANCE: ["update"]}
    site.apply()
    (found,) = site.world.resources("aws_instance")
    assert found.attributes["tags"] == graphs.TAGS


def test_drift_of_a_fact_is_reported_and_changes_nothing(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    site.world.change("aws_instance", only_id(site, "aws_instance"), instance_state="stopped")
    plan = site.plan()
    assert [found["address"] for found in plan["resource_drift"]] == [INSTANCE]
    assert all(found["change"]["actions"] == ["no-op"] for found in plan["resource_changes"])


def test_what_vanished_is_made_again(site: Site) -> None:
    site.write(graphs.azurerm())
    site.apply()
    name = "azurerm_linux_virtual_machine"
    site.world.remove(name, only_id(site, name))
    assert site.changes() == {f"{name}.node": ["create"]}
    assert site.apply().finished
    assert site.changes() == {}


def test_what_exists_can_be_imported(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    (site.directory / "terraform.tfstate").unlink()
    for found in site.world.resources():
        address = {str(node.address) for node in graphs.aws_machine().resources if node.address.type == found.type}.pop()
        assert site.terraform.import_(address, found.id).ok
    assert site.changes() == {}
    assert not site.terraform.import_("aws_vpc.net", "vpc-nowhere").ok


def test_a_name_is_taken_once(site: Site) -> None:
    """After a lost state, clouds refuse what they have already; what has no name is made twice, silently."""
    site.write(graphs.aws_machine())
    site.apply()
    (site.directory / "terraform.tfstate").unlink()
    run = site.apply()
    assert not run.ok
    assert "InvalidKeyPair.Duplicate" in said(run)
    assert len(site.world.resources("aws_vpc")) == 2


def test_validate_knows_enums_and_rules(site: Site) -> None:
    site.write(changed(graphs.aws_machine(), INSTANCE, tenancy="shared", user_data="a", user_data_base64="b"))
    run = site.terraform.validate()
    words = "\n".join(found.detail for found in run.diagnostics)
    assert not run.ok
    assert 'expected tenancy to be one of ["default" "dedicated" "host"], got shared' in words
    assert "only one of user_data, user_data_base64 may be set" in words


def test_a_sensitive_attribute_is_marked(site: Site) -> None:
    site.write(graphs.azurerm())
    plan = site.plan()
    (change,) = [found for found in plan["resource_changes"] if found["type"] == "azurerm_linux_virtual_machine"]
    assert change["change"]["after_sensitive"]["custom_data"] is True
    account = next(found for found in plan["resource_changes"] if found["type"] == "azurerm_storage_account")
    assert account["change"]["after_sensitive"]["primary_access_key"] is True


def test_equal_resources_get_ids_of_their_own(site: Site) -> None:
    module = json.loads(Path(__file__).with_name("twins.tf.json").read_text())
    (site.directory / "cdk.tf.json").write_text(json.dumps(module))
    assert site.apply().finished
    assert len({found.id for found in site.world.resources("aws_vpc")}) == 3
