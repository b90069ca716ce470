"""What every provider must do, as tests. A new provider begins by subclassing `ProviderConformance` in its own test folder.

What is said about catalogs is in `catalog_conformance`, of which this suite is an extension: a target that is priced and cannot be
compiled yet subclasses `PricedConformance` there.

Contract: the subclass says how to make its provider, how to bring a graph up for real, and what must not be left in the world.
Everything else, and every expectation, is here and equal for all. Deviations belong into the provider's own folder as strict
marks with a reason, never into this file.

    class TestLocal(ProviderConformance):
        def make_provider(self): return LocalProvider()
        def bring_up(self, graph, home): ...   # create all resources of the graph; return the output values
        def leftovers(self, home): ...         # what still exists, as texts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import Diagnostic, Severity, SkycError, has_errors
from ..compiler.ir import (
    BUCKET_FACTS,
    AcceleratorRequest,
    Addresses,
    Bound,
    DeploymentId,
    FailureKind,
    FrozenMap,
    GroupName,
    GroupPlacement,
    Infra,
    Market,
    NodeGroup,
    NodeRuntime,
    NodeShape,
    ResourceGraph,
    ResourceRequest,
    SiteId,
    SpecPath,
    Storage,
    Task,
    TaskId,
    canonical,
    storage_label,
)
from ..compiler.ir.catalog import CatalogPart
from .base import Access, Capability, LowerContext, Node, Provider
from .catalog_conformance import CatalogConformance
from .rented.names import DEPLOYMENT_TAG, describes
from .schemas import check, load_schemas
from .schemas.references import references

DEPLOYMENT = DeploymentId("conformance")
LOGIN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"

VARIATIONS: FrozenMap[FrozenMap[Any]] = FrozenMap(
    {
        "infra": FrozenMap({"infra": Infra()}),
        "cpus": FrozenMap({"cpus": Bound(amount=Decimal(1))}),
        "memory_gb": FrozenMap({"memory_gb": Bound(amount=Decimal(1))}),
        "memory_per_cpu": FrozenMap({"memory_per_cpu": Bound(amount=Decimal(1))}),
        "accelerators": FrozenMap({"accelerators": (AcceleratorRequest(name="T4", count=Decimal(1)),)}),
        "accelerators_ordered": FrozenMap({"accelerators_ordered": True}),
        "instance_type": FrozenMap({"instance_type": "any"}),
        "market": FrozenMap({"market": Market.SPOT}),
        "disk_gb": FrozenMap({"disk_gb": Decimal(100)}),
        "disk_tier": FrozenMap({"disk_tier": "high"}),
        "local_disk": FrozenMap({"local_disk": "nvme"}),
        "network_tier": FrozenMap({"network_tier": "best"}),
        "image_id": FrozenMap({"image_id": "some-image"}),
        "ports": FrozenMap({"ports": ("8080",)}),
        "labels": FrozenMap({"labels": FrozenMap({"team": "research"})}),
        "arch": FrozenMap({"arch": "x86_64"}),
        "interruption_rate": FrozenMap({"interruption_rate": Decimal("0.05")}),
        "max_hourly_cost": FrozenMap({"max_hourly_cost": Decimal(10)}),
        "origin": FrozenMap({"origin": SpecPath(("resources", "any_of", 0))}),
    }
)
"""One value that is not the default for each field of a ResourceRequest. `test_variations_are_complete` keeps it whole."""

NEEDS: FrozenMap[Capability] = FrozenMap(
    {
        "market": Capability.SPOT,
        "image_id": Capability.CUSTOM_IMAGE,
        "disk_gb": Capability.DISK_SIZE,
        "ports": Capability.OPEN_PORTS,
    }
)
"""Fields that only a provider with this capability may take without a word."""


class ProviderConformance(CatalogConformance):
    """Subclass it in a test file; pytest then collects what is below and in the base."""

    def bring_up(self, graph: ResourceGraph, home: Path) -> Mapping[str, Any]:
        """Create every resource of the graph for real. Returns the graph's output values."""
        raise NotImplementedError

    def leftovers(self, home: Path) -> tuple[str, ...]:
        """Whatever the deployment still has in the world, found without the provider's own `observe`."""
        raise NotImplementedError

    # Pure parts

    def test_it_can_be_compiled(self) -> None:
        assert Capability.LOWER in self.make_provider().capabilities, "it lowers and does not say so"

    def test_words_alone_are_no_lack_of_capacity(self) -> None:
        said = Diagnostic(
            severity=Severity.ERROR,
            slug="terraform-error",
            summary="There is no capacity left, the quota is exceeded and access is denied",
            resource="x.y",
        )
        (found,) = self.make_provider().failures((said,))
        assert found.kind is FailureKind.OTHER, "an error was told by its prose; only the target's own codes tell"
        assert found.resource == "x.y"

    def test_machines_are_stopped_or_that_is_refused(self, tmp_path: Path) -> None:
        provider = self.make_provider()
        if Capability.STOP in provider.capabilities:
            assert Capability.LOGIN in provider.capabilities, "nobody could wait for what was started"
            return
        said = provider.cannot_stop((), lose_local=True, home=tmp_path)
        assert said and has_errors(said), "it cannot stop and does not say why"
        for call in (provider.stop, provider.start):
            try:
                call((), home=tmp_path, tell=print)
            except SkycError:
                continue
            raise AssertionError("it cannot stop or start, and says it did")

    def test_variations_are_complete(self) -> None:
        named = {field.name for field in fields(ResourceRequest)}
        assert set(VARIATIONS) == named, f"fields without a variation, or the reverse: {set(VARIATIONS) ^ named}"

    def test_the_lowering_tables_are_total(self) -> None:
        module = type(self.make_provider()).__module__.rpartition(".")[0]
        unclassified = import_module(f"{module}.lower").check_tables()
        assert unclassified == (), f"not exactly once in a table: {unclassified}"

    def test_lowering_is_a_function(self, tmp_path: Path) -> None:
        first, _ = self._lower(tmp_path, self.example_task(tmp_path))
        second, _ = self._lower(tmp_path, self.example_task(tmp_path))
        assert first is not None and second is not None, "the plainest task was refused"
        assert canonical(first) == canonical(second), "the same arguments gave another graph"

    def test_what_it_lowers_is_schema_valid(self, tmp_path: Path) -> None:
        """Every graph has the shape its Terraform providers accept. One that ships no schema is not checked here."""
        schemas = load_schemas()
        for name, variation in VARIATIONS.items():
            graph, _ = self._lower(tmp_path, self.example_task(tmp_path, **variation))
            found = check(graph, schemas) if graph is not None else ()
            assert found == (), f"{name}: {found[0].detail}"

    def test_every_field_is_lowered_or_answered(self, tmp_path: Path) -> None:
        """No field is dropped in silence, and none makes lowering fail in another way than by a diagnostic."""
        provider = self.make_provider()
        for name, variation in VARIATIONS.items():
            graph, said = self._lower(tmp_path, self.example_task(tmp_path, **variation))
            refused = any(diagnostic.severity is Severity.ERROR for diagnostic in said)
            assert (graph is None) == refused, (
                f"{name}: a refusal has an error and no graph, anything else a graph and no error"
            )
            needed = NEEDS.get(name)
            if needed is not None and needed not in provider.capabilities:
                assert said, f"{name}: the provider lacks {needed.value} and says nothing"
            for diagnostic in said:
                assert diagnostic.slug and diagnostic.detail, f"{name}: a diagnostic without slug or reason"

    def test_every_resource_names_the_deployment(self, tmp_path: Path) -> None:
        graph, _ = self._lower(tmp_path, self.example_task(tmp_path))
        assert graph is not None
        assert graph.resources, "a graph without resources"
        # As a tag's value, or where a cloud's tags are single texts as such a text.
        marks = (f'"{DEPLOYMENT}"'.encode(), f'"{DEPLOYMENT_TAG}:{DEPLOYMENT}"'.encode())
        named = {
            node.address
            for node in graph.resources
            if any(mark in canonical(node.arguments) for mark in marks)
            or describes(node.arguments.get("description"), DEPLOYMENT)
        }
        schemas = {name: type_ for schema in load_schemas() for name, type_ in schema.types.items()}
        for node in graph.resources:
            # A route, say, has no place for tags: its description then says it, or it belongs to what does and goes with that.
            known = schemas.get(node.address.type)
            can = known is None or bool({"tags", "labels"} & set(known.body.attributes))
            goes_with = {ref.address for _, ref in references(node.arguments)} & named
            assert node.address in named or (not can and goes_with), f"{node.address} does not carry the deployment"
            assert node.origin.steps, f"{node.address} comes from nowhere in the user's file"
        assert "nodes" in graph.outputs, "the output `nodes` is missing"
        assert graph.provider == self.make_provider().name, "the graph names another provider"

    def test_addresses_are_stable_when_a_group_grows(self, tmp_path: Path) -> None:
        small, _ = self._lower(tmp_path, self.example_task(tmp_path), num_nodes=1)
        large, _ = self._lower(tmp_path, self.example_task(tmp_path), num_nodes=2)
        assert small is not None and large is not None
        before = {node.address: canonical(node.arguments) for node in small.resources}
        after = {node.address: canonical(node.arguments) for node in large.resources}
        assert before.items() <= after.items(), "growing a group changes nodes that were there before"

    def test_a_head_alone_can_have_an_address(self, tmp_path: Path) -> None:
        """The others are reached through it, and with one node nothing is made for what is not there."""
        provider = self.make_provider()
        if Capability.HEAD_ADDRESS not in provider.capabilities:
            return

        def rows(num_nodes: int, public: Addresses) -> tuple[set[str], list[bool]]:
            graph, said = self._lower(tmp_path, self.example_task(tmp_path), num_nodes, public=public)
            assert graph is not None and not has_errors(said), said
            nodes = graph.outputs["nodes"]
            assert isinstance(nodes, tuple)
            reached = [row["address"] != "" for row in nodes if isinstance(row, FrozenMap)]
            return {str(node.address) for node in graph.resources}, reached

        assert rows(3, Addresses.HEAD)[1] == [True, False, False] and rows(3, Addresses.ALL)[1] == [True] * 3
        assert rows(1, Addresses.HEAD) == rows(1, Addresses.ALL)

    def test_no_outputs_are_no_nodes(self) -> None:
        assert self.make_provider().nodes({}) == (), "a site without outputs has nodes"

    # The real thing

    def test_a_whole_life(self, tmp_path: Path) -> None:
        """Create, list, reach, observe, remove: nothing is left."""
        provider = self.make_provider()
        graph, _ = self._lower(tmp_path, self.example_task(tmp_path), num_nodes=2)
        assert graph is not None
        try:
            nodes = provider.nodes(self.bring_up(graph, tmp_path))
            self._check_nodes(nodes)
            for node in nodes:
                self._check_transport(provider, node, tmp_path)
            seen = provider.observe(DEPLOYMENT, home=tmp_path)
            assert {node.id for node in nodes} <= {resource.node or resource.id for resource in seen}, "observe misses a node"
            assert provider.observe(DeploymentId("other"), home=tmp_path) == (), "observe lists another deployment's resources"
        finally:
            for resource in provider.observe(DEPLOYMENT, home=tmp_path):
                provider.remove(resource, home=tmp_path)
                provider.remove(resource, home=tmp_path)
        assert provider.observe(DEPLOYMENT, home=tmp_path) == (), "something is still observed after remove"
        assert self.leftovers(tmp_path) == (), "something is left in the world"

    def test_buckets(self, tmp_path: Path) -> None:
        """A site of buckets is one a reviewer can read and nobody can lose data by; with `Capability.BUCKET` alone."""
        provider = self.make_provider()
        storages = tuple(
            Storage(name=name, origin=SpecPath(("storage", name)), uri=None, persistent=name == "kept")
            for name in ("kept", "Scratch_1")
        )
        context = self._context(tmp_path, SiteId("_storage.conformance"))
        region = provider.catalog(home=tmp_path).offering(0, Market.ON_DEMAND).region
        if Capability.BUCKET not in provider.capabilities:
            graph, said = provider.lower_storages(storages, region, context)
            assert graph is None and has_errors(said), "it has no buckets, and does not say so"
            return

        def uri(name: str, mark: str = "0123456789") -> str:
            return provider.bucket_uri(name, region=region, deployment=DEPLOYMENT, mark=mark)

        assert uri("kept") == uri("kept"), "a bucket's name is not a function of its Storage"
        assert len({uri("kept"), uri("Kept"), uri("kept", "9876543210"), uri("a.b"), uri("a-b")}) == 5, "two share a bucket"
        placed = tuple(replace(storage, uri=uri(storage.name)) for storage in storages)
        graph, said = provider.lower_storages(placed, region, context)
        assert graph is not None and not has_errors(said), said
        addresses = [str(node.address) for node in graph.resources]
        assert addresses == sorted(set(addresses)), "addresses are not unique and sorted"
        assert provider.check_graph(graph, None) == ()
        assert provider.lower_storages(placed, region, context)[0] == graph, "lowering is not a function of its arguments"
        for storage in placed:
            own = [node for node in graph.resources if node.address.name == storage_label(storage.name)]
            assert own, f"no resource is named as {storage.name}"
            assert any(node.prevent_destroy for node in own) is storage.persistent, "protected is what is persistent"
        facts = graph.outputs["storages"]
        assert isinstance(facts, FrozenMap)
        assert all(isinstance(row, FrozenMap) and tuple(sorted(row)) == BUCKET_FACTS for row in facts.values())
        assert {name: row["uri"] for name, row in facts.items() if isinstance(row, FrozenMap)} == {
            storage.name: storage.uri for storage in placed
        }

    # What the tests above share

    def example_task(self, home: Path, **request: Any) -> Task:
        """A task with one group whose request has these fields."""
        group_origin = SpecPath(("resources",))
        wanted = ResourceRequest(**{"origin": group_origin, **request})
        group = NodeGroup(
            name=GroupName("main"), origin=group_origin, num_nodes=1, requests=(wanted,), ordered=False, run="true"
        )
        return Task(
            id=TaskId("sample"),
            origin=SpecPath(("name",)),
            groups=(group,),
            setup="",
            envs=FrozenMap(),
            secrets=(),
            workdir=None,
        )

    def images(self) -> FrozenMap[str]:
        """What config.yaml would name, for a target that can know no image itself."""
        return FrozenMap()

    def runtime(self) -> NodeRuntime:
        import sys

        return NodeRuntime(python=f"{sys.version_info.major}.{sys.version_info.minor}")

    def _lower(
        self, home: Path, task: Task, num_nodes: int = 1, *, public: Addresses = Addresses.ALL
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        provider = self.make_provider()
        task = replace(task, groups=tuple(replace(group, num_nodes=num_nodes) for group in task.groups))
        context = self._context(home, SiteId(f"{task.id}.{provider.name}"))
        return provider.lower(task, self._placements(provider.catalog(home=home), task), replace(context, public=public))

    def _context(self, home: Path, site: SiteId) -> LowerContext:
        return LowerContext(
            deployment=DEPLOYMENT,
            site=site,
            home=str(home),
            runtime=self.runtime(),
            access=Access(ssh_from=("203.0.113.7/32",), login_key=LOGIN_KEY, host_key="a key\n", host_key_public=LOGIN_KEY),
            images=self.images(),
            plan="0123456789ab",
        )

    def _placements(self, catalog: CatalogPart, task: Task) -> tuple[GroupPlacement, ...]:
        """As the optimizer would place it on the first offering: half of a divisible machine's CPUs, 1 GiB."""
        offering = catalog.offering(0, Market.ON_DEMAND)
        kind = catalog.instance_type(int(catalog.offers.type[0]))
        shape = NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators)
        if kind.divisible:
            shape = NodeShape(cpus=Decimal(1), memory_gb=Decimal(1))
        return tuple(
            GroupPlacement(
                task=task.id,
                group=group.name,
                provider=offering.provider,
                region=offering.region,
                zone=offering.zone,
                instance_type=offering.instance_type,
                market=Market.SPOT if group.requests[0].market is Market.SPOT else Market.ON_DEMAND,
                num_nodes=group.num_nodes,
                shape=shape,
                hourly=offering.hourly,
                hours=task.hours,
                lines=(),
            )
            for group in task.groups
        )

    def _check_nodes(self, nodes: tuple[Node, ...]) -> None:
        assert [node.rank for node in nodes] == list(range(len(nodes))), "ranks are not 0, 1, … with the head first"
        assert len({node.id for node in nodes}) == len(nodes), "two nodes share an id"
        assert len({(node.gcs_port, node.dashboard_port) for node in nodes}) == 1, "the nodes are not in one cluster"
        assert all(node.health == "healthy" for node in nodes), f"not healthy: {[node.health for node in nodes]}"

    def _check_transport(self, provider: Provider, node: Node, scratch: Path) -> None:
        tree = scratch / f"tree-{node.rank}"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "data").write_bytes(b"\x00\xff" * 1000)
        (tree / "tool").write_text("#!/bin/sh\necho ran\n")
        (tree / "tool").chmod(0o755)
        with provider.transport(node) as transport:
            place = f"{node.directory}/workdir/conformance"
            transport.put_tree(tree, place)
            transport.put_file(b"own", f"{place}/own", mode=0o640)
            (tree / "left-out").write_text("")
            transport.put_tree(tree, place, ("sub/", "sub/data", "tool"))
            try:
                transport.get_file(f"{place}/left-out")
            except FileNotFoundError:
                pass
            else:
                raise AssertionError("put_tree sent what is not among its entries")
            assert transport.get_file(f"{place}/sub/data") == b"\x00\xff" * 1000, "a file came back changed"
            assert transport.get_file(f"{place}/own") == b"own", "put_tree removed a file only the destination had"
            done = transport.run([f"{place}/tool"])
            assert (done.returncode, done.stdout) == (0, "ran\n"), f"the program did not run: {done}"
            spoken = transport.run(["sh", "-c", 'echo "$GIVEN"; echo err >&2; exit 3'], env={"GIVEN": "a b"})
            assert (spoken.returncode, spoken.stdout, spoken.stderr) == (3, "a b\n", "err\n"), f"{spoken}"
            with transport.forward(node.agent_port) as port:
                assert 0 < port < 65536, "no port"
            try:
                transport.get_file(f"{place}/absent")
            except FileNotFoundError:
                pass
            else:
                raise AssertionError("a missing file was read")
            try:
                transport.run(["sleep", "60"], timeout=0.3)
            except TimeoutError:
                pass
            else:
                raise AssertionError("the time limit was not kept")
